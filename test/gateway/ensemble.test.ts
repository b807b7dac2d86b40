import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { explanation } from '../../src/cli/explain.ts'
import { isObject, type JsonObject } from '../../src/model/json.ts'
import { errorOf, eventually, harness, names, responseOf, textOf, type Harness, type HarnessOptions } from './support/gateway.ts'
import { calls, chunk, DONE, Gate, refuses, says, send, sseHead, usageChunk, type Script } from './support/scripted-upstream.ts'

const LIMIT = { timeout: 20_000 }
const MODELS = ['a', 'b', 'c']

/** Three models, each with a backend of its own that says what it is told. */
async function specialists(t: TestContext, scripts: readonly Script[], options: HarnessOptions = {}): Promise<Harness> {
  const gateway = await harness(t, { models: MODELS, ...options })
  scripts.forEach((script, index) => {
    gateway.upstreams[index]!.usual = script
  })
  return gateway
}

/** Else the third is called off when the first two to answer agree. */
const ALL = { quorum: 3 }
const ensemble = (fields: JsonObject): JsonObject => ({ homing: { ensemble: { models: MODELS, merge: 'vote', ...fields } } })
const responses = (fields: JsonObject = {}, body: JsonObject = {}): JsonObject => ({ model: 'a', input: 'What is 6 * 7?', ...ensemble(fields), ...body })
const chat = (fields: JsonObject = {}, body: JsonObject = {}): JsonObject => ({
  model: 'a', messages: [{ role: 'user', content: 'What is 6 * 7?' }], ...ensemble(fields), ...body,
})

type Note = { readonly merge: string; readonly decided_by: string; readonly chosen: string; readonly agreement?: number; readonly members: readonly JsonObject[] }
const noteOf = (body: JsonObject): Note => {
  assert.ok(isObject(body['homing']) && isObject(body['homing']['ensemble']))
  return body['homing']['ensemble'] as unknown as Note
}
const saidIn = (completion: JsonObject): string => String(((completion['choices'] as readonly JsonObject[])[0]!['message'] as JsonObject)['content'])

/** Answers when the gate opens. */
const later = (gate: Gate, text: string): Script => async (response, asked) => {
  await gate.opened
  return says(text)(response, asked)
}

test('the majority of three models answers, under one id, and every member can be fetched under its own', LIMIT, async (t) => {
  const gateway = await specialists(t, [says('The answer is 41.'), says('So the answer is **42**.'), says('\\boxed{42}')])
  const { status, body, headers } = await gateway.json('/v1/responses', responses(ALL))
  assert.equal(status, 200)
  assert.equal(textOf(body), 'So the answer is **42**.')
  assert.equal(body['model'], 'b')
  assert.equal(headers.get('x-homing-ensemble'), 'vote')
  assert.equal(headers.get('x-homing-model'), 'b')
  const note = noteOf(body)
  assert.deepEqual([note.merge, note.decided_by], ['vote', 'majority'])
  assert.deepEqual(note.members.map(({ model, status, vote }) => [model, status, vote]), [['a', 'completed', 1], ['b', 'completed', 2], ['c', 'completed', 2]])
  assert.deepEqual(body['usage'], {
    input_tokens: 120, input_tokens_details: { cached_tokens: 24 }, output_tokens: 6, output_tokens_details: { reasoning_tokens: 0 }, total_tokens: 126,
  })
  for (const [index, said] of ['The answer is 41.', 'So the answer is **42**.', '\\boxed{42}'].entries()) {
    const id = String(note.members[index]!['id'])
    const member = await gateway.json(`/v1/responses/${id}`)
    assert.equal(textOf(member.body), said)
    assert.deepEqual(member.body['homing'], { member_of: body['id'] })
    const receipt = await gateway.json(`/homing/v1/responses/${id}/decision`)
    assert.equal(receipt.body['member_of'], body['id'])
    assert.equal(receipt.body['model'], MODELS[index])
  }
  const receipt = await gateway.json(`/homing/v1/responses/${String(body['id'])}/decision`)
  assert.equal((receipt.body['asking'] as JsonObject)['decided_by'], 'majority')
  assert.equal(receipt.body['backend_id'], gateway.upstreams[1]!.id)
  const told = explanation(receipt.body)
  assert.match(told, /asked +several, vote; majority: more than half of the ballots agree/)
  assert.match(told, /member b +completed, answer 2 +resp_\w+ \*/)
  for (const upstream of gateway.upstreams) {
    assert.equal(upstream.asked.length, 1)
    assert.equal('homing' in upstream.asked[0]!.body, false, 'the field never reaches an engine')
  }
})

