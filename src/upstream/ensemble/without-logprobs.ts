/** An answer's item without the log probabilities that only the gateway asked for. */
import type { ConversationItem } from '../../model/item.ts'
import { isObject, type JsonValue } from '../../model/json.ts'

export function withoutLogprobs<T extends ConversationItem>(item: T): T {
  const { content } = item
  if (!Array.isArray(content)) return item
  const parts: readonly JsonValue[] = content
  return { ...item, content: parts.map((part) => (isObject(part) && Array.isArray(part['logprobs']) ? { ...part, logprobs: [] } : part)) }
}
