import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BEFORE_OUTPUT, MID_ANSWER, ODD_BUT_WHOLE, ODD_TEXT } from './support/faults.ts'
import { errorOf, eventually, harness, names, responseOf, textOf } from './support/gateway.ts'
import { refuses, type Script } from './support/scripted-upstream.ts'
import type { JsonObject } from '../../src/model/json.ts'

const LIMIT = { timeout: 20_000 }
const responses = { model: 'm', input: 'hello' }
const chat = { model: 'm', messages: [{ role: 'user', content: 'hello' }] }

const chatText = (body: JsonObject): unknown => ((body['choices'] as readonly JsonObject[])[0]!['message'] as JsonObject)['content']
const ALL = 'Hello there.'

for (const [fault, script] of Object.entries(BEFORE_OUTPUT)) {
  test(`${fault} makes the next backend answer, and the answer says which one it was`, LIMIT, async (t) => {
    const gateway = await harness(t)
    const askedOf = (): string[] => gateway.upstreams.filter(({ asked }) => asked.length > 0).map(({ id }) => id)

    gateway.next(script)
    const whole = await gateway.json('/v1/responses', responses)
    assert.equal(whole.status, 200)
    assert.equal(textOf(whole.body), ALL)
    assert.equal(askedOf().length, 2, 'both backends were asked')
    const receipt = await gateway.json(`/homing/v1/responses/${String(whole.body['id'])}/decision`)
    const [failover] = receipt.body['failovers'] as readonly JsonObject[]
    assert.equal(receipt.body['backend_id'], whole.headers.get('x-homing-backend'))
    assert.notEqual(failover!['backend_id'], receipt.body['backend_id'])
    assert.equal(await gateway.running(), 0)
  })

  test(`${fault} is not seen in a stream either`, LIMIT, async (t) => {
    const gateway = await harness(t)
    gateway.next(script)
    const stream = await gateway.events('/v1/responses', { ...responses, stream: true })
    const seen = await stream.rest()
    assert.equal(textOf(responseOf(seen.at(-2)!)), ALL)
    assert.deepEqual(names(seen).slice(0, 2), ['response.created', 'response.in_progress'])
    const numbers = seen.flatMap(({ data }) => (typeof data === 'string' ? [] : [data['sequence_number']]))
    assert.deepEqual(numbers, numbers.map((_, index) => index))
    assert.equal(await gateway.running(), 0)
  })

  test(`${fault} is not seen by Chat clients`, LIMIT, async (t) => {
    const gateway = await harness(t)
    gateway.next(script)
    assert.equal(chatText((await gateway.json('/v1/chat/completions', chat)).body), ALL)
    const again = await harness(t)
    again.next(script)
    const stream = await again.events('/v1/chat/completions', { ...chat, stream: true })
    const text = (await stream.rest()).flatMap(({ data }) => (typeof data === 'string' ? [] : (data['choices'] as readonly JsonObject[])))
      .map((choice) => (choice['delta'] as JsonObject)['content'] ?? '').join('')
    assert.equal(text, ALL)
    assert.equal(await gateway.running(), 0)
    assert.equal(await again.running(), 0)
  })
}

for (const [fault, script] of Object.entries(MID_ANSWER)) {
  test(`${fault} in the middle of a stream ends it with response.failed, and no other backend is asked`, LIMIT, async (t) => {
    const gateway = await harness(t)
    gateway.next(script)
    const stream = await gateway.events('/v1/responses', { ...responses, stream: true })
    const seen = await stream.rest()
    assert.equal(seen.filter(({ name }) => /^response\.(completed|failed|incomplete)$/.test(name ?? '')).length, 1)
    assert.deepEqual(names(seen).slice(-2), ['response.failed', null])
    const failed = responseOf(seen.at(-2)!)
    assert.equal((failed['error'] as JsonObject)['code'], 'server_error')
    assert.equal(textOf(failed), 'Half of ')
    assert.equal(gateway.asked(), 1)
    await eventually(async () => (await gateway.running()) === 0)
    const stored = await gateway.json(`/v1/responses/${String(failed['id'])}`)
    assert.equal(stored.body['status'], 'failed')
    const chained = await gateway.json('/v1/responses', { ...responses, previous_response_id: String(failed['id']) })
    assert.equal(chained.status, 400)
    assert.equal(errorOf(chained.body)['param'], 'previous_response_id')
  })

  test(`${fault} in the middle ends a Chat stream with an error event and [DONE]`, LIMIT, async (t) => {
    const gateway = await harness(t)
    gateway.next(script)
    const stream = await gateway.events('/v1/chat/completions', { ...chat, stream: true })
    const seen = await stream.rest()
    assert.equal(seen.at(-1)!.data, '[DONE]')
    assert.equal(typeof errorOf(seen.at(-2)!.data as JsonObject)['message'], 'string')
    assert.equal(gateway.asked(), 1)
    await eventually(async () => (await gateway.running()) === 0)
  })

  test(`${fault} in the middle is repaired by another backend while nothing has been sent`, LIMIT, async (t) => {
    const gateway = await harness(t)
    gateway.next(script)
    assert.equal(textOf((await gateway.json('/v1/responses', responses)).body), ALL)
    gateway.next(script)
    assert.equal(chatText((await gateway.json('/v1/chat/completions', chat)).body), ALL)
    assert.equal(await gateway.running(), 0)
  })
}

