import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { BackendConfig } from '../../src/model/backend.ts'

/** What a fake engine answers to GET: a status, or JSON, or text. Paths that are not named answer `otherwise`. */
export type Answers = Record<string, number | string | object>

export type FakeEngine = {
  readonly url: string
  answers: Answers
  /** Every request seen, as `METHOD path`. */
  readonly seen: string[]
  readonly headers: Record<string, string | string[] | undefined>[]
  close(): Promise<void>
}

export async function fakeEngine(answers: Answers, otherwise: number | string = 404): Promise<FakeEngine> {
  const seen: string[] = []
  const headers: FakeEngine['headers'] = []
  const engine = { answers }
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`)
    headers.push(request.headers)
    const answer = engine.answers[request.url ?? ''] ?? otherwise
    if (typeof answer === 'number') response.writeHead(answer).end('{"error":{"message":"no"}}')
    else if (typeof answer === 'string') response.writeHead(200, { 'content-type': 'text/html' }).end(answer)
    else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(engine, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    headers,
    close: () => new Promise<void>((resolve) => {
      server.closeAllConnections()
      server.close(() => resolve())
    }),
  })
}

export function backendConfig(url: string, over: Partial<BackendConfig> = {}): BackendConfig {
  return {
    id: new URL(url).host, url, protocol: 'auto', key: null, headers: {}, models: null, contextTokens: null, maxInFlightTokens: null,
    timeouts: { connectMs: 2000, idleMs: 60_000, firstTokenMs: null }, ca: null, ...over,
  }
}

/** The answers of each engine, as recorded (llama.cpp b11549) or as its documentation has them; shortened. */
export const LLAMACPP: Answers = {
  '/v1/models': { object: 'list', data: [{ id: 'smollm2', aliases: ['smollm2'], owned_by: 'llamacpp', meta: { n_ctx: 4096, n_ctx_train: 8192 } }] },
  '/health': { status: 'ok' },
  '/props': {
    default_generation_settings: { params: {}, n_ctx: 2048 }, total_slots: 2, modalities: { vision: false, audio: false },
    media_marker: '<__media_iDFyePwRRLyuvTcrMQEQNzQbqC1hdOih__>', chat_template_caps: { supports_tools: true },
  },
}
export const VLLM: Answers = {
  '/v1/models': { object: 'list', data: [
    { id: 'Qwen/Qwen3-32B', owned_by: 'vllm', max_model_len: 32_768, created: 1 },
    { id: 'sql-lora', owned_by: 'vllm', parent: 'Qwen/Qwen3-32B', max_model_len: null },
  ] },
  '/health': '',
  '/version': { version: '0.32.0' },
  '/metrics': '# HELP x\nvllm:cache_config_info{block_size="32",engine="0",kv_cache_size_tokens="2240",num_gpu_blocks="70"} 1.0\n' +
    'vllm:num_requests_running{engine="0"} 0.0\nprocess_start_time_seconds 1.79e+09\n',
  '/v1/chat/completions': 405,
  '/v1/responses': 405,
}
export const SGLANG: Answers = {
  '/v1/models': { object: 'list', data: [{ id: 'm', owned_by: 'sglang', max_model_len: 8192 }] },
  '/get_server_info': { tokenizer_path: 'm', context_length: null, max_total_num_tokens: 50_000, max_running_requests: null,
    random_seed: 7, api_key: 'secret', internal_states: [{ max_running_requests: 48 }], version: '0.5.23' },
  '/v1/chat/completions': 405,
  '/v1/responses': 405,
}
export const OLLAMA: Answers = {
  '/v1/models': { object: 'list', data: [{ id: 'qwen3:latest', owned_by: 'library' }] },
  '/api/version': { version: '0.12.0' },
  '/api/ps': { models: [{ name: 'qwen3:latest', context_length: 4096 }] },
  '/v1/chat/completions': 405,
  '/v1/responses': 405,
}
export const LMSTUDIO: Answers = {
  '/v1/models': { object: 'list', data: [{ id: 'qwen2-vl-7b', owned_by: 'organization_owner' }] },
  '/api/v0/models': { data: [{ id: 'qwen2-vl-7b', type: 'vlm', compatibility_type: 'mlx', state: 'loaded', max_context_length: 32_768 }] },
}
