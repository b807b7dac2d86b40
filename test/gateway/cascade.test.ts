import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { isObject, type JsonObject } from '../../src/model/json.ts'
import { errorOf, eventually, harness, responseOf, textOf, type Harness, type HarnessOptions } from './support/gateway.ts'
import { chunk, DONE, Gate, refuses, says, send, sseHead, usageChunk, type Script } from './support/scripted-upstream.ts'

const LIMIT = { timeout: 20_000 }
const MODELS = ['small', 'large']

async function pair(t: TestContext, small: Script, large: Script, options: HarnessOptions = {}): Promise<Harness> {
  const gateway = await harness(t, { models: MODELS, ...options })
  gateway.upstreams[0]!.usual = small
  gateway.upstreams[1]!.usual = large
  return gateway
}

const cascade = (fields: JsonObject = {}): JsonObject => ({ homing: { cascade: { models: MODELS, ...fields } } })
const responses = (fields: JsonObject = {}, body: JsonObject = {}): JsonObject => ({ model: 'small', input: 'What is 6 * 7?', ...cascade(fields), ...body })
const chat = (fields: JsonObject = {}, body: JsonObject = {}): JsonObject => ({
  model: 'small', messages: [{ role: 'user', content: 'What is 6 * 7?' }], ...cascade(fields), ...body,
})

type Note = { readonly decided_by: string; readonly chosen: string; readonly escalations: readonly JsonObject[]; readonly members: readonly JsonObject[] }
function noteOf(body: JsonObject): Note {
  assert.ok(isObject(body['homing']) && isObject(body['homing']['cascade']))
  return body['homing']['cascade'] as unknown as Note
}
const saidIn = (completion: JsonObject): string => String(((completion['choices'] as readonly JsonObject[])[0]!['message'] as JsonObject)['content'])

/** Says it with so much log probability for its one token, where log probabilities are asked for. */
const sure = (text: string, logprob: number): Script => (response, asked) => {
  sseHead(response)
  const logprobs = asked.body['logprobs'] === true ? { content: [{ token: text, logprob, bytes: null, top_logprobs: [] }] } : null
  const head = { id: 'chatcmpl-s', object: 'chat.completion.chunk', created: 1, model: 'served' }
  const part = { ...head, choices: [{ index: 0, delta: { role: 'assistant', content: text }, logprobs, finish_reason: null }] }
  response.end(`data: ${JSON.stringify(part)}\n\n` + chunk({}, 'stop', 'chatcmpl-s') + usageChunk(40, 8, 2, 'chatcmpl-s') + DONE)
}

const cutShort: Script = (response) => {
  sseHead(response)
  response.end(chunk({ content: 'It is' }) + chunk({}, 'length') + usageChunk() + DONE)
}

test('a sure answer of the small model stands, and its log probabilities stay with the gateway', LIMIT, async (t) => {
  const gateway = await pair(t, sure('42', -0.01), says('43'))
  for (const [path, request] of [['/v1/responses', responses({ confidence: 0.9 })], ['/v1/chat/completions', chat({ confidence: 0.9 })]] as const) {
    const { body, headers } = await gateway.json(path, request)
    assert.equal(path === '/v1/responses' ? textOf(body) : saidIn(body), '42')
    assert.equal(headers.get('x-homing-ensemble'), 'cascade')
    assert.equal(noteOf(body).decided_by, 'confident')
    assert.equal(noteOf(body).members[0]!['confidence'], 0.99)
    assert.equal(JSON.stringify(body).includes('logprob":'), false)
    if (path === '/v1/responses') {
      const member = await gateway.json(`/v1/responses/${String(noteOf(body).members[0]!['id'])}`)
      assert.equal(JSON.stringify(member.body).includes('logprob":'), false, 'nor are they stored')
    }
  }
  assert.equal(gateway.upstreams[0]!.asked[0]!.body['logprobs'], true)
  assert.equal(gateway.upstreams[1]!.asked.length, 0)
})

test('log probabilities that the client asked for are its own', LIMIT, async (t) => {
  const gateway = await pair(t, sure('42', -0.01), says('43'))
  const { body } = await gateway.json('/v1/responses', responses({ confidence: 0.9 }, { include: ['message.output_text.logprobs'] }))
  assert.equal(JSON.stringify(body['output']).includes('"logprob":-0.01'), true)
  const completion = await gateway.json('/v1/chat/completions', chat({ confidence: 0.9 }, { logprobs: true }))
  assert.equal(JSON.stringify(completion.body['choices']).includes('"logprob":-0.01'), true)
})

