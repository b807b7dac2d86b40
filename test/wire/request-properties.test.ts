import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Engine } from '../../src/model/backend.ts'
import { HomingError } from '../../src/model/error.ts'
import type { JsonObject, JsonValue } from '../../src/model/json.ts'
import { parseChat } from '../../src/wire/parse-chat.ts'
import { parseResponses } from '../../src/wire/parse-responses.ts'
import { renderChat } from '../../src/wire/render-chat.ts'
import { renderResponses } from '../../src/wire/render-responses.ts'
import { LIMITS, META, resolved, SERVED } from './request-turn.ts'

const ENGINES: readonly Engine[] = ['vllm', 'sglang', 'llamacpp', 'ollama', 'lmstudio', 'homing-sim', 'unknown']

/** Words of the API and of JavaScript, so that arbitrary objects get far into the parser. */
const WORDS = [
  'type',
  'role',
  'content',
  'id',
  'call_id',
  'name',
  'arguments',
  'output',
  'input',
  'text',
  'summary',
  'tools',
  'format',
  'function',
  'image_url',
  'namespace',
  'mode',
  'schema',
  '__proto__',
  'constructor',
  'toString',
  'message',
  'user',
  'assistant',
  'tool',
  'input_text',
  'output_text',
  'input_image',
  'input_file',
  'refusal',
  'function_call',
  'custom',
  'function_call_output',
  'custom_tool_call',
  'reasoning',
  'item_reference',
  'allowed_tools',
  'required',
  'auto',
  'web_search',
  'json_schema',
  'tool_calls',
  'tool_call_id',
  'url',
  'parameters',
  'definition',
  'grammar',
  'encrypted_content',
]
const word = fc.constantFrom(...WORDS)
const { value: anything } = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.oneof(
      word,
      fc.string({ maxLength: 8 }),
      fc.integer({ min: -2, max: 30 }),
      fc.double(),
      fc.boolean(),
      fc.constant(null),
    ),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(word, tie('value'), { maxKeys: 6 }),
  ) as fc.Arbitrary<JsonValue>,
}))

const RESPONSES_FIELDS = [
  'input',
  'tools',
  'tool_choice',
  'text',
  'reasoning',
  'metadata',
  'include',
  'conversation',
  'previous_response_id',
  'stream',
  'instructions',
  'truncation',
  'stream_options',
  'max_output_tokens',
  'top_logprobs',
  'prompt',
  'chat_template_kwargs',
]
const CHAT_FIELDS = [
  'messages',
  'tools',
  'tool_choice',
  'stream_options',
  'max_tokens',
  'n',
  'response_format',
  'stream',
]
const bodyOf = (fields: readonly string[]): fc.Arbitrary<JsonObject> =>
  fc.dictionary(fc.constantFrom(...fields), anything, { maxKeys: 4 }).map((body) => ({ model: 'm', ...body }))

function onlyHomingErrors(run: () => unknown): void {
  try {
    run()
  } catch (error) {
    assert.ok(error instanceof HomingError, error instanceof Error ? (error.stack ?? error.message) : String(error))
    assert.ok(error.status >= 400 && error.status < 500, `status ${error.status}`)
  }
}

const content = fc.oneof(
  fc.string(),
  fc.array(fc.record({ type: fc.constant('input_text'), text: fc.string() }), { maxLength: 3 }),
)
const item: fc.Arbitrary<JsonValue> = fc.oneof(
  fc.record({ role: fc.constantFrom('user', 'system', 'developer', 'assistant'), content }),
  fc.record({
    type: fc.constant('function_call'),
    call_id: fc.constantFrom('a', 'b'),
    name: word,
    arguments: fc.json(),
  }),
  fc.record({
    type: fc.constant('custom_tool_call'),
    call_id: fc.constantFrom('a', 'b'),
    name: word,
    input: fc.string(),
  }),
  fc.record({ type: fc.constant('function_call_output'), call_id: fc.constantFrom('a', 'b'), output: content }),
  fc.record({
    type: fc.constant('reasoning'),
    summary: fc.array(fc.record({ type: fc.constant('summary_text'), text: fc.string() }), { maxLength: 2 }),
  }),
)
const conversation = fc.array(item, { minLength: 1, maxLength: 12 })

