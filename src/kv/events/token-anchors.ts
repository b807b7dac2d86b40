/**
 * Which canonical prefixes are known as tokens: an anchor says "the first `blocks` blocks of this chain, and a rest shorter
 * than a block, are `tokens` tokens with these states". Kept for the end of each answered turn and for the head (tools and
 * system message) that several conversations share, so a turn finds the anchor of its parent, wherever it forks off.
 *
 * Found by walking the chain back from its end: the new blocks of a turn, at most `MAX_WALK`. Bounded by bytes; the least
 * recently found goes. An anchor that continues another one shares its array, so a conversation costs 8 bytes per 16
 * tokens once.
 */
import type { BlockChain } from '../../model/turn.ts'
import { GRAIN_TOKENS } from './token-hash.ts'

export type TokenAnchor = {
  /** The chain's own seed names the tenant and this model. */
  readonly model: string
  /** The engine's name of it: another served model may cut text into other tokens. */
  readonly served: string
  readonly blocks: number
  readonly characters: number
  readonly tokens: number
  /** [low, high] of every 16th token, at least up to `tokens`. */
  states: Uint32Array
}

export class TokenAnchors {
  readonly evictions = { size: 0 }
  readonly #maxBytes: number
  readonly #anchors = new Map<number, TokenAnchor>()
  #bytes = 0
  /** A decision asks once per backend with the same chain: the walk is taken once. */
  #lastChain: BlockChain | null = null
  #lastFound: TokenAnchor | null = null

  constructor(options: { readonly maxBytes: number }) {
    this.#maxBytes = options.maxBytes
  }

  get size(): number {
    return this.#anchors.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The deepest prefix of the chain that is known as tokens. */
  find(chain: BlockChain): TokenAnchor | null {
    if (this.#anchors.size === 0) return null
    if (chain === this.#lastChain) return this.#lastFound
    this.#lastChain = chain
    this.#lastFound = this.#walk(chain)
    return this.#lastFound
  }

  #walk(chain: BlockChain): TokenAnchor | null {
    const last = Math.max(1, chain.length - MAX_WALK)
    for (let blocks = chain.length; blocks >= last; blocks--) {
      const key = keyOf(chain, blocks)
      const anchor = this.#anchors.get(key)
      if (anchor === undefined || anchor.blocks !== blocks) continue
      // Found again: it is fresh.
      this.#anchors.delete(key)
      this.#anchors.set(key, anchor)
      return anchor
    }
    return null
  }

  add(chain: BlockChain, known: Pick<TokenAnchor, 'model' | 'served' | 'tokens' | 'states'>): TokenAnchor | null {
    if (chain.length === 0) return null
    const key = keyOf(chain, chain.length)
    const old = this.#anchors.get(key)
    if (old !== undefined) this.#remove(key, old)
    const anchor: TokenAnchor = { ...known, blocks: chain.length, characters: chain.totalCharacters }
    const before = this.find(chain)
    if (before !== null && continues(anchor, before)) {
      this.#bytes -= ownBytes(before)
      before.states = anchor.states
      this.#bytes += ownBytes(before)
    }
    this.#anchors.set(key, anchor)
    this.#lastChain = null
    this.#bytes += ownBytes(anchor)
    for (const [oldest, entry] of this.#anchors) {
      if (this.#bytes <= this.#maxBytes || entry === anchor) break
      this.#remove(oldest, entry)
      this.evictions.size++
    }
    return anchor
  }

  #remove(key: number, anchor: TokenAnchor): void {
    this.#lastChain = null
    this.#anchors.delete(key)
    this.#bytes -= ownBytes(anchor)
  }
}

/** The same tokens as far as the earlier one goes. */
function continues(later: TokenAnchor, earlier: TokenAnchor): boolean {
  const grains = Math.floor(earlier.tokens / GRAIN_TOKENS)
  if (later.served !== earlier.served || grains === 0 || 2 * grains > later.states.length) return false
  return (
    later.states[2 * grains - 2] === earlier.states[2 * grains - 2] &&
    later.states[2 * grains - 1] === earlier.states[2 * grains - 1]
  )
}

/** An array that continues into a longer one is counted there. */
function ownBytes(anchor: TokenAnchor): number {
  const own = 2 * Math.floor(anchor.tokens / GRAIN_TOKENS)
  return ENTRY_BYTES + (anchor.states.length > own ? 0 : 4 * own)
}

const keyOf = ({ hashes }: BlockChain, blocks: number): number =>
  hashes[2 * blocks - 2]! + (hashes[2 * blocks - 1]! & 0x1fffff) * 4294967296

/** The object, its key and its place in the map. */
const ENTRY_BYTES = 200
/** As sessions are looked for (compose.ts): half a million characters of new text. */
const MAX_WALK = 4096
