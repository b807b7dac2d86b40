import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JsonObject } from '../../src/model/json.ts'
import { createResponsesStream } from '../../src/wire/responses-stream.ts'
import { orderViolations } from './event-order.ts'
import { RESPONSES_STREAMS } from './response-fixtures.ts'
import { outputOf, resourceOf, runStream, type Run } from './response-harness.ts'

const run = (payloads: readonly (JsonObject | string)[], maxOutputTokens: number | null = null): Run =>
  runStream((assembly) => createResponsesStream(assembly, { maxOutputTokens }), payloads)
const fixture = (name: string, maxOutputTokens: number | null = null): Run => run(RESPONSES_STREAMS[name]!, maxOutputTokens)

const told = (one: Run): unknown[] =>
  outputOf(one).map((item) => {
    const part = ((item['content'] ?? item['summary'] ?? []) as JsonObject[])[0]
    return [item['type'], item['arguments'] ?? part?.['text'] ?? part?.['refusal']]
  })

for (const name of Object.keys(RESPONSES_STREAMS)) {
  test(`Responses stream "${name}" comes out in the canonical order, with our ids`, () => {
    const one = fixture(name)
    assert.deepEqual(orderViolations(one.events), [])
    assert.equal(resourceOf(one)['id'], 'resp_1')
    for (const item of outputOf(one)) assert.match(String(item['id']), /^(msg|rs|fc|ctc)_\d+$/)
  })
}

test('llama.cpp: text, usage, cached tokens', () => {
  const one = fixture('llama.cpp text')
  assert.deepEqual(told(one), [['message', 'Hello']])
  assert.deepEqual(one.stream.usage, { promptTokens: 84, cachedTokens: 83, outputTokens: 2, reasoningTokens: null })
  assert.equal(resourceOf(one)['status'], 'completed')
})

test('llama.cpp says completed when its limit cut the answer off: that is incomplete', () => {
  const one = fixture('llama.cpp text', 2)
  assert.equal(resourceOf(one)['status'], 'incomplete')
  assert.deepEqual(resourceOf(one)['incomplete_details'], { reason: 'max_output_tokens' })
  assert.equal(resourceOf(fixture('llama.cpp text', 3))['status'], 'completed')
})

test('an engine that reports incomplete_details is believed, also at exactly the limit', () => {
  const end = { status: 'completed', incomplete_details: null, usage: { input_tokens: 1, output_tokens: 2 } }
  const one = run([{ type: 'response.output_text.delta', delta: 'x' }, { type: 'response.completed', response: end }], 2)
  assert.equal(resourceOf(one)['status'], 'completed')
})

test('llama.cpp: two calls keep their ids and arguments without any arguments.done', () => {
  const one = fixture('llama.cpp two calls without arguments.done')
  assert.deepEqual(told(one), [['function_call', '{"city":"a"}'], ['function_call', '{"city":"b"}']])
  assert.deepEqual(outputOf(one).map((item) => item['call_id']), ['call_a', 'call_b'])
})

test('vLLM: reasoning text becomes a summary; status incomplete inside response.completed counts', () => {
  const one = fixture('vLLM reasoning and text, cut by its limit')
  assert.deepEqual(told(one), [['reasoning', 'hmm'], ['message', 'Hi']])
  assert.equal(one.events.at(-1)?.type, 'response.incomplete')
  assert.deepEqual(one.stream.usage, { promptTokens: 300, cachedTokens: 256, outputTokens: 5, reasoningTokens: 3 })
})

test('older vLLM: one message with one part, whatever its indexes and ids say', () => {
  assert.deepEqual(told(fixture('older vLLM: a content_index per token, ids that drift')), [['message', 'abc']])
})

test('SGLang: a call that appears only when it is done is streamed all the same', () => {
  const one = fixture('SGLang: a call only in output_item.done')
  assert.deepEqual(told(one), [['function_call', '{"x":1}']])
  assert.ok(one.events.some((event) => event.type === 'response.function_call_arguments.delta'))
})

test('an answer that appears only in the terminal event is streamed all the same', () => {
  const one = fixture('everything only at the end')
  assert.deepEqual(told(one), [['reasoning', 'why'], ['message', 'one'], ['message', 'two'], ['function_call', '{}']])
})

