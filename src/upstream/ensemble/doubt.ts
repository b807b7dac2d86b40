/**
 * What in an answer speaks for asking a better model: signs of failure that need no judge.
 *
 *   truncated       its limit cut it off
 *   refusal         a refusal part, or a short text that begins as refusals do
 *   schema          JSON was asked for, and it is none, or a required key is missing, or a type is wrong
 *
 * and how sure the model was: the geometric mean probability of its tokens, exp(mean log probability). A prompt alone
 * says nothing about whether a small model fails where a large one does not; only the answer can.
 */
import type { EscalationReason } from '../../model/asking.ts'
import type { ConversationItem } from '../../model/item.ts'
import { isObject, type JsonObject, type JsonValue } from '../../model/json.ts'
import { readJson, textOfAnswer } from './final-answer.ts'

/** Longer texts that begin with an apology answer something behind it. */
const REFUSAL_CHARACTERS = 400
const REFUSAL = /^\W*(?:(?:i['’]?m|i am) (?:very |so )?sorry|sorry|i (?:can['’]?t|cannot|can not|am unable|am not able|won['’]?t)|as an ai)\b[^.]*\b(?:can['’]?t|cannot|can not|unable|not able|won['’]?t|unfortunately|help with that|assist)/i

export type Wanted = {
  /** JSON was asked for. */
  readonly json: boolean
  /** Its schema; null: any. */
  readonly schema: JsonObject | null
}

export function doubtOf(
  output: readonly ConversationItem[],
  status: 'completed' | 'incomplete',
  wanted: Wanted,
): EscalationReason | null {
  if (status === 'incomplete') return 'truncated'
  if (output.some(({ type }) => type.endsWith('_call'))) return brokenCall(output) ? 'schema' : null
  const text = textOfAnswer(output)
  if (text.trim() === '') return 'refusal'
  if (output.some(isRefusal) || (text.length <= REFUSAL_CHARACTERS && REFUSAL.test(text))) return 'refusal'
  if (!wanted.json) return null
  const value = readJson(text)
  return value === undefined || (wanted.schema !== null && !fits(value, wanted.schema, 0)) ? 'schema' : null
}

const isRefusal = ({ content }: ConversationItem): boolean =>
  Array.isArray(content) && (content as readonly JsonValue[]).some((part) => isObject(part) && part['type'] === 'refusal')

const brokenCall = (output: readonly ConversationItem[]): boolean =>
  output.some((item) => item.type === 'function_call' && typeof item['arguments'] === 'string' && readJson(item['arguments']) === undefined)

/** Deeper values are taken to fit: the signs of a model that does not follow a schema are near its top. */
const CHECKED_DEPTH = 4
const TYPES: Readonly<Record<string, (value: JsonValue) => boolean>> = {
  object: isObject,
  array: (value) => Array.isArray(value),
  string: (value) => typeof value === 'string',
  number: (value) => typeof value === 'number',
  integer: (value) => Number.isInteger(value),
  boolean: (value) => typeof value === 'boolean',
  null: (value) => value === null,
}

/** Types, required keys, enums and items; what else a schema says is taken to hold. */
export function fits(value: JsonValue, schema: JsonValue | undefined, depth = 0): boolean {
  if (!isObject(schema) || depth > CHECKED_DEPTH) return true
  const { type, required, properties, items } = schema
  const types = typeof type === 'string' ? [type] : Array.isArray(type) ? (type as readonly JsonValue[]) : []
  if (types.length > 0 && !types.some((name) => TYPES[String(name)]?.(value) ?? true)) return false
  if (Array.isArray(schema['enum']) && !(schema['enum'] as readonly JsonValue[]).includes(value) && typeof value !== 'object') return false
  if (isObject(value)) {
    if (Array.isArray(required) && (required as readonly JsonValue[]).some((key) => !Object.hasOwn(value, String(key)))) return false
    if (isObject(properties))
      for (const key in value) if (!fits(value[key] ?? null, properties[key], depth + 1)) return false
  }
  if (Array.isArray(value)) return (value as readonly JsonValue[]).every((entry) => fits(entry, items, depth + 1))
  return true
}

/** `logprob` entries of a Responses or a Chat answer -> geometric mean probability; null where there are none. */
export function confidenceOf(entries: readonly JsonValue[]): number | null {
  let sum = 0
  let count = 0
  for (const entry of entries) {
    if (!isObject(entry) || typeof entry['logprob'] !== 'number') continue
    sum += Math.max(entry['logprob'], LEAST_LOGPROB)
    count++
  }
  return count === 0 ? null : Math.exp(sum / count)
}

/** Engines write -9999 or less for a token outside of what they report. */
const LEAST_LOGPROB = -20
