/** Who speaks in an item of a conversation and what is said, for the fingerprint. */
import type { ConversationItem } from '../model/item.ts'
import { isObject, type JsonValue } from '../model/json.ts'
import type { Speaker } from './conversation-context.ts'

export type SpokenItem = { readonly speaker: Speaker; readonly text: string }

/** Null for items that say nothing: references, ciphertext, pictures. */
export function spokenItem(item: ConversationItem): SpokenItem | null {
  switch (item.type) {
    case 'message':
      return spoken(speakerOfRole(item['role']), textOf(item['content']))
    case 'function_call':
    case 'custom_tool_call':
    case 'mcp_call':
      return spoken('assistant', joined(item['name'], item['arguments'] ?? item['input']))
    case 'function_call_output':
    case 'custom_tool_call_output':
      return spoken('tool', textOf(item['output']))
    default:
      return null
  }
}

const spoken = (speaker: Speaker, text: string): SpokenItem | null => (text === '' ? null : { speaker, text })

function speakerOfRole(role: JsonValue | undefined): Speaker {
  if (role === 'assistant') return 'assistant'
  if (role === 'system' || role === 'developer') return 'system'
  return role === 'tool' || role === 'function' ? 'tool' : 'user'
}

/** The text of a content: a string, or its text parts on lines of their own. */
export function textOf(content: JsonValue | undefined): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  const parts: string[] = []
  for (const part of content as readonly JsonValue[]) {
    if (typeof part === 'string') parts.push(part)
    else if (isObject(part) && typeof part['text'] === 'string') parts.push(part['text'])
  }
  return parts.join('\n')
}

const joined = (...texts: (JsonValue | undefined)[]): string =>
  texts.filter((text): text is string => typeof text === 'string').join(' ')