test('an unsure answer goes on to the large model, whose answer is the conversation', LIMIT, async (t) => {
  const gateway = await pair(t, sure('41', -2), says('42'))
  for (const [path, request] of [['/v1/responses', responses({ confidence: 0.9 })], ['/v1/chat/completions', chat({ confidence: 0.9 })]] as const) {
    const { body } = await gateway.json(path, request)
    const note = noteOf(body)
    assert.equal(path === '/v1/responses' ? textOf(body) : saidIn(body), '42')
    assert.equal(note.decided_by, 'escalated')
    assert.deepEqual(note.escalations, [{ from: 'small', to: 'large', why: 'low_confidence' }])
    assert.deepEqual(note.members.map(({ model, status }) => [model, status]), [['small', 'completed'], ['large', 'completed']])
    const usage = body['usage'] as JsonObject
    assert.equal(usage['total_tokens'], 84, 'what the small model used is counted')
  }
  const page = await (await fetch(`${gateway.url}/metrics`)).text()
  assert.match(page, /homing_escalations_total\{why="low_confidence"\} 2/)
})

test('the last model of a cascade is streamed as it writes', LIMIT, async (t) => {
  const gate = new Gate()
  const gateway = await pair(t, cutShort, async (response) => {
    sseHead(response)
    await send(response, chunk({ content: 'Forty' }))
    await gate.opened
    response.end(chunk({ content: '-two' }) + chunk({}, 'stop') + usageChunk() + DONE)
  })
  const stream = await gateway.events('/v1/responses', responses({}, { stream: true }))
  const delta = await stream.until('response.output_text.delta')
  assert.equal((delta.data as JsonObject)['delta'], 'Forty')
  gate.open()
  const final = responseOf((await stream.rest()).at(-2)!)
  assert.equal(textOf(final), 'Forty-two')
  assert.deepEqual(noteOf(final).escalations, [{ from: 'small', to: 'large', why: 'truncated' }])
})

test('what needs no threshold leads on: a failure, a refusal, a broken schema', LIMIT, async (t) => {
  const schema = { type: 'object', properties: { at: { type: 'integer' } }, required: ['at'] }
  const wanted = { text: { format: { type: 'json_schema', name: 'place', schema } } }
  const chatWanted = { response_format: { type: 'json_schema', json_schema: { name: 'place', schema } } }
  const cases: readonly (readonly [Script, string])[] = [
    [refuses(503, 'down'), 'failed'],
    [refuses(400, { error: { message: 'no', code: 400 } }), 'failed'],
    [says("I'm sorry, but I can't help with that."), 'refusal'],
    [says('at: 3'), 'schema'],
    [says('{"at": "three"}'), 'schema'],
    [says('{}'), 'schema'],
  ]
  const gateway = await pair(t, says(''), says('{"at": 3}'))
  for (const [small, why] of cases) {
    gateway.upstreams[0]!.usual = small
    for (const [path, request] of [['/v1/responses', responses({}, wanted)], ['/v1/chat/completions', chat({}, chatWanted)]] as const) {
      const { status, body } = await gateway.json(path, request)
      assert.equal(status, 200)
      assert.deepEqual(noteOf(body).escalations, [{ from: 'small', to: 'large', why }])
    }
  }
})

test('samples of the small model that disagree lead on, and those that agree do not', LIMIT, async (t) => {
  const gateway = await pair(t, says('42'), says('44'))
  const agreed = await gateway.json('/v1/responses', responses({ samples: 3, confidence: 0.6 }))
  assert.deepEqual([textOf(agreed.body), noteOf(agreed.body).decided_by, gateway.upstreams[0]!.asked.length], ['42', 'confident', 3])
  let said = 0
  gateway.upstreams[0]!.usual = (response, asked) => says(String(said++))(response, asked)
  const split = await gateway.json('/v1/responses', responses({ samples: 3, confidence: 0.6 }))
  assert.deepEqual(noteOf(split.body).escalations, [{ from: 'small', to: 'large', why: 'disagreement' }])
  assert.deepEqual(noteOf(split.body).members.map(({ role }) => role), ['member', 'sample', 'sample', 'member'])
})

test('where the large model fails the doubtful answer is better than none', LIMIT, async (t) => {
  const gateway = await pair(t, sure('41', -2), refuses(503, 'down'))
  for (const stream of [false, true]) {
    const request = responses({ confidence: 0.9 }, { stream })
    const final = stream ? responseOf((await (await gateway.events('/v1/responses', request)).rest()).at(-2)!) : (await gateway.json('/v1/responses', request)).body
    assert.equal(textOf(final), '41')
    assert.equal(noteOf(final).decided_by, 'only_answer')
  }
  gateway.upstreams[0]!.usual = refuses(503, 'down')
  const none = await gateway.json('/v1/responses', responses({ confidence: 0.9 }))
  assert.equal(none.status, 502)
  assert.equal(errorOf(none.body)['code'], 'backend_error')
})

test('a backend that refuses log probabilities is asked without them, once and for all', LIMIT, async (t) => {
  const gateway = await pair(t, (response, asked) =>
    asked.body['logprobs'] === true ? refuses(400, { error: { message: 'logprobs are not supported', code: 400 } })(response, asked) : says('42')(response, asked), says('43'))
  for (const _turn of [1, 2]) {
    const { body } = await gateway.json('/v1/responses', responses({ confidence: 0.9 }))
    assert.equal(textOf(body), '42')
  }
  assert.deepEqual(gateway.upstreams[0]!.asked.map(({ body }) => body['logprobs']), [true, undefined, undefined])
  const page = await (await fetch(`${gateway.url}/metrics`)).text()
  assert.match(page, /homing_fallbacks_total\{what="ensemble_logprobs_refused"\} 1/)
  assert.match(page, /homing_fallbacks_total\{what="cascade_confidence_unknown"\} 2/)
})

