import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import type { JsonObject } from '../../src/model/json.ts'
import { errorOf, harness, responseOf, textOf, type Harness } from './support/gateway.ts'
import { calls, chunk, DONE, remembers, says, sseHead, usageChunk } from './support/scripted-upstream.ts'

const LIMIT = { timeout: 20_000 }
const turn = async (gateway: Harness, body: JsonObject, headers?: Record<string, string>): Promise<JsonObject> => {
  const answer = await gateway.json('/v1/responses', { model: 'm', ...body }, headers)
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body
}
const idOf = (resource: JsonObject): string => String(resource['id'])
/** What the engine was sent last, as role: text. */
const promptOf = (gateway: Harness): string[] => {
  const last = gateway.upstreams.flatMap(({ asked }) => asked).at(-1)!
  return (last.body['messages'] as readonly JsonObject[]).map((message) => {
    const content = message['content']
    const text = Array.isArray(content) ? (content as JsonObject[]).map((part) => String(part['text'])).join('') : String(content)
    return `${String(message['role'])}: ${text}`
  })
}

for (const store of ['memory', 'disk'] as const) {
  test(`the engine is sent the whole history, in order, forks included (${store})`, LIMIT, async (t) => {
    const gateway = await harness(t, { backends: 1, store })
    gateway.next(says('A1'), says('A2'), says('A3'), says('A2 again'))
    const first = await turn(gateway, { input: 'Q1' })
    const second = await turn(gateway, { input: 'Q2', previous_response_id: idOf(first) })
    await turn(gateway, { input: 'Q3', previous_response_id: idOf(second) })
    assert.deepEqual(promptOf(gateway), ['user: Q1', 'assistant: A1', 'user: Q2', 'assistant: A2', 'user: Q3'])
    await turn(gateway, { input: 'Q2 otherwise', previous_response_id: idOf(first) })
    assert.deepEqual(promptOf(gateway), ['user: Q1', 'assistant: A1', 'user: Q2 otherwise'])
    const items = await gateway.json(`/v1/responses/${idOf(second)}/input_items?order=asc`)
    assert.equal((items.body['data'] as JsonObject[]).length, 3)
  })

  test(`a conversation grows by each turn's input and output, and by nothing of a failed one (${store})`, LIMIT, async (t) => {
    const gateway = await harness(t, { backends: 1, store })
    const { body: conversation } = await gateway.json('/v1/conversations', { items: [{ role: 'user', content: 'Q0' }], metadata: { a: 'b' } })
    const id = idOf(conversation)
    gateway.next(says('A1'))
    const first = await turn(gateway, { input: 'Q1', conversation: id })
    assert.deepEqual(first['conversation'], { id })
    gateway.next((response) => {
      sseHead(response)
      response.end(chunk({ content: 'half' }))
    })
    const failed = await (await gateway.events('/v1/responses', { model: 'm', input: 'lost', conversation: { id }, stream: true })).rest()
    assert.equal(failed.at(-2)!.name, 'response.failed')
    gateway.next(says('A2'))
    await turn(gateway, { input: 'Q2', conversation: { id } })
    assert.deepEqual(promptOf(gateway), ['user: Q0', 'user: Q1', 'assistant: A1', 'user: Q2'])
    const items = await gateway.json(`/v1/conversations/${id}/items?order=asc`)
    assert.equal((items.body['data'] as JsonObject[]).length, 5)
    const [item] = items.body['data'] as JsonObject[]
    await fetch(`${gateway.url}/v1/conversations/${id}/items/${idOf(item!)}`, { method: 'DELETE' })
    await turn(gateway, { input: 'Q3', conversation: id })
    assert.deepEqual(promptOf(gateway).slice(0, 2), ['user: Q1', 'assistant: A1'])
    await fetch(`${gateway.url}/v1/conversations/${id}`, { method: 'DELETE' })
    assert.equal((await gateway.json('/v1/responses', { model: 'm', input: 'x', conversation: id })).status, 404)
  })
}

