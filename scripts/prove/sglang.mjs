// SGLang on the CPU, for proofs against the real publisher: 9.6 GB, installed once into DIR.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { convertModel, installPackages, startEngine } from './engine-process.mjs'

const SGLANG = 'sglang==0.5.23'

/** Without an accelerator it takes this one kernel from vLLM: rotary embedding, in place. */
const ROTARY = `import torch


def rotary_embedding(positions, query, key, head_size, cos_sin_cache, is_neox):
    half = cos_sin_cache.shape[-1] // 2
    row = cos_sin_cache.index_select(0, positions.flatten()).unsqueeze(1)
    cos, sin = row[..., :half].to(query.dtype), row[..., half:].to(query.dtype)
    for tensor in (query, key):
        view = tensor.view(positions.numel(), -1, head_size)
        if is_neox:
            a, b = view[..., :half].clone(), view[..., half:2 * half].clone()
            view[..., :half], view[..., half:2 * half] = a * cos - b * sin, b * cos + a * sin
        else:
            a, b = view[..., 0:2 * half:2].clone(), view[..., 1:2 * half:2].clone()
            view[..., 0:2 * half:2], view[..., 1:2 * half:2] = a * cos - b * sin, b * cos + a * sin
`

export function installSglang(directory, root, say) {
  if (!existsSync(join(directory, 'V/lib/python3.12/site-packages/sglang'))) {
    say('installing SGLang (9.6 GB) ...')
    installPackages(directory, [SGLANG, 'gguf'])
  }
  const stub = join(directory, 'stub/vllm')
  mkdirSync(stub, { recursive: true })
  writeFileSync(join(stub, '__init__.py'), '')
  writeFileSync(join(stub, '_custom_ops.py'), ROTARY)
  return convertModel(directory, root, say)
}

/** `cacheTokens` of KV cache in pages of `pageTokens`: small enough that the fifth session of 324 tokens evicts the first. */
export async function startSglang({ directory, root, model, port, pageTokens, cacheTokens, say }) {
  const events = { publisher: 'zmq', endpoint: `tcp://*:${port + 1}`, replay_endpoint: `tcp://*:${port + 2}`, topic: 'kv-events' }
  say('starting SGLang ...')
  const url = `http://127.0.0.1:${port}`
  const stop = await startEngine({
    name: 'SGLang', directory, url, within: 300, command: join(directory, 'V/bin/python'),
    args: ['-m', 'sglang.launch_server', '--model-path', model, '--served-model-name', 'smollm2', '--host', '127.0.0.1', '--port', String(port),
      '--device', 'cpu', '--attention-backend', 'torch_native', '--disable-overlap-schedule', '--dtype', 'bfloat16',
      '--context-length', '1024', '--max-total-tokens', String(cacheTokens), '--max-running-requests', '4', '--page-size', String(pageTokens),
      '--enable-cache-report', '--enable-metrics', '--chat-template', join(root, 'scripts/engine/chatml-tools.jinja'),
      '--kv-events-config', JSON.stringify(events)],
    env: { PYTHONPATH: join(directory, 'stub'), OMP_NUM_THREADS: '1', HF_HUB_OFFLINE: '1' },
  })
  return { url, endpoint: `tcp://127.0.0.1:${port + 1}`, replay: `tcp://127.0.0.1:${port + 2}`, stop }
}
