import assert from 'node:assert/strict'
import { test } from 'node:test'
import { explanation } from '../../src/cli/explain.ts'
import type { JsonObject } from '../../src/model/json.ts'
import { errorOf, eventually, harness, type Harness } from './support/gateway.ts'
import { chunk, DONE, Gate, refuses, send, sseHead, usageChunk, type Script } from './support/scripted-upstream.ts'

const LIMIT = { timeout: 30_000 }
const key = (tenant: string) => ({ authorization: `Bearer key-${tenant}` })
const tenant = (id: string, limits: JsonObject = {}): JsonObject => ({ id, keys: [`key-${id}`], limits })
/** Never empty. */
const AMPLE = 1_000_000

async function metric(gateway: Harness, sample: string): Promise<number> {
  const text = await (await fetch(`${gateway.url}/metrics`)).text()
  const line = text.split('\n').find((one) => one.startsWith(`${sample} `))
  assert.ok(line !== undefined, `${sample} is not in /metrics`)
  return Number(line.slice(sample.length + 1))
}
const left = (gateway: Harness): Promise<number> => metric(gateway, 'homing_tenant_tokens_left{tenant="a"}')
const used = (gateway: Harness): Promise<number> => metric(gateway, 'homing_tenant_tokens_total{tenant="a",counted="used"}')

test('a turn beyond its budget is a 429 that says when to come back, in whatever way it asks', LIMIT, async (t) => {
  const ways: readonly (readonly [path: string, body: JsonObject])[] = [
    ['/v1/responses', { model: 'm', input: 'hello', max_output_tokens: 90 }],
    ['/v1/responses', { model: 'm', input: 'hello', max_output_tokens: 90, stream: true }],
    ['/v1/chat/completions', { model: 'm', messages: [{ role: 'user', content: 'hello' }], max_tokens: 90 }],
    ['/v1/chat/completions', { model: 'm', messages: [{ role: 'user', content: 'hello' }], max_tokens: 90, stream: true }],
    ['/v1/completions', { model: 'm', prompt: 'hello', max_tokens: 90 }],
    ['/v1/embeddings', { model: 'm', input: 'hello '.repeat(60) }],
  ]
  for (const [path, body] of ways) {
    const whole = refuses(200, { object: 'list', data: [], usage: { prompt_tokens: 34, total_tokens: 34 } })
    const gateway = await harness(t, {
      config: { tenants: [tenant('a', { tokens_per_minute: 100 }), tenant('b', { tokens_per_minute: 100 }), tenant('c')] },
      ...(path === '/v1/completions' || path === '/v1/embeddings' ? { usual: whole } : {}),
    })
    const first = await gateway.post(path, body, key('a'))
    assert.equal(first.status, 200, `${path}: ${await first.clone().text()}`)
    await first.text()
    assert.equal(first.headers.get('x-ratelimit-limit-tokens'), '100', path)
    await eventually(async () => (await used(gateway)) === 34)
    const asked = gateway.asked()
    const second = await gateway.json(path, body, key('a'))
    assert.equal(second.status, 429, path)
    assert.deepEqual([errorOf(second.body)['code'], errorOf(second.body)['type']], ['rate_limit_exceeded', 'rate_limit_error'])
    assert.match(String(errorOf(second.body)['message']), /100 tokens a minute/)
    const wait = Number(second.headers.get('retry-after'))
    assert.ok(wait >= 1 && wait <= 60, `${path}: ${wait}`)
    const left = Number(second.headers.get('x-ratelimit-remaining-tokens'))
    assert.ok(left >= 66 && left < 90, `${path}: ${left}`)
    assert.match(second.headers.get('x-ratelimit-reset-tokens')!, /^\d+(\.\d+)?s$/)
    assert.equal(gateway.asked(), asked, 'no backend heard of it')
    assert.equal((await gateway.post(path, body, key('b'))).status, 200, 'each tenant has its own')
    const free = await gateway.post(path, body, key('c'))
    assert.deepEqual([free.status, free.headers.get('x-ratelimit-limit-tokens')], [200, null])
    assert.equal(await metric(gateway, 'homing_tenant_refusals_total{tenant="a",limit="tokens"}'), 1)
  }
})

test('an answer of less than no tokens neither fills a budget nor empties it', LIMIT, async (t) => {
  const gateway = await harness(t, {
    config: { tenants: [tenant('a', { tokens_per_minute: 1000 })] },
    usual: refuses(400, { error: { message: 'max_tokens must be at least 1' } }),
  })
  const refused = await gateway.post('/v1/completions', { model: 'm', prompt: 'hello', max_tokens: -1_000_000_000 }, key('a'))
  assert.equal(refused.status, 400)
  assert.ok((await left(gateway)) > 900)
})

