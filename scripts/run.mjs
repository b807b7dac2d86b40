// node scripts/run.mjs NAME [ARGS ...]: installs and builds what is needed, then runs scripts/NAME.mjs.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

import { ensureBuilt } from './ensure-built.mjs'

const [name] = process.argv.splice(2, 1)
const script = join(dirname(fileURLToPath(import.meta.url)), `${name}.mjs`)
try {
  if (name === undefined || !/^[a-z-]+$/.test(name) || !existsSync(script)) throw new Error(`there is no script '${name ?? ''}'`)
  await ensureBuilt()
} catch (error) {
  process.stderr.write(`homing: ${error.message}\n`)
  process.exit(1)
}
await import(pathToFileURL(script).href)
