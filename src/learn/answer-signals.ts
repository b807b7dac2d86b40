/**
 * What an answer says against itself: JSON that is none where it was asked for, calls of tools that cannot be run, a refusal, an
 * answer cut off, a client that left while it was read. Looked at once, when the answer has ended.
 *
 * Cost: a microsecond where neither JSON nor tools were asked for; else the parsing of at most `MOST_CHECKED_CHARACTERS`
 * (about 0.3 ms), beyond which nothing is looked for and `unchecked` says so.
 */
import type { ConversationItem } from '../model/item.ts'
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import { fitsSchema } from './json-shape.ts'
import { NO_EVIDENCE, withSign, type Evidence } from './signals.ts'

export type AskedFor = Pick<ResolvedTurn, 'endpoint' | 'body' | 'effectiveTools' | 'maxOutputTokens' | 'stream'>

export type Answered = {
  /** `cancelled`: the client left. */
  readonly status: 'completed' | 'incomplete' | 'cancelled'
  readonly cut: 'max_output_tokens' | 'content_filter' | null
  /** Empty where the client left. */
  readonly output: readonly ConversationItem[]
}

export type AnswerSigns = { readonly evidence: Evidence; readonly unchecked: boolean }

const MOST_CHECKED_CHARACTERS = 65_536
/** A client that allows less wants short answers, and gets them cut. Mean answers are of 200 to 350 tokens (OutputLength). */
const LOW_LIMIT_TOKENS = 1024

export function signsOfAnswer(asked: AskedFor, { status, cut, output }: Answered): AnswerSigns {
  let evidence = asked.stream ? withSign(NO_EVIDENCE, 'abandoned', status === 'cancelled') : NO_EVIDENCE
  if (status === 'cancelled') return { evidence, unchecked: false }
  const mayRun = (asked.maxOutputTokens ?? Infinity) >= LOW_LIMIT_TOKENS
  evidence = withSign(evidence, 'truncated', mayRun ? cut === 'max_output_tokens' : null)
  const said = output.filter(({ type }) => type === 'message')
  const calls = output.filter(({ type }) => type === 'function_call')
  const refused = cut === 'content_filter' || said.some(refuses)
  evidence = withSign(evidence, 'refusal', refused)
  // half a document or half a call is no fault of its own where the answer was cut off
  if (status === 'incomplete') return { evidence, unchecked: false }
  const format = formatOf(asked)
  const text = format === null || refused || calls.length > 0 ? '' : textOf(said)
  let characters = text.length
  for (const call of calls) characters += String(call['arguments'] ?? '').length
  if (characters > MOST_CHECKED_CHARACTERS) return { evidence, unchecked: true }
  if (format !== null && !refused && calls.length === 0) {
    evidence = withSign(evidence, 'invalid_json', !isDocument(text, format))
  }
  const runnable = calls.map((call) => canRun(call, asked.effectiveTools))
  if (runnable.includes(false)) evidence = withSign(evidence, 'bad_arguments', true)
  else if (runnable.includes(true)) evidence = withSign(evidence, 'bad_arguments', false)
  return { evidence, unchecked: false }
}

type Format = { readonly schema: JsonObject | undefined }

/** Null where plain text was asked for. */
function formatOf({ endpoint, body }: AskedFor): Format | null {
  const text = body['text']
  const format = endpoint === 'chat' ? body['response_format'] : isObject(text) ? text['format'] : undefined
  if (!isObject(format)) return null
  if (format['type'] === 'json_object') return { schema: { type: 'object' } }
  if (format['type'] !== 'json_schema') return null
  const inner = endpoint === 'chat' ? format['json_schema'] : format
  const schema = isObject(inner) ? inner['schema'] : undefined
  return { schema: isObject(schema) ? schema : undefined }
}

function isDocument(text: string, { schema }: Format): boolean {
  const value = parsed(text)
  return value !== undefined && fitsSchema(value, schema)
}

/** Null where nothing is known of the tool: hosted, or offered by an earlier turn. */
function canRun(call: ConversationItem, tools: readonly JsonObject[]): boolean | null {
  const parameters = parametersOf(call, tools)
  const given = call['arguments']
  if (typeof given !== 'string') return null
  // engines write nothing for a call without arguments, and clients take it
  const value = given.trim() === '' ? {} : parsed(given)
  if (!isObject(value)) return false
  return parameters === undefined ? null : fitsSchema(value, parameters)
}

function parametersOf({ name, namespace }: ConversationItem, tools: readonly JsonObject[]): JsonValue | undefined {
  for (const tool of tools) {
    if (tool['type'] === 'function' && tool['name'] === name && namespace === undefined) return tool['parameters']
    if (tool['type'] === 'namespace' && tool['name'] === namespace && Array.isArray(tool['tools'])) {
      return parametersOf({ type: 'function_call', name: name! }, tool['tools'] as readonly JsonObject[])
    }
  }
  return undefined
}

function parsed(text: string): JsonValue | undefined {
  try {
    return JSON.parse(text) as JsonValue
  } catch {
    return undefined // what is no JSON is a sign, not a failure
  }
}

const partsOf = (item: ConversationItem): readonly JsonObject[] =>
  Array.isArray(item['content']) ? (item['content'] as readonly JsonValue[]).filter(isObject) : []

const textOf = (messages: readonly ConversationItem[]): string =>
  messages.flatMap(partsOf).map(({ text }) => (typeof text === 'string' ? text : '')).join('')

function refuses(message: ConversationItem): boolean {
  const parts = partsOf(message)
  if (parts.some(({ refusal }) => typeof refusal === 'string' && refusal !== '')) return true
  const first = parts[0]?.['text']
  return typeof first === 'string' && refusesInWords(first)
}

/**
 * At the start of an answer, in English: "I'm sorry, but I can't help with that", "I cannot provide ...", "As an AI language model, I
 * am not able to assist". The verb matters: "I can't find an error" answers.
 */
export const refusesInWords = (text: string): boolean => REFUSAL.test(text.slice(0, REFUSAL_CHARACTERS))

const REFUSAL_CHARACTERS = 160
const REFUSAL =
  /^\s*(?:(?:(?:i['’]?m|i am|we['’]?re|we are)\s+(?:very |so |really )?sorry|sorry|unfortunately|(?:my )?apologies|i apologi[sz]e|as an? (?:ai|artificial|large language|language model)[^.!?\n]{0,30}|no)[,.:;]?\s*(?:but\s+|for [^.!?\n]{0,40}[,.] (?:but )?)?)?(?:i|we)\s*(?:(?:can['’]?t|cannot|can not|won['’]t|will not)|(?:['’]m| am|['’]re| are)\s+(?:not able to|unable to|not allowed to|not permitted to|not going to)|(?:must|have to) (?:decline|refuse))\s*(?:to\s+)?(?:help|assist|comply|provide|answer|fulfil|do that|do this|share|create|generate|engage|discuss|support|offer|advise|give you|participate|$|[.,!])/i
