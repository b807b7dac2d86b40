import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { HomingError } from '../../src/model/error.ts'
import type { JsonObject, JsonValue } from '../../src/model/json.ts'
import { parseChat } from '../../src/wire/parse-chat.ts'
import { parseResponses } from '../../src/wire/parse-responses.ts'
import { LIMITS, META } from './request-turn.ts'

const USER = { role: 'user', content: 'hi' }
const chat = (fields: JsonObject) => parseChat({ model: 'm', messages: [USER], ...fields }, META, LIMITS)

describe('a Chat Completions body becomes a turn', () => {
  test('that is not stored, has no instructions and keeps the body', () => {
    const body = {
      model: 'm',
      messages: [{ role: 'system', content: 's' }, USER],
      stream: true,
      max_tokens: 5,
      seed: 1,
    }
    const turn = parseChat(body, META, LIMITS)
    assert.equal(turn.endpoint, 'chat')
    assert.equal(turn.store, false)
    assert.equal(turn.stream, true)
    assert.equal(turn.instructions, null)
    assert.equal(turn.maxOutputTokens, 5)
    assert.equal(turn.body, body)
    assert.equal(turn.input[0]?.['role'], 'system')
  })

  test('whose newer output limit wins over the older one', () => {
    assert.equal(chat({ max_tokens: 5, max_completion_tokens: 7 }).maxOutputTokens, 7)
  })

  test('whose tools have the shape of the Responses API', () => {
    const parameters = { type: 'object', properties: {} }
    const tools = [
      { type: 'function', function: { name: 'f', description: 'd', parameters, strict: true } },
      { type: 'custom', custom: { name: 'c' } },
    ]
    assert.deepEqual(chat({ tools }).tools, [
      { type: 'function', name: 'f', description: 'd', parameters, strict: true },
      { type: 'custom', name: 'c' },
    ])
    assert.equal(chat({}).tools, undefined)
  })

  test('with the same items as the same conversation has in the Responses API', () => {
    const messages: JsonValue = [
      { role: 'system', content: 'be short' },
      { role: 'developer', content: 'be kind' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'look' },
          { type: 'image_url', image_url: { url: 'data:a', detail: 'low' } },
        ],
      },
      {
        role: 'assistant',
        content: 'let me see',
        reasoning_content: 'hmm',
        tool_calls: [
          { id: 'c1', type: 'function', function: { name: 'f', arguments: '{"a": 1}' } },
          { id: 'c2', type: 'custom', custom: { name: 'g', input: 'raw' } },
        ],
      },
      { role: 'tool', tool_call_id: 'c1', content: 'one' },
      { role: 'tool', tool_call_id: 'c2', content: [{ type: 'text', text: 'two' }] },
      { role: 'assistant', content: [{ type: 'text', text: 'done' }] },
      { role: 'assistant', content: null, refusal: 'no' },
      { role: 'user', content: 'more' },
    ]
    const input: JsonValue = [
      { role: 'system', content: 'be short' },
      { role: 'developer', content: 'be kind' },
      {
        role: 'user',
        content: [
          { type: 'input_text', text: 'look' },
          { type: 'input_image', image_url: 'data:a', detail: 'low' },
        ],
      },
      { type: 'reasoning', summary: [{ type: 'summary_text', text: 'hmm' }] },
      { role: 'assistant', content: 'let me see' },
      { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{"a": 1}' },
      { type: 'custom_tool_call', call_id: 'c2', name: 'g', input: 'raw' },
      { type: 'function_call_output', call_id: 'c1', output: 'one' },
      { type: 'custom_tool_call_output', call_id: 'c2', output: [{ type: 'input_text', text: 'two' }] },
      { role: 'assistant', content: [{ type: 'output_text', text: 'done' }] },
      { role: 'assistant', content: [{ type: 'refusal', refusal: 'no' }] },
      { role: 'user', content: 'more' },
    ]
    assert.deepEqual(chat({ messages }).input, parseResponses({ model: 'm', input }, META, LIMITS).input)
  })

  test('with reasoning under either name', () => {
    const said = (field: string) => chat({ messages: [USER, { role: 'assistant', content: 'a', [field]: 'r' }] }).input
    assert.deepEqual(said('reasoning'), said('reasoning_content'))
    assert.equal(said('reasoning').length, 3)
  })

  test('with parts that the Responses API has no word for kept as they are', () => {
    const audio = { type: 'input_audio', input_audio: { data: 'x', format: 'wav' } }
    assert.deepEqual(chat({ messages: [{ role: 'user', content: [audio] }] }).input[0]?.['content'], [audio])
  })
})

describe('a Chat Completions body is refused with code and param:', () => {
  const said = (message: JsonValue): JsonObject => ({ messages: [USER, message] })
  const cases: readonly [JsonObject, string, string | null][] = [
    [{ model: undefined }, 'missing_required_parameter', 'model'],
    [{ messages: undefined }, 'missing_required_parameter', 'messages'],
    [{ messages: 'hi' }, 'invalid_type', 'messages'],
    [{ messages: [] }, 'invalid_value', 'messages'],
    [{ messages: Array(51).fill(USER) as JsonValue }, 'too_many_items', 'messages'],
    [{ stream: 'yes' }, 'invalid_type', 'stream'],
    [{ stream_options: { include_usage: 'yes' } }, 'invalid_type', 'stream_options.include_usage'],
    [{ n: 0 }, 'invalid_value', 'n'],
    [{ temperature: 'hot' }, 'invalid_type', 'temperature'],
    [{ max_tokens: 1.5 }, 'invalid_type', 'max_tokens'],
    [{ max_completion_tokens: -1 }, 'invalid_value', 'max_completion_tokens'],
    [{ tool_choice: 3 }, 'invalid_type', 'tool_choice'],
    [{ tools: {} }, 'invalid_type', 'tools'],
    [{ tools: [{ type: 'function', name: 'f' }] }, 'invalid_type', 'tools[0].function'],
    [said(null), 'invalid_type', 'messages[1]'],
    [said({ content: 'a' }), 'missing_required_parameter', 'messages[1].role'],
    [said({ role: 'robot', content: 'a' }), 'invalid_value', 'messages[1].role'],
    [said({ role: 'function', name: 'f', content: 'a' }), 'unsupported_parameter', 'messages[1].role'],
    [said({ role: 'user' }), 'invalid_type', 'messages[1].content'],
    [said({ role: 'user', content: ['a'] }), 'invalid_type', 'messages[1].content[0]'],
    [said({ role: 'assistant', content: 4 }), 'invalid_type', 'messages[1].content'],
    [said({ role: 'assistant', content: 'a', refusal: 3 }), 'invalid_type', 'messages[1].refusal'],
    [said({ role: 'assistant', tool_calls: {} }), 'invalid_type', 'messages[1].tool_calls'],
    [said({ role: 'assistant', tool_calls: [{ id: 'c' }] }), 'invalid_type', 'messages[1].tool_calls[0].function'],
    [said({ role: 'tool', content: 'a' }), 'missing_required_parameter', 'messages[1].tool_call_id'],
    [{ extra: JSON.parse('['.repeat(60) + ']'.repeat(60)) as JsonValue }, 'nesting_too_deep', null],
  ]
  for (const [fields, code, param] of cases) {
    test(`${JSON.stringify(fields).slice(0, 90)} is ${code}`, () => {
      assert.throws(
        () => chat(fields),
        (error) => {
          assert.ok(error instanceof HomingError)
          assert.deepEqual([error.status, error.code, error.param], [400, code, param])
          return true
        },
      )
    })
  }
})