test('a chat completion is merged the same way, with its own id, and the usage of all members', LIMIT, async (t) => {
  const gateway = await specialists(t, [says('1,234.0'), says('1234 apples', 'chatcmpl-b'), says('7', 'chatcmpl-c')])
  const { status, body, headers } = await gateway.json('/v1/chat/completions', chat(ALL))
  assert.equal(status, 200)
  assert.equal(saidIn(body), '1,234.0')
  assert.match(String(body['id']), /^chatcmpl-[0-9a-f]{48}$/)
  assert.equal(headers.get('x-homing-ensemble'), 'vote')
  assert.equal((body['usage'] as JsonObject)['prompt_tokens'], 120)
  const note = noteOf(body)
  assert.deepEqual(note.members.map(({ id }) => id), ['chatcmpl-1', 'chatcmpl-b', 'chatcmpl-c'])
  const receipt = await gateway.json(`/homing/v1/responses/${String(body['id'])}/decision`)
  assert.equal((receipt.body['asking'] as JsonObject)['merge'], 'vote')
  for (const { asked } of gateway.upstreams) assert.equal('homing' in asked[0]!.body, false)
})

test('members that fail leave the answer to the others, and are told by their error', LIMIT, async (t) => {
  const gateway = await specialists(t, [refuses(503, 'down'), says('42'), refuses(400, { error: { message: 'no such template', type: 'BadRequest', code: 400 } })])
  for (const [path, request] of [['/v1/responses', responses()], ['/v1/chat/completions', chat()]] as const) {
    const { status, body } = await gateway.json(path, request)
    assert.equal(status, 200)
    const note = noteOf(body)
    assert.equal(note.decided_by, 'only_answer')
    assert.deepEqual(note.members.map(({ status, error }) => [status, error]), [['failed', 'backend_error'], ['completed', undefined], ['failed', 'backend_rejected']])
  }
})

test('where no member answers the client is told the error of the first, with its status', LIMIT, async (t) => {
  const bad = refuses(400, { error: { message: 'no such template', type: 'BadRequest', code: 400 } })
  const gateway = await specialists(t, [bad, refuses(503, 'down'), refuses(503, 'down')])
  for (const [path, request] of [['/v1/responses', responses()], ['/v1/chat/completions', chat()], ['/v1/responses', responses({}, { stream: true })]] as const) {
    const { status, body } = await gateway.json(path, request)
    assert.equal(status, 400)
    assert.equal(errorOf(body)['code'], 'backend_rejected')
  }
})

test('a quorum that is not met is an error that says so', LIMIT, async (t) => {
  const gateway = await specialists(t, [says('42'), refuses(503, 'down'), refuses(503, 'down')])
  const { status, body } = await gateway.json('/v1/responses', responses({ quorum: 2 }))
  assert.equal(status, 502)
  assert.equal(errorOf(body)['code'], 'quorum_missed')
  assert.match(String(errorOf(body)['message']), /1 of 3 models answered; the quorum is 2/)
})

test('once two of three agree the third is called off, and its backend notices', LIMIT, async (t) => {
  const gone: Promise<void>[] = []
  const gateway = await specialists(t, [says('42'), says('The answer is 42.'), async (response, asked) => {
    gone.push(asked.gone)
    sseHead(response)
    await send(response, chunk({ content: 'Let me think' }))
  }])
  const { body } = await gateway.json('/v1/responses', responses())
  assert.deepEqual(noteOf(body).members.map(({ status }) => status), ['completed', 'completed', 'cancelled'])
  await Promise.all(gone)
  await eventually(async () => (await gateway.running()) === 0)
})

test('a quorum lets the merge begin without the others', LIMIT, async (t) => {
  const gateway = await specialists(t, [says('1'), later(new Gate(), '2'), later(new Gate(), '2')])
  const { body } = await gateway.json('/v1/responses', responses({ quorum: 1 }))
  assert.equal(textOf(body), '1')
})

test('behind the deadline the answers that are there are merged, and with none the first that comes', LIMIT, async (t) => {
  const gate = new Gate()
  const gateway = await specialists(t, [later(gate, '1'), says('2'), later(gate, '1')])
  const early = await gateway.json('/v1/responses', responses({ deadline: '150ms' }))
  assert.equal(textOf(early.body), '2')
  gateway.upstreams[1]!.usual = later(new Gate(), '3')
  const first = gateway.json('/v1/responses', responses({ deadline: 1 }))
  await eventually(() => gateway.asked() === 6)
  gate.open()
  assert.equal(textOf((await first).body), '1')
})