test('an item_reference stands for the item it names, and an unknown one is refused by its place', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  gateway.next(says('A1'))
  const first = await turn(gateway, { input: 'Q1' })
  const [message] = first['output'] as JsonObject[]
  await turn(gateway, { input: [{ role: 'user', content: 'Q1' }, { type: 'item_reference', id: idOf(message!) }, { role: 'user', content: 'Q2' }] })
  assert.deepEqual(promptOf(gateway), ['user: Q1', 'assistant: A1', 'user: Q2'])
  const unknown = await gateway.json('/v1/responses', { model: 'm', input: [{ type: 'item_reference', id: 'msg_none' }] })
  assert.deepEqual([unknown.status, errorOf(unknown.body)['code'], errorOf(unknown.body)['param']], [400, 'item_not_found', 'input[0].id'])
})

test('instructions are never inherited; tools are, when they are left out, and [] clears them', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  const tools = [{ type: 'function', name: 'look', parameters: { type: 'object', properties: {} }, strict: false }]
  gateway.next(calls('look', '{}'))
  const first = await turn(gateway, { input: 'Q1', instructions: 'Be brief.', tools })
  assert.deepEqual(promptOf(gateway), ['system: Be brief.', 'user: Q1'])
  const [call] = first['output'] as JsonObject[]
  assert.equal(call!['type'], 'function_call')
  const result = { type: 'function_call_output', call_id: String(call!['call_id']), output: 'seen' }
  const second = await turn(gateway, { input: [result], previous_response_id: idOf(first) })
  const sent = (): JsonObject => gateway.upstreams[0]!.asked.at(-1)!.body
  assert.equal((sent()['tools'] as JsonObject[]).length, 1)
  assert.ok(!promptOf(gateway).some((line) => line.includes('Be brief')))
  assert.equal((second['tools'] as JsonObject[]).length, 1)
  const third = await turn(gateway, { input: 'Q3', previous_response_id: idOf(second), tools: [] })
  assert.equal(sent()['tools'], undefined)
  await turn(gateway, { input: 'Q4', previous_response_id: idOf(third) })
  assert.equal(sent()['tools'], undefined)
})

test('a response with store:false may continue a stored one, and is itself neither read nor continued', LIMIT, async (t) => {
  const gateway = await harness(t, { store: 'disk' })
  const kept = await turn(gateway, { input: 'Q1' })
  const passing = await turn(gateway, { input: 'Q2', previous_response_id: idOf(kept), store: false })
  assert.equal((await gateway.json(`/v1/responses/${idOf(passing)}`)).status, 404)
  const next = await gateway.json('/v1/responses', { model: 'm', input: 'Q3', previous_response_id: idOf(passing) })
  assert.deepEqual([next.status, errorOf(next.body)['code'], errorOf(next.body)['param']], [400, 'previous_response_not_found', 'previous_response_id'])
})

test('unknown parents, unknown conversations and both at once are refused, and no backend hears of it', LIMIT, async (t) => {
  const gateway = await harness(t)
  const cases: readonly [JsonObject, number, string, string][] = [
    [{ previous_response_id: 'resp_none' }, 400, 'previous_response_not_found', 'previous_response_id'],
    [{ previous_response_id: 'chatcmpl-1' }, 400, 'invalid_value', 'previous_response_id'],
    [{ conversation: 'conv_none' }, 404, 'conversation_not_found', 'conversation'],
    [{ conversation: 'nope' }, 400, 'invalid_value', 'conversation'],
    [{ conversation: 'conv_none', previous_response_id: 'resp_none' }, 400, 'mutually_exclusive_parameters', 'previous_response_id'],
  ]
  for (const [fields, status, code, param] of cases) {
    for (const stream of [true, false]) {
      const answer = await gateway.json('/v1/responses', { model: 'm', input: 'x', stream, ...fields })
      assert.deepEqual([answer.status, errorOf(answer.body)['code'], errorOf(answer.body)['param']], [status, code, param])
    }
  }
  assert.equal(gateway.asked(), 0)
})

