/** Lines of `homing fingerprint`: messages, dialogues and logged requests, as turns of speakers. */
import type { Speaker } from '../fingerprint/conversation-context.ts'
import { spokenItem, textOf } from '../fingerprint/conversation-items.ts'
import { speakerOf } from '../fingerprint/training-lines.ts'
import type { ConversationItem } from '../model/item.ts'
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'

export type BatchTurn = { readonly speaker: Speaker; readonly text: string }
export type BatchConversation = {
  readonly id: JsonValue
  /** A single message: its line has no `turn`. */
  readonly single: boolean
  readonly turns: readonly BatchTurn[]
}

/** Null when the line is none of the forms. */
export function conversationOf(line: JsonObject): BatchConversation | null {
  const request = isObject(line['body']) ? line['body'] : line
  const id = line['id'] ?? line['request_id'] ?? null
  if (typeof line['text'] === 'string') return { id, single: true, turns: [{ speaker: 'user', text: line['text'] }] }
  if (Array.isArray(line['turns'])) {
    const turns = line['turns'].map(turnOf)
    return turns.includes(null) ? null : { id, single: false, turns: turns as BatchTurn[] }
  }
  const items = itemsOf(request)
  return items === null ? null : { id, single: false, turns: items }
}

function turnOf(value: JsonValue): BatchTurn | null {
  if (!isObject(value)) return null
  const speaker = speakerOf(value['speaker'] ?? value['role'])
  const text = value['text'] ?? value['content'] ?? ''
  if (speaker === null || (typeof text !== 'string' && !Array.isArray(text))) return null
  return { speaker: value['role'] === 'tool' ? 'tool' : speaker, text: textOf(text) }
}

/** A Responses request (`instructions`, `input`) or a Chat request (`messages`). An item that says nothing is an empty turn. */
function itemsOf(request: JsonObject): BatchTurn[] | null {
  const { input, messages } = request
  const turns: BatchTurn[] = []
  if (typeof request['instructions'] === 'string') turns.push({ speaker: 'system', text: request['instructions'] })
  if (typeof input === 'string') return [...turns, { speaker: 'user', text: input }]
  const items = Array.isArray(input) ? input : Array.isArray(messages) ? messages : null
  if (items === null) return null
  for (const item of items as readonly JsonValue[]) {
    if (!isObject(item)) return null
    const typed = { type: 'message', ...item } as ConversationItem
    const calls = textOfCalls(item['tool_calls'])
    const spoken = spokenItem(typed)
    if (calls !== '') turns.push({ speaker: 'assistant', text: spoken === null ? calls : `${spoken.text}\n${calls}` })
    else turns.push(spoken ?? { speaker: 'assistant', text: '' })
  }
  return turns
}

function textOfCalls(calls: JsonValue | undefined): string {
  if (!Array.isArray(calls)) return ''
  return (calls as readonly JsonValue[])
    .map((call) => {
      const called = isObject(call) && isObject(call['function']) ? call['function'] : {}
      return [called['name'], called['arguments']].filter((text) => typeof text === 'string').join(' ')
    })
    .join('\n')
}
