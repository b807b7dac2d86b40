/**
 * Judges everything that a client was sent: each event and each resource against the Open Responses specification
 * (where its document lies beside the repository), the order of events, OpenAI's error shape, and the shapes of the
 * Conversations API as the types of the `openai` package have them. Custom tools are not in that document; their items,
 * tools and events are left to the order rules and to the clients.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import type { ResponseEvent } from '../../src/model/event.ts'
import { isObject, type JsonObject, type JsonValue } from '../../src/model/json.ts'
import { orderViolations } from '../wire/event-order.ts'
import { repositoryRoot } from './house.ts'
import type { Exchange } from './tap.ts'

const SPECIFICATION = '../shared/spec/openresponses-spec.json'

type Schemas = (name: string, value: unknown, what: string) => void

/** Checks nothing, and says so, where there is no document. */
export function readSpecification(): Schemas {
  const path = resolve(repositoryRoot(), SPECIFICATION)
  if (!existsSync(path)) {
    process.stderr.write(`NOT VALIDATED AGAINST THE SPECIFICATION: ${SPECIFICATION} is not there\n`)
    return () => {}
  }
  const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: false })
  ajv.addSchema(JSON.parse(readFileSync(path, 'utf8')), 'spec')
  return (name, value, what) => {
    const validate: ValidateFunction | undefined = ajv.getSchema(`spec#/components/schemas/${name}`)
    assert.ok(validate, `the specification has no schema ${name}`)
    assert.ok(validate(value), `${what}: ${JSON.stringify(validate.errors?.slice(0, 3))}`)
  }
}

/** Fails on the first answer that breaks the contract; returns the kinds of events and resources it saw. */
export function checkContract(exchanges: readonly Exchange[]): ReadonlySet<string> {
  const schema = readSpecification()
  const seen = new Set<string>()
  for (const exchange of exchanges) {
    if (!exchange.ended) continue
    const what = `${exchange.method} ${exchange.path} -> ${exchange.status}`
    assert.equal(typeof exchange.headers['x-request-id'], 'string', what)
    if (exchange.status >= 400) checkError(exchange.body, what)
    else if (String(exchange.headers['content-type']).startsWith('text/event-stream')) {
      if (exchange.path === '/v1/responses') for (const type of checkStream(exchange.body, what, schema)) seen.add(type)
    } else {
      const body = JSON.parse(exchange.body) as JsonObject
      seen.add(String(body['object']))
      checkResource(body, what, schema)
    }
  }
  return seen
}

export function readEvents(stream: string): ResponseEvent[] {
  const frames = stream.split('\n\n').filter((frame) => frame !== '' && !frame.startsWith(':'))
  assert.equal(frames.pop(), 'data: [DONE]')
  return frames.map((frame) => {
    const [first, second, ...rest] = frame.split('\n')
    assert.deepEqual(rest, [])
    const event = JSON.parse(second!.replace(/^data: /, '')) as ResponseEvent
    assert.equal(first, `event: ${event.type}`)
    return event
  })
}

function checkStream(stream: string, what: string, schema: Schemas): string[] {
  const events = readEvents(stream)
  assert.deepEqual(orderViolations(events, { numbered: true }), [], what)
  for (const event of events) {
    if (event.type.startsWith('response.custom_tool_call') || isCustom(event['item'])) continue
    const { response } = event
    schema(schemaName(event.type), isObject(response) ? { ...event, response: known(response) } : event, `${what}, ${event.type}`)
  }
  return events.map((event) => event.type)
}

/** `response.reasoning_summary_text.delta` is `ResponseReasoningSummaryDeltaStreamingEvent` there, and so on. */
const schemaName = (type: string): string => {
  const words = type.replace('_summary_text.', '_summary.').split(/[._]/)
  return words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join('') + 'StreamingEvent'
}

const isCustom = (value: JsonValue | undefined): boolean =>
  isObject(value) && value['type'] !== undefined && !['message', 'function_call', 'function_call_output', 'reasoning', 'function'].includes(String(value['type']))

/** A resource without what the specification does not know. */
function known(resource: JsonObject): JsonObject {
  const without = (list: JsonValue | undefined): JsonValue => (Array.isArray(list) ? (list as JsonValue[]).filter((entry) => !isCustom(entry)) : [])
  return { ...resource, output: without(resource['output']), tools: without(resource['tools']) }
}

const KEYS: Readonly<Record<string, readonly string[]>> = {
  'response.deleted': ['deleted', 'id', 'object'],
  conversation: ['created_at', 'id', 'metadata', 'object'],
  'conversation.deleted': ['deleted', 'id', 'object'],
}

function checkResource(body: JsonObject, what: string, schema: Schemas): void {
  const kind = String(body['object'])
  if (kind === 'response') return schema('ResponseResource', known(body), what)
  if (KEYS[kind] !== undefined) return assert.deepEqual(Object.keys(body).sort(), KEYS[kind], what)
  if (kind !== 'list' || !what.includes('items')) return
  assert.deepEqual(Object.keys(body).sort(), ['data', 'first_id', 'has_more', 'last_id', 'object'], what)
  for (const item of body['data'] as readonly JsonObject[]) {
    assert.equal(typeof item['id'], 'string', what)
    if (!isCustom(item)) schema('ItemField', item, `${what}, item ${String(item['type'])}`)
  }
}

function checkError(body: string, what: string): void {
  const { error } = JSON.parse(body) as { error: JsonObject }
  assert.deepEqual(Object.keys(error).sort(), ['code', 'message', 'param', 'type'], what)
  for (const key of ['code', 'message', 'type']) assert.equal(typeof error[key], 'string', `${what}: ${key}`)
  assert.ok(error['param'] === null || typeof error['param'] === 'string', what)
}
