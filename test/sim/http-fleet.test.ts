import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startFleetServer, type FleetServer } from '../../sim/http/fleet-server.ts'
import { playTrace } from '../../sim/http/trace-player.ts'
import { tracePrompt } from '../../sim/http/trace-prompt.ts'
import { uniformFleet } from '../../sim/profile.ts'
import { buildWorkload } from '../../sim/workload/lineage.ts'
import { isObject, type JsonObject } from '../../src/model/json.ts'

let fleet: FleetServer
let url = ''
before(async () => {
  fleet = await startFleetServer({
    fleet: uniformFleet('realistic', 2, { blockTokens: 16, cacheBlocks: 2000 }),
    port: 0,
    timeFactor: 50,
    maxModelTokens: 8000,
  })
  url = fleet.urls[0]!
})
after(() => fleet.close())

const post = (path: string, body: unknown, signal?: AbortSignal): Promise<Response> =>
  fetch(`${url}${path}`, { method: 'POST', body: JSON.stringify(body), ...(signal === undefined ? {} : { signal }) })

const events = async (response: Response): Promise<JsonObject[]> =>
  (await response.text())
    .split('\n')
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)) as JsonObject)

const at = (value: unknown, ...path: readonly (string | number)[]): unknown =>
  path.reduce<unknown>(
    (inner, key) => (Array.isArray(inner) ? inner[Number(key)] : isObject(inner) ? inner[key] : undefined),
    value,
  )

const long = (name: string): JsonObject => ({ role: 'user', content: `${name} ${'lorem ipsum '.repeat(100)}` })

test('each backend says what it is: a simulated one, with its model and context', async () => {
  assert.equal(fleet.urls.length, 2)
  const response = await fetch(`${url}/models`)
  assert.equal(response.headers.get('server'), 'homing-sim')
  const body: unknown = await response.json()
  assert.equal(at(body, 'data', 0, 'owned_by'), 'homing-sim')
  assert.equal(at(body, 'data', 0, 'max_model_len'), 8000)
  assert.equal((await fetch(url.replace('/v1', '/health'))).status, 200)
})