test('an incomplete response is told as such, stored, and can be continued by name', LIMIT, async (t) => {
  const gateway = await harness(t)
  gateway.next((response) => {
    sseHead(response)
    response.end(chunk({ content: 'Once upon' }) + chunk({}, 'length') + usageChunk() + DONE)
  })
  const seen = await (await gateway.events('/v1/responses', { model: 'm', input: 'tell', stream: true, max_output_tokens: 2 })).rest()
  const incomplete = responseOf(seen.at(-2)!)
  assert.deepEqual([seen.at(-2)!.name, incomplete['status'], incomplete['incomplete_details']], ['response.incomplete', 'incomplete', { reason: 'max_output_tokens' }])
  await turn(gateway, { input: 'go on', previous_response_id: idOf(incomplete) })
})

test('a response that cannot be stored ends as failed, is not there, and the stream has one terminal event', LIMIT, async (t) => {
  const gateway = await harness(t, { config: { store: { memory: true, max_bytes: 2000 } } })
  const long = 'x'.repeat(4000)
  const seen = await (await gateway.events('/v1/responses', { model: 'm', input: long, stream: true })).rest()
  assert.equal(seen.filter(({ name }) => /^response\.(completed|failed|incomplete)$/.test(name ?? '')).length, 1)
  const failed = responseOf(seen.at(-2)!)
  assert.deepEqual([seen.at(-2)!.name, failed['status'], (failed['error'] as JsonObject)['code'], failed['completed_at']], ['response.failed', 'failed', 'server_error', null])
  assert.equal((await gateway.json(`/v1/responses/${idOf(failed)}`)).status, 404)
  const receipt = await gateway.json(`/homing/v1/responses/${idOf(failed)}/decision`)
  assert.equal(receipt.body['outcome'], 'failed')
  const whole = await gateway.json('/v1/responses', { model: 'm', input: long })
  assert.deepEqual([whole.status, errorOf(whole.body)['code'], whole.headers.get('x-should-retry')], [500, 'storage_error', 'false'])
  assert.equal((await gateway.json('/v1/responses', { model: 'm', input: long, store: false })).status, 200)
  assert.equal(await gateway.running(), 0)
})

test('tenants do not see one another: ids of the other are unknown ids', LIMIT, async (t) => {
  const gateway = await harness(t, { config: { tenants: [{ id: 'a', keys: ['key-a'] }, { id: 'b', keys: ['key-b'] }], admin: { keys: ['key-admin'] } } })
  const a = { authorization: 'Bearer key-a' }
  const b = { authorization: 'Bearer key-b' }
  const mine = await turn(gateway, { input: 'secret of a' }, a)
  const conversation = idOf((await gateway.json('/v1/conversations', {}, a)).body)
  await turn(gateway, { input: 'more', conversation }, a)
  const [item] = mine['output'] as JsonObject[]
  const foreign: readonly [string, JsonObject | undefined, number][] = [
    [`/v1/responses/${idOf(mine)}`, undefined, 404],
    [`/v1/responses/${idOf(mine)}/input_items`, undefined, 404],
    [`/homing/v1/responses/${idOf(mine)}/decision`, undefined, 404],
    [`/v1/conversations/${conversation}`, undefined, 404],
    [`/v1/conversations/${conversation}/items`, undefined, 404],
    [`/v1/conversations/${conversation}/items`, { items: [{ role: 'user', content: 'x' }] }, 404],
    ['/v1/responses', { model: 'm', input: 'x', previous_response_id: idOf(mine) }, 400],
    ['/v1/responses', { model: 'm', input: 'x', conversation }, 404],
    ['/v1/responses', { model: 'm', input: [{ type: 'item_reference', id: idOf(item!) }] }, 400],
    ['/homing/v1/affinity', { model: 'm', input: 'x', previous_response_id: idOf(mine) }, 400],
  ]
  for (const [path, body, status] of foreign) {
    assert.equal((await gateway.json(path, body, b)).status, status, path)
    assert.equal((await gateway.json(path, body, { authorization: 'Bearer nobody' })).status, 401, path)
    assert.equal((await gateway.json(path, body)).status, 401, path)
  }
  assert.equal((await fetch(`${gateway.url}/v1/responses/${idOf(mine)}`, { method: 'DELETE', headers: b })).status, 404)
  assert.equal((await gateway.json(`/v1/responses/${idOf(mine)}`, undefined, a)).status, 200)
  const diagnosed = await turn(gateway, { input: 'x', prompt_cache_options: { comparison_response_id: idOf(mine) } }, b)
  assert.deepEqual(diagnosed['prompt_cache_diagnostics'], { type: 'comparison_response_not_found' })
  for (const { asked } of gateway.upstreams) for (const { headers } of asked) assert.equal(headers.authorization, undefined, "a client's key is never forwarded")
})

