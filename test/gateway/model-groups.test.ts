import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JsonObject } from '../../src/model/json.ts'
import { errorOf, harness, responseOf, type HarnessOptions } from './support/gateway.ts'
import { refuses } from './support/scripted-upstream.ts'

const MODELS = ['coder', 'general', 'math']
const LONG = 'We are writing a parser in Rust and talk about ownership and lifetimes of borrowed slices at some length. '.repeat(10)

const grouped = (changes: HarnessOptions = {}): HarnessOptions => ({
  models: MODELS,
  ...changes,
  config: { model_groups: { auto: MODELS }, ...changes.config },
})

const consideredOf = (receipt: JsonObject): readonly JsonObject[] => (receipt['group'] as JsonObject)['considered'] as readonly JsonObject[]

test('a client that asks for a group is told which model answered: in the answer, in the header, and why in the receipt', { timeout: 30_000 }, async (t) => {
  const { json, upstreams } = await harness(t, grouped())
  const { status, headers, body } = await json('/v1/responses', { model: 'auto', input: LONG })
  assert.equal(status, 200)
  const model = String(body['model'])
  assert.ok(MODELS.includes(model))
  assert.equal(headers.get('x-homing-model'), model)
  const asked = upstreams.flatMap((upstream) => upstream.asked)
  assert.deepEqual(asked.map((each) => each.body['model']), [model])
  const receipt = (await json(`/homing/v1/responses/${String(body['id'])}/decision`)).body
  assert.equal(receipt['model'], model)
  assert.equal((receipt['group'] as JsonObject)['name'], 'auto')
  assert.deepEqual(consideredOf(receipt).map((each) => each['model']), MODELS)
})

test('a Chat client gets the same, and a stream names the model from its first event on', { timeout: 30_000 }, async (t) => {
  const { json, events, upstreams } = await harness(t, grouped())
  const { headers } = await json('/v1/chat/completions', { model: 'auto', messages: [{ role: 'user', content: LONG }] })
  const model = headers.get('x-homing-model')
  assert.equal(upstreams.flatMap((upstream) => upstream.asked)[0]!.body['model'], model)
  const stream = await events('/v1/responses', { model: 'auto', input: LONG, stream: true })
  const created = responseOf(await stream.until('response.created'))
  assert.equal(created['model'], stream.response.headers.get('x-homing-model'))
  assert.equal(responseOf(await stream.until('response.completed'))['model'], created['model'])
})

test('a Chat answer of a group says which model it is of, whatever its backend calls that model', { timeout: 30_000 }, async (t) => {
  const { json, events } = await harness(t, grouped()) // the upstreams say "served"
  const chat = { model: 'auto', messages: [{ role: 'user', content: LONG }] }
  const whole = await json('/v1/chat/completions', chat)
  assert.equal(whole.body['model'], whole.headers.get('x-homing-model'))
  const stream = await events('/v1/chat/completions', { ...chat, stream: true })
  const told = (await stream.rest()).flatMap(({ data }) => (typeof data === 'string' ? [] : [data['model']]))
  assert.deepEqual([...new Set(told)], [stream.response.headers.get('x-homing-model')])
  const named = await json('/v1/chat/completions', { ...chat, model: 'math' })
  assert.equal(named.body['model'], 'served', 'bytes pass where the client named the model')
})

test('questions behind the same examples are no conversation: each is a choice of its own', { timeout: 30_000 }, async (t) => {
  const { json } = await harness(t, grouped())
  const examples = [
    { role: 'system', content: LONG }, { role: 'user', content: 'What is three and four?' }, { role: 'assistant', content: 'Seven.' },
  ]
  const models = new Set<string | null>()
  for (let turn = 0; turn < 40; turn++) {
    const { headers, body } = await json('/v1/chat/completions', { model: 'auto', messages: [...examples, { role: 'user', content: `Number ${turn}?` }] })
    models.add(headers.get('x-homing-model'))
    const receipt = (await json(`/homing/v1/responses/${String(body['id'])}/decision`)).body
    assert.equal((receipt['group'] as JsonObject)['incumbent'], null)
  }
  assert.equal(models.size, MODELS.length)
})

test('a model that is named is always honoured', { timeout: 30_000 }, async (t) => {
  const { json } = await harness(t, grouped())
  for (let turn = 0; turn < 8; turn++) {
    const { headers, body } = await json('/v1/responses', { model: 'math', input: `${turn} ${LONG}` })
    assert.equal(headers.get('x-homing-model'), 'math')
    assert.equal((await json(`/homing/v1/responses/${String(body['id'])}/decision`)).body['group'], undefined)
  }
})

