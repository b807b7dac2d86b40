/** Entities of a text as they are found: earlier rules claim their characters, later ones take what is left. */
export const ENTITY_TYPES = [
  'person',
  'organisation',
  'location',
  'product',
  'file',
  'code',
  'url',
  'email',
  'date',
  'time',
  'number',
  'money',
  'id',
] as const
export type EntityType = (typeof ENTITY_TYPES)[number]

/** Offsets are UTF-16 code units, the end exclusive. */
export type EntitySpan = { readonly type: EntityType; readonly start: number; readonly end: number }

/** More in one text are not kept: a pasted table is not a list of subjects. */
export const MOST_ENTITIES = 256

export class Spans {
  readonly text: string
  readonly #found: EntitySpan[] = []
  /** A character that belongs to an entity, or to something that is none, holds 1. */
  readonly #claimed: Uint8Array

  constructor(text: string) {
    this.text = text
    this.#claimed = new Uint8Array(text.length)
  }

  free(start: number, end: number): boolean {
    for (let at = start; at < end; at++) if (this.#claimed[at] === 1) return false
    return true
  }

  /** False when a character is taken already. */
  add(type: EntityType, start: number, end: number): boolean {
    if (end <= start || this.#found.length >= MOST_ENTITIES || !this.free(start, end)) return false
    this.#claimed.fill(1, start, end)
    this.#found.push({ type, start, end })
    return true
  }

  /** Takes characters that are no entity out of the game. */
  block(start: number, end: number): void {
    this.#claimed.fill(1, start, end)
  }

  /** In the order of the text. */
  get sorted(): readonly EntitySpan[] {
    return this.#found.sort((left, right) => left.start - right.start)
  }
}

/** Every match of a global pattern, bounded. */
export function eachMatch(pattern: RegExp, text: string, found: (match: RegExpExecArray) => void): void {
  pattern.lastIndex = 0
  for (let match = pattern.exec(text), count = 0; match !== null && count < 4 * MOST_ENTITIES; count++) {
    found(match)
    if (match[0] === '') pattern.lastIndex++
    match = pattern.exec(text)
  }
}
