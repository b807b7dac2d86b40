/**
 * Text as a simulated engine reads it: four characters are a token, a chat template puts a mark around each message,
 * and the text is cut into blocks of tokens whose ids hash everything up to their end. An answer appended to its prompt
 * and the next turn's prompt agree block for block, as they do under a real template.
 *
 * Two 32-bit running hashes give ids of 52 bits, exact as numbers: with 50,000 blocks in a cache a false match has a
 * chance of about 1e-11 per block looked up. About 2 ns per character.
 */
import { isObject, type JsonObject, type JsonValue } from '../src/model/json.ts'

export const CHARACTERS_PER_TOKEN = 4

export const tokensOf = (text: string): number => Math.ceil(text.length / CHARACTERS_PER_TOKEN)

/** The id of the token at place `index`: a hash of its four characters. */
export const tokenIdAt = (text: string, index: number): number => {
  let hash = 0x811c9dc5
  const start = index * CHARACTERS_PER_TOKEN
  for (let at = start; at < Math.min(text.length, start + CHARACTERS_PER_TOKEN); at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  }
  return hash & 0x7fffffff
}

/** Where the hash stands after some text; an answer's blocks continue from here. */
export type BlockState = { low: number; high: number; characters: number }

export const newBlockState = (): BlockState => ({ low: 0x811c9dc5 | 0, high: 0x9747b28c | 0, characters: 0 })

/** Feeds `text` and returns the ids of the blocks that it completes. */
export const completeBlocks = (state: BlockState, text: string, blockTokens: number): number[] => {
  const blockCharacters = blockTokens * CHARACTERS_PER_TOKEN
  const ids: number[] = []
  let { low, high } = state
  let room = blockCharacters - (state.characters % blockCharacters)
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    low = Math.imul(low ^ code, 0x01000193)
    high = Math.imul((high ^ (high >>> 15)) + code, 0x2c1b3c6d)
    if (--room === 0) {
      ids.push(idOf(low, high))
      room = blockCharacters
    }
  }
  state.low = low
  state.high = high
  state.characters += text.length
  return ids
}

/** An id for the unfinished last block, null when the text ends at a block's end. */
export const partialBlock = (state: BlockState, blockTokens: number): number | null => {
  const rest = state.characters % (blockTokens * CHARACTERS_PER_TOKEN)
  return rest === 0 ? null : idOf(Math.imul(state.low ^ rest, 0x01000193), state.high ^ rest)
}

const idOf = (low: number, high: number): number => {
  const mixed = Math.imul(low ^ (low >>> 15), 0x735a2d97)
  return ((high >>> 12) & 0xfffff) * 4294967296 + ((mixed ^ (mixed >>> 15)) >>> 0)
}

const textOfContent = (content: JsonValue | undefined): string => {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content
    .map((part) => {
      if (!isObject(part)) return String(part)
      return typeof part['text'] === 'string' ? part['text'] : JSON.stringify(part)
    })
    .join('')
}

const ANSWER_MARK = '<|assistant|>'
const END_MARK = '<|end|>'

/** The text of a chat request up to where the answer begins; without `generation` up to the end of its last message. */
export const renderMessages = (
  messages: readonly JsonValue[],
  tools: JsonValue | undefined,
  generation = true,
): string => {
  const parts: string[] = []
  if (Array.isArray(tools) && tools.length > 0) parts.push('<|tools|>', JSON.stringify(tools), END_MARK)
  for (const message of messages) {
    if (!isObject(message)) continue
    parts.push(`<|${String(message['role'] ?? 'user')}|>`, textOfContent(message['content']))
    if (message['tool_calls'] !== undefined) parts.push(JSON.stringify(message['tool_calls']))
    parts.push(END_MARK)
  }
  if (generation) parts.push(ANSWER_MARK)
  return parts.join('')
}

/** The same for the items of a Responses request. */
export const renderItems = (body: JsonObject): string => {
  const messages: JsonObject[] = []
  if (typeof body['instructions'] === 'string') messages.push({ role: 'system', content: body['instructions'] })
  const input = body['input']
  if (typeof input === 'string') messages.push({ role: 'user', content: input })
  for (const item of Array.isArray(input) ? (input as readonly JsonValue[]) : []) {
    if (!isObject(item)) continue
    if (typeof item['role'] === 'string') messages.push({ role: item['role'], content: item['content'] ?? '' })
    else if (item['type'] === 'function_call_output') messages.push({ role: 'tool', content: item['output'] ?? '' })
    else if (item['type'] === 'function_call') {
      const call = { name: item['name'] ?? '', arguments: item['arguments'] ?? '' }
      messages.push({ role: 'assistant', tool_calls: [{ function: call }] })
    } else messages.push({ role: String(item['type'] ?? 'item'), content: JSON.stringify(item) })
  }
  return renderMessages(messages, body['tools'])
}
