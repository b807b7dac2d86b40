import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { JsonObject } from '../../src/model/json.ts'
import { eventually, harness, type HarnessOptions } from './support/gateway.ts'
import { calls, chunk, DONE, Gate, remembers, sseHead, usageChunk, type Asked, type Script } from './support/scripted-upstream.ts'

const LONG = 'Harbours, maps and tides. '.repeat(200)
const isPrewarm = ({ body }: Asked): boolean => body['max_tokens'] === 1

async function conversation(t: TestContext, options: HarnessOptions = {}, first: JsonObject = {}) {
  const house = await harness(t, { usual: remembers('Yes.'), ...options })
  const answer = await house.json('/v1/responses', { model: 'm', input: LONG, ...first })
  assert.equal(answer.status, 200)
  const home = answer.headers.get('x-homing-backend')!
  const others = house.upstreams.filter(({ id }) => id !== home)
  const ahead = (): readonly Asked[] => house.upstreams.flatMap(({ asked }) => asked.filter(isPrewarm))
  const drain = () => house.json(`/homing/v1/backends/${home}/drain`, { drain: true })
  const rule = async (name: string): Promise<JsonObject> => {
    const { body } = await house.json('/homing/v1/prewarm')
    return (body['rules'] as readonly JsonObject[]).find((one) => one['rule'] === name)!
  }
  const done = (name: string) => eventually(async () => Number(((await rule(name))['counts'] as JsonObject)['done']) > 0)
  return { ...house, answer, home, others, ahead, drain, rule, done }
}

test('a conversation whose home is drained finds its prefix computed elsewhere, and the receipt says so', { timeout: 30_000 }, async (t) => {
  const { json, answer, others, ahead, drain, rule, done } = await conversation(t)
  await drain()
  await done('drain')
  assert.equal(ahead().length, 1)
  assert.equal(ahead()[0]!.upstream, others[0]!.id)
  const messages = ahead()[0]!.body['messages'] as readonly JsonObject[]
  assert.deepEqual(messages.map(({ role }) => role), ['user', 'assistant', 'user'], 'rendered as the next turn will begin')
  const next = await json('/v1/responses', { model: 'm', input: 'And?', previous_response_id: answer.body['id'] })
  assert.equal(next.headers.get('x-homing-backend'), others[0]!.id)
  const usage = next.body['usage'] as JsonObject
  assert.ok(Number((usage['input_tokens_details'] as JsonObject)['cached_tokens']) > 1000, JSON.stringify(usage))
  const receipt = (await json(`/homing/v1/responses/${String(next.body['id'])}/decision`)).body
  assert.equal(receipt['prewarmed'], true)
  assert.ok(Number((receipt['cached_tokens'] as JsonObject)['expected']) > 1000)
  assert.equal((await rule('drain'))['hits'], 1)
})

test('a proxy that keeps sessions together sees what is computed ahead in its session', { timeout: 30_000 }, async (t) => {
  const { answer, ahead, drain, done, json, upstreams } = await conversation(t, { declared: { hints: { session_header: 'x-session-id' } } })
  await drain()
  await done('drain')
  await json('/v1/responses', { model: 'm', input: 'And?', previous_response_id: answer.body['id'] })
  const sessions = new Set(upstreams.flatMap(({ asked }) => asked.map(({ headers }) => String(headers['x-session-id']))))
  assert.equal(ahead().length, 1)
  assert.equal(sessions.size, 1)
  assert.match([...sessions][0]!, /^[0-9a-f]{32}$/)
})

