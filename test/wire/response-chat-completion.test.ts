import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JsonObject } from '../../src/model/json.ts'
import fc from 'fast-check'
import { RepeatedChunk } from '../../src/wire/repeated-chunk.ts'
import { ChatCompletionFold } from '../../src/wire/chat-completion.ts'
import { itemsOfMessages } from '../../src/wire/chat-messages.ts'
import { CHAT_STREAMS } from './response-fixtures.ts'
import { call, delta, usageChunk } from './response-harness.ts'

function fold(...payloads: readonly (JsonObject | string)[]): ChatCompletionFold {
  const folded = new ChatCompletionFold()
  for (const payload of payloads) folded.push(typeof payload === 'string' ? payload : JSON.stringify(payload))
  return folded
}

const messageOf = (folded: ChatCompletionFold, at = 0): JsonObject =>
  ((folded.completion()['choices'] as JsonObject[])[at]?.['message'] ?? {}) as JsonObject

test('chunks fold into the body that an unstreamed answer has, extras included', () => {
  const folded = fold(
    { ...delta({ role: 'assistant', content: null }), system_fingerprint: 'b11549' },
    delta({ content: 'Hel' }),
    delta({ content: 'lo' }),
    delta({}, 'stop'),
    { ...usageChunk(84, 2, { prompt_tokens_details: { cached_tokens: 83 } }), timings: { cache_n: 83 } },
    '[DONE]',
  )
  assert.deepEqual(folded.completion(), {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1,
    model: 'm',
    system_fingerprint: 'b11549',
    usage: { prompt_tokens: 84, completion_tokens: 2, total_tokens: 86, prompt_tokens_details: { cached_tokens: 83 } },
    timings: { cache_n: 83 },
    choices: [{ index: 0, message: { role: 'assistant', content: 'Hello', refusal: null }, logprobs: null, finish_reason: 'stop' }],
  })
  assert.deepEqual(folded.usage, { promptTokens: 84, cachedTokens: 83, outputTokens: 2, reasoningTokens: null })
  assert.deepEqual([folded.id, folded.finishReason, folded.error, folded.outputBegan], ['chatcmpl-1', 'stop', null, true])
})

test('reasoning, text and parallel calls fold, and read back as the items of the next request', () => {
  const folded = fold(...CHAT_STREAMS['vLLM reasoning, text, two parallel calls']!)
  const message = messageOf(folded)
  assert.equal(message['reasoning'], 'thinking')
  assert.equal(message['content'], 'I look.')
  assert.deepEqual(message['tool_calls'], [
    { id: 'call_a', type: 'function', function: { name: 'get_weather', arguments: '{"city":"alpha"}' } },
    { id: 'call_b', type: 'function', function: { name: 'get_weather', arguments: '{"city":"beta"}' } },
  ])
  assert.deepEqual(folded.items(), itemsOfMessages([message]))
  assert.deepEqual(folded.items().map((item) => item.type), ['reasoning', 'message', 'function_call', 'function_call'])
})

test('a message of calls alone has null content', () => {
  const folded = fold(delta({ role: 'assistant', content: '' }), call(0, 'a', 'f', '{}'), delta({}, 'tool_calls'))
  assert.equal(messageOf(folded)['content'], null)
  assert.deepEqual(folded.items().map((item) => item.type), ['function_call'])
})

test('all choices fold, in order; the answer as items is choice 0; unfinished means no finish reason yet', () => {
  const both = (first: string, second: string): JsonObject => ({
    ...delta({}),
    choices: [{ index: 1, delta: { content: second } }, { index: 0, delta: { content: first } }],
  })
  const folded = fold(both('a', 'x'), both('b', 'y'), delta({}, 'stop'))
  assert.deepEqual([messageOf(folded, 0)['content'], messageOf(folded, 1)['content']], ['ab', 'xy'])
  assert.equal(folded.finishReason, null)
  folded.push(JSON.stringify({ ...delta({}), choices: [{ index: 1, delta: {}, finish_reason: 'length' }] }))
  assert.equal(folded.finishReason, 'stop')
  assert.equal(folded.items().length, 1)
})

