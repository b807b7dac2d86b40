import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { HomingError } from '../../src/model/error.ts'
import type { JsonObject, JsonValue } from '../../src/model/json.ts'
import { parseResponses } from '../../src/wire/parse-responses.ts'
import { LIMITS, META } from './request-turn.ts'

const parse = (fields: JsonObject) => parseResponses({ model: 'm', input: 'hi', ...fields }, META, LIMITS)
const items = (input: JsonValue) => parse({ input }).input

function refusal(run: () => unknown): { status: number; code: string; param: string | null; message: string } {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof HomingError, `not a HomingError: ${String(error)}`)
    return { status: error.status, code: error.code, param: error.param, message: error.message }
  }
  return assert.fail('it was accepted')
}

describe('a Responses body becomes a turn', () => {
  test('with defaults where the client says nothing', () => {
    const turn = parse({})
    assert.equal(turn.endpoint, 'responses')
    assert.equal(turn.store, true)
    assert.equal(turn.stream, false)
    assert.equal(turn.instructions, null)
    assert.equal(turn.tools, undefined)
    assert.equal(turn.maxOutputTokens, null)
    assert.deepEqual(turn.input, [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hi' }] }])
  })

  test('with null in an optional field meaning that it is absent', () => {
    const keys = [
      'store',
      'stream',
      'temperature',
      'top_p',
      'tools',
      'tool_choice',
      'text',
      'reasoning',
      'metadata',
      'include',
      'previous_response_id',
      'conversation',
      'truncation',
      'background',
      'prompt',
      'instructions',
      'top_logprobs',
      'max_output_tokens',
      'parallel_tool_calls',
      'stream_options',
      'prompt_cache_key',
      'safety_identifier',
      'n',
    ]
    const turn = parse(Object.fromEntries(keys.map((key) => [key, null])))
    assert.equal(turn.store, true)
    assert.equal(turn.tools, undefined)
  })

  test('with the fields it was given, and the body untouched', () => {
    const body = {
      model: 'm',
      input: [],
      conversation: { id: 'conv_1' },
      store: false,
      stream: true,
      instructions: '',
      prompt_cache_key: 'k',
      max_output_tokens: 1,
      acme_extra: { deep: [1] },
    }
    const turn = parseResponses(body, { ...META, sessionHint: 'mine' }, LIMITS)
    assert.equal(turn.conversationId, 'conv_1')
    assert.equal(turn.store, false)
    assert.equal(turn.stream, true)
    assert.equal(turn.instructions, '')
    assert.equal(turn.cacheKey, 'k')
    assert.equal(turn.maxOutputTokens, 1)
    assert.equal(turn.sessionHint, 'mine')
    assert.equal(turn.body, body)
  })

  test('with new input left out where the history alone says enough', () => {
    assert.deepEqual(parseResponses({ model: 'm', previous_response_id: 'resp_1' }, META, LIMITS).input, [])
    assert.deepEqual(parseResponses({ model: 'm', conversation: 'conv_1', input: [] }, META, LIMITS).input, [])
  })
})

describe('an input item', () => {
  const part = (text: string) => ({ type: 'output_text', text, annotations: [], logprobs: [] })
  const cases: readonly [string, JsonObject, JsonObject][] = [
    [
      'easy message',
      { role: 'user', content: 'a' },
      { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'a' }] },
    ],
    [
      'easy assistant message',
      { role: 'assistant', content: 'a' },
      { type: 'message', role: 'assistant', content: [part('a')] },
    ],
    [
      'assistant part without annotations',
      { role: 'assistant', content: [{ type: 'output_text', text: 'a' }] },
      { type: 'message', role: 'assistant', content: [part('a')] },
    ],
    [
      "text part in the other role's word",
      { role: 'user', content: [{ type: 'output_text', text: 'a' }] },
      { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'a' }] },
    ],
    [
      'message with phase, status and a field of tomorrow',
      {
        type: 'message',
        id: 'msg_1',
        role: 'assistant',
        phase: 'commentary',
        status: 'completed',
        odd: 1,
        content: 'a',
      },
      {
        type: 'message',
        id: 'msg_1',
        role: 'assistant',
        phase: 'commentary',
        status: 'completed',
        odd: 1,
        content: [part('a')],
      },
    ],
    ['reference without a type', { id: 'msg_1' }, { type: 'item_reference', id: 'msg_1' }],
    ['reference with a null type', { id: 'msg_1', type: null }, { type: 'item_reference', id: 'msg_1' }],
    [
      'reasoning without a summary',
      { type: 'reasoning', encrypted_content: 'x' },
      { type: 'reasoning', encrypted_content: 'x', summary: [] },
    ],
    [
      'tool output in parts',
      { type: 'function_call_output', call_id: 'c', output: [{ type: 'text', text: 'a' }] },
      { type: 'function_call_output', call_id: 'c', output: [{ type: 'input_text', text: 'a' }] },
    ],
  ]
  for (const [title, given, expected] of cases) {
    test(`is normalised: ${title}`, () => assert.deepEqual(items([given]), [expected]))
  }

  const kept: readonly [string, JsonObject][] = [
    [
      'function call, spaces of its arguments included',
      {
        type: 'function_call',
        id: 'fc_1',
        call_id: 'c',
        name: 'f',
        arguments: '{ "a":  1 }',
        namespace: 'n',
        status: 'completed',
      },
    ],
    ['function output', { type: 'function_call_output', call_id: 'c', output: '' }],
    ['custom call', { type: 'custom_tool_call', call_id: 'c', name: 'f', input: 'x' }],
    ['custom output', { type: 'custom_tool_call_output', call_id: 'c', output: 'x' }],
    ['reasoning', { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 'a' }], content: null }],
    [
      'image',
      { type: 'message', role: 'user', content: [{ type: 'input_image', image_url: 'data:x', detail: 'low' }] },
    ],
    ['file', { type: 'message', role: 'user', content: [{ type: 'input_file', file_data: 'data:x' }] }],
  ]
  for (const [title, given] of kept) {
    test(`is kept as it came: ${title}`, () => assert.equal(items([given])[0], given))
  }
})

