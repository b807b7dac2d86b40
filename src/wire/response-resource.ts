/**
 * The Response resource at its beginning: every field present, echoed from the request or at the API's default.
 *
 * Required and defaults: Open Responses `ResponseResource`, and what the official clients read. Two echoes are shaped by
 * that specification: a function tool always has `description`, `parameters` and `strict` (null: not given), and
 * `text.format.schema` is null (the schema is the client's own; the specification allows nothing else).
 */
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'
import type { Turn } from '../model/turn.ts'

export function newResource(
  turn: Turn,
  effectiveTools: readonly JsonObject[],
  id: string,
  createdAtSeconds: number,
): JsonObject {
  const { body } = turn
  return {
    id,
    object: 'response',
    created_at: Math.trunc(createdAtSeconds),
    completed_at: null,
    status: 'in_progress',
    background: body['background'] === true,
    ...(turn.conversationId === null ? {} : { conversation: { id: turn.conversationId } }),
    error: null,
    incomplete_details: null,
    instructions: turn.instructions,
    max_output_tokens: turn.maxOutputTokens,
    max_tool_calls: numberOr(body['max_tool_calls'], null),
    model: turn.model,
    output: [],
    parallel_tool_calls: body['parallel_tool_calls'] !== false,
    frequency_penalty: numberOr(body['frequency_penalty'], 0),
    presence_penalty: numberOr(body['presence_penalty'], 0),
    previous_response_id: turn.previousResponseId,
    prompt_cache_key: turn.cacheKey,
    ...stringField(body, 'prompt_cache_retention'),
    reasoning: echoReasoning(body['reasoning']),
    safety_identifier: stringOr(body['safety_identifier'], null),
    service_tier: echoServiceTier(body['service_tier']),
    store: turn.store,
    temperature: numberOr(body['temperature'], 1),
    text: echoText(body['text']),
    tool_choice: body['tool_choice'] ?? 'auto',
    tools: effectiveTools.map(echoTool),
    top_logprobs: numberOr(body['top_logprobs'], 0),
    top_p: numberOr(body['top_p'], 1),
    truncation: stringOr(body['truncation'], 'disabled'),
    usage: null,
    ...stringField(body, 'user'),
    metadata: isObject(body['metadata']) ? body['metadata'] : {},
  }
}

const numberOr = <T>(value: JsonValue | undefined, other: T): number | T => (typeof value === 'number' ? value : other)
const stringOr = <T>(value: JsonValue | undefined, other: T): string | T => (typeof value === 'string' ? value : other)

const stringField = (body: JsonObject, name: string): JsonObject =>
  typeof body[name] === 'string' ? { [name]: body[name] } : {}

/** `auto` names no tier: what served the request is the default one. */
const echoServiceTier = (value: JsonValue | undefined): string =>
  typeof value === 'string' && value !== 'auto' ? value : 'default'

function echoReasoning(value: JsonValue | undefined): JsonObject {
  const given = isObject(value) ? value : {}
  // `generate_summary` is the older name of `summary`.
  return { ...given, effort: given['effort'] ?? null, summary: given['summary'] ?? given['generate_summary'] ?? null }
}

function echoText(value: JsonValue | undefined): JsonObject {
  const given = isObject(value) ? value : {}
  return {
    format: isObject(given['format']) ? echoFormat(given['format']) : { type: 'text' },
    ...stringField(given, 'verbosity'),
  }
}

function echoFormat(format: JsonObject): JsonObject {
  if (format['type'] !== 'json_schema') return format
  return {
    type: 'json_schema',
    name: stringOr(format['name'], ''),
    description: stringOr(format['description'], null),
    schema: null,
    strict: format['strict'] === true,
  }
}

function echoTool(tool: JsonObject): JsonObject {
  if (tool['type'] === 'namespace' && Array.isArray(tool['tools'])) {
    const inner: readonly JsonValue[] = tool['tools']
    return { ...tool, tools: inner.map((entry) => (isObject(entry) ? echoTool(entry) : entry)) }
  }
  if (tool['type'] !== 'function') return tool
  return {
    ...tool,
    description: tool['description'] ?? null,
    parameters: tool['parameters'] ?? null,
    strict: tool['strict'] ?? null,
  }
}