test('the history counts, and what of it is cached does not, unless all is counted', LIMIT, async (t) => {
  const long = 'many words '.repeat(800)
  const usual: Script = (response) => {
    sseHead(response)
    response.end(chunk({ content: 'Yes.' }) + chunk({}, 'stop') + usageChunk(2200, 0, 2) + DONE)
  }
  for (const counted of ['uncached', 'all']) {
    const gateway = await harness(t, { backends: 1, usual, config: { limits: { tokens_per_minute: 3000, tokens_counted: counted } } })
    const first = await gateway.json('/v1/responses', { model: 'm', input: long, max_output_tokens: 50 })
    assert.equal(first.status, 200)
    const second = await gateway.json('/v1/responses', { model: 'm', input: 'and now?', previous_response_id: String(first.body['id']), max_output_tokens: 50 })
    if (counted === 'uncached') assert.equal(second.status, 200)
    else {
      assert.equal(second.status, 429)
      assert.match(String(errorOf(second.body)['message']), /expected to use about 2\d\d\d/)
      assert.equal((await gateway.json('/v1/responses', { model: 'm', input: 'something short', max_output_tokens: 50 })).status, 200)
    }
  }
})

test('a turn larger than the whole budget is let in when nothing of it is used, and paid off afterwards', LIMIT, async (t) => {
  const gateway = await harness(t, { config: { limits: { tokens_per_minute: 20 } } })
  const turn = { model: 'm', input: 'a few words', max_output_tokens: 200 }
  assert.equal((await gateway.json('/v1/responses', turn)).status, 200)
  const refused = await gateway.json('/v1/responses', turn)
  assert.equal(refused.status, 429)
  const wait = Number(refused.headers.get('retry-after'))
  assert.ok(wait > 90 && wait <= 102, `34 used of 20 are to be paid off and the bucket filled: ${wait}`)
  assert.ok((await metric(gateway, 'homing_tenant_tokens_left{tenant="default"}')) < -13)
})

for (const [path, body] of [
  ['/v1/responses', { model: 'm', input: 'hello', max_output_tokens: 500 }],
  ['/v1/chat/completions', { model: 'm', messages: [{ role: 'user', content: 'hello' }], max_tokens: 500 }],
] as const) {
  test(`a turn of ${path} is settled with what it used, whatever its end`, LIMIT, async (t) => {
    const gateway = await harness(t, { config: { tenants: [tenant('a', { tokens_per_minute: 1200 })], admin: { keys: ['root'] } } })
    let before = 0
    const more = async (): Promise<number> => {
      await eventually(async () => (await gateway.running({ authorization: 'Bearer root' })) === 0)
      const now = await used(gateway)
      const difference = now - before
      before = now
      return difference
    }
    await gateway.json(path, body, key('a'))
    assert.equal(await more(), 34, 'as the engine counted: 40 - 8 cached + 2')

    gateway.next(refuses(400, { error: { message: 'bad' } }))
    assert.equal((await gateway.json(path, body, key('a'))).status, 400)
    assert.equal(await more(), 0, 'nobody answered')

    gateway.next(refuses(502, 'x'), refuses(502, 'x'))
    assert.equal((await gateway.json(path, body, key('a'))).status, 502)
    assert.equal(await more(), 0, 'every backend failed')

    gateway.next(async (response) => {
      sseHead(response)
      await send(response, chunk({ content: 'One' }) + chunk({ content: 'two' }))
      response.destroy()
    })
    await (await gateway.post(path, { ...body, stream: true }, key('a'))).text().catch(() => '')
    const broken = await more()
    assert.ok(broken > 2 && broken < 40, `the prompt as estimated and what was seen: ${broken}`)

    const atFirst = await left(gateway)
    const gate = new Gate()
    gateway.next(async (response, asked) => {
      sseHead(response)
      await send(response, chunk({ content: 'One' }))
      gate.open()
      await asked.gone
    })
    const stream = await gateway.events(path, { ...body, stream: true }, key('a'))
    await gate.opened
    const meanwhile = await left(gateway)
    assert.ok(meanwhile < atFirst - 40, `while it runs what it may need is taken: ${meanwhile} of ${atFirst}`)
    await stream.next()
    await stream.cancel()
    const cancelled = await more()
    assert.ok(cancelled > 1 && cancelled < 40, `a client that leaves pays what was computed for it: ${cancelled}`)
    assert.ok((await left(gateway)) > atFirst - cancelled - 1, 'and the rest comes back')

    assert.equal((await gateway.json(path, { ...body, model: 'nobody has it' }, key('a'))).status, 404, 'what cannot be placed is refused for that')
    assert.equal(await more(), 0)
  })
}

