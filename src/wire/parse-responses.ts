/**
 * A body of `POST /v1/responses` -> a Turn. Everything a gateway can judge without looking anything up is judged here,
 * with OpenAI's codes and the path of the field; unknown fields stay in `body` and are passed through. Limits follow
 * OpenAI, except that `max_output_tokens` may be less than 16.
 */
import { HomingError } from '../model/error.ts'
import { isObject } from '../model/json.ts'
import type { JsonObject } from '../model/json.ts'
import type { Turn } from '../model/turn.ts'
import { normaliseItems } from './normalise-item.ts'
import { readAsking } from './parse-asking.ts'
import {
  checkDepth,
  checkMetadata,
  isArray,
  listed,
  missing,
  optionalArray,
  optionalBoolean,
  optionalInteger,
  optionalNumber,
  optionalObject,
  optionalOneOf,
  optionalString,
  requireName,
  requireString,
  wrongType,
  wrongValue,
} from './parse-checks.ts'
import { parseTools } from './parse-tools.ts'
import { checkToolChoice, readToolChoice } from './tool-choice.ts'

/** What the door knows of a request before its body is read. */
export type TurnMeta = {
  readonly tenant: string
  readonly requestId: string
  readonly receivedAtMs: number
  readonly sessionHint: string | null
  /** What the body was parsed from. */
  readonly bodyBytes?: Buffer | undefined
}

export type Limits = { readonly maxItems: number; readonly maxDepth: number }

const INCLUDABLE = [
  'file_search_call.results',
  'web_search_call.results',
  'web_search_call.action.sources',
  'message.input_image.image_url',
  'computer_call_output.output.image_url',
  'code_interpreter_call.outputs',
  'reasoning.encrypted_content',
  'message.output_text.logprobs',
]
const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max']
const SUMMARIES = ['auto', 'concise', 'detailed']
const VERBOSITIES = ['low', 'medium', 'high']
const FORMATS = ['text', 'json_object', 'json_schema']

export function parseResponses(body: unknown, meta: TurnMeta, limits: Limits): Turn {
  if (!isObject(body)) throw wrongType('body', 'a JSON object', body)
  checkDepth(body, limits.maxDepth)
  checkUnsupported(body)
  checkSettings(body)
  checkText(body)
  checkInclude(body)

  const model = requireName(body, 'model', '')
  const previousResponseId = readId(body, 'previous_response_id', 'resp_')
  const conversationId = readConversation(body)
  if (previousResponseId !== null && conversationId !== null) {
    throw new HomingError('mutually_exclusive_parameters', { param: 'previous_response_id', other: 'conversation' })
  }
  const tools = parseTools(body['tools'])
  const choice = readToolChoice(body['tool_choice'])
  if (tools !== undefined) checkToolChoice(choice, tools)

  const input = body['input'] ?? []
  const hasHistory = previousResponseId !== null || conversationId !== null
  if (isArray(input) && input.length === 0 && !hasHistory) throw missing('input')

  return {
    endpoint: 'responses',
    tenant: meta.tenant,
    requestId: meta.requestId,
    receivedAtMs: meta.receivedAtMs,
    model,
    input: normaliseItems(input, 'input', limits.maxItems),
    instructions: optionalString(body, 'instructions', ''),
    tools,
    previousResponseId,
    conversationId,
    store: optionalBoolean(body, 'store', '') ?? true,
    stream: optionalBoolean(body, 'stream', '') ?? false,
    sessionHint: meta.sessionHint,
    cacheKey: optionalString(body, 'prompt_cache_key', ''),
    maxOutputTokens: optionalInteger(body, 'max_output_tokens', '', 1),
    body,
    asking: readAsking(body),
  }
}

