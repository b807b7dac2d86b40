import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Engine } from '../../src/model/backend.ts'
import { HomingError } from '../../src/model/error.ts'
import type { ConversationItem } from '../../src/model/item.ts'
import { isObject } from '../../src/model/json.ts'
import type { JsonObject, JsonValue } from '../../src/model/json.ts'
import { renderChat } from '../../src/wire/render-chat.ts'
import { resolved, SERVED } from './request-turn.ts'

const render = (body: JsonObject, engine: Engine = 'vllm', history: readonly ConversationItem[] = []) =>
  renderChat(resolved(body, history), SERVED, engine)
const messages = (input: JsonValue, engine: Engine = 'vllm') => render({ input }, engine).body['messages']
const field = (body: JsonObject, key: string, engine: Engine = 'vllm') => render(body, engine).body[key]

const USER = { role: 'user', content: 'hi' }
const CALL = { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{"a":  1}' }
const CALL_2 = { type: 'function_call', call_id: 'c2', name: 'g', arguments: '{}' }
const OUTPUT = { type: 'function_call_output', call_id: 'c1', output: 'one' }
const CALLED = { id: 'c1', type: 'function', function: { name: 'f', arguments: '{"a":  1}' } }
const CALLED_2 = { id: 'c2', type: 'function', function: { name: 'g', arguments: '{}' } }
const thought = (text: string) => ({ type: 'reasoning', summary: [{ type: 'summary_text', text }] })

describe('items become messages:', () => {
  const cases: readonly [string, JsonValue, JsonValue][] = [
    ['a string', 'hi', [USER]],
    [
      'several text parts join on lines',
      [
        {
          role: 'user',
          content: [
            { type: 'input_text', text: 'a' },
            { type: 'input_text', text: 'b' },
          ],
        },
      ],
      [{ role: 'user', content: 'a\nb' }],
    ],
    [
      'an image keeps its place and detail',
      [
        {
          role: 'user',
          content: [
            { type: 'input_text', text: 'a' },
            { type: 'input_image', image_url: 'data:x', detail: 'low' },
          ],
        },
      ],
      [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'a' },
            { type: 'image_url', image_url: { url: 'data:x', detail: 'low' } },
          ],
        },
      ],
    ],
    [
      'parts of an answer are put together without separators',
      [
        USER,
        {
          role: 'assistant',
          content: [
            { type: 'output_text', text: 'a' },
            { type: 'output_text', text: 'b' },
          ],
        },
      ],
      [USER, { role: 'assistant', content: 'ab' }],
    ],
    [
      'a refusal is what the assistant said',
      [USER, { role: 'assistant', content: [{ type: 'refusal', refusal: 'no' }] }],
      [USER, { role: 'assistant', content: 'no' }],
    ],
    [
      'parallel calls are one message, their bytes kept',
      [USER, CALL, CALL_2],
      [USER, { role: 'assistant', content: null, tool_calls: [CALLED, CALLED_2] }],
    ],
    [
      'text and calls of one answer are one message',
      [USER, { role: 'assistant', content: 'so' }, CALL, OUTPUT],
      [
        USER,
        { role: 'assistant', content: 'so', tool_calls: [CALLED] },
        { role: 'tool', tool_call_id: 'c1', content: 'one' },
      ],
    ],
    [
      'thinking between parallel calls does not tear them apart',
      [USER, thought('x'), CALL, thought('y'), CALL_2],
      [USER, { role: 'assistant', content: null, reasoning: 'x\n\ny', tool_calls: [CALLED, CALLED_2] }],
    ],
    [
      'an output ends the answer',
      [USER, CALL, OUTPUT, CALL_2],
      [
        USER,
        { role: 'assistant', content: null, tool_calls: [CALLED] },
        { role: 'tool', tool_call_id: 'c1', content: 'one' },
        { role: 'assistant', content: null, tool_calls: [CALLED_2] },
      ],
    ],
    [
      'two answers in a row stay two',
      [USER, { role: 'assistant', content: 'a' }, { role: 'assistant', content: 'b' }],
      [USER, { role: 'assistant', content: 'a' }, { role: 'assistant', content: 'b' }],
    ],
    [
      'reasoning goes with the answer that follows it',
      [USER, { role: 'assistant', content: 'a' }, thought('x'), { role: 'assistant', content: 'b' }],
      [USER, { role: 'assistant', content: 'a' }, { role: 'assistant', content: 'b', reasoning: 'x' }],
    ],
    [
      'reasoning without an answer stays reasoning',
      [USER, thought('x'), USER],
      [USER, { role: 'assistant', content: '', reasoning: 'x' }, USER],
    ],
    [
      'raw reasoning is preferred to its summary',
      [
        USER,
        {
          ...thought('short'),
          content: [
            { type: 'reasoning_text', text: 'lo' },
            { type: 'reasoning_text', text: 'ng' },
          ],
        },
        { role: 'assistant', content: 'a' },
      ],
      [USER, { role: 'assistant', content: 'a', reasoning: 'long' }],
    ],
    [
      'a tool output in parts is text',
      [
        USER,
        CALL,
        {
          ...OUTPUT,
          output: [
            { type: 'input_text', text: 'a' },
            { type: 'input_text', text: 'b' },
          ],
        },
      ],
      [
        USER,
        { role: 'assistant', content: null, tool_calls: [CALLED] },
        { role: 'tool', tool_call_id: 'c1', content: 'a\nb' },
      ],
    ],
    [
      'leading system and developer messages are one',
      [{ role: 'system', content: 'a' }, { role: 'developer', content: 'b' }, USER],
      [{ role: 'system', content: 'a\n\nb' }, USER],
    ],
    [
      'a later developer message is a system message in its place',
      [USER, { role: 'developer', content: 'b' }, USER],
      [USER, { role: 'system', content: 'b' }, USER],
    ],
    [
      'a custom call is a call of the function that stands for it',
      [
        USER,
        { type: 'custom_tool_call', call_id: 'c1', name: 'f', input: 'say "x"' },
        { type: 'custom_tool_call_output', call_id: 'c1', output: 'ok' },
      ],
      [
        USER,
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '{"input":"say \\"x\\""}' } }],
        },
        { role: 'tool', tool_call_id: 'c1', content: 'ok' },
      ],
    ],
  ]
  for (const [title, input, expected] of cases) test(title, () => assert.deepEqual(messages(input), expected))

  test('instructions come first, with the system messages that follow them', () => {
    const body = { instructions: 'be brief', input: [{ role: 'system', content: 'be kind' }, USER] }
    assert.deepEqual(render(body).body['messages'], [{ role: 'system', content: 'be brief\n\nbe kind' }, USER])
    assert.deepEqual(render({ instructions: '', input: 'hi' }).body['messages'], [USER])
  })

  test('reasoning has the field that the engine reads', () => {
    const input = [USER, thought('x'), { role: 'assistant', content: 'a' }]
    assert.deepEqual(messages(input, 'vllm'), [USER, { role: 'assistant', content: 'a', reasoning: 'x' }])
    for (const engine of ['sglang', 'llamacpp', 'unknown'] as const) {
      assert.deepEqual(messages(input, engine), [USER, { role: 'assistant', content: 'a', reasoning_content: 'x' }])
    }
  })

  test('reasoning of which only ciphertext is left is left out, and said so', () => {
    const rendered = render({
      input: [USER, { type: 'reasoning', encrypted_content: 'zzz' }, { role: 'assistant', content: 'a' }],
    })
    assert.deepEqual(rendered.body['messages'], [USER, { role: 'assistant', content: 'a' }])
    assert.deepEqual(rendered.omitted, ['reasoning.encrypted_content'])
  })

  test('history comes before the new input', () => {
    const history = [{ type: 'message', id: 'msg_1', role: 'user', content: [{ type: 'input_text', text: 'before' }] }]
    assert.deepEqual(render({ input: 'hi' }, 'vllm', history).body['messages'], [
      { role: 'user', content: 'before' },
      USER,
    ])
  })
})

