import type { Outcome } from '../model/outcome.ts'
import type { BlockChain } from '../model/turn.ts'
import type { BlockIndex } from './block-index.ts'

/**
 * Corrects the block index by what each answer reports as cached, and learns how much a backend can hold.
 *
 * The age of a chain at dispatch is counted in blocks stored at the backend since its last use. Engines evict the least
 * recently used, so:
 * - an answer that finds an old chain proves that the cache holds at least that age;
 * - one that finds less than expected, at an age not yet proven, shows eviction: everything used no later is gone too,
 *   and what remains in the index is the backend's capacity, from above;
 * - nothing left of a chain well within the proven age: the backend restarted, and all its entries go;
 * - something left, within the proven age: the prefix was rendered differently; only this chain is cut;
 * - more than expected from a cache believed full: it is larger than believed.
 */
export class CacheCalibration {
  readonly #index: BlockIndex
  /** By backend: the largest age, in blocks, that a chain was seen to survive. */
  readonly #proven: number[] = []
  readonly #ages = new WeakMap<BlockChain, { readonly backendIndex: number; readonly lastUse: number; readonly age: number }>()
  readonly counts = { confirmed: 0, evicted: 0, restarted: 0, drifted: 0, larger: 0 }

  constructor(index: BlockIndex) {
    this.#index = index
  }

  /** To be called before the turn's blocks are inserted: afterwards they are fresh. */
  dispatched(chain: BlockChain, backendIndex: number): void {
    const lastUse = this.#index.lastUse(chain, backendIndex)
    if (lastUse < 0) this.#ages.delete(chain)
    else this.#ages.set(chain, { backendIndex, lastUse, age: this.#index.clock(backendIndex) - lastUse })
  }

  observe(outcome: Outcome): void {
    const { backend, promptChain, fullChain, usage } = outcome
    if (outcome.ttftMs === null) {
      this.#index.retract(promptChain, backend.index)
      return
    }
    const reported = usage !== null && usage.cachedTokens !== null && usage.promptTokens > 0
    const finding = reported && promptChain.length > 0 ? this.#compare(outcome, usage.cachedTokens!, usage.promptTokens) : null
    this.#index.insert(outcome.status === 'failed' ? promptChain : fullChain, backend.index)
    // What the backend used after the lost blocks is all it can hold.
    if (finding === 'evicted') this.#index.setCapacity(backend.index, this.#index.blocks(backend.index))
    if (finding !== null) this.counts[finding]++
  }

  #compare(outcome: Outcome, cachedTokens: number, promptTokens: number): keyof CacheCalibration['counts'] {
    const { promptChain: chain, backend, expectedCachedTokens } = outcome
    const index = this.#index
    const b = backend.index
    const atDispatch = this.#ages.get(chain)
    const age = atDispatch?.backendIndex === b ? atDispatch.age : 0
    const tokensPerBlock = (chain.blockCharacters * promptTokens) / Math.max(1, chain.totalCharacters)
    const tolerance = Math.max(1.5 * tokensPerBlock, DRIFT * promptTokens)
    if (cachedTokens >= expectedCachedTokens - tolerance) {
      if (expectedCachedTokens > tolerance) this.#proven[b] = Math.max(this.#proven[b] ?? 0, age)
      if (cachedTokens <= expectedCachedTokens + tolerance || index.blocks(b) < 0.9 * index.capacity(b)) return 'confirmed'
      index.setCapacity(b, index.capacity(b) * GROWTH)
      return 'larger'
    }
    const proven = this.#proven[b] ?? 0
    if (age > proven / 2 && atDispatch !== undefined) {
      this.#proven[b] = Math.min(proven, age)
      index.truncate(chain, b, Math.floor(cachedTokens / tokensPerBlock))
      index.evictUsedUpTo(b, atDispatch.lastUse)
      return 'evicted'
    }
    if (cachedTokens <= tolerance && proven > 0) {
      this.#proven[b] = 0
      index.clearBackend(b)
      return 'restarted'
    }
    index.truncate(chain, b, Math.floor(cachedTokens / tokensPerBlock))
    return 'drifted'
  }
}

/** Tokens per character vary along a prompt; a difference of less than this share of it proves nothing. */
const DRIFT = 0.1
/** One answer widens the belief a little: a cache twice as large as believed shows after eight. */
const GROWTH = 1.1
