import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ResponseEvent } from '../../src/model/event.ts'
import { createChatStream } from '../../src/wire/chat-stream.ts'
import { encodeEvent, SseReader } from '../../src/wire/sse.ts'
import { orderViolations } from './event-order.ts'
import { CHAT_STREAMS } from './response-fixtures.ts'
import { call, delta, newAssembly, outputOf, resourceOf, runStream, usageChunk, type Run } from './response-harness.ts'
import type { JsonObject } from '../../src/model/json.ts'

const run = (...payloads: readonly (JsonObject | string)[]): Run => runStream(createChatStream, payloads)
const texts = (one: Run): unknown[] =>
  outputOf(one).map((item) => item['arguments'] ?? (((item['content'] ?? item['summary']) as JsonObject[])[0]?.['text']))

for (const [name, payloads] of Object.entries(CHAT_STREAMS)) {
  test(`chat stream "${name}" comes out in the canonical order`, () => {
    assert.deepEqual(orderViolations(runStream(createChatStream, payloads).events), [])
  })
}

test('a llama.cpp answer: text, usage, cached tokens', () => {
  const one = run(...CHAT_STREAMS['llama.cpp text']!)
  assert.deepEqual(texts(one), ['Hello'])
  assert.deepEqual(one.stream.usage, { promptTokens: 84, cachedTokens: 83, outputTokens: 2, reasoningTokens: null })
  assert.equal(one.stream.finished?.trouble, null)
})

test('a vLLM answer: reasoning, message and both calls are items in that order', () => {
  const one = run(...CHAT_STREAMS['vLLM reasoning, text, two parallel calls']!)
  assert.deepEqual(outputOf(one).map((item) => item['type']), ['reasoning', 'message', 'function_call', 'function_call'])
  assert.deepEqual(texts(one), ['thinking', 'I look.', '{"city":"alpha"}', '{"city":"beta"}'])
  assert.deepEqual(outputOf(one).slice(2).map((item) => item['call_id']), ['call_a', 'call_b'])
})

test('a SGLang answer that its limit cut off is incomplete, its reasoning tokens known', () => {
  const one = run(...CHAT_STREAMS['SGLang reasoning_content, cut by its limit']!)
  assert.equal(resourceOf(one)['status'], 'incomplete')
  assert.equal(one.stream.usage?.reasoningTokens, 1)
  assert.deepEqual(outputOf(one).map((item) => item['status']), ['completed', 'incomplete'])
})

test('cached tokens come from llama.cpp timings where usage does not tell', () => {
  const one = run(delta({ content: 'x' }), delta({}, 'stop'), { ...usageChunk(84, 1), timings: { cache_n: 83, prompt_n: 1, predicted_n: 1 } })
  assert.equal(one.stream.usage?.cachedTokens, 83)
  const bare = run(delta({ content: 'x' }), { ...delta({}, 'stop'), timings: { cache_n: 80, prompt_n: 4, predicted_n: 1 } })
  assert.deepEqual(bare.stream.usage, { promptTokens: 84, cachedTokens: 80, outputTokens: 1, reasoningTokens: null })
})

test('log probabilities are mapped, bytes filled in', () => {
  const one = run(...CHAT_STREAMS['with log probabilities']!)
  const part = (outputOf(one)[0]?.['content'] as JsonObject[] | undefined)?.[0]
  assert.deepEqual(part?.['logprobs'], [
    { token: 'é', logprob: -0.1, bytes: [195, 169], top_logprobs: [{ token: 'e', logprob: -2, bytes: [101] }] },
  ])
})

test('an engine without usage: deltas are counted, and the stream claims no usage', () => {
  const one = run(delta({ content: 'a' }), delta({ content: 'b' }), delta({}, 'stop'))
  assert.equal(one.stream.usage, null)
  assert.equal(one.stream.outputTokens, 2)
  assert.equal((resourceOf(one)['usage'] as JsonObject)['output_tokens'], 2)
  assert.equal((resourceOf(one)['usage'] as JsonObject)['input_tokens'], 0)
})

test('the answer waits for the usage that follows the finish reason', () => {
  const open = runStream(createChatStream, [delta({ content: 'a' }), delta({}, 'stop')], { end: false })
  assert.equal(open.events.at(-1)?.type, 'response.output_text.delta')
  open.stream.push(JSON.stringify(usageChunk(7, 1)))
  open.stream.push('[DONE]')
  assert.equal(open.stream.finished?.terminal.type, 'response.completed')
  assert.equal(open.stream.usage?.promptTokens, 7)
})

test('calls without an index, or all with index 0, stay apart by id and name', () => {
  for (const index of [null, 0]) {
    const one = run(
      call(index, 'a', 'f', '{"x":'), call(index, null, null, '1}'),
      call(index, 'b', 'f', '{"y":'), call(index, null, null, '2}'),
      delta({}, 'tool_calls'),
    )
    assert.deepEqual(texts(one), ['{"x":1}', '{"y":2}'], `index ${index}`)
  }
})