test('the second turn of a chat finds the first one and its answer in the cache of the same backend only', async () => {
  const first = [long('chat')]
  const body: unknown = await (
    await post('/chat/completions', { messages: first, max_tokens: 40, ignore_eos: true })
  ).json()
  assert.equal(at(body, 'usage', 'completion_tokens'), 40)
  assert.equal(at(body, 'usage', 'prompt_tokens_details', 'cached_tokens'), 0)
  const history = [...first, at(body, 'choices', 0, 'message'), { role: 'user', content: 'go on' }]
  const next: unknown = await (await post('/chat/completions', { messages: history, max_tokens: 4 })).json()
  const reached = Math.floor((Number(at(body, 'usage', 'prompt_tokens')) + 39) / 16) * 16
  assert.equal(at(next, 'usage', 'prompt_tokens_details', 'cached_tokens'), reached)
  const elsewhere = await fetch(`${fleet.urls[1]}/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ messages: history, max_tokens: 4 }),
  })
  assert.equal(at(await elsewhere.json(), 'usage', 'prompt_tokens_details', 'cached_tokens'), 0)
})

test('a chat stream sends one chunk a token, the same text as without streaming, and usage when asked', async () => {
  const body = { messages: [long('stream')], max_tokens: 30, ignore_eos: true }
  const chunks = await events(
    await post('/chat/completions', { ...body, stream: true, stream_options: { include_usage: true } }),
  )
  const pieces = chunks
    .map((chunk) => at(chunk, 'choices', 0, 'delta', 'content'))
    .filter((text) => typeof text === 'string' && text !== '')
  assert.equal(pieces.length, 30)
  assert.equal(at(chunks.at(-2), 'choices', 0, 'finish_reason'), 'length')
  assert.equal(at(chunks.at(-1), 'usage', 'completion_tokens'), 30)
  const whole: unknown = await (await post('/chat/completions', body)).json()
  assert.equal(pieces.join(''), at(whole, 'choices', 0, 'message', 'content'))
})

test('a demanded tool call comes with arguments that satisfy its required fields', async () => {
  const tools = [
    {
      type: 'function',
      function: {
        name: 'look',
        parameters: {
          type: 'object',
          properties: { city: { type: 'string' }, days: { type: 'integer' } },
          required: ['city', 'days'],
        },
      },
    },
  ]
  const body: unknown = await (
    await post('/chat/completions', { messages: [long('tool')], tools, tool_choice: 'required' })
  ).json()
  assert.equal(at(body, 'choices', 0, 'finish_reason'), 'tool_calls')
  assert.deepEqual(JSON.parse(String(at(body, 'choices', 0, 'message', 'tool_calls', 0, 'function', 'arguments'))), {
    city: '',
    days: 0,
  })
})

test('the Responses route streams the canonical order of events with cached tokens in its usage', async () => {
  const got = await events(
    await post('/responses', { input: 'hello there', max_output_tokens: 5, ignore_eos: true, stream: true }),
  )
  assert.deepEqual(
    got.map((event) => event['type']).filter((type) => type !== 'response.output_text.delta'),
    [
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.incomplete',
    ],
  )
  assert.deepEqual(
    got.map((event) => event['sequence_number']),
    got.map((_, index) => index),
  )
  assert.equal(at(got.at(-1), 'response', 'usage', 'input_tokens_details', 'cached_tokens'), 0)
  assert.equal(at(got.at(-1), 'response', 'usage', 'output_tokens'), 5)
})

test('completions, metrics and refusals have the shapes of an engine', async () => {
  const completion: unknown = await (await post('/completions', { prompt: 'once upon a time', max_tokens: 3 })).json()
  assert.equal(at(completion, 'object'), 'text_completion')
  const metrics = await (await fetch(url.replace('/v1', '/metrics'))).text()
  assert.match(metrics, /^vllm:num_requests_running\{.*\} 0$/m)
  assert.match(metrics, /vllm:cache_config_info\{.*block_size="16",num_gpu_blocks="2000"/)
  for (const [path, body, status, message] of [
    ['/chat/completions', { model: 'other', messages: [long('a')] }, 404, /does not exist/],
    ['/chat/completions', { messages: [] }, 400, /non-empty/],
    [
      '/chat/completions',
      { messages: [{ role: 'user', content: 'x'.repeat(40_000) }] },
      400,
      /maximum context length is 8000/,
    ],
    ['/responses', { input: 'x', previous_response_id: 'resp_1' }, 400, /keeps no responses/],
    ['/nothing', {}, 404, /Not Found/],
  ] as const) {
    const response = await post(path, body)
    assert.equal(response.status, status, path)
    assert.match(String(at(await response.json(), 'error', 'message')), message)
  }
})

test('a client that goes away frees its place', async () => {
  const control = new AbortController()
  const response = await post(
    '/chat/completions',
    { messages: [long('gone')], max_tokens: 5000, ignore_eos: true, stream: true },
    control.signal,
  )
  await response.body!.getReader().read()
  const { engine } = fleet.servers[0]!
  assert.equal(engine.running, 1)
  control.abort()
  while (engine.running > 0) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(engine.totals.cancelled, 1)
})

test('a restart on request breaks streams under way and forgets the cache', async () => {
  const messages = [long('restart')]
  await (await post('/chat/completions', { messages, max_tokens: 2 })).json()
  const running = await post('/chat/completions', { messages, max_tokens: 5000, ignore_eos: true, stream: true })
  assert.equal((await fetch(url.replace('/v1', '/sim/restart'), { method: 'POST' })).status, 200)
  await assert.rejects(running.text())
  const again: unknown = await (await post('/chat/completions', { messages, max_tokens: 2 })).json()
  assert.equal(at(again, 'usage', 'prompt_tokens_details', 'cached_tokens'), 0)
})

test('a trace played over HTTP finds the blocks that its requests share, and every request is answered', async () => {
  const raw = (atMs: number, blocks: readonly number[]) => ({
    atMs,
    promptTokens: blocks.length * 64,
    outputTokens: 3,
    blocks,
    answerBlocks: null,
    session: null,
  })
  const workload = buildWorkload('tiny', 64, [raw(0, [1, 2, 3]), raw(2000, [1, 2, 4]), raw(4000, [9])])
  const target = fleet.urls[1]!
  const played = await playTrace({
    workload,
    timeFactor: 50,
    target: () => target,
    model: 'homing-sim',
    clock: () => performance.now(),
  })
  assert.deepEqual(played.statuses, { 200: 3 })
  assert.ok(played.ttftMs.every((ms) => ms > 0))
  // Two shared blocks of 64 tokens behind 2 tokens of template: 8 of the engine's blocks of 16.
  assert.equal(played.cachedTokens, 128)
  assert.equal(tracePrompt(workload.requests[0]!, 64).length, 192 * 4)
  assert.equal(
    tracePrompt(workload.requests[1]!, 64).slice(0, 512),
    tracePrompt(workload.requests[0]!, 64).slice(0, 512),
  )
})