describe('what a backend cannot read is a 400 that names the place:', () => {
  const file = { type: 'input_file', file_data: 'data:application/pdf;base64,AA' }
  const cases: readonly [string, JsonValue, string][] = [
    ['a file', [USER, { role: 'user', content: [{ type: 'input_text', text: 'a' }, file] }], 'input[1].content[1]'],
    [
      'an image by file id',
      [{ role: 'user', content: [{ type: 'input_image', file_id: 'file_1' }] }],
      'input[0].content[0]',
    ],
    [
      'an image from a tool',
      [CALL, { ...OUTPUT, output: [{ type: 'input_image', image_url: 'x' }] }],
      'input[1].output[0]',
    ],
  ]
  for (const [title, input, param] of cases) {
    test(title, () => {
      assert.throws(
        () => messages(input),
        (error) => {
          assert.ok(error instanceof HomingError)
          assert.deepEqual([error.status, error.code, error.param], [400, 'unsupported_item', param])
          return true
        },
      )
    })
  }

  test('in the history, by the id of the item', () => {
    const history = [{ type: 'message', id: 'msg_1', role: 'user', content: [file] }]
    assert.throws(() => render({}, 'vllm', history), { param: 'items[msg_1].content[0]' })
  })
})

describe('fields become fields:', () => {
  test('a stream with usage is always asked for, under the served name', () => {
    const { body } = render({ stream: false, stream_options: { include_obfuscation: true } })
    assert.equal(body['model'], 'org/m')
    assert.equal(body['stream'], true)
    assert.deepEqual(body['stream_options'], { include_usage: true })
  })

  test("the gateway's own fields end here", () => {
    const { body, omitted } = render({
      metadata: { a: 'b' },
      store: true,
      previous_response_id: 'resp_1',
      truncation: 'disabled',
      prompt_cache_key: 'k',
      prompt_cache_options: {},
      safety_identifier: 's',
      service_tier: 'auto',
      background: false,
      include: [],
      homing: {},
      n: 1,
    })
    assert.deepEqual(Object.keys(body).sort(), ['messages', 'model', 'stream', 'stream_options'])
    assert.deepEqual(omitted, [])
  })

  test('fields from which the client may have expected an effect are listed', () => {
    assert.deepEqual(render({ service_tier: 'priority', max_tool_calls: 2 }).omitted, [
      'max_tool_calls',
      'service_tier',
    ])
  })

  test("unknown fields and the engines' extras pass through, null does not", () => {
    const extras = {
      cache_salt: 's',
      priority: 3,
      kv_transfer_params: { a: 1 },
      stop: ['x'],
      seed: 1,
      logit_bias: { 5: 1 },
      min_p: 0.1,
      temperature: 0.5,
      top_p: 0.9,
      presence_penalty: 1,
      frequency_penalty: -1,
      field_of_tomorrow: [null],
      user: 'u',
    }
    const { body } = render({ ...extras, seedling: null })
    for (const [key, value] of Object.entries(extras)) assert.deepEqual(body[key], value, key)
    assert.equal('seedling' in body, false)
  })

  test('a field named __proto__ changes nothing', () => {
    const body = JSON.parse('{"__proto__":{"stream":false,"polluted":1}}') as JsonObject
    const rendered = render(body).body
    assert.equal(Object.getPrototypeOf(rendered), Object.prototype)
    assert.equal(rendered['polluted'], undefined)
    assert.equal(rendered['stream'], true)
  })

  test('max_output_tokens is max_tokens', () => assert.equal(field({ max_output_tokens: 9 }, 'max_tokens'), 9))

  test('text.format is response_format', () => {
    const format = { type: 'json_schema', name: 'n', schema: { type: 'object' }, strict: true }
    assert.deepEqual(field({ text: { format, verbosity: 'low' } }, 'response_format'), {
      type: 'json_schema',
      json_schema: { name: 'n', schema: { type: 'object' }, strict: true },
    })
    assert.equal(field({ text: { format, verbosity: 'low' } }, 'verbosity'), 'low')
    assert.deepEqual(field({ text: { format: { type: 'json_object' } } }, 'response_format'), { type: 'json_object' })
    assert.equal(field({ text: { format: { type: 'text' } } }, 'response_format'), undefined)
  })

  test('log probabilities are asked for when they are included', () => {
    const include = ['message.output_text.logprobs']
    assert.deepEqual(
      [field({ include, top_logprobs: 4 }, 'logprobs'), field({ include, top_logprobs: 4 }, 'top_logprobs')],
      [true, 4],
    )
    assert.equal(field({ include }, 'top_logprobs', 'vllm'), 0)
    assert.equal(field({ include }, 'top_logprobs', 'llamacpp'), 1)
    assert.equal(field({ top_logprobs: 0 }, 'logprobs'), undefined)
  })

  test('reasoning.effort is reasoning_effort, and an argument of the template where that is what counts', () => {
    const low = { reasoning: { effort: 'low', summary: 'auto' } }
    assert.equal(field(low, 'reasoning_effort'), 'low')
    assert.equal(field(low, 'chat_template_kwargs'), undefined)
    assert.deepEqual(field(low, 'chat_template_kwargs', 'llamacpp'), { reasoning_effort: 'low' })
    const none = { reasoning: { effort: 'none' }, chat_template_kwargs: { a: 1 } }
    assert.deepEqual(field(none, 'chat_template_kwargs', 'sglang'), { enable_thinking: false, a: 1 })
    assert.deepEqual(field(none, 'chat_template_kwargs', 'unknown'), { a: 1 })
    assert.equal(field({ reasoning: { summary: 'auto' } }, 'reasoning_effort'), undefined)
  })
})

