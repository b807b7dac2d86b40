/**
 * Contract: every event and resource against the Open Responses specification, where its document lies beside the
 * repository, and every stream through the official client's own accumulator.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { ResponseStream } from 'openai/lib/responses/ResponseStream'
import type { ResponseEvent } from '../../src/model/event.ts'
import type { JsonObject } from '../../src/model/json.ts'
import { createChatStream } from '../../src/wire/chat-stream.ts'
import { newResource } from '../../src/wire/response-resource.ts'
import { createResponsesStream } from '../../src/wire/responses-stream.ts'
import { CHAT_STREAMS, RESPONSES_STREAMS } from './response-fixtures.ts'
import { call, delta, runStream, turnOf, type Run } from './response-harness.ts'

const SPECIFICATION = '../shared/spec/openresponses-spec.json'

function repositoryRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    if (dirname(folder) === folder) throw new Error('No package.json above this test.')
    folder = dirname(folder)
  }
  return folder
}

const path = resolve(repositoryRoot(), SPECIFICATION)
const skip = existsSync(path) ? false : `SKIPPED, NOTHING VALIDATED: ${SPECIFICATION} is not there`

function validators(): (name: string) => ValidateFunction {
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: false })
  ajv.addSchema(JSON.parse(readFileSync(path, 'utf8')), 'spec')
  return (name) => {
    const validate = ajv.getSchema(`spec#/components/schemas/${name}`)
    assert.ok(validate, `the specification has no schema ${name}`)
    return validate
  }
}

/** `response.reasoning_summary_text.delta` is `ResponseReasoningSummaryDeltaStreamingEvent` there, and so on. */
const schemaName = (type: string): string => {
  const words = type.replace('_summary_text.', '_summary.').split(/[._]/)
  return words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join('') + 'StreamingEvent'
}

const runs = (): [string, Run][] => [
  ...Object.entries(CHAT_STREAMS).map(([name, payloads]): [string, Run] => [name, runStream(createChatStream, payloads)]),
  ...Object.entries(RESPONSES_STREAMS).map(([name, payloads]): [string, Run] => [
    name,
    runStream(createResponsesStream, payloads),
  ]),
]

test('every event of every stream matches its schema', { skip }, () => {
  const schema = validators()
  const seen = new Set<string>()
  for (const [name, run] of runs()) {
    run.events.forEach((event, sequence) => {
      const validate = schema(schemaName(event.type))
      seen.add(event.type)
      const valid = validate({ ...event, sequence_number: sequence })
      assert.ok(valid, `${name}, event ${sequence} ${event.type}: ${JSON.stringify(validate.errors?.slice(0, 3))}`)
    })
  }
  assert.equal(seen.size, 19, 'all kinds of events that the assembly can emit, custom tools apart')
})

test('the validation is able to fail', { skip }, () => {
  const schema = validators()
  const [, run] = runs()[0]!
  const validate = schema('ResponseCompletedStreamingEvent')
  const terminal: JsonObject = { ...run.events.at(-1), sequence_number: 1 }
  assert.ok(validate(terminal))
  assert.equal(validate({ ...terminal, response: { ...(terminal['response'] as JsonObject), tools: null } }), false)
})

test('a resource matches the schema, whatever was left out or asked for', { skip }, () => {
  const validate = validators()('ResponseResource')
  const tools = [{ type: 'function', name: 'f' }, { type: 'function', name: 'g', description: 'd', parameters: {}, strict: true }]
  for (const turn of [
    turnOf(),
    turnOf(
      {
        temperature: 0.2, top_p: 0.9, top_logprobs: 3, presence_penalty: 1, frequency_penalty: -1, parallel_tool_calls: false,
        reasoning: { effort: 'low' }, metadata: { a: 'b' }, service_tier: 'auto', truncation: 'disabled', max_tool_calls: 2,
        tool_choice: { type: 'function', name: 'f' }, safety_identifier: 's', user: 'u',
        text: { verbosity: 'low', format: { type: 'json_schema', name: 'n', schema: { type: 'object' }, strict: true } },
      },
      { instructions: 'be kind', previousResponseId: 'resp_0', cacheKey: 'k', maxOutputTokens: 9, store: false },
    ),
    turnOf({ text: { format: { type: 'json_schema', name: 'n', schema: {} } }, metadata: null, tool_choice: 'none' }),
  ]) {
    const resource = newResource(turn, tools, 'resp_1', 12.7)
    assert.ok(validate(resource), JSON.stringify(validate.errors))
  }
})

test('a resource echoes the request and fills the defaults', () => {
  const resource = newResource(turnOf({}, { conversationId: 'conv_1' }), [{ type: 'function', name: 'f' }, { type: 'custom', name: 'c' }], 'resp_1', 12.7)
  assert.deepEqual(resource['tools'], [
    { type: 'function', name: 'f', description: null, parameters: null, strict: null },
    { type: 'custom', name: 'c' },
  ])
  assert.deepEqual(resource['conversation'], { id: 'conv_1' })
  assert.equal(resource['created_at'], 12)
  assert.deepEqual([resource['temperature'], resource['top_p'], resource['tool_choice'], resource['metadata']], [1, 1, 'auto', {}])
  assert.deepEqual(resource['reasoning'], { effort: null, summary: null })
  assert.deepEqual(resource['text'], { format: { type: 'text' } })
  assert.ok(!('conversation' in newResource(turnOf(), [], 'r', 1)))
})

/** The client reads one JSON object a line from a raw stream. */
async function throughClient(events: readonly ResponseEvent[]): Promise<JsonObject> {
  const lines = events.map((event, sequence) => JSON.stringify({ ...event, sequence_number: sequence }) + '\n')
  const body = new Blob(lines).stream()
  return (await ResponseStream.fromReadableStream(body).finalResponse()) as unknown as JsonObject
}

test('the official client accumulates every stream to exactly our output', async () => {
  const custom = runStream(createChatStream, [call(0, 'c', 'apply_patch', '{"inp'), call(0, null, null, 'ut":"x\\n"}'), delta({}, 'tool_calls')], {
    toolNames: new Map([['apply_patch', { kind: 'custom', name: 'apply_patch' }]]),
  })
  for (const [name, run] of [...runs(), ['custom tool', custom] as const]) {
    // Without the terminal event the snapshot is what the events built.
    const built = (await throughClient(run.events.slice(0, -1)))['output'] as readonly JsonObject[]
    const plain = built.map((item) => JSON.parse(JSON.stringify(item, (key, value) => (key.startsWith('parsed') ? undefined : value))))
    assert.deepEqual(plain, JSON.parse(JSON.stringify(run.assembly.output)), name)
    await throughClient(run.events)
  }
})