test('a conversation stays with the model that served it, with its cache', { timeout: 30_000 }, async (t) => {
  const { json } = await harness(t, grouped())
  for (let conversation = 0; conversation < 6; conversation++) {
    const first = await json('/v1/responses', { model: 'auto', input: `${conversation} ${LONG}` })
    let parent = String(first.body['id'])
    for (let turn = 0; turn < 3; turn++) {
      const next = await json('/v1/responses', { model: 'auto', input: `And then? ${turn}`, previous_response_id: parent })
      assert.equal(next.body['model'], first.body['model'])
      const receipt = (await json(`/homing/v1/responses/${String(next.body['id'])}/decision`)).body
      const expected = (of: string): number => Number((receipt[of] as JsonObject)['expected'])
      assert.ok(expected('cached_tokens') > 0.7 * expected('prompt_tokens'), `${expected('cached_tokens')} of ${expected('prompt_tokens')}`)
      parent = String(next.body['id'])
    }
  }
})

test('a Chat conversation stays too, and a question asked anew from the start does not count as one', { timeout: 30_000 }, async (t) => {
  const { json } = await harness(t, grouped())
  const first = await json('/v1/chat/completions', { model: 'auto', messages: [{ role: 'user', content: LONG }] })
  const model = first.headers.get('x-homing-model')
  const history = [{ role: 'user', content: LONG }, { role: 'assistant', content: 'Hello there.' }, { role: 'user', content: 'Go on.' }]
  for (let turn = 0; turn < 6; turn++) {
    assert.equal((await json('/v1/chat/completions', { model: 'auto', messages: history })).headers.get('x-homing-model'), model)
  }
  const models = new Set<string | null>()
  for (let turn = 0; turn < 40; turn++) {
    models.add((await json('/v1/chat/completions', { model: 'auto', messages: [{ role: 'user', content: LONG }] })).headers.get('x-homing-model'))
  }
  assert.ok(models.size > 1, 'nothing is known yet, so each is tried')
})

test('another model answers where the chosen one cannot, under its own name', { timeout: 30_000 }, async (t) => {
  const { json, next, upstreams } = await harness(t, grouped())
  next(refuses(503, { error: { message: 'Loading model', type: 'unavailable_error', code: 503 } }))
  const { status, headers, body } = await json('/v1/responses', { model: 'auto', input: LONG })
  assert.equal(status, 200)
  const asked = upstreams.flatMap((upstream) => upstream.asked).map((each) => each.body['model'])
  assert.equal(asked.length, 2)
  assert.ok(asked.includes(String(body['model'])))
  assert.equal(headers.get('x-homing-model'), body['model'])
})

test('a model that nobody serves now is passed over; a group without any is not found', { timeout: 30_000 }, async (t) => {
  const { json } = await harness(t, { models: ['general'], config: { model_groups: { auto: ['coder', 'general'], none: ['coder'] } } })
  const { body } = await json('/v1/responses', { model: 'auto', input: LONG })
  assert.equal(body['model'], 'general')
  const receipt = (await json(`/homing/v1/responses/${String(body['id'])}/decision`)).body
  assert.deepEqual(consideredOf(receipt).map(({ model, seconds }) => [model, seconds === null]), [['coder', true], ['general', false]])
  const refused = await json('/v1/responses', { model: 'none', input: LONG })
  assert.equal(refused.status, 404)
  assert.equal(errorOf(refused.body)['code'], 'model_not_found')
})

test('completions and embeddings take a model and say so where a group is named', { timeout: 30_000 }, async (t) => {
  const { json } = await harness(t, grouped())
  for (const [path, body] of [['/v1/completions', { prompt: 'a' }], ['/v1/embeddings', { input: 'a' }]] as const) {
    const refused = await json(path, { model: 'auto', ...body })
    assert.equal(refused.status, 400)
    assert.match(String(errorOf(refused.body)['message']), /'auto' is a group/)
  }
})

test('/v1/models lists groups beside models', { timeout: 30_000 }, async (t) => {
  const { json } = await harness(t, grouped())
  const { body } = await json('/v1/models')
  const listed = body['data'] as readonly JsonObject[]
  assert.deepEqual(listed.map(({ id }) => id), ['auto', ...MODELS])
  assert.deepEqual((listed[0]!['homing'] as JsonObject)['models'], MODELS)
})

test('one backend that serves several models of the group is one candidate with its best model', { timeout: 30_000 }, async (t) => {
  const { json, upstreams } = await harness(t, {
    backends: 1, declared: { models: { coder: 'm', general: 'm' } }, config: { model_groups: { auto: ['coder', 'general'] } },
  })
  const { body } = await json('/v1/responses', { model: 'auto', input: LONG })
  assert.ok(['coder', 'general'].includes(String(body['model'])))
  assert.equal(upstreams[0]!.asked[0]!.body['model'], 'm')
})