describe('whatever a client sends', () => {
  test('parsing a Responses body returns a turn or throws an error of the table', () => {
    fc.assert(
      fc.property(bodyOf(RESPONSES_FIELDS), (body) => onlyHomingErrors(() => parseResponses(body, META, LIMITS))),
      { numRuns: 1500 },
    )
  })

  test('parsing a Chat body returns a turn or throws an error of the table', () => {
    fc.assert(
      fc.property(bodyOf(CHAT_FIELDS), (body) => onlyHomingErrors(() => parseChat(body, META, LIMITS))),
      { numRuns: 1500 },
    )
  })

  test('an input item alone is normalised or refused by an error of the table', () => {
    const items = fc.array(fc.dictionary(word, anything, { maxKeys: 6 }), { minLength: 1, maxLength: 2 })
    fc.assert(
      fc.property(items, (input) => onlyHomingErrors(() => parseResponses({ model: 'm', input }, META, LIMITS))),
      { numRuns: 1500 },
    )
  })

  test('whatever parses, renders or is refused by an error of the table', () => {
    fc.assert(
      fc.property(bodyOf(RESPONSES_FIELDS), fc.constantFrom(...ENGINES), (body, engine) => {
        onlyHomingErrors(() => {
          const turn = resolved(body)
          onlyHomingErrors(() => renderChat(turn, SERVED, engine))
          onlyHomingErrors(() => renderResponses(turn, SERVED, engine))
        })
      }),
      { numRuns: 1500 },
    )
  })
})

describe('any conversation', () => {
  test('that was normalised once stays as it is', () => {
    fc.assert(
      fc.property(conversation, (input) => {
        const once = parseResponses({ model: 'm', input }, META, LIMITS).input
        assert.deepEqual(parseResponses({ model: 'm', input: once }, META, LIMITS).input, once)
      }),
      { numRuns: 300 },
    )
  })

  test('is rendered to the same bytes every time, from a copy too', () => {
    fc.assert(
      fc.property(conversation, fc.constantFrom(...ENGINES), (input, engine) => {
        const copy = structuredClone(input)
        for (const render of [renderChat, renderResponses]) {
          const one = JSON.stringify(render(resolved({ input }), SERVED, engine).body)
          assert.equal(JSON.stringify(render(resolved({ input: copy }), SERVED, engine).body), one)
        }
      }),
      { numRuns: 300 },
    )
  })

  test('keeps the messages of its earlier turns as a prefix when a user message is added', () => {
    fc.assert(
      fc.property(conversation, fc.constantFrom(...ENGINES), (input, engine) => {
        const closed = [...input, { role: 'user', content: 'x' }]
        const longer = [...closed, { role: 'assistant', content: 'y' }, { role: 'user', content: 'z' }]
        const before = renderChat(resolved({ input: closed }), SERVED, engine).body['messages'] as JsonValue[]
        const after = renderChat(resolved({ input: longer }), SERVED, engine).body['messages'] as JsonValue[]
        assert.deepEqual(after.slice(0, before.length), before)
      }),
      { numRuns: 300 },
    )
  })

  test('has every tool message after an assistant message that made calls, when every output follows its call', () => {
    const round = fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 3 }))
    fc.assert(
      fc.property(fc.array(round, { minLength: 1, maxLength: 5 }), (rounds) => {
        const input: JsonValue[] = [{ role: 'user', content: 'x' }]
        rounds.forEach(([says, calls], turn) => {
          if (says) input.push({ role: 'assistant', content: 'let me see' })
          const ids = Array.from({ length: calls }, (_, call) => `c${turn}_${call}`)
          for (const id of ids) input.push({ type: 'function_call', call_id: id, name: 'f', arguments: '{}' })
          for (const id of ids) input.push({ type: 'function_call_output', call_id: id, output: 'o' })
        })
        const messages = renderChat(resolved({ input }), SERVED, 'vllm').body['messages'] as JsonObject[]
        let open: string[] = []
        for (const message of messages) {
          if (message['role'] !== 'tool') {
            assert.deepEqual(open, [])
            const calls = (message['tool_calls'] ?? []) as JsonObject[]
            open = calls.map((call) => String(call['id']))
          } else {
            assert.equal(open.shift(), message['tool_call_id'])
          }
        }
        assert.deepEqual(open, [])
      }),
      { numRuns: 200 },
    )
  })
})