test('prompt_cache_diagnostics says on request why the cache hit or missed', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  gateway.next((response) => {
    sseHead(response)
    response.end(chunk({ content: 'A1' }) + chunk({}, 'stop') + usageChunk(600, 0, 20) + DONE)
  }, (response) => {
    sseHead(response)
    response.end(chunk({ content: 'A2' }) + chunk({}, 'stop') + usageChunk(700, 610, 20) + DONE)
  }, (response) => {
    sseHead(response)
    response.end(chunk({ content: 'A3' }) + chunk({}, 'stop') + usageChunk(700, 0, 20) + DONE)
  })
  const first = await turn(gateway, { input: 'Q1' })
  assert.equal(first['prompt_cache_diagnostics'], undefined)
  const options = { prompt_cache_options: { comparison_response_id: idOf(first) } }
  const hit = await turn(gateway, { input: 'Q2', previous_response_id: idOf(first), ...options })
  assert.deepEqual(hit['prompt_cache_diagnostics'], { type: 'cache_hit' })
  const miss = await turn(gateway, { input: 'Q2', previous_response_id: idOf(first), tools: [{ type: 'function', name: 'f', parameters: {} }], ...options })
  assert.deepEqual(miss['prompt_cache_diagnostics'], { type: 'cache_miss', reason: 'tools_changed', cache_missed_tokens: 620, comparison_reusable_tokens: 620, homing_reason: 'tools_changed' })
})

test('a cache that was lost is explained in the receipt, and by no invented reason in the diagnostics', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  const answers = (prompt: number, cached: number) => (response: ServerResponse) => {
    sseHead(response)
    response.end(chunk({ content: 'Yes.' }) + chunk({}, 'stop') + usageChunk(prompt, cached, 20) + DONE)
  }
  gateway.next(answers(600, 0), answers(700, 610), answers(800, 0))
  const receiptOf = async (body: JsonObject): Promise<JsonObject> => (await gateway.json(`/homing/v1/responses/${idOf(body)}/decision`)).body
  const long = 'What is written on the old harbour map? '.repeat(60)
  const first = await turn(gateway, { input: long })
  const second = await turn(gateway, { input: 'And?', previous_response_id: idOf(first) })
  const third = await turn(gateway, { input: 'And?', previous_response_id: idOf(second), prompt_cache_options: { comparison_response_id: idOf(second) } })
  const accounts = await Promise.all([first, second, third].map(async (body) => (await receiptOf(body))['cache'] as JsonObject))
  assert.deepEqual(accounts.map((account) => account['why']), ['new', 'hit', 'restarted'])
  assert.deepEqual(accounts[2], { why: 'restarted', reusable_tokens: 720, missed_tokens: 720, inferred: false })
  assert.deepEqual(third['prompt_cache_diagnostics'], { type: 'unavailable', homing_reason: 'restarted', homing_missed_tokens: 720 })
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
  assert.match(metrics, /homing_prompt_tokens_missed_total\{backend="[^"]+",why="restarted"\} 720/)
})

test('a prompt under other instructions expects nothing of what its parent left, and says why', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1, usual: remembers('Hello there.') })
  const first = await turn(gateway, { input: 'What is written on the old harbour map? '.repeat(60) })
  const second = await turn(gateway, { input: 'And?', previous_response_id: idOf(first), instructions: 'Answer like a pirate.' })
  const receipt = (await gateway.json(`/homing/v1/responses/${idOf(second)}/decision`)).body
  assert.deepEqual([(receipt['cached_tokens'] as JsonObject)['expected'], (receipt['cache'] as JsonObject)['why']], [0, 'instructions_changed'])
  assert.equal((receipt['forecast'] as JsonObject)['backend_id'], receipt['backend_id'])
})