test('two messages in a row stay two items', () => {
  const one = run([
    { type: 'response.output_text.delta', output_index: 0, item_id: 'a', delta: 'one' },
    { type: 'response.output_text.delta', output_index: 1, item_id: 'b', delta: 'two' },
    { type: 'response.completed', response: { status: 'completed', incomplete_details: null } },
  ])
  assert.deepEqual(told(one), [['message', 'one'], ['message', 'two']])
})

test('text that a done event holds beyond its deltas is added, and never twice', () => {
  const one = run([
    { type: 'response.output_text.delta', item_id: 'a', delta: 'on' },
    { type: 'response.output_text.done', item_id: 'a', text: 'one' },
    { type: 'response.output_item.done', item: { type: 'message', id: 'a', content: [{ type: 'output_text', text: 'one two' }] } },
    { type: 'response.completed', response: { status: 'completed', incomplete_details: null } },
  ])
  assert.deepEqual(told(one), [['message', 'one two']])
})

test('calls that only the final output holds are added after streamed text', () => {
  const one = run([
    { type: 'response.output_text.delta', item_id: 'a', delta: 'I call.' },
    {
      type: 'response.completed',
      response: {
        status: 'completed',
        incomplete_details: null,
        output: [
          { type: 'message', id: 'other', content: [{ type: 'output_text', text: 'I call.' }] },
          { type: 'function_call', id: 'f', call_id: 'c', name: 'f', arguments: '{"a":1}' },
        ],
      },
    },
  ])
  assert.deepEqual(told(one), [['message', 'I call.'], ['function_call', '{"a":1}']])
})

test('raw reasoning and its summary are not both shown', () => {
  const one = run([
    { type: 'response.reasoning_text.delta', item_id: 'r', delta: 'raw' },
    { type: 'response.reasoning_summary_text.delta', item_id: 'r', summary_index: 0, delta: 'short' },
    { type: 'response.completed', response: { status: 'completed', incomplete_details: null } },
  ])
  assert.deepEqual(told(one)[0], ['reasoning', 'raw'])
})

for (const [name, payload, status] of [
  ['a flat error event', { type: 'error', code: '400', message: 'no', param: null }, 400],
  ['a nested error event', { type: 'error', error: { type: 'server_error', code: 503, message: 'no' } }, 503],
  ['response.failed', { type: 'response.failed', response: { error: { code: 'server_error', message: 'no' } } }, null],
  ['completed with status failed', { type: 'response.completed', response: { status: 'failed', error: { code: 'x', message: 'no' } } }, null],
  ['a chat-shaped error', { error: { message: 'no', code: 500 } }, 500],
] as const) {
  test(`${name}: before output the turn stays free, after it the response fails with its message`, () => {
    const before = run([payload])
    assert.equal(before.stream.finished, null)
    assert.equal(before.stream.error?.status, status)
    assert.equal(before.stream.error.message, 'no')
    const after = run([{ type: 'response.output_text.delta', item_id: 'a', delta: 'x' }, payload])
    assert.deepEqual(orderViolations(after.events), [])
    assert.deepEqual(resourceOf(after)['error'], { code: 'server_error', message: 'no' })
  })
}

test('an end without a terminal event, and [DONE] without one, fail the response', () => {
  for (const end of [[], ['[DONE]']]) {
    const one = run([{ type: 'response.output_text.delta', item_id: 'a', delta: 'x' }, ...end])
    assert.equal(one.events.at(-1)?.type, 'response.failed')
    assert.equal(outputOf(one)[0]?.['status'], 'incomplete')
  }
})

test('events that cannot be read fail the response; unknown ones are ignored', () => {
  const unknown = run([{ type: 'acme:trace' }, { type: 'response.output_text.delta', delta: 'x' }, { type: 'response.completed', response: {} }])
  assert.equal(unknown.events.at(-1)?.type, 'response.completed')
  assert.equal(run([{ type: 'response.output_text.delta', delta: 'x' }, '{"type":']).events.at(-1)?.type, 'response.failed')
})
