/** A gateway as its users have it, on a free port, with a scripted engine behind it and a tap before it. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startGateway } from '../../src/compose.ts'
import { loadConfig } from '../../src/config.ts'
import { startScriptedEngine, type Script, type ScriptedEngine } from './scripted-engine.ts'
import { startTap, type Exchange } from './tap.ts'

export type Gateway = {
  /** Base URL with `/v1`, as clients are given it. */
  readonly baseUrl: string
  /** Everything that clients sent and got. */
  readonly exchanges: Exchange[]
  close(): Promise<void>
}

export type House = Gateway & { readonly engine: ScriptedEngine }

/** `configuration` is added to the file, as YAML. */
export async function openGateway(backends: readonly string[], configuration = ''): Promise<Gateway> {
  const flags = { listen: '127.0.0.1:0', store: 'memory', logLevel: 'silent', backends }
  const gateway = await startGateway(loadConfig({ text: configuration, env: {}, flags }), { version: 'test' })
  await gateway.fleet.firstProbeDone
  const tap = await startTap(gateway.url)
  return {
    baseUrl: `${tap.url}/v1`,
    exchanges: tap.exchanges,
    close: async () => {
      await tap.close()
      await gateway.close(0)
    },
  }
}

export async function openHouse(script: Script, configuration = ''): Promise<House> {
  const engine = await startScriptedEngine(script)
  const gateway = await openGateway([engine.url], configuration)
  return {
    ...gateway,
    engine,
    close: async () => {
      await gateway.close()
      await engine.close()
    },
  }
}

/** Tests run compiled; what is not compiled is found from here. */
export function repositoryRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    if (dirname(folder) === folder) throw new Error('No package.json above this test.')
    folder = dirname(folder)
  }
  return folder
}