test('a stream opens with the first answer, tells progress in comments, and gives the merged answer as legal events', LIMIT, async (t) => {
  const gate = new Gate()
  const gateway = await specialists(t, [says('41'), later(gate, 'It is 42'), later(gate, 'it is 42.')])
  const stream = await gateway.events('/v1/responses', responses({}, { stream: true }))
  assert.equal(stream.response.headers.get('x-homing-ensemble'), 'vote')
  const created = await stream.until('response.created')
  await stream.until(':')
  gate.open()
  const events = (await stream.rest()).filter(({ comment }) => comment === null)
  assert.deepEqual(names(events), [
    'response.output_item.added', 'response.content_part.added', 'response.output_text.delta', 'response.output_text.done',
    'response.content_part.done', 'response.output_item.done', 'response.completed', null,
  ])
  const final = responseOf(events.at(-2)!)
  assert.equal(textOf(final), 'It is 42')
  assert.equal(final['id'], responseOf(created)['id'])
  assert.deepEqual((final['output'] as readonly JsonObject[])[0], (events[5]!.data as JsonObject)['item'])
  assert.deepEqual(events.slice(0, -1).map(({ data }) => (data as JsonObject)['sequence_number']), [2, 3, 4, 5, 6, 7, 8])
  const stored = await gateway.json(`/v1/responses/${String(final['id'])}`)
  assert.deepEqual(stored.body, final)
})

test('a streamed chat answer is chunks of one id, with the usage of all where usage was asked for', LIMIT, async (t) => {
  const gateway = await specialists(t, [says('42'), says('42'), says('41')])
  const stream = await gateway.events('/v1/chat/completions', chat(ALL, { stream: true, stream_options: { include_usage: true } }))
  const chunks = (await stream.rest()).filter(({ comment }) => comment === null)
  assert.equal(chunks.at(-1)!.data, '[DONE]')
  const bodies = chunks.slice(0, -1).map(({ data }) => data as JsonObject)
  assert.equal(new Set(bodies.map(({ id }) => id)).size, 1)
  assert.equal(bodies.map((body) => ((body['choices'] as readonly JsonObject[])[0]?.['delta'] as JsonObject | undefined)?.['content'] ?? '').join(''), '42')
  assert.ok(isObject(bodies.at(-2)!['homing']))
  assert.equal((bodies.at(-1)!['usage'] as JsonObject)['total_tokens'], 126, 'of all three')
})

test('only the merged answer enters the conversation, and the next turn goes on from it', LIMIT, async (t) => {
  const gateway = await specialists(t, [says('41'), says('The answer is 42'), says('42')])
  const conversation = await gateway.json('/v1/conversations', { items: [] })
  const id = String(conversation.body['id'])
  const { body } = await gateway.json('/v1/responses', responses({}, { conversation: id }))
  const items = await gateway.json(`/v1/conversations/${id}/items?order=asc`)
  assert.deepEqual((items.body['data'] as readonly JsonObject[]).map(({ role }) => role), ['user', 'assistant'])
  assert.equal((items.body['data'] as readonly JsonObject[])[1]!['id'], (body['output'] as readonly JsonObject[])[0]!['id'])

  const alone = await gateway.json('/v1/responses', responses())
  const next = await gateway.json('/v1/responses', { model: 'c', input: 'And half of it?', previous_response_id: alone.body['id'] })
  assert.equal(next.status, 200)
  const prompt = gateway.upstreams[2]!.asked.at(-1)!.body['messages'] as readonly JsonObject[]
  assert.deepEqual(prompt.map(({ role, content }) => [role, content]), [
    ['user', 'What is 6 * 7?'], ['assistant', 'The answer is 42'], ['user', 'And half of it?'],
  ])
})

test('the next turn of an ensemble shows every member the merged answer', LIMIT, async (t) => {
  const gateway = await specialists(t, [says('41'), says('42'), says('42')])
  const first = await gateway.json('/v1/responses', responses())
  await gateway.json('/v1/responses', responses({}, { previous_response_id: first.body['id'], input: 'Sure?' }))
  for (const upstream of gateway.upstreams) {
    const prompt = upstream.asked.at(-1)!.body['messages'] as readonly JsonObject[]
    assert.deepEqual(prompt.map(({ content }) => content), ['What is 6 * 7?', '42', 'Sure?'])
  }
})

