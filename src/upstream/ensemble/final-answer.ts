/**
 * What an answer comes down to, so that answers in different words can be counted as the same vote. The first that applies:
 *
 *   calls of tools     their names and arguments as JSON, in any order
 *   JSON was asked for the value with its keys sorted, white space and number forms gone
 *   \boxed{...}        what stands in the last box
 *   a final line       what follows "answer is", "answer:", "####" or "antwort ist", up to the line's end
 *   a bare choice      a whole answer such as "B", "(b)" or "**B.**"
 *   anything else      the whole text
 *
 * and of that: a single letter as a choice, a number by its value (1,234.50 = 1234.5; 3/4 = 0.75; 50% = 0.5; $12 = 12;
 * a unit behind it is left out), JSON by its value, else the text in lower case without punctuation, Markdown and articles.
 * Units are left out because models name them as they please; answers that differ in the unit alone count as the same.
 *
 * Pure; O(characters), of which the last 4,000 are searched for a final line. The extraction follows what evaluation
 * harnesses do for GSM8K ("####"), MATH (\boxed) and MMLU-Pro ("answer is (X)").
 */
import type { ConversationItem } from '../../model/item.ts'
import { isObject, type JsonValue } from '../../model/json.ts'
import { assistantText } from '../../wire/item-text.ts'

/** A final line stands at the end; what a model weighs before that is not its answer. */
const SEARCHED_CHARACTERS = 4000

/** Two answers with the same ballot are the same vote; null: nothing was answered. */
export function ballotOf(output: readonly ConversationItem[], wantsJson: boolean): string | null {
  const calls = output.filter(({ type }) => type === 'function_call' || type === 'custom_tool_call')
  if (calls.length > 0) return `calls ${calls.map(callText).sort().join(' ')}`
  const text = textOfAnswer(output)
  if (text.trim() === '') return null
  if (wantsJson) {
    const value = readJson(text)
    if (value !== undefined) return `json ${canonicalJson(value)}`
  }
  return normalise(finalAnswer(text))
}

/** What the assistant said, its messages joined. */
export function textOfAnswer(output: readonly ConversationItem[]): string {
  return output
    .filter(({ type }) => type === 'message')
    .map(assistantText)
    .join('\n')
}

const callText = (item: ConversationItem): string => {
  const written = item['arguments'] ?? item['input']
  const value = typeof written === 'string' ? (readJson(written) ?? written) : (written ?? null)
  return `${String(item['namespace'] ?? '')}.${String(item['name'])}(${canonicalJson(value)})`
}

const FINAL_LINE = /(?:\banswer\s*(?:is|:|=)|\bantwort\s*(?:ist|:|lautet)|^\s*####)[ \t:*=]*(.+)$/gim
const CHOICE = /^[\s*_`"'([{]*([a-z])[\s*_`"')\]}.:,;!]*$/i

export function finalAnswer(text: string): string {
  const end = withoutThoughts(text).slice(-SEARCHED_CHARACTERS)
  const boxed = lastBox(end)
  if (boxed !== null) return boxed
  let found: string | null = null
  for (const match of end.matchAll(FINAL_LINE)) {
    const line = (match[1] ?? '').trim()
    if (/[\p{L}\p{N}]/u.test(line)) found = line
  }
  if (found !== null) return choiceIn(found) ?? found
  return withoutThoughts(text)
}

/** "(B) because ..." chooses B; "a cat" chooses nothing. */
function choiceIn(line: string): string | null {
  const match = /^[\s*_`"']*(?:\(([a-z])\)|\[([a-z])\]|([A-Z])(?=[\s*_`"']*(?:[.):,;]|$)))/i.exec(line)
  return match === null ? null : (match[1] ?? match[2] ?? match[3] ?? null)
}

/** Engines without a reasoning parser leave the thinking in the text. */
const withoutThoughts = (text: string): string => {
  const end = text.lastIndexOf('</think>')
  return end === -1 ? text : text.slice(end + '</think>'.length)
}

/** The content of the last `\boxed{...}`, braces balanced. */
function lastBox(text: string): string | null {
  const at = text.lastIndexOf('\\boxed{')
  if (at === -1) return null
  let depth = 1
  for (let end = at + 7; end < text.length; end++) {
    if (text[end] === '{') depth++
    else if (text[end] === '}' && --depth === 0) return text.slice(at + 7, end)
  }
  return null
}

export function normalise(answer: string): string {
  const plain = answer.normalize('NFKC').trim()
  const choice = CHOICE.exec(plain)
  if (choice !== null) return `choice ${choice[1]!.toLowerCase()}`
  const number = numberIn(plain)
  if (number !== null) return `number ${number}`
  const json = readJson(plain)
  if (typeof json === 'object' && json !== null) return `json ${canonicalJson(json)}`
  const folded = plain
    .toLowerCase()
    .replace(/\\(?:text|mathrm|mathbf)\{([^}]*)\}/g, '$1')
    .replace(/[^\p{L}\p{N}\s]+/gu, ' ')
    .replace(/\b(?:a|an|the)\b/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
  // what is nothing but signs is compared as it stands
  return `text ${folded === '' ? plain : folded}`
}

const NUMBER = /^[\s*_`"'$€£¥(≈=~]*(?:usd|eur|gbp)?\s*([-+−]?)\s*[$€£¥]?\s*(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:\s*\/\s*(\d+(?:\.\d+)?))?(e[-+]?\d+)?\s*(%|percent)?\s*(?:\\?[°\p{L}][\p{L}°/²³^.\d]{0,14}(?:\s+per\s+\p{L}{1,12})?)?[\s*_`"').!;,]*$/iu
const FRACTION = /^[\s$]*([-+−]?)\s*\\[dt]?frac\{(\d+(?:\.\d+)?)\}\{(\d+(?:\.\d+)?)\}[\s$.]*$/

/** The value of what is a number and at most a unit; in the shortest form that JavaScript writes. */
function numberIn(text: string): string | null {
  const fraction = FRACTION.exec(text)
  if (fraction !== null) return valueOf(fraction[1]!, Number(fraction[2]) / Number(fraction[3]))
  const match = NUMBER.exec(text)
  if (match === null) return null
  const [, sign, digits, divisor, exponent, percent] = match
  let value = Number(`${digits!.replaceAll(',', '')}${exponent ?? ''}`)
  if (divisor !== undefined) value /= Number(divisor)
  if (percent !== undefined) value /= 100
  return valueOf(sign!, value)
}

/** Twelve digits: 0.1 + 0.2 and 0.3 are the same answer. */
function valueOf(sign: string, value: number): string | null {
  if (!Number.isFinite(value)) return null
  const signed = sign === '-' || sign === '−' ? -value : value
  return String(signed === 0 ? 0 : Number(signed.toPrecision(12)))
}

/** The value of a JSON text, also inside a Markdown fence; undefined where it is none. */
export function readJson(text: string): JsonValue | undefined {
  const fenced = /^\s*```(?:json)?\s*\n([\s\S]*?)\n\s*```\s*$/i.exec(text)
  try {
    return JSON.parse(fenced?.[1] ?? text) as JsonValue
  } catch {
    return undefined // not JSON: the caller compares it as text
  }
}

/** Keys sorted, no white space, so that equal values have equal texts. */
export function canonicalJson(value: JsonValue | undefined): string {
  if (Array.isArray(value)) return `[${(value as readonly JsonValue[]).map(canonicalJson).join(',')}]`
  if (isObject(value)) {
    const keys = Object.keys(value).sort()
    return `{${keys.map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key])}`).join(',')}}`
  }
  return JSON.stringify(value ?? null)
}