test('a whole message instead of deltas, a legacy function_call, and arguments as an object are read', () => {
  const whole = run({ choices: [{ index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: 'stop' }] })
  assert.deepEqual(texts(whole), ['hi'])
  const legacy = run(delta({ function_call: { name: 'f', arguments: '{' } }), delta({ function_call: { arguments: '}' } }, 'function_call'))
  assert.deepEqual(texts(legacy), ['{}'])
  const object = run(delta({ tool_calls: [{ index: 0, id: 'a', function: { name: 'f', arguments: { x: 1 } } }] }, 'tool_calls'))
  assert.deepEqual(texts(object), ['{"x":1}'])
})

test('other choices are not mixed into the answer, and <think> tags stay text', () => {
  const other = { ...delta({}), choices: [{ index: 1, delta: { content: 'B' } }, { index: 0, delta: { content: '<think>A' } }] }
  assert.deepEqual(texts(run(other, delta({}, 'stop'))), ['<think>A'])
})

test('first output is text, reasoning, a call or a finish, not the opening chunk', () => {
  const stream = runStream(createChatStream, [delta({ role: 'assistant', content: '' })], { end: false }).stream
  assert.equal(stream.firstOutput, false)
  for (const payload of [delta({ reasoning: 'x' }), delta({ content: 'x' }), call(0, 'a', null, null), delta({}, 'stop')]) {
    assert.equal(runStream(createChatStream, [payload], { end: false }).stream.firstOutput, true)
  }
})

for (const [name, payloads, status] of [
  ['an error payload', [{ error: { message: 'busy', type: 'overloaded', code: 503 } }], 503],
  ['vLLM\'s older error object', [{ object: 'error', message: 'bad', type: 'BadRequestError', code: 400 }], 400],
  ['an error as text', [{ error: 'loading' }], null],
  ['malformed JSON', ['{"choices": [secret'], null],
  ['JSON that is no object', ['[1]'], null],
  ['an end without a finish reason', [delta({ role: 'assistant' })], null],
  ['[DONE] without a finish reason', [delta({ role: 'assistant' }), '[DONE]'], null],
] as const) {
  test(`${name} before any output leaves the turn free for another backend`, () => {
    const one = run(...payloads)
    assert.equal(one.stream.finished, null)
    assert.equal(one.stream.error?.status, status)
    assert.equal(one.stream.firstOutput, false)
    assert.equal(one.assembly.opened, false)
    assert.deepEqual(one.events, [])
  })

  test(`${name} after output fails the response, once, without telling the text`, () => {
    const early = name.includes('finish reason')
    const late = early ? [] : [delta({ content: 'late' }), delta({}, 'stop')]
    const one = run(delta({ content: 'visible text' }), ...payloads, ...late)
    assert.equal(one.stream.error, null)
    assert.deepEqual(orderViolations(one.events), [])
    assert.equal(one.events.at(-1)?.type, 'response.failed')
    assert.ok(one.stream.finished?.trouble)
    assert.doesNotMatch(String(one.stream.finished?.trouble), /secret|visible/)
    assert.deepEqual(texts(one), ['visible text'])
  })
}

for (const reason of ['abort', 'error', 'repetition']) {
  test(`finish reason ${reason} is a failure that names it`, () => {
    const one = run(delta({ content: 'x' }), delta({}, reason), '[DONE]')
    assert.equal(one.events.at(-1)?.type, 'response.failed')
    assert.match(String(one.stream.finished?.trouble), new RegExp(reason))
  })
}

test('a broken connection fails an unfinished answer and completes a finished one', () => {
  const unfinished = runStream(createChatStream, [delta({ content: 'x' })], { end: false })
  unfinished.stream.broken('The connection was reset.')
  assert.equal(unfinished.stream.finished?.terminal.type, 'response.failed')
  assert.equal(unfinished.stream.finished?.trouble, 'The connection was reset.')
  const finished = runStream(createChatStream, [delta({ content: 'x' }), delta({}, 'stop')], { end: false })
  finished.stream.broken('The connection was reset.')
  assert.equal(finished.stream.finished?.terminal.type, 'response.completed')
})

test('any split of the backend\'s bytes gives the same events, numbered without gaps', () => {
  const payloads = [...CHAT_STREAMS['vLLM reasoning, text, two parallel calls']!]
  payloads.splice(3, 0, delta({ content: 'né 😀' }))
  const expected = run(...payloads).events
  const bytes = Buffer.from(payloads.map((one) => `data: ${typeof one === 'string' ? one : JSON.stringify(one)}\r\n\r\n`).join(''))
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 0, max: bytes.length }), { maxLength: 40 }), (cuts) => {
      const events: ResponseEvent[] = []
      const stream = createChatStream(newAssembly(events))
      const reader = new SseReader((data) => stream.push(data))
      const at = [0, ...cuts.sort((a, b) => a - b), bytes.length]
      for (let i = 1; i < at.length; i += 1) reader.push(bytes.subarray(at[i - 1], at[i]))
      reader.end()
      stream.end()
      events.push(stream.finished!.terminal)
      assert.deepEqual(events, expected)
      const sent: ResponseEvent[] = []
      const client = new SseReader((data) => sent.push(JSON.parse(data) as ResponseEvent))
      client.push(Buffer.from(events.map(encodeEvent).join('')))
      assert.deepEqual(orderViolations(sent, { numbered: true }), [])
    }),
  )
})
