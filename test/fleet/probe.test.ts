import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createProbeGet, ProbeConnections } from '../../src/fleet/probe-get.ts'
import { probeBackend } from '../../src/fleet/probe.ts'
import type { Description } from '../../src/fleet/probe.ts'
import type { BackendConfig } from '../../src/model/backend.ts'
import { backendConfig, fakeEngine, LLAMACPP, LMSTUDIO, OLLAMA, SGLANG, VLLM } from './fake-engine.ts'
import type { Answers, FakeEngine } from './fake-engine.ts'

type Options = { readonly otherwise?: number | string; readonly config?: Partial<BackendConfig> }
type Found = Awaited<ReturnType<typeof probeBackend>>

/** Probes a fake engine once; `check` sees the result and the engine. */
async function probing(answers: Answers, options: Options, check: (found: Found, engine: FakeEngine) => unknown): Promise<void> {
  const engine = await fakeEngine(answers, options.otherwise)
  const connections = new ProbeConnections()
  try {
    const get = createProbeGet({ dispatcherFor: connections.dispatcherFor, timeoutMs: 5000 })
    await check(await probeBackend(get, backendConfig(engine.url, options.config), null), engine)
  } finally {
    await connections.close()
    await engine.close()
  }
}

function described(found: Found): Description {
  assert.ok(found.ok, found.ok ? '' : found.why)
  return found.description
}

function trouble(found: Found): string {
  assert.ok(!found.ok)
  return `${found.kind}: ${found.why}`
}

test('llama.cpp tells slots, context of one slot, vision and a mark of its process; it always has chat', () =>
  probing(LLAMACPP, {}, (found) => {
    const { facts, protocols, models } = described(found)
    assert.deepEqual([facts.engine, facts.slots, facts.cacheCapacityTokens, facts.vision], ['llamacpp', 2, 4096, false])
    assert.equal(facts.instance, '<__media_iDFyePwRRLyuvTcrMQEQNzQbqC1hdOih__>')
    assert.deepEqual([...protocols], ['chat'])
    assert.deepEqual([...models.values()], [{ name: 'smollm2', served: 'smollm2', contextTokens: 2048 }])
  }))

test('vLLM tells its context, the size of its cache and its start; an adapter without context has none', () =>
  probing(VLLM, {}, (found) => {
    const { facts, protocols, models } = described(found)
    assert.deepEqual([facts.engine, facts.slots, facts.cacheCapacityTokens, facts.vision], ['vllm', null, 2240, null])
    assert.equal(facts.instance, '1790000000')
    assert.deepEqual([...protocols], ['chat'])
    assert.deepEqual([...models.values()].map(({ name, contextTokens }) => [name, contextTokens]), [
      ['Qwen/Qwen3-32B', 32_768], ['sql-lora', null],
    ])
  }))

test('the cache of a vLLM that tells blocks only is blocks times size, summed over its engines', () =>
  probing({ ...VLLM, '/metrics':
    'vllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1\nvllm:cache_config_info{block_size="16",num_gpu_blocks="50"} 1\n' },
  {}, (found) => assert.equal(described(found).facts.cacheCapacityTokens, 2400)))

test('SGLang tells cache, running requests and a seed of its process, by the old and the new route', async () => {
  const check = (found: Found): void => {
    const { facts, models } = described(found)
    assert.deepEqual([facts.engine, facts.slots, facts.cacheCapacityTokens, facts.instance], ['sglang', 48, 50_000, '7'])
    assert.equal(models.get('m')?.contextTokens, 8192)
    assert.ok(!JSON.stringify(found).includes('secret'))
  }
  await probing(SGLANG, {}, check)
  const { '/get_server_info': info = 404, ...rest } = SGLANG
  await probing({ ...rest, '/server_info': info }, {}, check)
})

test('Ollama and LM Studio tell the context of their models, LM Studio also vision', async () => {
  await probing(OLLAMA, {}, (found) => {
    assert.equal(described(found).facts.engine, 'ollama')
    assert.equal(described(found).models.get('qwen3:latest')?.contextTokens, 4096)
  })
  // LM Studio answers 200 to every route.
  await probing(LMSTUDIO, { otherwise: '{"error":"Unexpected endpoint or method."}' }, (found) => {
    assert.deepEqual([described(found).facts.engine, described(found).facts.vision], ['lmstudio', true])
    assert.deepEqual([...described(found).protocols], ['chat'])
    assert.equal(described(found).models.get('qwen2-vl-7b')?.contextTokens, 32_768)
  })
})

test('an engine that is not named by its models is known by its own routes', () =>
  probing({ ...LLAMACPP, '/v1/models': { data: [{ id: 'x' }] } }, {}, (found) =>
    assert.equal(described(found).facts.engine, 'llamacpp')))

