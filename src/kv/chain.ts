/**
 * A prompt as a chain of block hashes, extended in O(new characters).
 *
 *   canonical text   |<---- block 0 ---->|<---- block 1 ---->|<-- tail -->|
 *   hashes           [ low0   high0      |  low1   high1     ]   (not hashed until it is full)
 *
 * `hash(i)` is computed from `hash(i-1)` and the characters of block i, so equal hashes mean an equal prefix (64 bits: at
 * 10 million blocks the chance of one false match anywhere is about 3 in a million). Two tenants never share a chain, nor
 * do two models: the seed names the tenant, and each hash is kept under a mask (exclusive or) that names the model. So
 * the chain of the same text for another model is this one under another mask (`forModel`), without reading the text.
 *
 * Children share their parent's array: a chain that ends where the array ends appends in place, any other copies. So a
 * conversation that grows by one turn at a time pays for its new blocks only, and a fork pays one copy (8 bytes a block).
 *
 * The hash is two 32-bit multiply-rotate lanes over pairs of UTF-16 units with MurmurHash3's finaliser between blocks
 * (https://github.com/aappleby/smhasher, public domain), read from a scratch buffer of 32-bit words: `charCodeAt` on a
 * concatenated string costs four times as much. xxhash-wasm would need a copy in UTF-8 first.
 */
import type { BlockChain } from '../model/turn.ts'

/** About 32 tokens of English. Smaller blocks see shorter shared prefixes and cost more memory in the index. */
export const BLOCK_CHARACTERS = 128

const WORDS_PER_BLOCK = BLOCK_CHARACTERS / 2
/** A whole number of blocks; used by one call at a time. */
const SCRATCH_CHARACTERS = 64 * BLOCK_CHARACTERS
const scratch = new Uint32Array(SCRATCH_CHARACTERS / 2)
const scratchBytes = Buffer.from(scratch.buffer)
const NO_WORDS = new Uint32Array(0)

/** A 64-bit number in two 32-bit ones. */
type Halves = { readonly low: number; readonly high: number }

/** An append-only array that several chains may share; `used` counts the valid 32-bit words. */
type SharedHashes = { words: Uint32Array; used: number }

export class PrefixChain implements BlockChain {
  readonly length: number
  readonly totalCharacters: number
  readonly blockCharacters = BLOCK_CHARACTERS
  readonly hashes: Uint32Array
  readonly #shared: SharedHashes
  readonly #tail: string
  readonly #seed: Halves
  readonly #mask: Halves

  private constructor(shared: SharedHashes, length: number, total: number, tail: string, seed: Halves, mask: Halves) {
    this.#shared = shared
    this.hashes = shared.words
    this.length = length
    this.totalCharacters = total
    this.#tail = tail
    this.#seed = seed
    this.#mask = mask
  }

  /** The empty chain of one tenant and model. */
  static root(tenant: string, model: string): PrefixChain {
    return new PrefixChain({ words: NO_WORDS, used: 0 }, 0, 0, '', halvesOf(tenant), halvesOf(model))
  }

  /** The chain of the same text for another model: one pass over the hashes. */
  forModel(model: string): PrefixChain {
    const mask = halvesOf(model)
    const low = mask.low ^ this.#mask.low
    const high = mask.high ^ this.#mask.high
    if (low === 0 && high === 0) return this
    const used = 2 * this.length
    const words = new Uint32Array(used)
    for (let at = 0; at < used; at += 2) {
      words[at] = this.hashes[at]! ^ low
      words[at + 1] = this.hashes[at + 1]! ^ high
    }
    return new PrefixChain({ words, used }, this.length, this.totalCharacters, this.#tail, this.#seed, mask)
  }

  /** This chain with `text` behind it. The receiver stays as it is. */
  extend(text: string): PrefixChain {
    const pending = this.#tail + text
    const newBlocks = Math.floor(pending.length / BLOCK_CHARACTERS)
    const total = this.totalCharacters + text.length
    if (newBlocks === 0)
      return new PrefixChain(this.#shared, this.length, total, pending, this.#seed, this.#mask)

    const shared = this.#room(newBlocks * 2)
    const words = shared.words
    let at = this.length * 2
    const { low: maskLow, high: maskHigh } = this.#mask
    let low = at === 0 ? this.#seed.low : words[at - 2]! ^ maskLow
    let high = at === 0 ? this.#seed.high : words[at - 1]! ^ maskHigh
    const end = newBlocks * BLOCK_CHARACTERS
    for (let start = 0; start < end; start += SCRATCH_CHARACTERS) {
      const stop = Math.min(end, start + SCRATCH_CHARACTERS)
      scratchBytes.write(pending.slice(start, stop), 'utf16le')
      const count = (stop - start) / 2
      for (let word = 0; word < count;) {
        for (const blockEnd = word + WORDS_PER_BLOCK; word < blockEnd; word++) {
          low = mixLow(low, scratch[word]!)
          high = mixHigh(high, scratch[word]!)
        }
        const crossed = finalise(low ^ Math.imul(high, 0x27d4eb2f))
        high = finalise(high ^ Math.imul(low, 0x165667b1))
        low = crossed
        words[at++] = low ^ maskLow
        words[at++] = high ^ maskHigh
      }
    }
    shared.used = at
    return new PrefixChain(
      shared,
      this.length + newBlocks,
      total,
      detached(pending.slice(end)),
      this.#seed,
      this.#mask,
    )
  }

  /** A number that names the whole-block prefix of `blocks` blocks: 53 bits, fit for a Map key. */
  key(blocks = this.length): number {
    if (blocks === 0) return 0
    return this.hashes[blocks * 2 - 2]! + (this.hashes[blocks * 2 - 1]! & 0x1fffff) * 4294967296
  }

  #room(extraWords: number): SharedHashes {
    const start = this.length * 2
    const shared = this.#shared
    const owned = shared.used === start
    if (owned && shared.words.length >= start + extraWords) return shared
    // a quarter more than asked: the answer and the next turn usually fit in place
    const words = new Uint32Array(Math.ceil((start + extraWords) * 1.25) + 8)
    words.set(shared.words.subarray(0, start))
    return { words, used: start }
  }
}

/** A copy: a slice would keep the whole text alive for as long as the chain. */
function detached(tail: string): string {
  const bytes = scratchBytes.write(tail, 'utf16le')
  return scratchBytes.toString('utf16le', 0, bytes)
}

/** A name as a number. Few names are used again and again, so the last ones are kept. */
function halvesOf(name: string): Halves {
  const known = namesSeen.get(name)
  if (known !== undefined) return known
  let low = 0x9747b28c
  let high = 0x3c6ef372
  for (let i = 0; i < name.length; i++) {
    low = mixLow(low, name.charCodeAt(i))
    high = mixHigh(high, name.charCodeAt(i))
  }
  const halves = { low: finalise(low ^ Math.imul(high, 0x27d4eb2f)), high: finalise(high ^ Math.imul(low, 0x165667b1)) }
  if (namesSeen.size >= NAMES_KEPT) namesSeen.clear()
  namesSeen.set(name, halves)
  return halves
}

const NAMES_KEPT = 1024
const namesSeen = new Map<string, Halves>()

const mixLow = (hash: number, word: number): number => {
  const product = Math.imul(hash ^ word, 0x9e3779b1)
  return (product << 13) | (product >>> 19)
}

const mixHigh = (hash: number, word: number): number => {
  const product = Math.imul(hash ^ word, 0x85ebca77)
  return (product << 17) | (product >>> 15)
}

const finalise = (hash: number): number => {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