test('a client that leaves calls off every member', LIMIT, async (t) => {
  const gone: Promise<void>[] = []
  const stalls: Script = async (response, asked) => {
    gone.push(asked.gone)
    sseHead(response)
    await send(response, chunk({ content: 'Well' }))
  }
  const gateway = await specialists(t, [stalls, stalls, stalls])
  for (const [path, request] of [['/v1/responses', responses()], ['/v1/chat/completions', chat({}, { stream: true })]] as const) {
    const leave = new AbortController()
    const asked = fetch(gateway.url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(request), signal: leave.signal }).catch(() => null)
    await eventually(() => gone.length % 3 === 0 && gone.length > 0)
    leave.abort()
    await asked
    await Promise.all(gone)
    await eventually(async () => (await gateway.running()) === 0)
  }
})

test('a judge sees the conversation and the numbered candidates, and its choice is given', LIMIT, async (t) => {
  const judge: Script = (response, asked) => {
    const messages = asked.body['messages'] as readonly JsonObject[]
    const prompt = String(messages.at(-1)!['content'])
    const at = /<<<candidate (\d)>>>\nBerlin/.exec(prompt)
    return says(`VERDICT: ${at![1]}`)(response, asked)
  }
  const gateway = await harness(t, { models: [...MODELS, 'judge'] })
  ;[says('Paris'), says('Berlin'), says('Rome'), judge].forEach((script, index) => (gateway.upstreams[index]!.usual = script))
  for (const [path, request] of [['/v1/responses', responses({ merge: 'judge', judge: 'judge' })], ['/v1/chat/completions', chat({ merge: 'judge', judge: 'judge' })]] as const) {
    const { body } = await gateway.json(path, request)
    const note = noteOf(body)
    assert.equal(note.decided_by, 'verdict')
    assert.equal(path === '/v1/responses' ? textOf(body) : saidIn(body), 'Berlin')
    assert.deepEqual(note.members.at(-1)!['role'], 'judge')
    const prompt = gateway.upstreams[3]!.asked.at(-1)!.body
    assert.equal((prompt['messages'] as readonly JsonObject[])[0]!['content'], 'What is 6 * 7?', 'the conversation comes first')
    assert.equal(prompt['temperature'], 0)
  }
})

test('a judge that gives no verdict leaves it to the votes, and that is counted', LIMIT, async (t) => {
  const gateway = await harness(t, { models: [...MODELS, 'judge'] })
  ;[says('Rome'), says('Berlin'), says('berlin.'), says('They are all fine.')].forEach((script, index) => (gateway.upstreams[index]!.usual = script))
  const { body } = await gateway.json('/v1/responses', responses({ merge: 'judge', judge: 'judge' }))
  assert.equal(textOf(body), 'Berlin')
  assert.equal(noteOf(body).decided_by, 'majority')
  const page = await (await fetch(`${gateway.url}/metrics`)).text()
  assert.match(page, /homing_fallbacks_total\{what="ensemble_verdict_unreadable"\} 1/)
  assert.match(page, /homing_ensembles_total\{merge="judge",decided_by="majority",outcome="completed"\} 1/)
  assert.match(page, /homing_ensemble_members_total\{merge="judge",role="member",status="completed"\} 3/)
})

test('a synthesis is streamed while it is written', LIMIT, async (t) => {
  const gate = new Gate()
  const gateway = await harness(t, { models: [...MODELS, 'w'] })
  const writer: Script = async (response) => {
    sseHead(response)
    await send(response, chunk({ role: 'assistant', content: 'Both' }))
    await gate.opened
    response.end(chunk({ content: ' are right.' }) + chunk({}, 'stop') + usageChunk() + DONE)
  }
  ;[says('Paris'), says('Berlin'), refuses(503, ''), writer].forEach((script, index) => (gateway.upstreams[index]!.usual = script))
  const stream = await gateway.events('/v1/responses', responses({ merge: 'synthesis', writer: 'w' }, { stream: true }))
  const delta = await stream.until('response.output_text.delta')
  assert.equal((delta.data as JsonObject)['delta'], 'Both')
  gate.open()
  const events = await stream.rest()
  const final = responseOf(events.at(-2)!)
  assert.equal(textOf(final), 'Both are right.')
  assert.equal(final['status'], 'completed')
  assert.equal(noteOf(final).decided_by, 'synthesis')
  const stored = await gateway.json(`/v1/responses/${String(final['id'])}`)
  assert.deepEqual(stored.body, final)
  const inputs = await gateway.json(`/v1/responses/${String(final['id'])}/input_items`)
  assert.equal((inputs.body['data'] as readonly JsonObject[]).length, 1, 'what the writer was told is no part of the conversation')

  const chatGate = new Gate()
  gateway.upstreams[3]!.usual = async (response) => {
    sseHead(response)
    await send(response, chunk({ role: 'assistant', content: 'Both' }))
    await chatGate.opened
    response.end(chunk({}, 'stop') + usageChunk() + DONE)
  }
  const chunks = await gateway.events('/v1/chat/completions', chat({ merge: 'synthesis', writer: 'w' }, { stream: true }))
  for (let event = await chunks.next(); ; event = await chunks.next()) {
    if (event!.comment !== null || !JSON.stringify(event!.data).includes('Both')) continue
    assert.equal((event!.data as JsonObject)['model'], 'w', 'a live chunk names the model that writes, whatever its backend calls it')
    break
  }
  chatGate.open()
  const rest = (await chunks.rest()).filter(({ comment }) => comment === null)
  assert.equal(rest.length, 2, 'the end with what decided, then [DONE]; usage was not asked for')
})

