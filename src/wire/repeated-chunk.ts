/**
 * Reads chat chunks that differ from an earlier one only in their text, without parsing them whole.
 *
 *   {"id":"chatcmpl-1",...,"choices":[{"index":0,"delta":{"content":"   Hel   "},...}]}
 *   \________________________ before ____________________________/  text  \__ after __/
 *
 * Engines repeat everything but the token. If a chunk begins with `before`, ends with `after`, and what lies between is
 * one JSON string's inside, then it is the earlier chunk with another text: nothing else can differ. Checked when it is
 * learned, by parsing the frame around a text of our own. Measured on a stream of 64 one-token chunks of 190 characters,
 * Node 20: folding costs 1.1 instead of 1.7 microseconds an event. At most `MAX_LEARNED` frames are tried a stream.
 */
import { isObject, type JsonObject } from '../model/json.ts'

const MAX_LEARNED = 4
const PROBE = 'probe'
/** Inside a JSON string only these need work: quotes end it, backslashes escape, control characters are not allowed. */
// eslint-disable-next-line no-control-regex
const SPECIAL = /["\\\u0000-\u001f]/

export class RepeatedChunk {
  #before = ''
  #after = ''
  #learned = 0

  /** The text of a chunk that is otherwise the learned one; null: parse it. */
  read(data: string): string | null {
    const before = this.#before
    const after = this.#after
    if (before === '' || data.length < before.length + after.length) return null
    if (!data.startsWith(before) || !data.endsWith(after)) return null
    const inside = data.slice(before.length, data.length - after.length)
    if (!SPECIAL.test(inside)) return inside
    try {
      return JSON.parse(`"${inside}"`) as string
    } catch {
      return null // not one string: more than the text differs
    }
  }

  /** `chunk` is `data` parsed. Frames are learned only from a plain token: one choice, no finish, nothing beside text. */
  learn(data: string, chunk: JsonObject): void {
    if (this.#learned >= MAX_LEARNED) return
    const text = plainText(chunk)
    if (text === null) return
    this.#learned += 1
    const inside = JSON.stringify(text).slice(1, -1)
    const mark = /"content"\s*:\s*"/.exec(data)
    if (mark === null) return
    const start = mark.index + mark[0].length
    if (!data.startsWith(`${inside}"`, start)) return
    const before = data.slice(0, start)
    const after = data.slice(start + inside.length)
    let probe: unknown
    try {
      probe = JSON.parse(before + PROBE + after)
    } catch {
      return // the mark lay inside another string
    }
    if (!isObject(probe) || plainText(probe) !== PROBE) return
    this.#before = before
    this.#after = after
  }
}

/** The text of a chunk that carries a token and nothing else; null for any other. */
function plainText(chunk: JsonObject): string | null {
  const { choices } = chunk
  if (!Array.isArray(choices) || choices.length !== 1 || isObject(chunk['usage']) || isObject(chunk['timings']))
    return null
  const choice: unknown = choices[0]
  if (!isObject(choice) || (choice['index'] ?? 0) !== 0 || !isObject(choice['delta'])) return null
  if ((choice['finish_reason'] ?? null) !== null || (choice['logprobs'] ?? null) !== null) return null
  const { content, role: _role, ...others } = choice['delta']
  for (const name in others) if ((others[name] ?? null) !== null) return null
  return typeof content === 'string' && content !== '' ? content : null
}