for (const [oddity, script] of Object.entries(ODD_BUT_WHOLE)) {
  test(`an answer with ${oddity} arrives whole`, LIMIT, async (t) => {
    const gateway = await harness(t, { backends: 1, usual: script })
    assert.equal(textOf((await gateway.json('/v1/responses', responses)).body), ODD_TEXT)
    const stream = await gateway.events('/v1/responses', { ...responses, stream: true })
    const seen = await stream.rest()
    assert.equal(seen.at(-2)!.name, 'response.completed')
    assert.equal(textOf(responseOf(seen.at(-2)!)), ODD_TEXT)
    assert.equal(chatText((await gateway.json('/v1/chat/completions', chat)).body), ODD_TEXT)
    const chatStream = await gateway.events('/v1/chat/completions', { ...chat, stream: true })
    const chunks = (await chatStream.rest()).map(({ data }) => data)
    assert.equal(chunks.at(-1), '[DONE]')
    const parts = chunks.filter((data) => typeof data !== 'string')
    assert.equal(parts.flatMap((part) => part['choices'] as JsonObject[]).map((choice) => (choice['delta'] as JsonObject)['content'] ?? '').join(''), ODD_TEXT)
    assert.ok(!parts.some((part) => 'error' in part))
    await eventually(async () => (await gateway.running()) === 0)
  })
}

const structured = (status: number, message: string, param?: string): Script =>
  refuses(status, { error: { message, type: 'BadRequestError', code: status, ...(param === undefined ? {} : { param }) } })

test("a backend's 4xx stays a 4xx with its message and param, and nobody else is asked", LIMIT, async (t) => {
  const gateway = await harness(t)
  for (const status of [400, 413, 422]) {
    for (const [path, body] of [['/v1/responses', responses], ['/v1/chat/completions', chat], ['/v1/responses', { ...responses, stream: true }], ['/v1/chat/completions', { ...chat, stream: true }]] as const) {
      const before = gateway.asked()
      gateway.next(structured(status, 'temperature must be at most 2', 'temperature'))
      const answer = await gateway.json(path, body)
      assert.equal(answer.status, status)
      assert.equal(errorOf(answer.body)['message'], 'temperature must be at most 2')
      assert.equal(errorOf(answer.body)['param'], 'temperature')
      assert.equal(errorOf(answer.body)['type'], 'invalid_request_error')
      assert.equal(gateway.asked(), before + 1)
    }
  }
  assert.equal(await gateway.running(), 0)
})

test('a context that a backend finds too long is a 400 that says so', LIMIT, async (t) => {
  const gateway = await harness(t)
  gateway.next(structured(400, "This model's maximum context length is 8192 tokens. However, your request has 9000 input tokens."))
  const { status, body } = await gateway.json('/v1/responses', responses)
  assert.equal(status, 400)
  assert.match(String(errorOf(body)['message']), /maximum context length/)
  assert.equal(errorOf(body)['code'], 'context_too_long_for_backend')
})

test('an error payload with a 4xx before any output is the answer to the client, not a fault of the backend', LIMIT, async (t) => {
  const gateway = await harness(t)
  const payload = `data: ${JSON.stringify({ error: { message: 'bad grammar', type: 'BadRequestError', param: null, code: 400 } })}\n\ndata: [DONE]\n\n`
  for (const [path, body] of [['/v1/responses', { ...responses, stream: true }], ['/v1/chat/completions', { ...chat, stream: true }]] as const) {
    gateway.next((response) => void response.writeHead(200, { 'content-type': 'text/event-stream' }).end(payload))
    const answer = await gateway.json(path, body)
    assert.equal(answer.status, 400)
    assert.equal(errorOf(answer.body)['message'], 'bad grammar')
  }
  assert.equal(gateway.asked(), 2)
})