test('a writer that fails before it wrote leaves it to the votes', LIMIT, async (t) => {
  const gateway = await harness(t, { models: [...MODELS, 'w'] })
  ;[says('x'), says('y'), says('y'), refuses(503, '')].forEach((script, index) => (gateway.upstreams[index]!.usual = script))
  for (const stream of [true, false]) {
    const request = responses({ merge: 'synthesis', writer: 'w' }, { stream })
    const final = stream ? responseOf((await (await gateway.events('/v1/responses', request)).rest()).at(-2)!) : (await gateway.json('/v1/responses', request)).body
    assert.equal(textOf(final), 'y')
  }
})

test('identical calls of tools are one vote, and a synthesis of them is refused', LIMIT, async (t) => {
  const tools = [{ type: 'function', name: 'look', parameters: { type: 'object', properties: {} } }]
  const gateway = await specialists(t, [calls('look', '{"at": 1, "by": 2}'), calls('look', '{"at":2}'), calls('look', '{"by":2,"at":1}')])
  const { body } = await gateway.json('/v1/responses', responses(ALL, { tools }))
  assert.deepEqual(noteOf(body).members.map(({ vote }) => vote), [1, 2, 1])
  assert.equal((body['output'] as readonly JsonObject[])[0]!['type'], 'function_call')
  const refused = await gateway.json('/v1/responses', responses({ merge: 'synthesis' }, { tools }))
  assert.equal(refused.status, 400)
  assert.equal(errorOf(refused.body)['param'], 'homing.ensemble.merge')
})

test('what cannot be asked is refused with the field that is wrong, and nothing is sent', LIMIT, async (t) => {
  const gateway = await specialists(t, [says('1'), says('2'), says('3')])
  const cases: readonly (readonly [JsonObject, string])[] = [
    [{ ensemble: { models: MODELS } }, 'homing.ensemble.merge'],
    [{ ensemble: { models: MODELS, merge: 'mix' } }, 'homing.ensemble.merge'],
    [{ ensemble: { models: MODELS, merge: 'vote', n: 9 } }, 'homing.ensemble.n'],
    [{ ensemble: { models: MODELS, merge: 'vote', n: 0 } }, 'homing.ensemble.n'],
    [{ ensemble: { models: MODELS, merge: 'vote', n: 4 } }, 'homing.ensemble.n'],
    [{ ensemble: { models: [], merge: 'vote' } }, 'homing.ensemble.models'],
    [{ ensemble: { models: ['a', 'nobody'], merge: 'vote' } }, 'homing.ensemble.models[1]'],
    [{ ensemble: { merge: 'vote' } }, 'homing.ensemble.models'],
    [{ ensemble: { models: MODELS, merge: 'judge' } }, 'homing.ensemble.judge'],
    [{ ensemble: { models: MODELS, merge: 'judge', judge: 'nobody' } }, 'homing.ensemble.judge'],
    [{ ensemble: { models: MODELS, merge: 'vote', judge: 'a' } }, 'homing.ensemble.judge'],
    [{ ensemble: { models: MODELS, merge: 'vote', quorum: 4 } }, 'homing.ensemble.quorum'],
    [{ ensemble: { models: MODELS, merge: 'vote', deadline: 'soon' } }, 'homing.ensemble.deadline'],
    [{ ensemble: { models: MODELS, merge: 'vote', max_total_tokens: 9 } }, 'homing.ensemble.max_total_tokens'],
    [{ ensemble: { models: MODELS, merge: 'vote', nn: 3 } }, 'homing.ensemble.nn'],
    [{ ensemble: { models: MODELS, merge: 'vote' }, cascade: { models: MODELS } }, 'homing.ensemble'],
    [{ ensemble: 'vote' }, 'homing.ensemble'],
    [{ cascade: { models: ['a'] } }, 'homing.cascade.models'],
    [{ cascade: { models: ['a', 'a'] } }, 'homing.cascade.models'],
    [{ cascade: { models: ['a', 'nobody'] } }, 'homing.cascade.models[1]'],
    [{ cascade: { models: ['a', 'b'], confidence: 2 } }, 'homing.cascade.confidence'],
    [{ other: 1 }, 'homing.other'],
  ]
  for (const [homing, param] of cases) {
    for (const [path, body] of [['/v1/responses', { model: 'a', input: 'x', homing }], ['/v1/chat/completions', { model: 'a', messages: [{ role: 'user', content: 'x' }], homing }]] as const) {
      const { status, body: refused } = await gateway.json(path, body)
      assert.equal(status, 400, JSON.stringify(homing))
      assert.equal(errorOf(refused)['param'], param)
    }
  }
  const several = await gateway.json('/v1/chat/completions', chat({}, { n: 2 }))
  assert.deepEqual([several.status, errorOf(several.body)['param']], [400, 'n'])
  assert.equal(gateway.asked(), 0)
})

