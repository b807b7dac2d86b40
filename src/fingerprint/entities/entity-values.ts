/**
 * What a conversation named, in one form each (normalise.ts), with how often and at which turn last.
 *
 *   | length u8 | type u8 | count u16 | last turn u16 | UTF-8 |  one after the other, the least recently seen first
 *
 * At most `MOST_BYTES`, since sixty strings and their objects would cost five times that. A value that is seen moves to the
 * end; where there is no room the first goes, counted by the caller. About 0.3 microseconds a value. It is text of the
 * conversation: it is told to who asks for the fingerprint of the session, and goes nowhere else.
 */
import type { EntityCount, EntityValue } from '../../model/fingerprint.ts'
import { ENTITY_TYPES, type EntityType } from './spans.ts'

export const MOST_VALUES = 64
/** Some forty values of usual length; with everything else of a conversation 1.2 KB. */
export const MOST_BYTES = 512
/** A longer one (a signed URL, a line that was taken for a path) would push out ten others. */
const LONGEST_VALUE = 96
const HEAD = 6
const MOST_COUNT = 65_535

const scratch = Buffer.alloc(4 * LONGEST_VALUE)

export class EntityValues {
  readonly #bytes = new Uint8Array(MOST_BYTES)
  #used = 0
  #values = 0

  get size(): number {
    return this.#values
  }

  /** A view, good until the next change. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#used)
  }

  clear(): void {
    this.#used = 0
    this.#values = 0
  }

  restore(bytes: Uint8Array): void {
    this.#bytes.set(bytes)
    this.#used = bytes.length
    this.#values = 0
    for (let at = 0; at < this.#used; at += HEAD + bytes[at]!) this.#values++
  }

  /** How many values had to go for it; a value that is too long is let go itself. */
  see(type: EntityType, value: string, turn: number): number {
    if (value.length > LONGEST_VALUE) return 1
    const length = scratch.write(value)
    if (length > LONGEST_VALUE) return 1
    const number = ENTITY_TYPES.indexOf(type)
    const at = this.#find(number, length)
    let count = 1
    if (at >= 0) {
      count = Math.min(MOST_COUNT, this.#count(at) + 1)
      this.#remove(at)
    }
    let gone = 0
    while (this.#values >= MOST_VALUES || this.#used + HEAD + length > MOST_BYTES) {
      this.#remove(0)
      gone++
    }
    this.#append(number, count, turn, length)
    return gone
  }

  /** By type, in the order of `ENTITY_TYPES`; of each the most recently seen first. */
  list(): ReadonlyMap<string, readonly EntityValue[]> {
    const found = new Map<string, EntityValue[]>()
    for (let at = 0; at < this.#used; at += HEAD + this.#bytes[at]!) {
      const type = ENTITY_TYPES[this.#bytes[at + 1]!]!
      const value = Buffer.from(this.#bytes.subarray(at + HEAD, at + HEAD + this.#bytes[at]!)).toString('utf8')
      const values = found.get(type) ?? []
      values.unshift({ value, count: this.#count(at), lastTurn: this.#bytes[at + 4]! | (this.#bytes[at + 5]! << 8) })
      found.set(type, values)
    }
    return found
  }

  #count(at: number): number {
    return this.#bytes[at + 2]! | (this.#bytes[at + 3]! << 8)
  }

  #find(type: number, length: number): number {
    const bytes = this.#bytes
    for (let at = 0; at < this.#used; at += HEAD + bytes[at]!) {
      if (bytes[at] !== length || bytes[at + 1] !== type) continue
      let same = 0
      while (same < length && bytes[at + HEAD + same] === scratch[same]) same++
      if (same === length) return at
    }
    return -1
  }

  #remove(at: number): void {
    const length = HEAD + this.#bytes[at]!
    this.#bytes.copyWithin(at, at + length, this.#used)
    this.#used -= length
    this.#values--
  }

  #append(type: number, count: number, turn: number, length: number): void {
    const last = Math.min(MOST_COUNT, turn)
    this.#bytes.set([length, type, count & 255, count >> 8, last & 255, last >> 8], this.#used)
    this.#bytes.set(scratch.subarray(0, length), this.#used + HEAD)
    this.#used += HEAD + length
    this.#values++
  }
}

/** Counts by type with the values that are still known of each. */
export function withValues(
  counts: readonly Omit<EntityCount, 'values'>[],
  values: ReadonlyMap<string, readonly EntityValue[]>,
): EntityCount[] {
  return counts.map((entry) => ({ ...entry, values: values.get(entry.type) ?? [] }))
}
