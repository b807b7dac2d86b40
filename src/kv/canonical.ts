/**
 * Canonical text of a prompt: what decides whether two prompts share a prefix, and nothing else.
 *
 * Ids, statuses and annotations never reach an engine's template, so they are left out; `developer` is `system`;
 * the arguments of a call are compared as JSON without its white space, because several clients re-serialise them on
 * replay. A picture that is sent as data stands as its digest: the length of its base64 says nothing of its tokens, and
 * counted as text it would make estimates of a prompt's length, and the parts it is cut into, many times wrong. Each piece
 * starts with a record separator and its kind, so that no two different lists of items run together. The text is only hashed,
 * never kept and never sent.
 */
import { createHash } from 'node:crypto'
import type { ConversationItem } from '../model/item.ts'
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'

const RECORD = '\u001e'
const FIELD = '\u001f'

/** What stands in front of all items: tools, then instructions, as chat templates render them. */
export function canonicalHead(instructions: string | null, tools: readonly JsonObject[]): string {
  let text = ''
  for (const tool of tools) text += `${RECORD}tool${FIELD}${JSON.stringify(tool)}`
  if (instructions !== null && instructions !== '') text += `${RECORD}system${FIELD}${instructions}`
  return text
}

export function canonicalItem(item: ConversationItem): string {
  switch (item.type) {
    case 'message': {
      const role = item['role'] === 'developer' ? 'system' : String(item['role'])
      return `${RECORD}${role}${FIELD}${canonicalContent(item['content'])}`
    }
    case 'function_call':
      return `${RECORD}call${FIELD}${String(item['name'])}${FIELD}${canonicalArguments(item['arguments'])}`
    case 'custom_tool_call':
      return `${RECORD}call${FIELD}${String(item['name'])}${FIELD}${String(item['input'])}`
    case 'function_call_output':
    case 'custom_tool_call_output':
      return `${RECORD}tool-output${FIELD}${canonicalContent(item['output'])}`
    case 'reasoning': {
      const content = canonicalContent(item['content'])
      return `${RECORD}reasoning${FIELD}${content === '' ? canonicalContent(item['summary']) : content}`
    }
    default:
      return `${RECORD}${item.type}${FIELD}${JSON.stringify(item)}`
  }
}

function canonicalContent(content: JsonValue | undefined): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  let text = ''
  for (const part of content as readonly JsonValue[]) {
    if (!isObject(part)) continue
    if (typeof part['text'] === 'string') text += part['text']
    else if (typeof part['refusal'] === 'string') text += part['refusal']
    else if (part['image_url'] !== undefined) text += `${FIELD}image${FIELD}${imageUrl(part['image_url'])}`
    else text += `${FIELD}${JSON.stringify(part)}`
  }
  return text
}

function imageUrl(value: JsonValue): string {
  const url = isObject(value) ? value['url'] : value
  if (typeof url !== 'string') return ''
  return url.startsWith('data:') ? createHash('sha256').update(url).digest('base64url') : url
}

function canonicalArguments(value: JsonValue | undefined): string {
  if (typeof value !== 'string') return JSON.stringify(value) ?? ''
  try {
    return JSON.stringify(JSON.parse(value))
  } catch {
    return value // a model's broken JSON is replayed byte for byte by every client seen
  }
}
