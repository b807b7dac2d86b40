import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as check from 'fast-check'
import { chunk, DONE, send, sseHead, usageChunk } from '../gateway/support/scripted-upstream.ts'
import { harness } from '../gateway/support/gateway.ts'
import { pageModule } from './page-module.ts'

type SeenEvent = { readonly name: string; readonly data: string }
type Answer = { readonly id: string | null; readonly model: string | null; readonly text: string; readonly reasoning: string; readonly status: string; readonly trouble: string | null }
const { EventReader, eventsOf } = await pageModule<{
  EventReader: new () => { push(text: string): SeenEvent[] }
  eventsOf: (body: ReadableStream<Uint8Array>) => AsyncGenerator<SeenEvent>
}>('sse.js')
const { NO_ANSWER, withEvent, brokenOff, canGoOn } = await pageModule<{
  NO_ANSWER: Answer; withEvent: (answer: Answer, event: SeenEvent) => Answer; brokenOff: (answer: Answer) => Answer; canGoOn: (answer: Answer) => boolean
}>('answer.js')

test('events are the same however the stream was cut, and whatever ends its lines', () => {
  const line = check.stringMatching(/^[^\r\n]{0,12}$/)
  const event = check.record({ name: check.constantFrom('a', 'response.created', 'message'), data: check.array(line, { minLength: 1, maxLength: 3 }) })
  const streams = check.record({ events: check.array(event, { maxLength: 5 }), end: check.constantFrom('\n', '\r\n', '\r'), cuts: check.array(check.nat(400), { maxLength: 12 }) })
  check.assert(check.property(streams, ({ events, end, cuts }) => {
    const text = events.map(({ name, data }) => [`: alive`, `event: ${name}`, ...data.map((each) => `data: ${each}`), '', ''].join(end)).join('')
    const places = [...new Set([0, ...cuts.map((cut) => Math.min(cut, text.length)), text.length])].sort((a, b) => a - b)
    const reader = new EventReader()
    const seen = places.slice(1).flatMap((place, at) => reader.push(text.slice(places[at], place)))
    // a lone CR at the very end may still be half of a CR LF: it counts with what follows
    seen.push(...reader.push(end === '\r' ? 'x' : ''))
    assert.deepEqual(seen, events.map(({ name, data }) => ({ name, data: data.join('\n') })))
  }))
})

test('letters that were cut in the middle of their bytes arrive whole', async () => {
  const bytes = new TextEncoder().encode('data: Grüße, 世界 👋🏽\n\n')
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte))
      controller.close()
    },
  })
  const seen: SeenEvent[] = []
  for await (const event of eventsOf(body)) seen.push(event)
  assert.deepEqual(seen, [{ name: 'message', data: 'Grüße, 世界 👋🏽' }])
})

test('an event without an end is refused before it fills the memory', () => {
  const reader = new EventReader()
  assert.throws(() => {
    for (let i = 0; i < 20; i++) reader.push(`data: ${'x'.repeat(2 ** 20)}${i % 2 === 0 ? '\n' : ''}`)
  }, /without an end/)
})

async function answered(t: Parameters<typeof harness>[0], script: Parameters<Awaited<ReturnType<typeof harness>>['next']>[0]): Promise<{ answer: Answer; states: string[] }> {
  const { post, next } = await harness(t)
  next(script)
  const response = await post('/v1/responses', { model: 'm', input: 'Say hello.', stream: true })
  let answer = NO_ANSWER
  const states: string[] = []
  for await (const event of eventsOf(response.body!)) {
    answer = withEvent(answer, event)
    states.push(answer.text)
  }
  return { answer: brokenOff(answer), states }
}

test("an answer of the gateway is read as it comes, and can be continued", { timeout: 30_000 }, async (t) => {
  const { answer, states } = await answered(t, async (response) => {
    sseHead(response)
    await send(response, chunk({ role: 'assistant', content: 'Hello ' }))
    response.end(chunk({ content: '<b>there</b>' }) + chunk({}, 'stop') + usageChunk() + DONE)
  })
  assert.deepEqual({ ...answer, id: null }, { id: null, model: 'm', text: 'Hello <b>there</b>', reasoning: '', status: 'completed', trouble: null })
  assert.ok(states.includes('Hello '))
  assert.match(answer.id!, /^resp_/)
  assert.equal(canGoOn(answer), true)
})

test('an answer that was cut short says why, one that failed cannot be continued', { timeout: 30_000 }, async (t) => {
  const cut = await answered(t, (response) => {
    sseHead(response)
    response.end(chunk({ content: 'Half' }) + chunk({}, 'length') + usageChunk() + DONE)
  })
  assert.deepEqual([cut.answer.status, cut.answer.text, canGoOn(cut.answer)], ['incomplete', 'Half', true])
  assert.match(cut.answer.trouble!, /most tokens/)
  const failed = await answered(t, async (response) => {
    sseHead(response)
    await send(response, chunk({ role: 'assistant', content: 'Half of ' }))
    response.destroy()
  })
  assert.deepEqual([failed.answer.status, failed.answer.text, canGoOn(failed.answer)], ['failed', 'Half of ', false])
  assert.ok(failed.answer.trouble)
})

test('a stream that ends without a word of its own has failed', () => {
  const created = withEvent(NO_ANSWER, { name: 'response.created', data: JSON.stringify({ type: 'response.created', response: { id: 'resp_1', model: 'm' } }) })
  assert.deepEqual([brokenOff(created).status, brokenOff(created).id], ['failed', 'resp_1'])
  const ended = withEvent(created, { name: 'response.completed', data: JSON.stringify({ type: 'response.completed', response: { id: 'resp_1', model: 'm', status: 'completed', output: [] } }) })
  assert.equal(brokenOff(ended).status, 'completed')
})

test('events that the page does not know change nothing', () => {
  for (const type of ['response.output_item.added', 'response.something_new']) assert.equal(withEvent(NO_ANSWER, { name: type, data: JSON.stringify({ type }) }), NO_ANSWER)
  assert.equal(withEvent(NO_ANSWER, { name: 'message', data: '[DONE]' }), NO_ANSWER)
})

