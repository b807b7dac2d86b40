/**
 * The blocks one engine says it holds, under the engine's own hashes, each with the state of the token prefix that ends
 * with it (token-hash.ts). Lives beside the sockets, in the events process; what changes is told as (state, tier).
 *
 *   table   Int32   [ . . 7 . 3 . ]     open addressing, load <= 1/2, entry + 1
 *   entry   7: hashLow, hashHigh        the engine's hash
 *              stateLow, stateHigh      the token prefix up to the block's end
 *              parentLow, parentHigh    the engine's hash of the block before it, 0 for none
 *              position                 that end, in tokens
 *              references[3]            how often it was stored and not removed, per tier
 *
 * vLLM announces a block that two requests computed at once twice, and each copy's removal: a block is gone when as many
 * copies were removed as were stored. Costs 39 bytes a block. The table doubles up to `maxBlocks`; beyond it new blocks
 * are refused and counted.
 *
 * A block whose parent is unknown cannot be named and is dropped; `parentElsewhere` asks the other engines first, since
 * with vLLM's sha256 equal content has equal hashes everywhere.
 */
import { feedTokens, foldExtra, foldName, GRAIN_TOKENS, startOfTokens, type TokenState } from './token-hash.ts'
import { MalformedEvents } from './msgpack-cursor.ts'
import type { EventSink, RemovedBlocks, StoredBlocks, Tier } from './kv-event.ts'

/** What changed for whoever wants to know which prefixes are held. */
export interface ChangeSink {
  held(low: number, high: number, tier: Tier): void
  gone(low: number, high: number, tier: Tier): void
  /** `complete`: what is told from here on is all that the engine holds. */
  allGone(complete: boolean): void
}

export type NamedBlock = { low: number; high: number; position: number }

export type EngineBlocksOptions = {
  readonly changes: ChangeSink
  readonly maxBlocks: number
  /** A run of new blocks on the accelerator: from a position to another, behind a parent. */
  readonly onRun?: (from: number, to: number, parent: bigint | null, end: bigint) => void
  readonly parentElsewhere?: (low: number, high: number) => NamedBlock | null
}

export class EngineBlocks implements EventSink {
  readonly counts = { stored: 0, removed: 0, cleared: 0, orphans: 0, unknownRemoved: 0, otherAttention: 0, full: 0 }
  /** Tokens of a block as the engine last said; 0 before it did. */
  blockTokens = 0
  readonly #options: EngineBlocksOptions
  #table = new Int32Array(2 * FIRST_BLOCKS)
  #mask = 2 * FIRST_BLOCKS - 1
  #hashLow = new Uint32Array(FIRST_BLOCKS)
  #hashHigh = new Uint32Array(FIRST_BLOCKS)
  #stateLow = new Uint32Array(FIRST_BLOCKS)
  #stateHigh = new Uint32Array(FIRST_BLOCKS)
  #parentLow = new Uint32Array(FIRST_BLOCKS)
  #parentHigh = new Uint32Array(FIRST_BLOCKS)
  #position = new Uint32Array(FIRST_BLOCKS)
  /** Three a block. */
  #references = new Uint8Array(3 * FIRST_BLOCKS)
  /** Free entries are chained through `position`, + 1. */
  #free = 0
  #used = 0
  #live = 0
  /** Groups of layers with full attention; only these hold a whole prefix. */
  readonly #fullGroups = new Set<number>()
  readonly #state: TokenState = startOfTokens()

  constructor(options: EngineBlocksOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#live
  }

