/**
 * The token prefixes one backend holds, as its events told, each with the tiers it lies in: the gateway's side of
 * `engine-blocks.ts`. Open addressing in typed arrays, 9 bytes a slot at a load of at most 1/2; a look-up is one probe.
 */
import type { Tier } from './kv-event.ts'
import { slotOf } from './engine-blocks.ts'

export class HeldBlocks {
  /** Beyond this no more are taken in, and counted: what is not known counts as not held. */
  readonly #maxBlocks: number
  #low = new Uint32Array(FIRST_SLOTS)
  #high = new Uint32Array(FIRST_SLOTS)
  /** A bit a tier; 0 is an empty slot. */
  #tiers = new Uint8Array(FIRST_SLOTS)
  #mask = FIRST_SLOTS - 1
  #size = 0
  refused = 0

  constructor(maxBlocks: number) {
    this.#maxBlocks = maxBlocks
  }

  get size(): number {
    return this.#size
  }

  get bytes(): number {
    return 9 * this.#low.length
  }

  /** Bits of the tiers that hold it, 0 for none. */
  tiersOf(low: number, high: number): number {
    return this.#tiers[this.#slot(low, high)]!
  }

  hold(low: number, high: number, tier: Tier): void {
    let at = this.#slot(low, high)
    if (this.#tiers[at] === 0) {
      if (this.#size >= this.#maxBlocks) {
        this.refused++
        return
      }
      if (2 * this.#size >= this.#low.length) {
        this.#grow()
        at = this.#slot(low, high)
      }
      this.#low[at] = low
      this.#high[at] = high
      this.#size++
    }
    this.#tiers[at]! |= 1 << tier
  }

  release(low: number, high: number, tier: Tier): void {
    const at = this.#slot(low, high)
    if (this.#tiers[at] === 0) return
    this.#tiers[at]! &= ~(1 << tier)
    if (this.#tiers[at] === 0) this.#close(at)
  }

  clear(): void {
    this.#tiers.fill(0)
    this.#size = 0
  }

  /** Walks everything and throws at the first broken invariant. For tests. */
  checkIntegrity(): void {
    let size = 0
    for (let at = 0; at < this.#low.length; at++) {
      if (this.#tiers[at] === 0) continue
      size++
      if (this.#slot(this.#low[at]!, this.#high[at]!) !== at) throw new Error(`slot ${at} cannot be found`)
    }
    if (size !== this.#size) throw new Error(`${size} blocks, ${this.#size} counted`)
  }

  #slot(low: number, high: number): number {
    let at = slotOf(low, high) & this.#mask
    while (this.#tiers[at] !== 0 && (this.#low[at] !== low || this.#high[at] !== high)) at = (at + 1) & this.#mask
    return at
  }

  #close(hole: number): void {
    this.#size--
    for (let at = (hole + 1) & this.#mask; this.#tiers[at] !== 0; at = (at + 1) & this.#mask) {
      const ideal = slotOf(this.#low[at]!, this.#high[at]!) & this.#mask
      if (((at - ideal) & this.#mask) < ((at - hole) & this.#mask)) continue
      this.#low[hole] = this.#low[at]!
      this.#high[hole] = this.#high[at]!
      this.#tiers[hole] = this.#tiers[at]!
      hole = at
    }
    this.#tiers[hole] = 0
  }

  #grow(): void {
    const [low, high, tiers] = [this.#low, this.#high, this.#tiers]
    this.#low = new Uint32Array(2 * low.length)
    this.#high = new Uint32Array(2 * low.length)
    this.#tiers = new Uint8Array(2 * low.length)
    this.#mask = 2 * low.length - 1
    for (let at = 0; at < low.length; at++) {
      if (tiers[at] === 0) continue
      const slot = this.#slot(low[at]!, high[at]!)
      this.#low[slot] = low[at]!
      this.#high[slot] = high[at]!
      this.#tiers[slot] = tiers[at]!
    }
  }
}

const FIRST_SLOTS = 1024
