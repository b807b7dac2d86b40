/**
 * A Responses turn -> a body for `POST /v1/chat/completions` of a backend. Every field with an equal on the other side
 * is translated, the gateway's own fields end here, all others pass through. The output limit is sent as `max_tokens`:
 * vLLM, SGLang, llama.cpp, Ollama and LM Studio all know it, `max_completion_tokens` only some of them.
 */
import type { Engine, ServedModel } from '../model/backend.ts'
import { isObject } from '../model/json.ts'
import type { JsonObject } from '../model/json.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import { carriesOnlyCiphertext } from './item-text.ts'
import { renderMessages } from './render-messages.ts'
import { renderTools } from './render-tools.ts'
import type { RenderedTools } from './render-tools.ts'
import { includes, missedFields, passedFields } from './rendered.ts'
import type { Rendered } from './rendered.ts'

export type { Rendered } from './rendered.ts'

const TRANSLATED: ReadonlySet<string> = new Set([
  'max_output_tokens',
  'text',
  'reasoning',
  'tools',
  'tool_choice',
  'parallel_tool_calls',
  'top_logprobs',
])

/** Engines whose chat templates take arguments from the request. */
const TEMPLATE_ARGUMENTS: ReadonlySet<Engine> = new Set<Engine>(['vllm', 'sglang', 'llamacpp'])

export function renderChat(turn: ResolvedTurn, served: ServedModel, engine: Engine): Rendered {
  const tools = renderTools(turn, engine)
  const body: JsonObject = {
    model: served.served,
    messages: renderMessages(turn, engine, tools.naming),
    ...passedFields(turn.body, TRANSLATED),
    ...toolFields(turn.body, tools),
    ...textFields(turn.body),
    ...reasoningFields(turn.body, engine),
    ...logprobFields(turn.body, engine),
    ...(turn.maxOutputTokens !== null && { max_tokens: turn.maxOutputTokens }),
    stream: true,
    stream_options: { include_usage: true },
  }
  const ciphertext = turn.context.some(carriesOnlyCiphertext) ? ['reasoning.encrypted_content'] : []
  return {
    body,
    omitted: [...tools.omitted, ...missedFields(turn.body), ...ciphertext],
    toolNames: tools.naming.names,
  }
}

/** `tool_choice` and `parallel_tool_calls` without tools are errors to some engines and mean nothing to the others. */
function toolFields(body: JsonObject, { functions, choice }: RenderedTools): JsonObject {
  if (functions.length === 0) return {}
  const parallel = body['parallel_tool_calls']
  return {
    tools: functions.map((definition) => ({ type: 'function', function: definition })),
    ...(choice !== null && {
      tool_choice: 'name' in choice ? { type: 'function', function: { name: choice.name } } : choice.mode,
    }),
    ...(typeof parallel === 'boolean' && { parallel_tool_calls: parallel }),
  }
}

function textFields(body: JsonObject): JsonObject {
  const text = body['text']
  if (!isObject(text)) return {}
  const format = responseFormat(text)
  const verbosity = text['verbosity']
  return {
    ...(format !== null && { response_format: format }),
    ...(typeof verbosity === 'string' && { verbosity }),
  }
}

/** `text.format` in the shape of Chat Completions; null for plain text. */
export function responseFormat(text: JsonObject): JsonObject | null {
  const format = text['format']
  if (!isObject(format) || format['type'] === 'text') return null
  if (format['type'] !== 'json_schema') return { type: 'json_object' }
  const { name, description, schema, strict } = format
  return {
    type: 'json_schema',
    json_schema: {
      ...(typeof name === 'string' && { name }),
      ...(typeof description === 'string' && { description }),
      ...(isObject(schema) && { schema }),
      ...(typeof strict === 'boolean' && { strict }),
    },
  }
}

/**
 * llama.cpp hands the effort to the template only as a template argument. 'none' also switches thinking off in the
 * templates that know `enable_thinking`; what the client says in `chat_template_kwargs` wins.
 */
function reasoningFields(body: JsonObject, engine: Engine): JsonObject {
  const reasoning = body['reasoning']
  const effort = isObject(reasoning) ? reasoning['effort'] : null
  if (typeof effort !== 'string') return {}
  const byTemplate = engine === 'llamacpp' || (effort === 'none' && TEMPLATE_ARGUMENTS.has(engine))
  if (!byTemplate) return { reasoning_effort: effort }
  const own = body['chat_template_kwargs']
  return {
    reasoning_effort: effort,
    chat_template_kwargs: {
      ...(engine === 'llamacpp' && { reasoning_effort: effort }),
      ...(effort === 'none' && { enable_thinking: false }),
      ...(isObject(own) && own),
    },
  }
}

/** llama.cpp takes 0 alternatives for "no log probabilities at all". */
function logprobFields(body: JsonObject, engine: Engine): JsonObject {
  const count = typeof body['top_logprobs'] === 'number' ? body['top_logprobs'] : 0
  if (count === 0 && !includes(body, 'message.output_text.logprobs')) return {}
  const least = engine === 'llamacpp' ? 1 : 0
  return { logprobs: true, top_logprobs: Math.max(count, least) }
}