describe('tools become functions:', () => {
  const F = {
    type: 'function',
    name: 'f',
    description: 'does f',
    parameters: { type: 'object', properties: { a: {} } },
    strict: false,
  }
  const G = { type: 'function', name: 'g', parameters: null, strict: null, defer_loading: true }
  const NO_PARAMETERS = { type: 'object', properties: {} }
  const namesOf = (value: JsonValue | undefined): string[] =>
    Array.isArray(value)
      ? value.map((tool: JsonValue) =>
          isObject(tool) && isObject(tool['function']) ? String(tool['function']['name']) : '',
        )
      : []

  test('nested, in their order, with parameters always present', () => {
    const { body, toolNames } = render({ tools: [F, G] })
    assert.deepEqual(body['tools'], [
      { type: 'function', function: { name: 'f', description: 'does f', parameters: F.parameters, strict: false } },
      { type: 'function', function: { name: 'g', parameters: NO_PARAMETERS } },
    ])
    assert.deepEqual(
      [...toolNames],
      [
        ['f', { kind: 'function', name: 'f' }],
        ['g', { kind: 'function', name: 'g' }],
      ],
    )
  })

  test('hosted tools are left out and listed once', () => {
    const { body, omitted } = render({ tools: [{ type: 'web_search' }, F, { type: 'web_search' }, { type: 'mcp' }] })
    assert.deepEqual(namesOf(body['tools']), ['f'])
    assert.deepEqual(omitted, ['web_search', 'mcp'])
  })

  test('with only hosted tools there is no field for tools at all', () => {
    const { body } = render({ tools: [{ type: 'web_search' }], tool_choice: 'auto', parallel_tool_calls: true })
    for (const key of ['tools', 'tool_choice', 'parallel_tool_calls']) assert.equal(key in body, false, key)
  })

  test('a custom tool is a function with one string, its grammar told in words', () => {
    const tool = {
      type: 'custom',
      name: 'patch',
      description: 'Edit.',
      format: { type: 'grammar', syntax: 'lark', definition: 'start: "x"' },
    }
    const { body, toolNames } = render({ tools: [tool] })
    const [first] = body['tools'] as JsonObject[]
    const definition = first?.['function'] as JsonObject
    assert.equal(definition['description'], 'Edit.\n\nThe input must match this grammar (lark):\nstart: "x"')
    assert.deepEqual((definition['parameters'] as JsonObject)['required'], ['input'])
    assert.deepEqual(toolNames.get('patch'), { kind: 'custom', name: 'patch' })
  })

  test('tools of a namespace are flattened, told apart, and found again', () => {
    const tools = [
      {
        type: 'namespace',
        name: 'mail',
        description: 'Letters.',
        tools: [
          { type: 'function', name: 'send' },
          { type: 'custom', name: 'read' },
        ],
      },
      { type: 'namespace', name: 'mcp__fs__', tools: [{ type: 'function', name: 'read' }] },
      { type: 'function', name: 'mail__send' },
    ]
    const { body, toolNames } = render({ tools, input: [{ ...CALL, name: 'send', namespace: 'mail' }] })
    const [send, read, fsRead, plain] = namesOf(body['tools'])
    assert.equal(plain, 'mail__send')
    assert.match(send ?? '', /^mail__send_\w{7}$/)
    assert.deepEqual([read, fsRead], ['mail__read', 'mcp__fs__read'])
    assert.deepEqual(toolNames.get(send ?? ''), { kind: 'function', name: 'send', namespace: 'mail' })
    assert.deepEqual(body['messages'], [
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 'c1', type: 'function', function: { name: send, arguments: CALL.arguments } }],
      },
    ])
    assert.deepEqual((body['tools'] as JsonObject[])[0], {
      type: 'function',
      function: { name: send, description: '(mail: Letters.)', parameters: NO_PARAMETERS },
    })
  })

  test('long flattened names have 64 characters and stay different', () => {
    const long = 'n'.repeat(60)
    const inner = ['aaaaaaaa1', 'aaaaaaaa2'].map((name) => ({ type: 'function', name }))
    const [one, two] = namesOf(field({ tools: [{ type: 'namespace', name: long, tools: inner }] }, 'tools'))
    assert.notEqual(one, two)
    assert.deepEqual([one?.length, two?.length], [64, 64])
  })

  const NAMED = { type: 'function', name: 'f' }
  const allowed = (mode: string, ...names: string[]): JsonObject => ({
    type: 'allowed_tools',
    mode,
    tools: names.map((name) => ({ type: 'function', name })),
  })
  const choices: readonly [string, JsonValue | undefined, Engine, JsonValue | undefined, readonly string[]][] = [
    ['none given', undefined, 'vllm', undefined, ['f', 'g']],
    ['none', 'none', 'vllm', 'none', ['f', 'g']],
    ['required', 'required', 'vllm', 'required', ['f', 'g']],
    ['one named', NAMED, 'vllm', { type: 'function', function: { name: 'f' } }, ['f', 'g']],
    ['one named, to an engine that takes words only', NAMED, 'llamacpp', 'required', ['f']],
    [
      'one allowed and required',
      allowed('required', 'g'),
      'vllm',
      { type: 'function', function: { name: 'g' } },
      ['f', 'g'],
    ],
    ['one allowed', allowed('auto', 'g'), 'vllm', 'auto', ['g']],
    ['all allowed', allowed('auto', 'g', 'f'), 'vllm', 'auto', ['f', 'g']],
    ['none allowed', allowed('auto'), 'vllm', 'none', ['f', 'g']],
  ]
  for (const [title, choice, engine, expected, names] of choices) {
    test(`tool_choice: ${title}`, () => {
      const { body } = render({ tools: [F, G], ...(choice !== undefined && { tool_choice: choice }) }, engine)
      assert.deepEqual(body['tool_choice'], expected)
      assert.deepEqual(namesOf(body['tools']), names)
    })
  }

  test('a custom tool can be named', () => {
    const body = { tools: [F, { type: 'custom', name: 'c' }], tool_choice: { type: 'custom', name: 'c' } }
    assert.deepEqual(field(body, 'tool_choice'), { type: 'function', function: { name: 'c' } })
  })

  test('a choice that the inherited tools cannot meet is refused', () => {
    const turn = resolved({ tool_choice: { type: 'function', name: 'gone' } })
    assert.throws(() => renderChat({ ...turn, effectiveTools: [F] }, SERVED, 'vllm'), {
      code: 'invalid_value',
      param: 'tool_choice',
    })
    assert.equal(
      renderChat({ ...resolved({ tool_choice: NAMED }), effectiveTools: [F] }, SERVED, 'vllm').body['tools'] !==
        undefined,
      true,
    )
  })

  test('parallel_tool_calls goes along', () => {
    assert.equal(field({ tools: [F], parallel_tool_calls: false }, 'parallel_tool_calls'), false)
  })
})