  stored(event: StoredBlocks): void {
    const { blocks, tier, blockTokens, tokenCount } = event
    this.counts.stored += blocks
    if (event.attention !== null && !FULL_ATTENTION.has(event.attention)) {
      this.counts.otherAttention += blocks
      return
    }
    if (event.group !== null) {
      if (this.#fullGroups.size >= MAX_GROUPS && !this.#fullGroups.has(event.group))
        throw new MalformedEvents('more groups of layers than any model has')
      this.#fullGroups.add(event.group)
    }
    if (tokenCount === 0) return this.#storedByHash(event) // a copy in a lower tier, told without its tokens
    if (blockTokens < 1 || blockTokens * blocks !== tokenCount) throw new MalformedEvents('blocks and tokens differ')
    this.blockTokens = blockTokens
    let position = 0
    const state = this.#state
    const start = START
    state.low = start.low
    state.high = start.high
    if (event.hasParent) {
      const parent = this.#find(event.parentLow, event.parentHigh)
      if (parent >= 0) {
        state.low = this.#stateLow[parent]!
        state.high = this.#stateHigh[parent]!
        position = this.#position[parent]!
      } else {
        const elsewhere = this.#options.parentElsewhere?.(event.parentLow, event.parentHigh) ?? null
        if (elsewhere === null) {
          this.counts.orphans += blocks
          return
        }
        state.low = elsewhere.low
        state.high = elsewhere.high
        position = elsewhere.position
      }
    }
    const { hashes, tokens, extras, names, payload } = event
    if (!event.hasParent) for (let at = 0; at < names.length; at += 2) foldName(state, payload, names[at]!, names[at + 1]!)
    const from = position
    let parentLow = event.hasParent ? event.parentLow : 0
    let parentHigh = event.hasParent ? event.parentHigh : 0
    for (let block = 0; block < blocks; block++) {
      if (extras.length > 0 && extras[2 * block + 1]! > extras[2 * block]!)
        foldExtra(state, payload, extras[2 * block]!, extras[2 * block + 1]!)
      feedTokens(state, tokens, block * blockTokens, blockTokens)
      position += blockTokens
      const low = hashes[2 * block]!
      const high = hashes[2 * block + 1]!
      this.#hold(low, high, state, position, tier, parentLow, parentHigh)
      parentLow = low
      parentHigh = high
    }
    if (tier === 0 && this.#options.onRun !== undefined) {
      const parent = event.hasParent ? (BigInt(event.parentHigh) << 32n) | BigInt(event.parentLow) : null
      this.#options.onRun(from, position, parent, (BigInt(parentHigh) << 32n) | BigInt(parentLow))
    }
  }

  /** The states of the token prefix that ends with this block, at every grain; null where a block of it is unknown. */
  statesTo(low: number, high: number): Uint32Array | null {
    let entry = this.#find(low, high)
    if (entry < 0) return null
    const states = new Uint32Array(2 * Math.floor(this.#position[entry]! / GRAIN_TOKENS))
    let filled = 0
    for (let end = this.#position[entry]!; ; end = this.#position[entry]!) {
      if (end % GRAIN_TOKENS === 0) {
        states[2 * (end / GRAIN_TOKENS) - 2] = this.#stateLow[entry]!
        states[2 * (end / GRAIN_TOKENS) - 1] = this.#stateHigh[entry]!
        filled++
      }
      if (this.#parentLow[entry] === 0 && this.#parentHigh[entry] === 0) break
      entry = this.#find(this.#parentLow[entry]!, this.#parentHigh[entry]!)
      if (entry < 0 || this.#position[entry]! >= end) return null
    }
    // With blocks larger than a grain the states between their ends are not known: they are never looked up there.
    return filled > 0 ? states : null
  }

  removed(event: RemovedBlocks): void {
    const { hashes, blocks, tier } = event
    this.counts.removed += blocks
    if (event.group !== null && this.#fullGroups.size > 0 && !this.#fullGroups.has(event.group)) return
    for (let block = 0; block < blocks; block++) {
      const entry = this.#find(hashes[2 * block]!, hashes[2 * block + 1]!)
      if (entry < 0 || this.#references[3 * entry + tier] === 0) {
        this.counts.unknownRemoved++
        continue
      }
      if (--this.#references[3 * entry + tier]! > 0) continue
      if (this.#position[entry]! % GRAIN_TOKENS === 0)
        this.#options.changes.gone(this.#stateLow[entry]!, this.#stateHigh[entry]!, tier)
      if (this.#references[3 * entry]! + this.#references[3 * entry + 1]! + this.#references[3 * entry + 2]! === 0)
        this.#drop(entry)
    }
  }

  cleared(): void {
    this.counts.cleared++
    this.clear(true)
  }

  /** Forgets everything: the engine did, or what it holds is no longer known. */
  clear(complete: boolean): void {
    this.#table.fill(0)
    this.#free = 0
    this.#used = 0
    this.#live = 0
    this.#fullGroups.clear()
    this.#options.changes.allGone(complete)
  }

  /** The token prefix that the engine's hash stands for. */
  named(low: number, high: number): NamedBlock | null {
    const entry = this.#find(low, high)
    if (entry < 0) return null
    return { low: this.#stateLow[entry]!, high: this.#stateHigh[entry]!, position: this.#position[entry]! }
  }

  /** Walks everything and throws at the first broken invariant. For tests. */
  checkIntegrity(): void {
    let live = 0
    for (const slot of this.#table) {
      if (slot === 0) continue
      live++
      const entry = slot - 1
      if (this.#find(this.#hashLow[entry]!, this.#hashHigh[entry]!) !== entry) throw new Error(`block ${entry} is lost`)
      if (this.#position[entry] === 0) throw new Error(`block ${entry} ends where it begins`)
      const copies = this.#references.subarray(3 * entry, 3 * entry + 3)
      if (copies[0]! + copies[1]! + copies[2]! === 0) throw new Error(`block ${entry} is held nowhere`)
    }
    let free = 0
    for (let next = this.#free; next !== 0; next = this.#position[next - 1]!) free++
    if (live !== this.#live || live + free !== this.#used) throw new Error(`${live} of ${this.#live} blocks, ${free} free`)
  }

  #storedByHash({ hashes, blocks, tier }: StoredBlocks): void {
    for (let block = 0; block < blocks; block++) {
      const low = hashes[2 * block]!
      const high = hashes[2 * block + 1]!
      const known = this.named(low, high) ?? this.#options.parentElsewhere?.(low, high) ?? null
      if (known === null) this.counts.orphans++
      else this.#hold(low, high, known, known.position, tier, 0, 0)
    }
  }

  #hold(
    low: number,
    high: number,
    state: TokenState,
    position: number,
    tier: Tier,
    parentLow: number,
    parentHigh: number,
  ): void {
    let entry = this.#find(low, high)
    if (entry < 0) {
      if (this.#live >= this.#hashLow.length && !this.#grow()) {
        this.counts.full++
        return
      }
      entry = this.#free - 1
      if (entry >= 0) this.#free = this.#position[entry]!
      else entry = this.#used++
      this.#hashLow[entry] = low
      this.#hashHigh[entry] = high
      this.#stateLow[entry] = state.low
      this.#stateHigh[entry] = state.high
      this.#parentLow[entry] = parentLow
      this.#parentHigh[entry] = parentHigh
      this.#position[entry] = position
      this.#references.fill(0, 3 * entry, 3 * entry + 3)
      let at = slotOf(low, high) & this.#mask
      while (this.#table[at] !== 0) at = (at + 1) & this.#mask
      this.#table[at] = entry + 1
      this.#live++
    }
    if (this.#references[3 * entry + tier]! < MAX_COPIES) this.#references[3 * entry + tier]!++
    if (position % GRAIN_TOKENS === 0)
      this.#options.changes.held(this.#stateLow[entry]!, this.#stateHigh[entry]!, tier)
  }

  #find(low: number, high: number): number {
    let at = slotOf(low, high) & this.#mask
    for (;;) {
      const entry = this.#table[at]! - 1
      if (entry < 0 || (this.#hashLow[entry] === low && this.#hashHigh[entry] === high)) return entry
      at = (at + 1) & this.#mask
    }
  }

  /** Takes an entry out and moves later ones of its run back, so that no tombstones are needed. */
  #drop(entry: number): void {
    let hole = slotOf(this.#hashLow[entry]!, this.#hashHigh[entry]!) & this.#mask
    while (this.#table[hole] !== entry + 1) hole = (hole + 1) & this.#mask
    for (let at = (hole + 1) & this.#mask; ; at = (at + 1) & this.#mask) {
      const other = this.#table[at]! - 1
      if (other < 0) break
      const ideal = slotOf(this.#hashLow[other]!, this.#hashHigh[other]!) & this.#mask
      if (((at - ideal) & this.#mask) >= ((at - hole) & this.#mask)) {
        this.#table[hole] = other + 1
        hole = at
      }
    }
    this.#table[hole] = 0
    this.#position[entry] = this.#free
    this.#free = entry + 1
    this.#live--
  }

  #grow(): boolean {
    const blocks = 2 * this.#hashLow.length
    if (blocks > this.#options.maxBlocks) return false
    this.#hashLow = longer(this.#hashLow)
    this.#hashHigh = longer(this.#hashHigh)
    this.#stateLow = longer(this.#stateLow)
    this.#stateHigh = longer(this.#stateHigh)
    this.#parentLow = longer(this.#parentLow)
    this.#parentHigh = longer(this.#parentHigh)
    this.#position = longer(this.#position)
    const references = new Uint8Array(3 * blocks)
    references.set(this.#references)
    this.#references = references
    this.#table = new Int32Array(2 * blocks)
    this.#mask = 2 * blocks - 1
    // It grows only when every entry is live.
    for (let entry = 0; entry < this.#used; entry++) {
      let at = slotOf(this.#hashLow[entry]!, this.#hashHigh[entry]!) & this.#mask
      while (this.#table[at] !== 0) at = (at + 1) & this.#mask
      this.#table[at] = entry + 1
    }
    return true
  }
}

/** Engines hand out hashes of good quality, but a publisher may send any. */
export function slotOf(low: number, high: number): number {
  let mixed = Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1)
  mixed ^= mixed >>> 15
  return Math.imul(mixed, 0x2c1b3c6d) >>> 1
}

const longer = (array: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> => {
  const larger = new Uint32Array(2 * array.length)
  larger.set(array)
  return larger
}

const FIRST_BLOCKS = 1024
/** More copies than 255 of one block are counted as 255: it will seem gone early, never late. */
const MAX_COPIES = 255
/** vLLM forms a handful of groups of layers. */
const MAX_GROUPS = 256
const START = startOfTokens()
/** Kinds of layers that need the whole prefix; sliding windows and state spaces keep parts of it. */
const FULL_ATTENTION = new Set(['full_attention', 'mla_attention', 'sink_full_attention'])
