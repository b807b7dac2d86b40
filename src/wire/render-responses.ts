/**
 * A turn -> a body for `POST /v1/responses` of a backend. State never leaves this house: the full context goes along
 * as items, `store` is off, and neither `previous_response_id` nor `conversation` is sent.
 */
import type { Engine, ServedModel } from '../model/backend.ts'
import { isObject } from '../model/json.ts'
import type { JsonObject } from '../model/json.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import { carriesOnlyCiphertext } from './item-text.ts'
import { responseFormat } from './render-chat.ts'
import { renderItems } from './render-items.ts'
import { renderTools } from './render-tools.ts'
import type { RenderedTools } from './render-tools.ts'
import { includes, missedFields, passedFields } from './rendered.ts'
import type { Rendered } from './rendered.ts'

export type { Rendered } from './rendered.ts'

const LOGPROBS = 'message.output_text.logprobs'
const TRANSLATED: ReadonlySet<string> = new Set(['tools', 'tool_choice', 'parallel_tool_calls'])

export function renderResponses(turn: ResolvedTurn, served: ServedModel, engine: Engine): Rendered {
  const tools = renderTools(turn, engine)
  const body: JsonObject = {
    model: served.served,
    ...(turn.instructions !== null && turn.instructions !== '' && { instructions: turn.instructions }),
    input: renderItems(turn, engine, tools.naming),
    ...passedFields(turn.body, TRANSLATED),
    ...toolFields(turn.body, tools),
    ...formatForLlamaCpp(turn.body, engine),
    ...(includes(turn.body, LOGPROBS) && { include: [LOGPROBS] }),
    store: false,
    stream: true,
  }
  const ciphertext = turn.context.some(carriesOnlyCiphertext) ? ['reasoning.encrypted_content'] : []
  return {
    body,
    omitted: [...tools.omitted, ...missedFields(turn.body), ...ciphertext],
    toolNames: tools.naming.names,
  }
}

function toolFields(body: JsonObject, { functions, choice }: RenderedTools): JsonObject {
  if (functions.length === 0) return {}
  const parallel = body['parallel_tool_calls']
  return {
    tools: functions.map((definition) => ({ type: 'function', ...definition })),
    ...(choice !== null && { tool_choice: 'name' in choice ? { type: 'function', name: choice.name } : choice.mode }),
    ...(typeof parallel === 'boolean' && { parallel_tool_calls: parallel }),
  }
}

/** llama.cpp ignores `text.format` on this route and reads the field of Chat Completions. */
function formatForLlamaCpp(body: JsonObject, engine: Engine): JsonObject {
  const text = body['text']
  if (engine !== 'llamacpp' || !isObject(text)) return {}
  const format = responseFormat(text)
  return format === null ? {} : { response_format: format }
}
