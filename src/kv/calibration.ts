import type { Outcome } from '../model/outcome.ts'
import type { BlockChain } from '../model/turn.ts'
import type { BlockIndex } from './block-index.ts'

/**
 * Corrects the block index by what each answer reports as cached, and learns how much a backend can hold.
 *
 * The age of a chain at dispatch is counted in blocks stored at the backend since its last use. Engines evict the least
 * recently used, so:
 * - confirmed: about as much as expected; the cache survives at least this age;
 * - answer lost: all of the prompt blocks were there, but not the answer's: the engine does not keep generated tokens,
 *   or renders them differently (dropped reasoning). Where that is the rule, answers are no longer entered;
 * - evicted: less than expected, at an age not proven harmless: everything used no later is gone too, and what remains
 *   in the index bounds the backend's capacity from above. Two such findings are needed before a capacity is believed;
 *   the larger counts;
 * - restarted: nothing left of a chain well within the proven age: all entries of the backend go;
 * - drifted: something left, within the proven age: the prefix was rendered differently; only this chain is cut;
 * - larger: more than expected from a cache believed full.
 * A capacity that the engine tells is where belief starts; findings correct it like a learned one.
 */
export class CacheCalibration {
  readonly #index: BlockIndex
  readonly #backends: Learned[] = []
  /** One entry a turn in flight. Not a WeakMap: its entries survive every minor collection, and the prompt's text with them. */
  readonly #dispatched = new Map<BlockChain, Dispatched>()
  readonly counts = { confirmed: 0, answerLost: 0, evicted: 0, restarted: 0, drifted: 0, larger: 0 }

  constructor(index: BlockIndex) {
    this.#index = index
  }

  /** To be called before the turn's blocks are inserted: afterwards they are fresh. */
  dispatched(chain: BlockChain, backendIndex: number): void {
    const lastUse = this.#index.lastUse(chain, backendIndex)
    if (lastUse < 0) this.#dispatched.delete(chain)
    else {
      this.#dispatched.set(chain, {
        backendIndex,
        lastUse,
        age: this.#index.clock(backendIndex) - lastUse,
        promptBlocks: this.#index.promptBlocks(chain, backendIndex),
        heldBlocks: this.#index.cachedBlocks(chain, backendIndex),
      })
    }
    // Turns that ended without an outcome.
    if (this.#dispatched.size > MAX_IN_FLIGHT) this.#dispatched.delete(this.#dispatched.keys().next().value!)
  }

  observe(outcome: Outcome): void {
    const { backend, promptChain, fullChain, usage } = outcome
    const dispatched = this.#dispatched.get(promptChain)
    this.#dispatched.delete(promptChain)
    if (outcome.ttftMs === null) {
      this.#index.retract(promptChain, backend.index)
      return
    }
    const learned = this.#learned(backend.index)
    const reported = usage !== null && usage.cachedTokens !== null && usage.promptTokens > 0 && promptChain.length > 0
    const finding = reported
      ? this.#compare(outcome, learned, usage.cachedTokens!, usage.promptTokens, dispatched)
      : null
    if (reported && backend.cacheCapacityTokens !== null && backend.cacheCapacityTokens !== learned.toldTokens) {
      learned.toldTokens = backend.cacheCapacityTokens
      const blocksPerToken = promptChain.totalCharacters / usage.promptTokens / promptChain.blockCharacters
      this.#index.setCapacity(backend.index, learned.toldTokens * blocksPerToken)
    }
    this.#index.insert(promptChain, backend.index)
    // Where answers are not kept, one in eight is entered all the same: engines are reconfigured.
    const keepAnswer = outcome.status !== 'failed' && (learned.answersKept > 0.3 || ++learned.answersSkipped % 8 === 0)
    if (keepAnswer) this.#index.insert(fullChain, backend.index, { answerFromBlock: promptChain.length })
    if (finding === 'evicted') {
      // What the backend used after the lost blocks is all it can hold.
      const remaining = this.#index.blocks(backend.index)
      if (learned.remaining > 0) this.#index.setCapacity(backend.index, Math.max(learned.remaining, remaining))
      learned.remaining = remaining
    }
    if (finding !== null) this.counts[finding]++
  }

  #compare(
    outcome: Outcome,
    learned: Learned,
    cachedTokens: number,
    promptTokens: number,
    dispatched: Dispatched | undefined,
  ): keyof CacheCalibration['counts'] {
    const { promptChain: chain, backend, expectedCachedTokens } = outcome
    const index = this.#index
    const b = backend.index
    const known = dispatched?.backendIndex === b ? dispatched : null
    const age = known?.age ?? 0
    const tokensPerBlock = (chain.blockCharacters * promptTokens) / Math.max(1, chain.totalCharacters)
    const tolerance = Math.max(1.5 * tokensPerBlock, DRIFT * promptTokens)
    const kept = Math.floor(cachedTokens / tokensPerBlock + 0.01)
    if (known !== null && known.heldBlocks > known.promptBlocks && kept >= known.promptBlocks - 1) {
      const share = Math.min(1, Math.max(0, kept - known.promptBlocks) / (known.heldBlocks - known.promptBlocks))
      learned.answersKept += 0.1 * (share - learned.answersKept)
      if (kept < known.heldBlocks - 1) {
        index.truncate(chain, b, kept)
        learned.proven = Math.max(learned.proven, age)
        return 'answerLost'
      }
    }
    if (cachedTokens >= expectedCachedTokens - tolerance) {
      if (expectedCachedTokens > tolerance) learned.proven = Math.max(learned.proven, age)
      if (cachedTokens <= expectedCachedTokens + tolerance || index.blocks(b) < 0.9 * index.capacity(b))
        return 'confirmed'
      index.setCapacity(b, index.capacity(b) * GROWTH)
      return 'larger'
    }
    if (known !== null && age > learned.proven / 2) {
      learned.proven = Math.min(learned.proven, age)
      index.truncate(chain, b, kept)
      index.evictUsedUpTo(b, known.lastUse)
      return 'evicted'
    }
    if (cachedTokens <= tolerance && learned.proven > 0) {
      Object.assign(learned, { proven: 0, remaining: 0 })
      index.clearBackend(b)
      return 'restarted'
    }
    index.truncate(chain, b, kept)
    return 'drifted'
  }

  #learned(backendIndex: number): Learned {
    for (let next = this.#backends.length; next <= backendIndex; next++) {
      this.#backends.push({ proven: 0, remaining: 0, answersKept: 1, answersSkipped: 0, toldTokens: 0 })
    }
    return this.#backends[backendIndex]!
  }
}

type Dispatched = {
  readonly backendIndex: number
  readonly lastUse: number
  readonly age: number
  readonly promptBlocks: number
  readonly heldBlocks: number
}

type Learned = {
  /** The largest age, in blocks, that a chain was seen to survive. */
  proven: number
  /** Blocks that remained after the last eviction found, 0 before the first. */
  remaining: number
  /** Share of answers' blocks that were still there when their conversation went on. */
  answersKept: number
  answersSkipped: number
  /** The engine's own word on its capacity, 0 before it was heard. */
  toldTokens: number
}

const MAX_IN_FLIGHT = 10_000
/** Tokens per character vary along a prompt; a difference of less than this share of it proves nothing. */
const DRIFT = 0.1
/** One answer widens the belief a little: a cache twice as large as believed shows after eight. */
const GROWTH = 1.1