test('a streamed completion counts by its usage, or by its events where the client asked for none', LIMIT, async (t) => {
  const text = (words: string): string => `data: ${JSON.stringify({ id: 'cmpl-1', object: 'text_completion', choices: [{ index: 0, text: words, finish_reason: null }] })}\n\n`
  const gateway = await harness(t, { backends: 1, config: { tenants: [tenant('a', { tokens_per_minute: AMPLE })] } })
  const ask = { model: 'm', prompt: 'x'.repeat(398), max_tokens: 50, stream: true }
  gateway.next((response) => {
    sseHead(response)
    response.end(text('one') + text('two') + text('three') + DONE)
  })
  await (await gateway.post('/v1/completions', ask, key('a'))).text()
  await eventually(async () => (await used(gateway)) === 103)
  gateway.next((response) => {
    sseHead(response)
    response.end(text('one') + usageChunk(50, 0, 7) + DONE)
  })
  await (await gateway.post('/v1/completions', ask, key('a'))).text()
  await eventually(async () => (await used(gateway)) === 160)
})

test('a backend at its ceiling of tokens makes turns wait in the gateway, and everything says so', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1, declared: { id: 'only', max_inflight_tokens: 250 } })
  const gates = [new Gate(), new Gate()] as const
  const slow = (gate: Gate): Script => async (response) => {
    sseHead(response)
    await send(response, chunk({ content: 'One' }))
    await gate.opened
    response.end(chunk({}, 'stop') + usageChunk() + DONE)
  }
  gateway.next(slow(gates[0]), slow(gates[1]))
  const ask = { model: 'm', input: 'hello', max_output_tokens: 150, stream: true }
  const first = await gateway.events('/v1/responses', ask)
  await first.until('response.output_text.delta')
  const second = gateway.events('/v1/responses', ask)
  await eventually(async () => (await metric(gateway, 'homing_state_size{what="turns_waiting"}')) === 1)
  const [backend] = (await gateway.json('/homing/v1/backends')).body['data'] as readonly [JsonObject]
  assert.equal(backend['max_inflight_tokens'], 250)
  assert.ok(Number(backend['inflight_tokens']) > 150 && Number(backend['inflight_tokens']) < 250)
  assert.equal(await metric(gateway, 'homing_backend_inflight_tokens{backend="only"}') > 150, true)
  assert.equal(gateway.asked(), 1)
  gates[0].open()
  await first.rest()
  const waited = await second
  assert.ok(Number(waited.response.headers.get('x-homing-queued-ms')) > 0)
  gates[1].open()
  const done = (await waited.rest()).find(({ name }) => name === 'response.completed')!
  const id = String(((done.data as JsonObject)['response'] as JsonObject)['id'])
  const { body } = await gateway.json(`/homing/v1/responses/${id}/decision`)
  assert.equal(body['ceiling_at'], 'only')
  assert.match(explanation(body), /waited +because only was at its ceiling of tokens in flight/)
  assert.equal(await metric(gateway, 'homing_token_ceiling_waits_total{backend="only"}'), 1)
  assert.equal(await metric(gateway, 'homing_waiting_turns_total{outcome="placed"}'), 1)
  for (const outcome of ['overdue', 'cancelled', 'refused']) assert.equal(await metric(gateway, `homing_waiting_turns_total{outcome="${outcome}"}`), 0)
  assert.equal(await metric(gateway, 'homing_backend_inflight_tokens{backend="only"}'), 0)
})

test('a turn that its backend finds too long goes on to one with a larger context', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 2 })
  const [small, large] = gateway.upstreams as [(typeof gateway.upstreams)[0], (typeof gateway.upstreams)[0]]
  small.usual = refuses(400, { error: { message: "This model's maximum context length is 8192 tokens. However, your request has 9000 input tokens." } })
  large.described['/v1/models'] = { object: 'list', data: [{ id: 'm', owned_by: 'vllm', max_model_len: 16_384 }] }
  await gateway.gateway.fleet.probe(large.id)
  for (let i = 0; i < 12; i++) {
    const { status, headers } = await gateway.json('/v1/responses', { model: 'm', input: `number ${i}` })
    assert.deepEqual([status, headers.get('x-homing-backend')], [200, large.id])
  }
  assert.ok(small.asked.length > 0, 'by the estimate it had room')
  large.usual = small.usual
  const asked = gateway.asked()
  const refused = await gateway.json('/v1/responses', { model: 'm', input: 'too long for both' })
  assert.deepEqual([refused.status, errorOf(refused.body)['code']], [400, 'context_too_long_for_backend'])
  assert.ok(gateway.asked() - asked <= 2)
})
