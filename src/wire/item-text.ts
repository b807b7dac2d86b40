/** The text of items, put together the same way for every protocol: it decides the engine's prefix. */
import { HomingError } from '../model/error.ts'
import type { ConversationItem } from '../model/item.ts'
import { isObject } from '../model/json.ts'
import type { JsonObject, JsonValue } from '../model/json.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import { isArray } from './parse-checks.ts'

/** Parts of a message or of a tool's output; empty where there is no list. */
export function partsOf(content: JsonValue | undefined): readonly JsonObject[] {
  return isArray(content) ? content.filter(isObject) : []
}

export const textOf = (part: JsonObject): string => (typeof part['text'] === 'string' ? part['text'] : '')

/**
 * What the assistant said, in one string without separators, since the parts are pieces of one answer. A refusal is
 * what it said too: engines have no field for it that reaches the model.
 */
export function assistantText(item: ConversationItem): string {
  let text = ''
  for (const part of partsOf(item['content'])) {
    text += typeof part['refusal'] === 'string' ? part['refusal'] : textOf(part)
  }
  return text
}

/** What the model thought: the raw content where it is known, else the summary. Empty when only ciphertext is left. */
export function reasoningText(item: ConversationItem): string {
  const content = partsOf(item['content']).map(textOf).join('')
  return content !== '' ? content : partsOf(item['summary']).map(textOf).join('\n\n')
}

/** The output of entry `index` of the context as one string, its text parts on lines of their own. */
export function toolOutputText(item: ConversationItem, turn: ResolvedTurn, index: number): string {
  const output = item['output']
  if (typeof output === 'string') return output
  const parts = partsOf(output)
  parts.forEach((part, at) => {
    if (part['type'] === 'input_text') return
    const place = `${placeOf(turn, index)}.output[${at}]`
    throw unsupportedPart(part, place, "the backends take a tool's output as text only")
  })
  return parts.map(textOf).join('\n')
}

/** Where a client finds item `index` of the context: in its own input, or by id among what was said before. */
export function placeOf(turn: ResolvedTurn, index: number): string {
  const historyLength = turn.context.length - turn.input.length
  if (index >= historyLength) return `${turn.endpoint === 'chat' ? 'messages' : 'input'}[${index - historyLength}]`
  return `items[${turn.context[index]?.id ?? index}]`
}

export function unsupportedPart(part: JsonObject, at: string, why: string): HomingError {
  return new HomingError('unsupported_item', { param: at, type: String(part['type']).slice(0, 64), why })
}

export function unsupportedItem(item: ConversationItem, at: string): HomingError {
  const why = 'the chosen backend has no form for it'
  return new HomingError('unsupported_item', { param: at, type: item.type.slice(0, 64), why })
}

/** Reasoning of which only another deployment's ciphertext is left: nothing an engine could read. */
export const carriesOnlyCiphertext = (item: ConversationItem): boolean =>
  item.type === 'reasoning' && typeof item['encrypted_content'] === 'string' && reasoningText(item) === ''