/** Fields of the API that would change the answer and that are not offered: said, never ignored. */
function checkUnsupported(body: JsonObject): void {
  const refuse = (param: string, why: string): HomingError => new HomingError('unsupported_parameter', { param, why })
  if (optionalBoolean(body, 'background', '') === true) {
    throw refuse('background', 'background responses are not offered; use stream instead')
  }
  if (optionalOneOf(body, 'truncation', '', ['auto', 'disabled']) === 'auto') {
    throw refuse('truncation', "'auto' is not offered; send 'disabled' and shorten the input")
  }
  if ((body['prompt'] ?? null) !== null) {
    throw refuse('prompt', "prompt templates are not offered; send 'instructions' and 'input'")
  }
  const management = optionalArray(body, 'context_management', '')
  if (management !== null && management.length > 0) throw refuse('context_management', 'compaction is not offered')
  const count = optionalInteger(body, 'n', '', 1)
  if (count !== null && count > 1) throw refuse('n', 'a response has one answer')
}

function checkSettings(body: JsonObject): void {
  optionalNumber(body, 'temperature', '', 0, 2)
  optionalNumber(body, 'top_p', '', 0, 1)
  optionalNumber(body, 'presence_penalty', '', -2, 2)
  optionalNumber(body, 'frequency_penalty', '', -2, 2)
  optionalInteger(body, 'top_logprobs', '', 0, 20)
  optionalInteger(body, 'max_tool_calls', '', 1)
  optionalBoolean(body, 'parallel_tool_calls', '')
  optionalString(body, 'safety_identifier', '', 64)
  optionalString(body, 'service_tier', '')
  optionalString(body, 'user', '')
  checkMetadata(body, '')
  const streaming = optionalObject(body, 'stream_options', '')
  if (streaming !== null) optionalBoolean(streaming, 'include_obfuscation', 'stream_options')
  const caching = optionalObject(body, 'prompt_cache_options', '')
  if (caching !== null) optionalString(caching, 'comparison_response_id', 'prompt_cache_options')
  const reasoning = optionalObject(body, 'reasoning', '')
  if (reasoning === null) return
  optionalOneOf(reasoning, 'effort', 'reasoning', EFFORTS)
  optionalOneOf(reasoning, 'summary', 'reasoning', SUMMARIES)
  optionalOneOf(reasoning, 'generate_summary', 'reasoning', SUMMARIES)
}

function checkText(body: JsonObject): void {
  const text = optionalObject(body, 'text', '')
  if (text === null) return
  optionalOneOf(text, 'verbosity', 'text', VERBOSITIES)
  const format = optionalObject(text, 'format', 'text')
  if (format === null) return
  const at = 'text.format'
  const type = requireString(format, 'type', at)
  if (!FORMATS.includes(type)) throw wrongValue(`${at}.type`, `supported values are ${listed(FORMATS)}`)
  if (type !== 'json_schema') return
  if (isObject(format['json_schema'])) {
    throw wrongValue(
      `${at}.json_schema`,
      "this is the shape of Chat Completions; the Responses API puts 'name' and 'schema' beside 'type'",
    )
  }
  requireName(format, 'name', at)
  if (optionalObject(format, 'schema', at) === null) throw missing(`${at}.schema`)
  optionalBoolean(format, 'strict', at)
  optionalString(format, 'description', at)
}

function checkInclude(body: JsonObject): void {
  const include = optionalArray(body, 'include', '')
  include?.forEach((value, index) => {
    if (typeof value !== 'string') throw wrongType(`include[${index}]`, 'a string', value)
    if (!INCLUDABLE.includes(value)) throw wrongValue(`include[${index}]`, `supported values are ${listed(INCLUDABLE)}`)
  })
}

function readId(from: JsonObject, key: string, prefix: string): string | null {
  const id = optionalString(from, key, '')
  return id === null ? null : checkPrefix(id, prefix, key)
}

function readConversation(body: JsonObject): string | null {
  const value = body['conversation'] ?? null
  if (value === null) return null
  if (typeof value === 'string') return checkPrefix(value, 'conv_', 'conversation')
  if (!isObject(value)) throw wrongType('conversation', 'a string or an object', value)
  return checkPrefix(requireString(value, 'id', 'conversation'), 'conv_', 'conversation.id')
}

function checkPrefix(id: string, prefix: string, param: string): string {
  if (id.startsWith(prefix)) return id
  throw wrongValue(param, `expected an id that begins with '${prefix}'`)
}