test('when every backend fails the client learns it by status, and the ledger is empty', LIMIT, async (t) => {
  const cases: readonly [Script, number, string][] = [
    [refuses(500, 'oops'), 502, 'backend_error'],
    [structured(500, 'division by zero'), 500, 'backend_error'],
    [structured(503, 'overloaded'), 502, 'backend_error'],
    [refuses(401, { error: { message: 'Incorrect API key provided: sk-oper***' } }), 502, 'backend_error'],
    [(response) => void response.destroy(), 502, 'backend_error'],
    [refuses(302, '', { location: '/' }), 502, 'backend_error'],
  ]
  for (const [script, status, code] of cases) {
    for (const [path, body] of [['/v1/responses', responses], ['/v1/responses', { ...responses, stream: true }], ['/v1/chat/completions', { ...chat, stream: true }]] as const) {
      const gateway = await harness(t, { usual: script })
      const answer = await gateway.json(path, body)
      assert.equal(answer.status, status)
      assert.equal(errorOf(answer.body)['code'], code)
      assert.equal(gateway.asked(), 2)
      assert.doesNotMatch(JSON.stringify(answer.body), /sk-oper/, "the operator's key is not for clients")
      assert.equal(await gateway.running(), 0)
    }
  }
})

test('a 429 of every backend is a 429 that says when the first of them takes more', LIMIT, async (t) => {
  const gateway = await harness(t)
  gateway.next(refuses(429, { error: { message: 'slow down' } }, { 'retry-after': '3' }), refuses(429, { error: { message: 'slow down' } }, { 'retry-after': '2' }))
  const answer = await gateway.json('/v1/responses', responses)
  assert.equal(answer.status, 429)
  assert.equal(answer.headers.get('retry-after'), '2')
  assert.equal(errorOf(answer.body)['type'], 'rate_limit_error')
})

test('a backend that gives no first token in time loses the turn to another', { timeout: 30_000 }, async (t) => {
  const gateway = await harness(t, { declared: { timeouts: { first_token: '300ms' } } })
  let gone: Promise<void> | undefined
  gateway.next((_response, asked) => {
    gone = asked.gone
  })
  const answer = await gateway.json('/v1/responses', responses)
  assert.equal(textOf(answer.body), ALL)
  await gone
  assert.equal(await gateway.running(), 0)
})

test('a backend that falls silent in the middle of an answer ends it as failed', { timeout: 30_000 }, async (t) => {
  const gateway = await harness(t, { declared: { timeouts: { idle: '300ms' } } })
  let gone: Promise<void> | undefined
  gateway.next((response, asked) => {
    gone = asked.gone
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: {"choices":[{"index":0,"delta":{"content":"Hm"},"finish_reason":null}]}\n\n')
  })
  const stream = await gateway.events('/v1/responses', { ...responses, stream: true })
  const seen = await stream.rest()
  assert.equal(seen.at(-2)!.name, 'response.failed')
  await gone
  assert.equal(await gateway.running(), 0)
})

test('an event of more than 16 MiB ends the answer as failed and the connection to the backend', { timeout: 60_000 }, async (t) => {
  for (const [path, body] of [['/v1/responses', responses], ['/v1/chat/completions', chat]] as const) {
    const gateway = await harness(t)
    let gone: Promise<void> | undefined
    gateway.next((response, asked) => {
      gone = asked.gone
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: {"choices":[{"index":0,"delta":{"content":"')
      const filler = Buffer.alloc(1 << 20, 120)
      const more = (): void => void response.write(filler, (error) => error ?? more())
      more()
    })
    const answer = await gateway.json(path, body)
    assert.equal(answer.status, 200, 'the other backend answered')
    await gone
    assert.equal(await gateway.running(), 0)
  }
})

test('a JSON body without end is cut off, not collected', { timeout: 60_000 }, async (t) => {
  const gateway = await harness(t)
  let gone: Promise<void> | undefined
  gateway.next((response, asked) => {
    gone = asked.gone
    response.writeHead(200, { 'content-type': 'application/json' })
    const filler = Buffer.alloc(1 << 20, 32)
    const more = (): void => void response.write(filler, (error) => error ?? more())
    more()
  })
  assert.equal((await gateway.json('/v1/responses', responses)).status, 200)
  await gone
})
