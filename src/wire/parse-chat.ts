/**
 * A body of `POST /v1/chat/completions` -> a Turn. The body itself travels on to the backend, so only what the gateway
 * relies on is checked: types of the fields it reads, and the messages, which become items for the lineage. The engine
 * judges the rest. Hot path: no copy of the body, no regular expression.
 */
import { HomingError } from '../model/error.ts'
import { isObject } from '../model/json.ts'
import type { JsonObject, JsonValue } from '../model/json.ts'
import type { Turn } from '../model/turn.ts'
import { itemsOfMessages } from './chat-messages.ts'
import {
  checkDepth,
  isArray,
  missing,
  optionalBoolean,
  optionalInteger,
  optionalNumber,
  optionalObject,
  optionalString,
  requireName,
  requireString,
  wrongType,
  wrongValue,
} from './parse-checks.ts'
import { readAsking } from './parse-asking.ts'
import type { Limits, TurnMeta } from './parse-responses.ts'

export function parseChat(body: unknown, meta: TurnMeta, limits: Limits): Turn {
  if (!isObject(body)) throw wrongType('body', 'a JSON object', body)
  checkDepth(body, limits.maxDepth)
  const model = requireName(body, 'model', '')
  const messages = readMessages(body, limits.maxItems)
  checkSettings(body)
  const maxTokens = optionalInteger(body, 'max_tokens', '', 1)
  return {
    endpoint: 'chat',
    tenant: meta.tenant,
    requestId: meta.requestId,
    receivedAtMs: meta.receivedAtMs,
    model,
    input: itemsOfMessages(messages),
    instructions: null,
    tools: flattenTools(body['tools']),
    previousResponseId: null,
    conversationId: null,
    store: false,
    stream: optionalBoolean(body, 'stream', '') ?? false,
    sessionHint: meta.sessionHint,
    cacheKey: optionalString(body, 'prompt_cache_key', ''),
    maxOutputTokens: optionalInteger(body, 'max_completion_tokens', '', 1) ?? maxTokens,
    // the gateway's own field goes no further
    ...(body['homing'] === undefined ? { body, bodyBytes: meta.bodyBytes } : { body: { ...body, homing: undefined } }),
    asking: readAsking(body),
  }
}

function readMessages(body: JsonObject, limit: number): readonly JsonValue[] {
  const messages = body['messages']
  if (messages === undefined) throw missing('messages')
  if (!isArray(messages)) throw wrongType('messages', 'an array', messages)
  if (messages.length === 0) throw wrongValue('messages', 'it must not be empty')
  if (messages.length > limit) {
    throw new HomingError('too_many_items', { param: 'messages', count: messages.length, limit })
  }
  return messages
}

function checkSettings(body: JsonObject): void {
  optionalInteger(body, 'n', '', 1)
  optionalNumber(body, 'temperature', '', 0, 2)
  optionalNumber(body, 'top_p', '', 0, 1)
  optionalBoolean(body, 'parallel_tool_calls', '')
  optionalObject(body, 'response_format', '')
  const streaming = optionalObject(body, 'stream_options', '')
  if (streaming !== null) optionalBoolean(streaming, 'include_usage', 'stream_options')
  const choice = body['tool_choice'] ?? null
  if (choice !== null && typeof choice !== 'string' && !isObject(choice)) {
    throw wrongType('tool_choice', 'a string or an object', choice)
  }
}

/** `{type, function: {...}}` -> `{type, ...}`, the shape that lineage knows. */
function flattenTools(value: JsonValue | undefined): readonly JsonObject[] | undefined {
  if (value === undefined || value === null) return undefined
  if (!isArray(value)) throw wrongType('tools', 'an array', value)
  return value.map((tool, index) => {
    if (!isObject(tool)) throw wrongType(`tools[${index}]`, 'an object', tool)
    const type = requireString(tool, 'type', `tools[${index}]`)
    if (type !== 'function' && type !== 'custom') return tool
    const inner = tool[type]
    if (!isObject(inner)) throw wrongType(`tools[${index}].${type}`, 'an object', inner)
    requireName(inner, 'name', `tools[${index}].${type}`)
    return { ...inner, type }
  })
}