test('probing uses GET only and stays away from routes that generate or change something', async () => {
  for (const answers of [LLAMACPP, VLLM, SGLANG, OLLAMA, LMSTUDIO, { '/v1/models': { data: [{ id: 'x' }] } }]) {
    await probing(answers, {}, (_, engine) => {
      assert.ok(engine.seen.length > 2)
      for (const request of engine.seen) assert.match(request, /^GET \/(?!flush_cache|health_generate|generate)/)
    })
  }
  await probing(SGLANG, {}, (_, engine) => assert.ok(!engine.seen.includes('GET /health'), "SGLang's /health generates"))
})

test('key and headers of the backend are sent', () =>
  probing(VLLM, { config: { key: 'k', headers: { 'x-team': 'search' } } }, (_, engine) => {
    for (const headers of engine.headers) {
      assert.deepEqual([headers['authorization'], headers['x-team']], ['Bearer k', 'search'])
    }
  }))

const LISTED = { '/v1/models': { data: [{ id: 'x' }] } }
const PROTOCOLS: readonly [string, Answers, Options, string[]][] = [
  ['chat where both exist', { ...LISTED, '/v1/chat/completions': 405, '/v1/responses': 405 }, {}, ['chat']],
  ['responses where there is nothing else', { ...LISTED, '/v1/responses': 405 }, {}, ['responses']],
  ['responses where it is configured', { ...LISTED, '/v1/chat/completions': 405, '/v1/responses': 405 }, { config: { protocol: 'responses' } }, ['responses']],
  ['responses by OpenAPI', { ...LISTED, '/openapi.json': { paths: { '/v1/responses': {} } } }, {}, ['responses']],
  ['nothing where OpenAPI names neither', { ...LISTED, '/openapi.json': { paths: { '/v1/embeddings': {} } } }, {}, []],
  ['nothing on a vLLM without both', { ...VLLM, '/v1/chat/completions': 404, '/v1/responses': 404 }, {}, []],
  ['chat on a server that tells nothing', LISTED, {}, ['chat']],
  ['chat on a server that answers a page to everything', LISTED, { otherwise: '<html>' }, ['chat']],
]
for (const [name, answers, options, expected] of PROTOCOLS) {
  test(`auto means ${name}`, () =>
    probing(answers, options, (found) => assert.deepEqual([...described(found).protocols], expected)))
}

test('declared names and context win over what the engine tells; a name that it does not list is noted', () =>
  probing(VLLM, { config: { models: { qwen: 'Qwen/Qwen3-32B', gone: 'other' }, contextTokens: 1000 } }, (found) => {
    assert.deepEqual([...described(found).models.values()], [
      { name: 'qwen', served: 'Qwen/Qwen3-32B', contextTokens: 1000 }, { name: 'gone', served: 'other', contextTokens: 1000 },
    ])
    assert.deepEqual(described(found).notes, ["it does not list the configured 'other'"])
  }))

test('declared models need no list of models', () =>
  probing({ '/v1/chat/completions': 405 }, { config: { models: { a: 'b' } } }, (found) =>
    assert.deepEqual([...described(found).models.keys()], ['a'])))

const TROUBLES: readonly [string, Answers, string][] = [
  ['a web server', { '/v1/models': '<html>' },
    'answer: GET /v1/models answered 200, but not with a list of models; an OpenAI-compatible server lists its models there'],
  ['a server without models route', {},
    'answer: GET /v1/models answered 404: no; an OpenAI-compatible server lists its models there'],
  ['a wrong key', { '/v1/models': 401 }, 'answer: GET /v1/models answered 401: the key is missing or wrong'],
  ['an engine that still loads', { '/v1/models': 503 }, 'answer: GET /v1/models answered 503: no'],
  ['an engine without models', { '/v1/models': { data: [] } }, 'answer: it lists no model'],
]
for (const [name, answers, expected] of TROUBLES) {
  test(`${name} is not usable, and the reason says so`, () =>
    probing(answers, {}, (found) => assert.equal(trouble(found), expected)))
}

test('a port where nothing listens is refused', () =>
  probing(VLLM, {}, async (_, engine) => {
    await engine.close()
    const get = createProbeGet({ dispatcherFor: new ProbeConnections().dispatcherFor, timeoutMs: 5000 })
    assert.equal(trouble(await probeBackend(get, backendConfig(engine.url), null)), 'refused: connection refused')
  }))

test('a later probe asks only the list, the health and what tells processes apart', () =>
  probing(LLAMACPP, {}, async (found, engine) => {
    const connections = new ProbeConnections()
    const get = createProbeGet({ dispatcherFor: connections.dispatcherFor, timeoutMs: 5000 })
    engine.seen.length = 0
    const again = await probeBackend(get, backendConfig(engine.url), described(found))
    assert.deepEqual(engine.seen.toSorted(), ['GET /health', 'GET /props', 'GET /v1/models'])
    assert.deepEqual(described(again), described(found))
    engine.answers = { ...LLAMACPP, '/health': 503 }
    assert.equal(trouble(await probeBackend(get, backendConfig(engine.url), described(found))), 'answer: GET /health answered 503: no')
    await connections.close()
  }))