test('a conversation stays on its backend, by parent, by conversation, by session header and by full history', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 4, usual: remembers('Hello there.') })
  const long = 'The quick brown fox jumps over the lazy dog. '.repeat(60)
  const at = async (path: string, body: JsonObject): Promise<{ backend: string; body: JsonObject }> => {
    const answer = await gateway.json(path, { model: 'm', ...body })
    assert.equal(answer.status, 200)
    return { backend: answer.headers.get('x-homing-backend')!, body: answer.body }
  }
  for (let i = 0; i < 4; i++) {
    const first = await at('/v1/responses', { input: `${i} by parent. ${long}` })
    const second = await at('/v1/responses', { input: 'more', previous_response_id: idOf(first.body) })
    const third = await at('/v1/responses', { input: 'more', previous_response_id: idOf(second.body) })
    assert.deepEqual([second.backend, third.backend], [first.backend, first.backend])
    const conversation = idOf((await gateway.json('/v1/conversations', {})).body)
    const talk = [await at('/v1/responses', { input: `${i} by conversation. ${long}`, conversation }), await at('/v1/responses', { input: 'more', conversation })]
    assert.equal(talk[1]!.backend, talk[0]!.backend)
    const messages = [{ role: 'user', content: `${i} by history. ${long}` }]
    const chat = await at('/v1/chat/completions', { messages })
    const reply = ((chat.body['choices'] as JsonObject[])[0]!['message'] as JsonObject)['content']!
    const again = await at('/v1/chat/completions', { messages: [...messages, { role: 'assistant', content: reply }, { role: 'user', content: 'more' }] })
    assert.equal(again.backend, chat.backend)
  }
})

test('the affinity route scores every backend, best first, and places nothing', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 3, usual: remembers('Hello there.') })
  const long = 'The quick brown fox jumps over the lazy dog. '.repeat(60)
  const first = await gateway.json('/v1/responses', { model: 'm', input: long })
  const asked = gateway.asked()
  const { status, body } = await gateway.json('/homing/v1/affinity', { model: 'm', input: 'more', previous_response_id: idOf(first.body), session_id: 's' })
  assert.equal(status, 200)
  const scores = body['data'] as JsonObject[]
  assert.equal(scores.length, 3)
  assert.equal(scores[0]!['backend_id'], first.headers.get('x-homing-backend'))
  for (const score of scores) for (const name of ['cache_score', 'load_score', 'combined_score']) assert.ok(Number(score[name]) >= 0 && Number(score[name]) <= 1)
  const combined = scores.map((score) => Number(score['combined_score']))
  assert.deepEqual(combined, combined.toSorted((a, b) => b - a))
  assert.equal(gateway.asked(), asked)
  assert.equal((await gateway.json('/homing/v1/affinity', { model: 'none', input: 'x' })).status, 404)
  assert.equal((await gateway.json('/homing/v1/affinity', 'no json')).status, 400)
})

test('a deleted response is gone for readers and for chains, and its children stay whole', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  gateway.next(says('A1'), says('A2'))
  const first = await turn(gateway, { input: 'Q1' })
  const second = await turn(gateway, { input: 'Q2', previous_response_id: idOf(first) })
  const deleted = await fetch(`${gateway.url}/v1/responses/${idOf(first)}`, { method: 'DELETE' })
  assert.deepEqual(await deleted.json(), { id: idOf(first), object: 'response.deleted', deleted: true })
  assert.equal((await gateway.json(`/v1/responses/${idOf(first)}`)).status, 404)
  assert.equal((await gateway.json('/v1/responses', { model: 'm', input: 'x', previous_response_id: idOf(first) })).status, 400)
  const third = await turn(gateway, { input: 'Q3', previous_response_id: idOf(second) })
  assert.deepEqual(promptOf(gateway), ['user: Q1', 'assistant: A1', 'user: Q2', 'assistant: A2', 'user: Q3'])
  assert.equal(textOf(third), 'Hello there.')
})
