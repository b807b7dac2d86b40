import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Engine } from '../../src/model/backend.ts'
import type { JsonObject, JsonValue } from '../../src/model/json.ts'
import { renderResponses } from '../../src/wire/render-responses.ts'
import { resolved, SERVED } from './request-turn.ts'

const render = (body: JsonObject, engine: Engine = 'vllm') => renderResponses(resolved(body), SERVED, engine)
const input = (items: JsonValue, engine: Engine = 'vllm') => render({ input: items }, engine).body['input']
const F = { type: 'function', name: 'f', description: 'd', parameters: { type: 'object', properties: {} } }

describe('a turn for a backend that speaks the Responses API', () => {
  test('keeps its state here and asks for a stream', () => {
    const { body } = render({
      instructions: 'be brief',
      store: true,
      conversation: 'conv_1',
      metadata: { a: 'b' },
      prompt_cache_key: 'k',
      include: ['reasoning.encrypted_content', 'message.output_text.logprobs'],
      max_output_tokens: 5,
      cache_salt: 's',
      stream_options: { include_obfuscation: true },
    })
    assert.deepEqual(body, {
      model: 'org/m',
      instructions: 'be brief',
      input: [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hi' }] }],
      max_output_tokens: 5,
      cache_salt: 's',
      include: ['message.output_text.logprobs'],
      store: false,
      stream: true,
    })
  })

  const message = (role: string, text: string) => ({ type: 'message', role, content: [{ type: 'input_text', text }] })
  const cases: readonly [string, JsonValue, JsonValue][] = [
    ['developer messages are system messages', [{ role: 'developer', content: 'a' }], [message('system', 'a')]],
    [
      'an answer is one text',
      [
        {
          id: 'msg_1',
          role: 'assistant',
          content: [
            { type: 'output_text', text: 'a' },
            { type: 'refusal', refusal: 'b' },
          ],
        },
      ],
      [
        {
          type: 'message',
          id: 'msg_1',
          role: 'assistant',
          status: 'completed',
          content: [{ type: 'output_text', text: 'ab', annotations: [] }],
        },
      ],
    ],
    [
      'a summary is told as reasoning text, ciphertext is gone',
      [{ type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 'x' }], encrypted_content: 'zzz' }],
      [{ type: 'reasoning', id: 'rs_1', summary: [], content: [{ type: 'reasoning_text', text: 'x' }] }],
    ],
    [
      'calls lose their ids and keep their bytes',
      [{ type: 'function_call', id: 'fc_1', call_id: 'c', name: 'f', arguments: '{ }', status: 'completed' }],
      [{ type: 'function_call', call_id: 'c', name: 'f', arguments: '{ }' }],
    ],
    [
      'custom calls are function calls',
      [
        { type: 'custom_tool_call', call_id: 'c', name: 'f', input: 'x' },
        { type: 'custom_tool_call_output', call_id: 'c', output: 'y' },
      ],
      [
        { type: 'function_call', call_id: 'c', name: 'f', arguments: '{"input":"x"}' },
        { type: 'function_call_output', call_id: 'c', output: 'y' },
      ],
    ],
    [
      'tool outputs are strings',
      [{ type: 'function_call_output', call_id: 'c', output: [{ type: 'input_text', text: 'a' }] }],
      [{ type: 'function_call_output', call_id: 'c', output: 'a' }],
    ],
    [
      'images have a detail',
      [{ role: 'user', content: [{ type: 'input_image', image_url: 'data:x' }] }],
      [{ type: 'message', role: 'user', content: [{ type: 'input_image', image_url: 'data:x', detail: 'auto' }] }],
    ],
  ]
  for (const [title, given, expected] of cases) test(title, () => assert.deepEqual(input(given), expected))

  test('ids do not go to a server that might look them up', () => {
    const [answer] = input([{ id: 'msg_1', role: 'assistant', content: 'a' }], 'unknown') as JsonObject[]
    assert.equal(answer !== undefined && 'id' in answer, false)
  })

  test('reasoning of which only ciphertext is left is left out, and said so', () => {
    const rendered = render({
      input: [
        { type: 'reasoning', encrypted_content: 'zzz' },
        { role: 'user', content: 'a' },
      ],
    })
    assert.deepEqual(rendered.body['input'], [message('user', 'a')])
    assert.deepEqual(rendered.omitted, ['reasoning.encrypted_content'])
  })

  test('files are refused by place', () => {
    assert.throws(() => input([{ role: 'user', content: [{ type: 'input_file', file_id: 'file_1' }] }]), {
      code: 'unsupported_item',
      param: 'input[0].content[0]',
    })
  })

  test('tools are flat functions, a named choice is flat too', () => {
    const { body, omitted } = render({
      tools: [F, { type: 'web_search' }],
      tool_choice: { type: 'function', name: 'f' },
      parallel_tool_calls: true,
    })
    assert.deepEqual(body['tools'], [F])
    assert.deepEqual(body['tool_choice'], { type: 'function', name: 'f' })
    assert.equal(body['parallel_tool_calls'], true)
    assert.deepEqual(omitted, ['web_search'])
  })

  test('llama.cpp gets structured output in the field that it reads, and choices in words', () => {
    const format = { type: 'json_schema', name: 'n', schema: { type: 'object' } }
    const { body } = render({ text: { format }, tools: [F], tool_choice: { type: 'function', name: 'f' } }, 'llamacpp')
    assert.deepEqual(body['response_format'], {
      type: 'json_schema',
      json_schema: { name: 'n', schema: { type: 'object' } },
    })
    assert.equal(body['tool_choice'], 'required')
    assert.equal(render({ text: { format } }, 'vllm').body['response_format'], undefined)
  })
})