describe('a Responses body is refused with code and param:', () => {
  const tool = (fields: JsonObject): JsonObject => ({ tools: [fields] })
  const choose = (tool_choice: JsonValue, tools: JsonValue = [{ type: 'function', name: 'f' }]): JsonObject => ({
    tools,
    tool_choice,
  })
  const deep = (levels: number): JsonValue => (levels === 0 ? 1 : [deep(levels - 1)])
  const cases: readonly [JsonObject, string, string | null][] = [
    [{ model: undefined }, 'missing_required_parameter', 'model'],
    [{ model: 3 }, 'invalid_type', 'model'],
    [{ model: '' }, 'invalid_value', 'model'],
    [{ input: undefined }, 'missing_required_parameter', 'input'],
    [{ input: [] }, 'missing_required_parameter', 'input'],
    [{ input: 5 }, 'invalid_type', 'input'],
    [{ input: { role: 'user' } }, 'invalid_type', 'input'],
    [{ input: Array(51).fill({ role: 'user', content: 'a' }) as JsonValue }, 'too_many_items', 'input'],
    [{ extra: deep(40) }, 'nesting_too_deep', null],
    [{ temperature: 2.1 }, 'invalid_value', 'temperature'],
    [{ temperature: '1' }, 'invalid_type', 'temperature'],
    [{ top_p: -0.1 }, 'invalid_value', 'top_p'],
    [{ presence_penalty: 3 }, 'invalid_value', 'presence_penalty'],
    [{ top_logprobs: 21 }, 'invalid_value', 'top_logprobs'],
    [{ top_logprobs: 1.5 }, 'invalid_type', 'top_logprobs'],
    [{ max_output_tokens: 0 }, 'invalid_value', 'max_output_tokens'],
    [{ max_output_tokens: Infinity }, 'invalid_type', 'max_output_tokens'],
    [{ max_tool_calls: 0 }, 'invalid_value', 'max_tool_calls'],
    [{ stream: 'yes' }, 'invalid_type', 'stream'],
    [{ store: 1 }, 'invalid_type', 'store'],
    [{ instructions: ['a'] }, 'invalid_type', 'instructions'],
    [{ metadata: [] }, 'invalid_type', 'metadata'],
    [{ metadata: { a: 1 } }, 'invalid_type', 'metadata.a'],
    [{ metadata: { a: 'x'.repeat(513) } }, 'invalid_value', 'metadata.a'],
    [{ metadata: { ['k'.repeat(65)]: 'x' } }, 'invalid_value', 'metadata'],
    [
      { metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, 'v'])) },
      'invalid_value',
      'metadata',
    ],
    [{ safety_identifier: 'x'.repeat(65) }, 'invalid_value', 'safety_identifier'],
    [{ background: true }, 'unsupported_parameter', 'background'],
    [{ truncation: 'auto' }, 'unsupported_parameter', 'truncation'],
    [{ truncation: 'some' }, 'invalid_value', 'truncation'],
    [{ prompt: { id: 'pmpt_1' } }, 'unsupported_parameter', 'prompt'],
    [{ context_management: [{ type: 'compaction' }] }, 'unsupported_parameter', 'context_management'],
    [{ n: 2 }, 'unsupported_parameter', 'n'],
    [{ include: ['message.output_text.logprobs', 'all'] }, 'invalid_value', 'include[1]'],
    [{ include: 'all' }, 'invalid_type', 'include'],
    [{ reasoning: { effort: 'huge' } }, 'invalid_value', 'reasoning.effort'],
    [{ reasoning: { summary: 'long' } }, 'invalid_value', 'reasoning.summary'],
    [{ text: { format: { type: 'xml' } } }, 'invalid_value', 'text.format.type'],
    [{ text: { format: { type: 'json_schema', schema: {} } } }, 'missing_required_parameter', 'text.format.name'],
    [{ text: { format: { type: 'json_schema', name: 'a' } } }, 'missing_required_parameter', 'text.format.schema'],
    [{ text: { format: { type: 'json_schema', json_schema: {} } } }, 'invalid_value', 'text.format.json_schema'],
    [{ text: { verbosity: 'loud' } }, 'invalid_value', 'text.verbosity'],
    [{ stream_options: { include_obfuscation: 1 } }, 'invalid_type', 'stream_options.include_obfuscation'],
    [{ previous_response_id: 'abc' }, 'invalid_value', 'previous_response_id'],
    [{ previous_response_id: 7 }, 'invalid_type', 'previous_response_id'],
    [{ conversation: 'abc' }, 'invalid_value', 'conversation'],
    [{ conversation: { id: 'abc' } }, 'invalid_value', 'conversation.id'],
    [{ conversation: {} }, 'missing_required_parameter', 'conversation.id'],
    [
      { conversation: 'conv_1', previous_response_id: 'resp_1' },
      'mutually_exclusive_parameters',
      'previous_response_id',
    ],
    [{ tools: {} }, 'invalid_type', 'tools'],
    [tool({}), 'missing_required_parameter', 'tools[0].type'],
    [tool({ type: 'function' }), 'missing_required_parameter', 'tools[0].name'],
    [tool({ type: 'function', function: { name: 'f' } }), 'invalid_value', 'tools[0].function'],
    [tool({ type: 'function', name: 'f', parameters: 'x' }), 'invalid_type', 'tools[0].parameters'],
    [
      tool({ type: 'custom', name: 'f', format: { type: 'grammar' } }),
      'missing_required_parameter',
      'tools[0].format.definition',
    ],
    [tool({ type: 'namespace', name: 'n' }), 'missing_required_parameter', 'tools[0].tools'],
    [tool({ type: 'namespace', name: 'n', tools: [{ type: 'mcp' }] }), 'invalid_value', 'tools[0].tools[0].type'],
    [tool({ type: 'computer_use_preview' }), 'unsupported_tool', 'tools[0]'],
    [tool({ type: 'computer' }), 'unsupported_tool', 'tools[0]'],
    [tool({ type: 'web\r\nx: y' }), 'invalid_value', 'tools[0].type'],
    [choose('maybe'), 'invalid_value', 'tool_choice'],
    [choose(4), 'invalid_type', 'tool_choice'],
    [choose({ type: 'function', name: 'g' }), 'invalid_value', 'tool_choice'],
    [choose({ type: 'function', function: { name: 'f' } }), 'invalid_value', 'tool_choice'],
    [choose({ type: 'custom', name: 'f' }), 'invalid_value', 'tool_choice'],
    [choose({ type: 'web_search' }), 'unsupported_tool', 'tool_choice'],
    [choose({ type: 'mcp', server_label: 'x' }), 'unsupported_tool', 'tool_choice'],
    [choose('required', [{ type: 'web_search' }]), 'unsupported_tool', 'tool_choice'],
    [choose('required', []), 'invalid_value', 'tool_choice'],
    [
      choose({ type: 'allowed_tools', mode: 'auto', tools: [{ type: 'function', name: 'g' }] }),
      'invalid_value',
      'tool_choice',
    ],
    [
      choose({ type: 'allowed_tools', mode: 'required', tools: [{ type: 'web_search' }] }),
      'unsupported_tool',
      'tool_choice',
    ],
    [choose({ type: 'allowed_tools', mode: 'all', tools: [] }), 'invalid_value', 'tool_choice.mode'],
  ]
  for (const [fields, code, param] of cases) {
    test(`${JSON.stringify(fields).slice(0, 90)} is ${code}`, () => {
      const error = refusal(() => parse(fields))
      assert.deepEqual([error.status, error.code, error.param], [400, code, param])
    })
  }

  const itemCases: readonly [JsonValue, string, string][] = [
    ['text', 'invalid_type', 'input[1]'],
    [{}, 'missing_required_parameter', 'input[1].type'],
    [{ type: 4 }, 'invalid_type', 'input[1].type'],
    [{ type: 'constructor' }, 'invalid_value', 'input[1].type'],
    [{ type: 'message', content: 'a' }, 'missing_required_parameter', 'input[1].role'],
    [{ role: 'tool', content: 'a' }, 'invalid_value', 'input[1].role'],
    [{ role: 'user' }, 'invalid_type', 'input[1].content'],
    [{ role: 'user', content: ['a'] }, 'invalid_type', 'input[1].content[0]'],
    [{ role: 'user', content: [{ text: 'a' }] }, 'missing_required_parameter', 'input[1].content[0].type'],
    [
      { role: 'user', content: [{ type: 'input_text', text: 'a' }, { type: 'song' }] },
      'invalid_value',
      'input[1].content[1].type',
    ],
    [
      { role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] },
      'invalid_value',
      'input[1].content[0].type',
    ],
    [
      { role: 'user', content: [{ type: 'input_image', image_url: { url: 'x' } }] },
      'invalid_value',
      'input[1].content[0].image_url',
    ],
    [{ role: 'user', content: [{ type: 'input_image' }] }, 'invalid_value', 'input[1].content[0]'],
    [{ role: 'user', content: [{ type: 'input_text' }] }, 'missing_required_parameter', 'input[1].content[0].text'],
    [
      { role: 'assistant', content: [{ type: 'input_image', image_url: 'x' }] },
      'invalid_value',
      'input[1].content[0].type',
    ],
    [{ type: 'function_call', name: 'f', arguments: '' }, 'missing_required_parameter', 'input[1].call_id'],
    [{ type: 'function_call', call_id: 'c', name: 'f', arguments: {} }, 'invalid_type', 'input[1].arguments'],
    [{ type: 'function_call_output', call_id: 'c' }, 'missing_required_parameter', 'input[1].output'],
    [{ type: 'function_call_output', call_id: 'c', output: { a: 1 } }, 'invalid_type', 'input[1].output'],
    [{ type: 'reasoning', summary: ['a'] }, 'invalid_type', 'input[1].summary[0]'],
    [{ type: 'item_reference' }, 'missing_required_parameter', 'input[1].id'],
    [{ type: 'compaction', encrypted_content: 'x' }, 'unsupported_item', 'input[1]'],
    [{ type: 'web_search_call', id: 'ws_1' }, 'unsupported_item', 'input[1]'],
    [{ type: 'mcp_call' }, 'unsupported_item', 'input[1]'],
    [{ type: 'configuration_update' }, 'unsupported_item', 'input[1]'],
  ]
  for (const [item, code, param] of itemCases) {
    test(`the item ${JSON.stringify(item).slice(0, 90)} is ${code}`, () => {
      const error = refusal(() => items([{ role: 'user', content: 'a' }, item]))
      assert.deepEqual([error.status, error.code, error.param], [400, code, param])
    })
  }

  test('a body that is no object', () => {
    for (const body of [null, 3, 'x', [], undefined]) {
      assert.equal(refusal(() => parseResponses(body, META, LIMITS)).code, 'invalid_type')
    }
  })

  test('a body nested a hundred thousand levels deep, without overflowing the stack', () => {
    const body: unknown = JSON.parse(`{"model":"m","input":${'['.repeat(100_000)}${']'.repeat(100_000)}}`)
    assert.equal(refusal(() => parseResponses(body, META, LIMITS)).code, 'nesting_too_deep')
  })

  test('a body exactly as deep as the limit is accepted', () => {
    const body = { model: 'm', input: 'hi', extra: [[1]] }
    assert.equal(parseResponses(body, META, { maxItems: 1, maxDepth: 3 }).model, 'm')
    assert.equal(refusal(() => parseResponses(body, META, { maxItems: 1, maxDepth: 2 })).code, 'nesting_too_deep')
  })
})

describe('tools of a Responses body', () => {
  test('hosted tools that are only offered stay in the turn', () => {
    const tools = [{ type: 'web_search' }, { type: 'function', name: 'f' }, { type: 'tool_of_tomorrow', x: 1 }]
    assert.deepEqual(parse({ tools }).tools, tools)
  })

  test('an empty list is not the same as none', () => {
    assert.deepEqual(parse({ tools: [] }).tools, [])
    assert.equal(parse({}).tools, undefined)
  })

  test('a choice may name a tool of the parent, or one of a namespace', () => {
    parse({ tool_choice: { type: 'function', name: 'inherited' } })
    parse({
      tools: [{ type: 'namespace', name: 'n', tools: [{ type: 'function', name: 'f' }] }],
      tool_choice: { type: 'function', name: 'f', namespace: 'n' },
    })
  })
})