test('a client that leaves calls off the model that is asked', LIMIT, async (t) => {
  let gone: Promise<void> | undefined
  const gateway = await pair(t, cutShort, async (response, asked) => {
    gone = asked.gone
    sseHead(response)
    await send(response, chunk({ content: 'Well' }))
  })
  const stream = await gateway.events('/v1/responses', responses({}, { stream: true }))
  await stream.until('response.output_text.delta')
  await stream.cancel()
  await gone
  await eventually(async () => (await gateway.running()) === 0)
})

test('rules of the configuration ask several models for clients that say nothing, and a client may decline', LIMIT, async (t) => {
  const gateway = await pair(t, says('41'), says('42'), {
    config: {
      ensembles: [{ model: 'small', topics: ['law'], merge: 'vote', models: MODELS }, { model: 'large', merge: 'vote', models: ['large', 'large', 'small'], quorum: 3 }],
      cascades: [{ model: 'small', models: MODELS, confidence: 1 }],
    },
  })
  const ruled = await gateway.json('/v1/responses', { model: 'large', input: 'What is 6 * 7?' })
  assert.equal(textOf(ruled.body), '42')
  assert.equal(((ruled.body['homing'] as JsonObject)['ensemble'] as JsonObject)['decided_by'], 'majority')
  const climbed = await gateway.json('/v1/chat/completions', { model: 'small', messages: [{ role: 'user', content: 'x' }] })
  assert.equal(noteOf(climbed.body).decided_by, 'confident', 'without log probabilities it stands')
  const declined = await gateway.json('/v1/responses', { model: 'large', input: 'x', homing: { ensemble: false } })
  assert.equal(declined.body['homing'], undefined)
  const inChat = await gateway.json('/v1/chat/completions', { model: 'large', messages: [{ role: 'user', content: 'x' }], homing: { cascade: false } })
  assert.equal(saidIn(inChat.body), '42')
  assert.equal('homing' in gateway.upstreams[1]!.asked.at(-1)!.body, false)
})

test('a topic that the fingerprint does not know refuses the start', LIMIT, async (t) => {
  await assert.rejects(
    pair(t, says(''), says(''), { config: { ensembles: [{ model: 'small', topics: ['laws'], merge: 'vote', models: MODELS }] } }),
    /ensembles\[0\]\.topics\.laws: is no topic; did you mean 'law'/,
  )
})

test('a rule that cannot be followed is no reason to refuse a client that did not ask for it', LIMIT, async (t) => {
  const gateway = await pair(t, says('41'), says('42'), {
    config: {
      ensembles: [{ model: 'small', merge: 'judge', judge: 'nobody', models: MODELS }, { model: 'large', merge: 'vote', models: ['large', 'nobody'], max_total_tokens: 200 }],
    },
  })
  const unusable = await gateway.json('/v1/responses', { model: 'small', input: 'x' })
  assert.deepEqual([unusable.status, unusable.body['homing']], [200, undefined])
  const without = await gateway.json('/v1/responses', { model: 'large', input: 'x' })
  assert.equal(((without.body['homing'] as JsonObject)['ensemble'] as { members: readonly unknown[] }).members.length, 1)
  const long = await gateway.json('/v1/responses', { model: 'large', input: 'x '.repeat(1000) })
  assert.deepEqual([long.status, long.body['homing']], [200, undefined])
  const page = await (await fetch(`${gateway.url}/metrics`)).text()
  assert.match(page, /homing_fallbacks_total\{what="ensemble_rule_unusable"\} 1/)
  assert.match(page, /homing_fallbacks_total\{what="ensemble_rule_unaffordable"\} 1/)
})

test('completions and embeddings refuse the field, since it would reach an engine', LIMIT, async (t) => {
  const gateway = await pair(t, says(''), says(''))
  const { status, body } = await gateway.json('/v1/embeddings', { model: 'small', input: 'x', ...cascade() })
  assert.deepEqual([status, errorOf(body)['param']], [400, 'homing'])
  assert.equal(gateway.asked(), 0)
})

test('without a threshold an unsure answer goes on while that is thought to pay, and what came of it is learned', LIMIT, async (t) => {
  const gateway = await pair(t, sure('41', -3), says('42'))
  const { body } = await gateway.json('/v1/responses', responses())
  assert.deepEqual(noteOf(body).escalations, [{ from: 'small', to: 'large', why: 'low_confidence' }])
  const page = await (await fetch(`${gateway.url}/metrics`)).text()
  assert.match(page, /homing_escalations_weighed_total\{decision="paid"\} 1/)
  assert.match(page, /homing_state_size\{what="escalation_cells"\} 2/)
})
