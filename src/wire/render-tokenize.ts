/**
 * A finished turn -> bodies for `POST /tokenize` of vLLM and SGLang: the conversation with its answer, as the next turn's prompt will
 * begin, and its head (tools and leading system messages) alone. Of a Chat turn the client's own messages are kept, so
 * that the template sees what it saw.
 */
import type { Engine, ServedModel } from '../model/backend.ts'
import { HomingError } from '../model/error.ts'
import type { ConversationItem } from '../model/item.ts'
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import { isArray } from './parse-checks.ts'
import { renderMessages } from './render-messages.ts'
import { renderTools } from './render-tools.ts'

/** Null where an item cannot be told to an engine. */
export function renderTokenize(
  turn: ResolvedTurn,
  output: readonly ConversationItem[],
  served: ServedModel,
  engine: Engine,
  part: 'all' | 'head',
): string | null {
  try {
    const { functions, naming } = renderTools(turn, engine)
    const own = turn.endpoint === 'chat' && isArray(turn.body['messages']) ? turn.body['messages'] : null
    const messages: readonly JsonValue[] =
      own === null
        ? renderMessages({ ...turn, context: [...turn.context, ...output] }, engine, naming)
        : [...own, ...renderMessages({ ...turn, instructions: null, context: output }, engine, naming)]
    const tools =
      own === null ? functions.map((definition) => ({ type: 'function', function: definition })) : turn.body['tools']
    const kept = part === 'all' ? messages : leadingSystem(messages)
    if (kept.length === 0) return null
    const kwargs = turn.body['chat_template_kwargs']
    const body: JsonObject = {
      model: served.served,
      messages: kept,
      ...(isArray(tools) && tools.length > 0 && { tools }),
      ...(isObject(kwargs) && { chat_template_kwargs: kwargs }),
      add_generation_prompt: false,
    }
    return JSON.stringify(body)
  } catch (error) {
    if (error instanceof HomingError) return null
    throw error
  }
}

function leadingSystem(messages: readonly JsonValue[]): readonly JsonValue[] {
  const end = messages.findIndex((message) => !isObject(message) || !isSystem(message['role']))
  return end < 0 ? messages : messages.slice(0, end)
}

export const isSystem = (role: unknown): boolean => role === 'system' || role === 'developer'