test('what is computed ahead is no turn: nothing is stored, no receipt, no turn is counted', { timeout: 30_000 }, async (t) => {
  const { url, drain, done } = await conversation(t)
  await drain()
  await done('drain')
  const metrics = await (await fetch(`${url}/metrics`)).text()
  assert.match(metrics, /homing_state_size\{what="store_responses"\} 1\n/)
  assert.match(metrics, /homing_state_size\{what="receipts"\} 1\n/)
  assert.equal([...metrics.matchAll(/^homing_turns_total\{.*\} (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0), 1)
  assert.match(metrics, /homing_prewarms_total\{rule="drain",result="done"\} 1\n/)
  assert.match(metrics, /homing_prewarm_rule_on\{rule="drain"\} 1\n/)
})

test('a tool call whose home has gone is prepared for elsewhere, with an output in the place of the one to come', { timeout: 30_000 }, async (t) => {
  const gate = new Gate()
  const slowCall: Script = async (response, asked) => {
    await gate.opened
    return calls('look', '{"at":"sea"}')(response, asked)
  }
  const house = await harness(t, { usual: remembers('Yes.') })
  house.next(slowCall)
  const tools = [{ type: 'function', name: 'look', parameters: { type: 'object' } }]
  const running = house.json('/v1/responses', { model: 'm', input: LONG, tools })
  await eventually(() => house.asked() === 1)
  const home = house.upstreams.find(({ asked }) => asked.length > 0)!
  await house.json(`/homing/v1/backends/${home.id}/drain`, { drain: true })
  const other = house.upstreams.find(({ id }) => id !== home.id)!
  await eventually(() => other.asked.length === 1) // its prompt, while it still runs
  gate.open()
  const first = await running
  await eventually(async () => {
    const { body } = await house.json('/homing/v1/prewarm')
    return body['wishes'] === 0 && (body['running'] as readonly unknown[]).length === 0
  })
  const call = (first.body['output'] as readonly JsonObject[]).find(({ type }) => type === 'function_call')!
  const next = await house.json('/v1/responses', {
    model: 'm', previous_response_id: first.body['id'], input: [{ type: 'function_call_output', call_id: call['call_id'], output: 'waves' }],
  })
  assert.equal(next.headers.get('x-homing-backend'), other.id)
  const receipt = (await house.json(`/homing/v1/responses/${String(next.body['id'])}/decision`)).body
  assert.equal(receipt['prewarmed'], true)
})

test('a turn that comes to the backend ends what is computed ahead there', { timeout: 30_000 }, async (t) => {
  const { json, others, drain, rule, ahead } = await conversation(t)
  const asked: Asked[] = []
  others[0]!.usual = (response, one) => {
    asked.push(one)
    if (!isPrewarm(one)) return remembers('Yes.')(response, one)
  }
  await drain()
  await eventually(() => asked.some(isPrewarm))
  const answer = await json('/v1/responses', { model: 'm', input: 'Something else.' })
  assert.equal(answer.status, 200)
  await asked[0]!.gone
  assert.ok(Number(((await rule('drain'))['counts'] as JsonObject)['cancelled']) >= 1)
  assert.ok(ahead().length >= 1)
})

for (const [what, options] of [
  ['a backend for which it is switched off', { declared: { prewarm: false } }],
  ['a tenant for which it is switched off', { config: { tenants: [{ id: 'x', keys: ['k'], prewarm: false }], admin: { keys: ['k2'] } } }],
  ['a backend whose budget is too small', { declared: { prewarm: { tokens_per_minute: 100 } } }],
] as const) {
  test(`nothing is computed ahead for ${what}`, { timeout: 30_000 }, async (t) => {
    const house = await harness(t, { usual: remembers('Yes.'), ...options })
    const tenant = { authorization: 'Bearer k' }
    const admin = { authorization: 'Bearer k2' }
    const answer = await house.json('/v1/responses', { model: 'm', input: LONG }, tenant)
    const home = answer.headers.get('x-homing-backend')!
    await house.json(`/homing/v1/backends/${home}/drain`, { drain: true }, admin)
    for (let i = 0; i < 5; i++) await house.json('/homing/v1/prewarm', undefined, admin) // it would have begun by now
    const next = await house.json('/v1/responses', { model: 'm', input: 'And?', previous_response_id: answer.body['id'] }, tenant)
    assert.equal(next.status, 200)
    assert.notEqual(next.headers.get('x-homing-backend'), home)
    assert.equal(house.upstreams.flatMap(({ asked }) => asked).filter(isPrewarm).length, 0)
  })
}

test('a Chat conversation is prepared for from its own messages', { timeout: 30_000 }, async (t) => {
  const house = await harness(t, { usual: remembers('Yes.') })
  const messages = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: LONG }]
  const first = await house.json('/v1/chat/completions', { model: 'm', messages, max_completion_tokens: 50 })
  const home = first.headers.get('x-homing-backend')!
  await house.json(`/homing/v1/backends/${home}/drain`, { drain: true })
  const other = house.upstreams.find(({ id }) => id !== home)!
  await eventually(() => other.asked.length === 1)
  const { body } = other.asked[0]!
  assert.deepEqual((body['messages'] as readonly JsonObject[]).slice(0, 3), [...messages, { role: 'assistant', content: 'Yes.' }])
  assert.deepEqual([body['max_tokens'], body['max_completion_tokens'], body['stream']], [1, undefined, true])
})

test('after an answer with thoughts the conversation is computed at home as it will be without them', { timeout: 30_000 }, async (t) => {
  const house = await harness(t, { usual: remembers('Yes.') })
  house.next(async (response) => {
    await new Promise((resolve) => setTimeout(resolve, 500)) // what takes no time is not computed ahead
    sseHead(response)
    response.end(chunk({ reasoning_content: 'Hmm. '.repeat(200) }) + chunk({ content: 'The sea is wide. '.repeat(150) }) + chunk({}, 'stop') + usageChunk(1400, 0, 900) + DONE)
  })
  const first = await house.json('/v1/responses', { model: 'm', input: LONG })
  const home = house.upstreams.find(({ id }) => id === first.headers.get('x-homing-backend'))!
  await eventually(() => home.asked.length === 2)
  const { body } = home.asked[1]!
  assert.equal(body['max_tokens'], 1)
  assert.deepEqual((body['messages'] as readonly JsonObject[]).map(({ role }) => role), ['user', 'assistant', 'user'])
})