/** Teaches that `model` is right and the others are wrong, by grades of their own answers. */
async function teach(gateway: Harness, model: string): Promise<void> {
  for (let turn = 0; turn < 12; turn++) {
    for (const name of MODELS) {
      const { body } = await gateway.json('/v1/responses', { model: name, input: `What is 6 * 7? (${turn})` })
      const said = await gateway.json('/homing/v1/outcomes', { response_id: body['id'], score: name === model ? 1 : 0 })
      assert.equal(said.status, 200)
    }
  }
}

test('best of: the model that grades speak for is given, streamed as it writes, and the others are only there in case it fails', LIMIT, async (t) => {
  const gateway = await specialists(t, [says('a'), says('b'), says('c')])
  await teach(gateway, 'c')
  const gate = new Gate()
  const stalls: Script = async (response) => {
    sseHead(response)
    await send(response, chunk({ content: 'Three' }))
    await gate.opened
    response.end(chunk({ content: ' words' }) + chunk({}, 'stop') + usageChunk() + DONE)
  }
  gateway.upstreams[2]!.usual = stalls
  const stream = await gateway.events('/v1/responses', responses({ merge: 'best_of' }, { stream: true }))
  assert.equal(((await stream.until('response.output_text.delta')).data as JsonObject)['delta'], 'Three')
  gate.open()
  const final = responseOf((await stream.rest()).at(-2)!)
  assert.equal(textOf(final), 'Three words')
  assert.deepEqual([noteOf(final).decided_by, final['model']], ['quality', 'c'])

  gateway.upstreams[2]!.usual = refuses(503, '')
  const without = await gateway.events('/v1/responses', responses({ merge: 'best_of' }, { stream: true }))
  const second = responseOf((await without.rest()).at(-2)!)
  assert.equal(second['status'], 'completed')
  assert.ok(['a', 'b'].includes(textOf(second)))

  gateway.upstreams[2]!.usual = async (response) => {
    sseHead(response)
    await send(response, chunk({ content: 'Half' }))
    response.destroy()
  }
  for (const [path, body] of [['/v1/responses', responses({ merge: 'best_of' }, { stream: true })], ['/v1/chat/completions', chat({ merge: 'best_of' }, { stream: true })]] as const) {
    const events = await (await gateway.events(path, body)).rest()
    if (path === '/v1/responses') {
      assert.equal(events.at(-2)!.name, 'response.failed', 'half an answer was seen, so no other can follow')
      const broken = responseOf(events.at(-2)!)
      assert.equal(textOf(broken), 'Half')
      const kept = await gateway.json(`/v1/responses/${String(broken['id'])}`)
      assert.deepEqual([kept.body['status'], textOf(kept.body)], ['failed', 'Half'])
      const next = await gateway.json('/v1/responses', { model: 'a', input: 'x', previous_response_id: broken['id'] })
      assert.equal(next.status, 400, 'a failed response cannot be continued')
    }
    else assert.ok(isObject((events.at(-2)!.data as JsonObject)['error']))
  }
})

test('where nothing tells the models apart, best of takes the answer of the most probable tokens', LIMIT, async (t) => {
  const sure = (text: string, logprob: number): Script => (response) => {
    sseHead(response)
    const logprobs = { content: [{ token: text, logprob, bytes: null, top_logprobs: [] }] }
    const part = { id: 'chatcmpl-s', object: 'chat.completion.chunk', created: 1, model: 'served', choices: [{ index: 0, delta: { content: text }, logprobs, finish_reason: null }] }
    response.end(`data: ${JSON.stringify(part)}\n\n` + chunk({}, 'stop') + usageChunk() + DONE)
  }
  const gateway = await specialists(t, [sure('a', -2), sure('b', -0.1), sure('c', -1)])
  const { body } = await gateway.json('/v1/responses', responses({ merge: 'best_of' }))
  assert.deepEqual([textOf(body), noteOf(body).decided_by], ['b', 'confidence'])
  assert.equal(JSON.stringify(body).includes('logprob":'), false)
})

