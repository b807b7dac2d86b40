/**
 * The beginning of a rendered request, asking for one token: an engine that caches prefixes has computed that much of the
 * prompt when it answers, and the next request that begins alike finds it.
 *
 * Fields that shape the prompt stay (tools, template arguments, salt, adapter), fields that shape the answer go. The cut
 * lies behind a message where one ends near it, otherwise inside a text; never behind an assistant's message where a
 * user's or a tool's ends near it, since templates render what follows the last question differently from what lies
 * before. Everything before the cut renders as it will in the whole prompt; the few tokens of template behind it are
 * lost. O(characters).
 */
import type { Protocol } from '../model/backend.ts'
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'

/** About `share` (0..1) of the text of a body for `protocol`; null where there is nothing to cut. */
export function promptStart(body: JsonObject, protocol: Protocol, share: number): JsonObject | null {
  const field = protocol === 'chat' ? 'messages' : 'input'
  const whole = body[field]
  const items: readonly JsonValue[] = Array.isArray(whole) ? whole : typeof whole === 'string' ? [asMessage(whole)] : []
  const before = textLength(body['tools']) + textLength(body['instructions'])
  const total = items.reduce((sum: number, item) => sum + textLength(item), before)
  const kept = startOf(items, share * total - before)
  if (kept === null) return null
  const rest = Object.fromEntries(Object.entries(body).filter(([key]) => !ANSWER_FIELDS.has(key)))
  return protocol === 'chat'
    ? { ...rest, messages: kept, max_tokens: 1, stream: true, stream_options: { include_usage: true } }
    : { ...rest, input: kept, max_output_tokens: 1, store: false, stream: true }
}

/** What an answer looks like; `prompt_logprobs` would also keep vLLM from using its cache. */
const ANSWER_FIELDS: ReadonlySet<string> = new Set([
  'messages',
  'input',
  'max_tokens',
  'max_completion_tokens',
  'max_output_tokens',
  'min_tokens',
  'n',
  'best_of',
  'stop',
  'stop_token_ids',
  'stream',
  'stream_options',
  'logprobs',
  'top_logprobs',
  'prompt_logprobs',
  'response_format',
  'text',
  'include',
  'echo',
  'ignore_eos',
  'continue_final_message',
  'add_generation_prompt',
])

const asMessage = (text: string): JsonObject => ({ type: 'message', role: 'user', content: text })

function startOf(items: readonly JsonValue[], characters: number): JsonValue[] | null {
  const kept: JsonValue[] = []
  let left = characters
  /** How many items to keep to end behind a question, and what that leaves out of the wanted part. */
  let question = 0
  let behindQuestion = 0
  for (const item of items) {
    const length = textLength(item)
    if (length > left) {
      const part = left > 0 ? cutItem(item, left) : null
      if (part !== null && !isAssistant(item)) kept.push(part)
      else if (isAssistant(item) && behindQuestion + Math.max(0, left) > NEAR * characters && part !== null) kept.push(part)
      else kept.length = question > 0 && behindQuestion <= NEAR * characters ? question : kept.length
      break
    }
    kept.push(item)
    left -= length
    behindQuestion += length
    if (isAssistant(item)) continue
    question = kept.length
    behindQuestion = 0
  }
  return kept.length === 0 ? null : kept
}

/** A message whose text is cut; null where it has no text to cut. Calls and results are kept or left as they are. */
function cutItem(item: JsonValue, characters: number): JsonObject | null {
  if (!isObject(item) || item['tool_calls'] !== undefined || item['type'] === 'function_call') return null
  for (const field of ['content', 'output']) {
    const content = item[field]
    if (typeof content === 'string') return { ...item, [field]: cutText(content, characters) }
    if (!Array.isArray(content)) continue
    const parts: JsonValue[] = []
    let left = characters
    for (const part of content as readonly JsonValue[]) {
      if (!isObject(part) || typeof part['text'] !== 'string') return parts.length === 0 ? null : { ...item, [field]: parts }
      parts.push(part['text'].length <= left ? part : { ...part, text: cutText(part['text'], left) })
      left -= part['text'].length
      if (left <= 0) return { ...item, [field]: parts }
    }
  }
  return null
}

/** Not between the halves of a surrogate pair. */
function cutText(text: string, characters: number): string {
  const end = Math.floor(characters)
  const code = text.charCodeAt(end - 1)
  return text.slice(0, code >= 0xd800 && code <= 0xdbff ? end - 1 : end)
}

const isAssistant = (item: JsonValue): boolean =>
  isObject(item) && (item['role'] === 'assistant' || item['type'] === 'function_call' || item['type'] === 'reasoning')

/**
 * Characters of text anywhere inside; keys and punctuation are nearly the same share of every prompt. Pictures count as
 * nothing, and in the length of a chain, of which `share` is a share, as next to nothing (kv/canonical.ts).
 */
function textLength(value: JsonValue | undefined): number {
  if (typeof value === 'string') return value.length
  if (Array.isArray(value)) return value.reduce((sum: number, part) => sum + textLength(part as JsonValue), 0)
  if (!isObject(value) || (typeof value['type'] === 'string' && NO_TEXT.has(value['type']))) return 0
  let sum = 0
  for (const key in value) sum += textLength(value[key])
  return sum
}

/** Pictures, as Chat and Responses name them. */
const NO_TEXT: ReadonlySet<string> = new Set(['image_url', 'input_image'])

/** A cut may fall short by this share of the wanted part to end behind a question. */
const NEAR = 0.25
