/**
 * The input of a custom tool, decoded from the engine's arguments while they arrive.
 *
 * Engines write `{"input": "..."}`; the string is decoded from its first character on, escapes and surrogate pairs held
 * back until they are whole. Whatever has another shape is decided at the end: a parsed `input` or lone value, else the
 * text as it is. Cost: O(characters); kept: the arguments until the string begins, then at most one unfinished escape.
 */
import { isObject } from '../model/json.ts'

const HEAD = /^\s*\{\s*"input"\s*:\s*"/
/** A text that may still become HEAD, roughly: nothing this long without a match can. */
const MAX_HEAD_CHARACTERS = 256
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t',
}

export class CustomInput {
  #state: 'head' | 'string' | 'other' | 'done' = 'head'
  #held = ''

  /** Returns what became readable. */
  push(fragment: string): string {
    if (this.#state === 'done') return ''
    this.#held += fragment
    if (this.#state === 'head') {
      const head = HEAD.exec(this.#held)
      if (head !== null) {
        this.#held = this.#held.slice(head[0].length)
        this.#state = 'string'
      } else if (this.#held.length > MAX_HEAD_CHARACTERS) {
        this.#state = 'other'
      }
    }
    return this.#state === 'string' ? this.#decode() : ''
  }

  /** Nothing more comes; returns what is left. */
  end(): string {
    const text = this.#held
    const state = this.#state
    this.#state = 'done'
    this.#held = ''
    return state === 'head' || state === 'other' ? whole(text) : ''
  }

  #decode(): string {
    const text = this.#held
    let decoded = ''
    let at = 0
    while (at < text.length) {
      const code = text.charCodeAt(at)
      if (code === 34) {
        this.#state = 'done'
        this.#held = ''
        return decoded
      }
      if (code !== 92) {
        // A run of plain characters up to the next quote or backslash.
        let end = at + 1
        while (end < text.length && text.charCodeAt(end) !== 34 && text.charCodeAt(end) !== 92) end += 1
        decoded += text.slice(at, end)
        at = end
        continue
      }
      const length = escapeLength(text, at)
      if (length === 0) break
      decoded += unescape(text.slice(at, at + length))
      at += length
    }
    this.#held = text.slice(at)
    return decoded
  }
}

/** Characters of the escape at `at`, a surrogate pair counted as one; 0 while it is not whole. */
function escapeLength(text: string, at: number): number {
  const kind = text[at + 1]
  if (kind === undefined) return 0
  if (kind !== 'u') return 2
  if (text.length < at + 6) return 0
  const unit = Number.parseInt(text.slice(at + 2, at + 6), 16)
  if (!(unit >= 0xd800 && unit <= 0xdbff)) return 6
  const rest = text.slice(at + 6, at + 12)
  if ('\\u'.startsWith(rest.slice(0, 2)) && rest.length < 6) return 0
  return /^\\u[dD][c-fC-F][0-9a-fA-F]{2}$/.test(rest) ? 12 : 6
}

function unescape(escape: string): string {
  if (escape[1] !== 'u') return ESCAPES[escape[1]!] ?? escape[1]!
  let decoded = ''
  for (let at = 0; at < escape.length; at += 6) {
    const unit = Number.parseInt(escape.slice(at + 2, at + 6), 16)
    decoded += Number.isNaN(unit) ? escape.slice(at, at + 6) : String.fromCharCode(unit)
  }
  return decoded
}

function whole(text: string): string {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return text // not JSON: the model wrote the input itself
  }
  if (isObject(value) && 'input' in value) value = value['input']
  return typeof value === 'string' ? value : JSON.stringify(value)
}