test('a group is asked by its name, and so many of it as are wanted', LIMIT, async (t) => {
  const gateway = await specialists(t, [says('1'), says('2'), says('3')], { config: { model_groups: { auto: [...MODELS, 'nobody'], none: ['nobody'] } } })
  const homing = { ensemble: { merge: 'vote', n: 2, quorum: 2 } }
  const { body } = await gateway.json('/v1/responses', { model: 'auto', input: 'What is 6 * 7?', homing })
  assert.equal(noteOf(body).members.length, 2)
  const all = await gateway.json('/v1/responses', { model: 'auto', input: 'x', homing: { ensemble: { merge: 'vote', n: 8, quorum: 3 } } })
  assert.equal(noteOf(all.body).members.length, 3, 'one that nobody serves is passed over')
  assert.equal((await gateway.json('/v1/responses', { model: 'none', input: 'x', homing })).status, 404)
  const next = await gateway.json('/v1/responses', { model: 'auto', input: 'Sure?', previous_response_id: body['id'] })
  assert.equal(next.body['model'], body['model'], 'the conversation stays with the model whose answer was given')
})

test('every member is charged to the tenant, and what its budget cannot pay is a member that failed', LIMIT, async (t) => {
  const gateway = await specialists(t, [says('42'), says('42'), says('41')], {
    config: { tenants: [{ id: 't', keys: ['key-t'], limits: { tokens_per_minute: 10_000 } }, { id: 'poor', keys: ['key-poor'], limits: { tokens_per_minute: 100 } }] },
  })
  const auth = (tenant: string) => ({ authorization: `Bearer key-${tenant}` })
  const rich = await gateway.json('/v1/responses', responses(ALL), auth('t'))
  assert.equal(rich.status, 200)
  const used = async (tenant: string): Promise<number> => {
    const page = await (await fetch(`${gateway.url}/metrics`)).text()
    return Number(new RegExp(`homing_tenant_tokens_total\\{tenant="${tenant}",counted="used"\\} (\\d+)`).exec(page)?.[1])
  }
  assert.equal(await used('t'), 3 * (40 - 8 + 2))
  const poor = await gateway.json('/v1/responses', responses({}, { max_output_tokens: 90 }), auth('poor'))
  assert.equal(poor.status, 200)
  assert.deepEqual(noteOf(poor.body).members.map(({ error }) => error), [undefined, 'rate_limit_exceeded', 'rate_limit_exceeded'])
  const broke = await gateway.json('/v1/responses', responses({}, { max_output_tokens: 90 }), auth('poor'))
  assert.equal(broke.status, 429)
  assert.ok(Number(broke.headers.get('retry-after')) >= 1)
})

test('members may write so much that all of them together stay within the bound', LIMIT, async (t) => {
  const gateway = await specialists(t, [says('1'), says('2'), says('3')])
  await gateway.json('/v1/responses', responses({ max_total_tokens: 600, ...ALL }, { max_output_tokens: 5000 }))
  await gateway.json('/v1/chat/completions', chat({ max_total_tokens: 600, ...ALL }, { max_completion_tokens: 50 }))
  for (const { asked } of gateway.upstreams) {
    const most = Number(asked[0]!.body['max_tokens'])
    assert.ok(most > 100 && most < 200, String(most))
    assert.equal(asked[1]!.body['max_completion_tokens'], 50, "the client's own bound is never raised")
  }
})

test('what is not stored leaves nothing behind, and another tenant finds neither the answer nor its members', LIMIT, async (t) => {
  const gateway = await specialists(t, [says('42'), says('42'), says('41')], {
    config: { tenants: [{ id: 't', keys: ['key-t'] }, { id: 'u', keys: ['key-u'] }] },
  })
  const own = { authorization: 'Bearer key-t' }
  for (const store of [false, true]) {
    const { body } = await gateway.json('/v1/responses', responses(ALL, { store }), own)
    const ids = [body['id'], ...noteOf(body).members.map(({ id }) => id)].map(String)
    for (const id of ids) {
      assert.equal((await gateway.json(`/v1/responses/${id}`, undefined, own)).status, store ? 200 : 404)
      for (const path of [`/v1/responses/${id}`, `/homing/v1/responses/${id}/decision`])
        assert.equal((await gateway.json(path, undefined, { authorization: 'Bearer key-u' })).status, 404)
    }
  }
})