test('refusals, legacy function calls, annotations and log probabilities fold', () => {
  const folded = fold(
    delta({ refusal: 'I ' }), delta({ refusal: 'will not' }),
    delta({ function_call: { name: 'f', arguments: '{' } }), delta({ function_call: { arguments: '}' } }),
    delta({ annotations: [1] }), delta({ annotations: [2] }),
    { ...delta({}), choices: [{ index: 0, delta: {}, logprobs: { content: [{ token: 'a' }], refusal: null } }] },
    { ...delta({}), choices: [{ index: 0, delta: {}, logprobs: { content: [{ token: 'b' }] }, finish_reason: 'stop', stop_reason: 7 }] },
  )
  const message = messageOf(folded)
  assert.equal(message['refusal'], 'I will not')
  assert.deepEqual(message['function_call'], { name: 'f', arguments: '{}' })
  assert.deepEqual(message['annotations'], [1, 2])
  const choice = (folded.completion()['choices'] as JsonObject[])[0]
  assert.deepEqual(choice?.['logprobs'], { content: [{ token: 'a' }, { token: 'b' }] })
  assert.equal(choice?.['stop_reason'], 7)
})

test('a whole body is kept as it came and observed the same way', () => {
  const body = {
    id: 'x',
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 3, completion_tokens: 1 },
  }
  const folded = new ChatCompletionFold()
  folded.accept(body)
  assert.equal(folded.completion(), body)
  assert.deepEqual([folded.id, folded.finishReason, folded.usage?.promptTokens], ['x', 'stop', 3])
  assert.equal(folded.items()[0]?.type, 'message')
})

test('errors and unreadable chunks are told without the text, and end the fold', () => {
  const payload = fold({ error: { message: 'busy', code: 503 } }, delta({ content: 'late' }))
  assert.deepEqual([payload.error, payload.outputBegan], [{ status: 503, message: 'busy', kind: '503' }, false])
  for (const data of ['{"secret', '"secret"', 'null']) {
    const broken = fold(data)
    assert.ok(broken.error)
    assert.doesNotMatch(broken.error.message, /secret/)
  }
})

test('nothing is claimed of a stream without usage or output', () => {
  const folded = fold(delta({ role: 'assistant', content: '' }))
  assert.deepEqual([folded.usage, folded.outputTokens, folded.outputBegan, folded.finishReason], [null, 0, false, null])
  assert.deepEqual(new ChatCompletionFold().items(), [])
})

test('a chunk that is read without parsing reads as if it were parsed, whatever lies in it', () => {
  const text = fc.oneof(fc.string(), fc.constantFrom('"', '\\', '\n', '","x":"', '"content":"', '}', 'probe', ' tok', '\ud83d'))
  const chunk = fc.record({ text, other: fc.constantFrom(null, 'id', 'finish', 'reasoning', 'second') })
  fc.assert(
    fc.property(fc.array(chunk, { maxLength: 20 }), text, (chunks, id) => {
      const repeated = new RepeatedChunk()
      for (const one of chunks) {
        const fields = { content: one.text, ...(one.other === 'reasoning' ? { reasoning: one.text } : {}) }
        const choices: JsonObject[] = [{ index: 0, delta: fields, finish_reason: one.other === 'finish' ? 'stop' : null }]
        if (one.other === 'second') choices.push({ index: 1, delta: { content: one.text } })
        const parsed: JsonObject = { id: one.other === 'id' ? one.text : id, content: id, choices }
        const data = JSON.stringify(parsed)
        const read = repeated.read(data)
        if (read !== null) {
          assert.equal(read, one.text)
          assert.deepEqual([one.other === 'finish', one.other === 'reasoning', one.other === 'second'], [false, false, false])
        }
        repeated.learn(data, parsed)
      }
    }),
    { numRuns: 300 },
  )
  const plain = new RepeatedChunk()
  const first = delta({ content: 'a' })
  plain.learn(JSON.stringify(first), first)
  assert.equal(plain.read(JSON.stringify(delta({ content: 'b "c" \n' }))), 'b "c" \n')
})
