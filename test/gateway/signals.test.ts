/** Signs that nobody sends, over HTTP: what clients do and what engines write becomes lessons for the model that answered. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startGateway } from '../../src/compose.ts'
import { loadConfig } from '../../src/config.ts'
import type { JsonObject } from '../../src/model/json.ts'
import { client, EventStream, eventually, harness, type Harness } from './support/gateway.ts'
import { calls, chunk, DONE, Gate, says, ScriptedUpstream, send, sseHead, usageChunk, type Script } from './support/scripted-upstream.ts'

const LIMIT = { timeout: 30_000 }

/** The value of a sample of /metrics; 0 where it is not there. */
async function metric(gateway: Pick<Harness, 'url'>, name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
  const page = await (await fetch(`${gateway.url}/metrics`)).text()
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`)
  const line = page.split('\n').find((row) => (row.startsWith(`${name}{`) || row.startsWith(`${name} `)) && wanted.every((label) => row.includes(label)))
  return line === undefined ? 0 : Number(line.split(' ').at(-1))
}
const found = (gateway: Harness, signal: string): Promise<number> => metric(gateway, 'homing_signals_found_total', { signal })
const sought = (gateway: Harness, signal: string): Promise<number> => metric(gateway, 'homing_signals_sought_total', { signal })
const weight = (gateway: Harness, verdict: 'good' | 'bad'): Promise<number> => metric(gateway, 'homing_implicit_lesson_weight_total', { model: 'm', says: verdict })

const QUESTION = 'How do I sort a list in Python?'
const FORMAT = { text: { format: { type: 'json_object' } } }
const respond = (gateway: Harness, input: string, more: JsonObject = {}): ReturnType<Harness['json']> => gateway.json('/v1/responses', { model: 'm', input, ...more })
const goesOn = async (gateway: Harness, after: { readonly body: JsonObject }, input: string, more: JsonObject = {}): ReturnType<Harness['json']> =>
  respond(gateway, input, { previous_response_id: after.body['id'] as string, ...more })

const cut: Script = (response) => {
  sseHead(response)
  response.end(chunk({ role: 'assistant', content: 'On and on' }) + chunk({}, 'length') + usageChunk() + DONE)
}

test('invalid JSON where JSON was asked for is a lesson against the model that answered, when the conversation goes on', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  gateway.next(says('Here is your JSON: {'))
  const first = await respond(gateway, 'List three fruits as JSON', FORMAT)
  assert.equal(await metric(gateway, 'homing_implicit_lessons_total', { model: 'm' }), 0, 'it waits')
  await goesOn(gateway, first, 'And three vegetables', FORMAT)
  assert.equal(await found(gateway, 'invalid_json'), 1)
  assert.equal(await metric(gateway, 'homing_implicit_lessons_total', { model: 'm' }), 1)
  assert.ok((await weight(gateway, 'bad')) > 0)
  assert.equal(await weight(gateway, 'good'), 0)
})

test('a complaint in the next turn is a lesson against the model, in Responses and in Chat', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  const first = await respond(gateway, QUESTION)
  await goesOn(gateway, first, 'This is useless, it does not work at all.')
  assert.equal(await found(gateway, 'complaint'), 1)
  const against = await weight(gateway, 'bad')
  assert.ok(against > 0)
  const asked = [{ role: 'user', content: 'Why is the sky blue? Please explain it to a child.' }]
  const headers = { 'x-homing-session': 'chat-1' }
  const chat = await gateway.json('/v1/chat/completions', { model: 'm', messages: asked }, headers)
  const answer = ((chat.body['choices'] as JsonObject[])[0]!['message'] as JsonObject)['content']!
  await gateway.json('/v1/chat/completions', { model: 'm', messages: [...asked, { role: 'assistant', content: answer }, { role: 'user', content: 'Your answer is terrible.' }] }, headers)
  assert.equal(await found(gateway, 'complaint'), 2)
  assert.ok((await weight(gateway, 'bad')) > against)
})

test('thanks are a lesson for the model', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  const first = await respond(gateway, QUESTION)
  await goesOn(gateway, first, 'Thanks, that works!')
  assert.equal(await found(gateway, 'thanks'), 1)
  assert.ok((await weight(gateway, 'good')) > 0)
  assert.equal(await weight(gateway, 'bad'), 0)
})

test('the same question again, in words that differ a little, is told from the next question', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  const first = await respond(gateway, QUESTION)
  const second = await goesOn(gateway, first, 'And how do I reverse the order of a tuple?')
  assert.equal(await found(gateway, 'asked_again'), 0)
  await goesOn(gateway, second, 'I asked how to reverse the order of tuples!')
  assert.equal(await found(gateway, 'asked_again'), 1)
  assert.equal(await sought(gateway, 'asked_again'), 2)
})

test('asked once more from the same place, a question wants another answer; a question that failed is only tried again', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  const first = await respond(gateway, 'Hello there, good morning')
  gateway.next((response) => void response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":{"message":"no"}}'))
  assert.equal((await goesOn(gateway, first, QUESTION)).status, 400)
  await goesOn(gateway, first, QUESTION)
  assert.equal(await found(gateway, 'asked_again'), 0, 'the one that failed had no answer')
  await goesOn(gateway, first, QUESTION)
  assert.equal(await found(gateway, 'asked_again'), 1)
})

test('arguments that do not fit, a tool that fails, a refusal and an answer cut off are found', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  const tools = [{ type: 'function', name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } }]
  gateway.next(calls('weather', '{"town":"Rome"}'))
  const called = await respond(gateway, 'What is the weather in Rome?', { tools })
  const call = (called.body['output'] as JsonObject[]).find(({ type }) => type === 'function_call')!
  gateway.next(says("I'm sorry, but I can't help with that."))
  const output = [{ type: 'function_call_output', call_id: call['call_id']!, output: 'Error: city is missing' }]
  const refused = await gateway.json('/v1/responses', { model: 'm', previous_response_id: called.body['id'] as string, input: output, tools })
  assert.equal(await found(gateway, 'bad_arguments'), 1)
  assert.equal(await found(gateway, 'tool_error'), 1)
  assert.equal(await sought(gateway, 'complaint'), 0, 'no person spoke')
  gateway.next(cut)
  const short = await goesOn(gateway, refused, 'Then tell me about Paris and its weather')
  assert.equal(await found(gateway, 'refusal'), 1)
  assert.equal(short.body['status'], 'incomplete')
  gateway.next(cut)
  const wanted = await goesOn(gateway, short, 'Shorter, in three words', { max_output_tokens: 16 })
  assert.equal(await found(gateway, 'truncated'), 1)
  await goesOn(gateway, wanted, 'Fine. And London?')
  assert.equal(await found(gateway, 'truncated'), 1, 'the client wanted it short')
})

test('a client that leaves while it reads is a sign at once; one that leaves before it saw anything is none', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  const gate = new Gate()
  const slow = (begin: string): Script => async (response) => {
    sseHead(response)
    await send(response, begin)
    await gate.opened
    response.end(DONE)
  }
  gateway.next(slow(''))
  const early = new AbortController()
  const waiting = fetch(`${gateway.url}/v1/responses`, { method: 'POST', signal: early.signal, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ model: 'm', input: QUESTION, stream: true }) })
  await eventually(() => gateway.asked() === 1)
  early.abort()
  await assert.rejects(waiting)
  await eventually(async () => (await gateway.running()) === 0)
  gateway.next(slow(chunk({ role: 'assistant', content: 'Once upon ' })))
  const stream = new EventStream(await gateway.post('/v1/responses', { model: 'm', input: QUESTION, stream: true }))
  await stream.until('response.output_text.delta')
  await stream.cancel()
  await eventually(async () => (await found(gateway, 'abandoned')) === 1)
  assert.equal(await metric(gateway, 'homing_implicit_answers_total', { settled_by: 'client_left' }), 1)
  gate.open()
})

test('nothing that was said is in metrics, nor in what the store keeps of signs', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  const first = await respond(gateway, 'My password is xyzzyplugh and my name is Quuxley')
  await goesOn(gateway, first, 'That is not what I asked, xyzzyplugh!')
  assert.ok((await found(gateway, 'correction')) === 1)
  const page = await (await fetch(`${gateway.url}/metrics`)).text()
  assert.ok(!/xyzzy|quux/i.test(page))
})

const GROUP = { models: ['tidy', 'sloppy'], config: { model_groups: { auto: ['tidy', 'sloppy'] } } }
/** One of two models writes JSON where JSON is asked for. */
const byModel: Script = (response, asked) => (asked.body['model'] === 'tidy' ? says('{"fruits":["apple"]}') : says('Sure! Here is some JSON.'))(response, asked)

test('nobody grades anything, and a group comes to send its turns to the model whose JSON can be read', { timeout: 120_000 }, async (t) => {
  const gateway = await harness(t, { ...GROUP, usual: byModel })
  const CONVERSATIONS = 100
  const chosen: string[] = []
  for (let at = 0; at < CONVERSATIONS; at++) {
    const first = await gateway.json('/v1/responses', { model: 'auto', input: `List ${at} fruits as JSON`, ...FORMAT })
    chosen.push(String(first.body['model']))
    await gateway.json('/v1/responses', { model: 'auto', input: 'And as many vegetables', previous_response_id: first.body['id'] as string, ...FORMAT })
  }
  const late = chosen.slice(-25).filter((model) => model === 'tidy').length
  assert.ok(late >= 20, `${late} of the last 25`)
})

test('an outcome takes the lesson of its answer back', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  const first = await respond(gateway, QUESTION)
  await goesOn(gateway, first, 'This is useless, it does not work at all.')
  const said = await gateway.json('/homing/v1/outcomes', { response_id: first.body['id'] as string, score: 1 })
  assert.equal(said.status, 200)
  assert.equal(await metric(gateway, 'homing_implicit_lessons_withdrawn_total'), 1)
})

test('how far signs are to be believed is known again after a restart', LIMIT, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'homing-signals-'))
  const upstream = await ScriptedUpstream.start()
  t.after(async () => {
    await upstream.close()
    rmSync(folder, { recursive: true })
  })
  const text = JSON.stringify({ listen: '127.0.0.1:0', store: { path: folder }, log: { level: 'silent' }, backends: [{ url: upstream.url }] })
  const started = async () => {
    const gateway = await startGateway(loadConfig({ text, env: {} }), { version: 'test' })
    await gateway.fleet.firstProbeDone
    return gateway
  }
  const complaints = { signal: 'complaint', on: 'bad' }
  const before = await started()
  const { json } = client(before.url)
  for (let at = 0; at < 12; at++) {
    const first = await json('/v1/responses', { model: 'm', input: `${QUESTION} Number ${at}` })
    await json('/v1/responses', { model: 'm', input: 'This is useless, it does not work at all.', previous_response_id: first.body['id'] as string })
    await json('/homing/v1/outcomes', { response_id: first.body['id'] as string, score: 0 })
  }
  await before.close(0)
  const after = await started()
  assert.ok((await metric(after, 'homing_signal_rate', complaints)) > 0.4, 'a prior of .12, and twelve of twelve')
  await after.close(0)
})