test('on disk too the merged answer is whole without its members: deleted ones are not missed', LIMIT, async (t) => {
  const gateway = await specialists(t, [says('41'), says('42'), says('42')], { store: 'disk' })
  const { body } = await gateway.json('/v1/responses', responses(ALL))
  for (const { id } of noteOf(body).members) {
    const gone = await fetch(`${gateway.url}/v1/responses/${String(id)}`, { method: 'DELETE' })
    assert.equal(gone.status, 200)
  }
  const again = await gateway.json(`/v1/responses/${String(body['id'])}`)
  assert.deepEqual(again.body, body)
  const next = await gateway.json('/v1/responses', { model: 'b', input: 'Sure?', previous_response_id: body['id'] })
  assert.deepEqual((gateway.upstreams[1]!.asked.at(-1)!.body['messages'] as readonly JsonObject[]).map(({ content }) => content), ['What is 6 * 7?', '42', 'Sure?'])
  assert.equal(next.status, 200)
})

test('a stream that nobody answers is opened after a while, and still ends in an error that it tells', LIMIT, async (t) => {
  const gate = new Gate()
  const fails: Script = async (response, asked) => {
    await gate.opened
    return refuses(503, '')(response, asked)
  }
  const gateway = await specialists(t, [fails, fails, fails], { config: { stream_commit_after: '20ms' } })
  const [stream, chunks] = await Promise.all([
    gateway.events('/v1/responses', responses({}, { stream: true })), gateway.events('/v1/chat/completions', chat({}, { stream: true })),
  ])
  await stream.until('response.created')
  await chunks.until(':')
  gate.open()
  const failed = (await stream.rest()).at(-2)!
  assert.equal(failed.name, 'response.failed')
  assert.equal((responseOf(failed)['error'] as JsonObject)['code'], 'backend_error')
  assert.equal(errorOf((await chunks.rest()).at(-2)!.data as JsonObject)['code'], 'backend_error')
})

test('a reasoning member is replayed with its thoughts, and calls of tools as calls', LIMIT, async (t) => {
  const thinks: Script = (response) => {
    sseHead(response)
    response.end(chunk({ reasoning_content: 'Hm.' }) + chunk({ content: 'Yes.' }) + chunk({}, 'stop') + usageChunk() + DONE)
  }
  const gateway = await specialists(t, [thinks, says('yes'), calls('look', '{"at":1}')])
  const final = responseOf((await (await gateway.events('/v1/responses', responses(ALL, { stream: true }))).rest()).at(-2)!)
  assert.deepEqual((final['output'] as readonly JsonObject[]).map(({ type }) => type), ['reasoning', 'message'])
  gateway.upstreams[0]!.usual = calls('look', '{"at":1}')
  const stream = await (await gateway.events('/v1/responses', responses(ALL, { stream: true }))).rest()
  assert.ok(names(stream).includes('response.function_call_arguments.done'))
  const chunks = (await (await gateway.events('/v1/chat/completions', chat(ALL, { stream: true }))).rest()).filter(({ comment }) => comment === null)
  const call = (((chunks[0]!.data as JsonObject)['choices'] as readonly JsonObject[])[0]!['delta'] as JsonObject)['tool_calls'] as readonly JsonObject[]
  assert.equal(call[0]!['index'], 0)
  assert.equal((((chunks[1]!.data as JsonObject)['choices'] as readonly JsonObject[])[0]!)['finish_reason'], 'tool_calls')
})

test('reactions are to the merged answer: its members and its judge wait for none', LIMIT, async (t) => {
  const gateway = await harness(t, { models: [...MODELS, 'judge'] })
  ;[says('Paris'), says('Berlin'), says('Rome'), says('VERDICT: 1')].forEach((script, index) => (gateway.upstreams[index]!.usual = script))
  const count = async (sample: string): Promise<number> => {
    const page = await (await fetch(`${gateway.url}/metrics`)).text()
    const line = page.split('\n').find((one) => one.startsWith(`${sample} `))
    return line === undefined ? 0 : Number(line.slice(sample.length + 1))
  }
  const { body } = await gateway.json('/v1/responses', responses({ merge: 'judge', judge: 'judge' }))
  assert.equal(await count('homing_state_size{what="implicit_waiting"}'), 1)
  await gateway.json('/v1/responses', { model: 'a', input: 'No, that is wrong.', previous_response_id: body['id'] })
  assert.equal(await count('homing_implicit_answers_total{settled_by="next_turn"}'), 1)
})
