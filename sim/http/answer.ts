/**
 * What a simulated model says: words of three letters and a space, one token each, drawn from a hash of the prompt, so
 * the same prompt always gets the same answer. Length: `max_tokens` exactly with `ignore_eos` (vLLM's extension), else
 * log-normal around the configured median and cut at `max_tokens`. A demanded tool call or JSON format is answered by
 * the smallest instance of its schema.
 */
import { isObject, type JsonObject, type JsonValue } from '../../src/model/json.ts'
import { logNormal, mix32, seededRandom } from '../random.ts'
import { CHARACTERS_PER_TOKEN, tokensOf } from '../prompt.ts'

export type Answer = {
  readonly text: string
  readonly tokens: number
  readonly finishReason: 'stop' | 'length' | 'tool_calls'
  readonly toolCall: { readonly id: string; readonly name: string; readonly arguments: string } | null
  /** False when pieces of the text must be escaped in JSON. */
  readonly plain: boolean
}

const LETTERS = 'bdfgklmnprstvz'
const VOWELS = 'aeiou'
const WORDS: readonly string[] = Array.from(
  { length: 1024 },
  (_, index) => `${LETTERS[index % 14]}${VOWELS[(index >> 3) % 5]}${LETTERS[(index * 11 + (index >> 5)) % 14]} `,
)

/** Spread of answer lengths; the logarithm of Mooncake's conversation answers has about this deviation. */
const LENGTH_SIGMA = 0.8

export const piece = (answer: Answer, index: number): string =>
  answer.text.slice(index * CHARACTERS_PER_TOKEN, (index + 1) * CHARACTERS_PER_TOKEN)

const words = (seed: number, count: number): string => {
  let text = ''
  for (let index = 0; index < count; index++) text += WORDS[mix32(index + 1, seed) & 1023]
  return text
}

const integer = (value: JsonValue | undefined): number | null =>
  typeof value === 'number' && Number.isInteger(value) && value > 0 ? value : null

export const requestedTokens = (body: JsonObject): number | null =>
  integer(body['max_completion_tokens']) ?? integer(body['max_tokens']) ?? integer(body['max_output_tokens'])

export const composeAnswer = (body: JsonObject, seed: number, medianTokens: number, roomTokens: number): Answer => {
  const most = Math.max(1, Math.min(requestedTokens(body) ?? roomTokens, roomTokens))
  const tool = demandedTool(body)
  if (tool !== null) {
    const text = JSON.stringify(minimalInstance(tool.schema))
    const id = `call_${mix32(seed, 7).toString(16).padStart(8, '0')}${mix32(seed, 8).toString(16).padStart(8, '0')}`
    return cut(text, most, 'tool_calls', { id, name: tool.name, arguments: text })
  }
  const schema = demandedSchema(body)
  if (schema !== null) return cut(JSON.stringify(minimalInstance(schema)), most, 'stop', null)
  const least = Math.min(integer(body['min_tokens']) ?? 1, most)
  const drawn = Math.round(logNormal(seededRandom(seed), medianTokens, LENGTH_SIGMA))
  const tokens = body['ignore_eos'] === true ? most : Math.max(least, Math.min(most, drawn))
  const text = words(seed, tokens)
  return { text, tokens, finishReason: tokens >= most ? 'length' : 'stop', toolCall: null, plain: true }
}

const cut = (text: string, most: number, reason: 'stop' | 'tool_calls', toolCall: Answer['toolCall']): Answer => {
  const tokens = Math.min(tokensOf(text), most)
  const whole = tokens === tokensOf(text)
  return {
    text: text.slice(0, tokens * CHARACTERS_PER_TOKEN),
    tokens,
    finishReason: whole ? reason : 'length',
    toolCall,
    plain: false,
  }
}

type Tool = { readonly name: string; readonly schema: JsonObject }

/** `tool_choice` required or a named function; Chat nests a function, Responses does not. */
const demandedTool = (body: JsonObject): Tool | null => {
  const choice = body['tool_choice']
  const tools = body['tools']
  if (!Array.isArray(tools)) return null
  const known = (tools as readonly JsonValue[]).filter(isObject).map((tool): Tool => {
    const inner = isObject(tool['function']) ? tool['function'] : tool
    return { name: String(inner['name'] ?? ''), schema: isObject(inner['parameters']) ? inner['parameters'] : {} }
  })
  if (choice === 'required') return known[0] ?? null
  if (!isObject(choice)) return null
  const inner = isObject(choice['function']) ? choice['function'] : choice
  return known.find((tool) => tool.name === inner['name']) ?? null
}

const demandedSchema = (body: JsonObject): JsonObject | null => {
  const text = body['text']
  const format = isObject(body['response_format'])
    ? body['response_format']
    : isObject(text)
      ? text['format']
      : undefined
  if (!isObject(format)) return null
  if (format['type'] === 'json_object') return { type: 'object' }
  if (format['type'] !== 'json_schema') return null
  const nested = isObject(format['json_schema']) ? format['json_schema'] : format
  return isObject(nested['schema']) ? nested['schema'] : { type: 'object' }
}

/** The smallest value that a plain schema allows; `depth` ends schemas that refer to themselves. */
const minimalInstance = (schema: JsonValue | undefined, depth = 0): JsonValue => {
  if (!isObject(schema) || depth > 16) return null
  if (schema['const'] !== undefined) return schema['const']
  const choices = schema['enum']
  if (Array.isArray(choices) && choices.length > 0) return choices[0] as JsonValue
  const variants = schema['anyOf'] ?? schema['oneOf']
  if (Array.isArray(variants)) return minimalInstance(variants[0] as JsonValue, depth + 1)
  const type = Array.isArray(schema['type']) ? schema['type'][0] : schema['type']
  if (type === 'string') return ''
  if (type === 'number' || type === 'integer') return 0
  if (type === 'boolean') return false
  if (type === 'array') {
    const least = typeof schema['minItems'] === 'number' ? Math.min(schema['minItems'], 64) : 0
    return Array.from({ length: least }, () => minimalInstance(schema['items'], depth + 1))
  }
  if (type === 'null') return null
  const properties = isObject(schema['properties']) ? schema['properties'] : {}
  const required = Array.isArray(schema['required']) ? schema['required'].map(String) : []
  return Object.fromEntries(required.map((name) => [name, minimalInstance(properties[name], depth + 1)]))
}
