import type { Backend } from '../model/backend.ts'
import type { SchedulingRequest } from '../model/decision.ts'
import type { Outcome } from '../model/outcome.ts'
import type { BlockChain } from '../model/turn.ts'
import type { BlockIndex } from './block-index.ts'
import { HiddenHits, type TtftPort } from './hidden-hits.ts'
import { conversationKey, type Pressure, type Return } from './pressure.ts'

/**
 * Corrects the block index by what each answer reports as cached, and teaches `pressure.ts` how long blocks survive.
 *
 * The age of a chain at dispatch is counted in blocks stored at the backend since its last use. Findings:
 * - confirmed: about as much as expected; the cache survives at least this age;
 * - answer lost: all of the prompt blocks were there, but not the answer's: the engine does not keep generated tokens,
 *   or renders them differently (dropped reasoning). Where that is the rule, answers are no longer entered;
 * - evicted: less than was held, at an age not proven harmless: everything used no later is gone too, and what remains
 *   in the index bounds the backend's capacity from above. Two such findings are needed before a capacity is believed;
 *   the larger counts. An engine of slots loses a slot and keeps its capacity;
 * - restarted: nothing left of a chain well within the proven age: all entries of the backend go. Read off the time to
 *   the first token it takes two in a row, since a stall looks like one;
 * - drifted: something left, within the proven age: the prefix was rendered differently; only this chain is cut;
 * - larger: more than expected; a cache believed full holds more than that.
 * A capacity that the engine tells is where belief starts; findings correct it like a learned one.
 *
 * Where an engine hides what was cached, `hidden-hits.ts` reads it off the time to the first token, where it can.
 */
export class CacheCalibration {
  readonly #index: BlockIndex
  readonly #pressure: Pressure
  readonly #hidden: HiddenHits
  readonly #backends: Learned[] = []
  /** One entry a turn in flight. Not a WeakMap: its entries survive every minor collection, and the prompt's text with them. */
  readonly #dispatched = new Map<BlockChain, Dispatched>()
  readonly counts: Record<FindingName, number> = {
    confirmed: 0,
    answerLost: 0,
    evicted: 0,
    restarted: 0,
    drifted: 0,
    larger: 0,
  }

  constructor(index: BlockIndex, pressure: Pressure, latency: TtftPort) {
    this.#index = index
    this.#pressure = pressure
    this.#hidden = new HiddenHits(latency)
  }

  /** Answers that hid what was cached, by what their time to the first token told. */
  get hidden(): Readonly<HiddenHits['counts']> {
    return this.#hidden.counts
  }

  /** To be called before the turn's blocks are inserted: afterwards they are fresh. */
  dispatched(request: Pick<SchedulingRequest, 'chain' | 'tenant' | 'sessionId'>, backendIndex: number): void {
    const { chain, tenant, sessionId } = request
    const lastUse = this.#index.lastUse(chain, backendIndex)
    const conversation = conversationKey(tenant, sessionId)
    const homeCleared = this.#pressure.wasCleared(conversation)
    this.#dispatched.set(chain, {
      backendIndex,
      returned: this.#pressure.returned(conversation, chain, backendIndex),
      homeCleared,
      lastUse,
      age: this.#index.clock(backendIndex) - lastUse,
      promptBlocks: this.#index.promptBlocks(chain, backendIndex),
      heldBlocks: this.#index.cachedBlocks(chain, backendIndex),
    })
    // Turns that ended without an outcome.
    if (this.#dispatched.size > MAX_IN_FLIGHT) this.#dispatched.delete(this.#dispatched.keys().next().value!)
  }

  /** What the answer said; `cachedTokens` null where nobody knows. */
  observe(outcome: Outcome): Finding {
    const { backend, promptChain, fullChain, usage } = outcome
    const dispatched = this.#dispatched.get(promptChain)
    this.#dispatched.delete(promptChain)
    if (outcome.ttftMs === null) {
      this.#index.retract(promptChain, backend.index)
      return NO_FINDING
    }
    const learned = this.#learned(backend.index)
    const known = dispatched?.backendIndex === backend.index ? dispatched : null
    const promptTokens = usage?.promptTokens ?? outcome.expectedPromptTokens
    const reported = usage?.cachedTokens ?? null
    const comparable = promptChain.length > 0 && promptTokens > 0
    const heldTokens = known === null ? 0 : Math.min(promptTokens - 1, tokensOf(known.heldBlocks, promptChain, promptTokens))
    const cachedTokens = comparable ? (reported ?? this.#hidden.read(outcome, heldTokens)) : null
    let finding: FindingName | null = null
    if (cachedTokens !== null) {
      this.#hear(backend, learned, blocksOf(backend.cacheCapacityTokens ?? 0, promptChain, promptTokens))
      finding = this.#compare(outcome, learned, cachedTokens, promptTokens, known)
      if (finding === 'restarted' && reported === null && ++learned.doubts < DOUBTS) finding = 'drifted'
      else if (finding !== 'restarted' && finding !== 'drifted') learned.doubts = 0
      this.#correct(outcome, learned, finding, blocksOf(cachedTokens, promptChain, promptTokens), known)
      this.counts[finding]++
    }
    this.#index.insert(promptChain, backend.index)
    // Where answers are not kept, one in eight is entered all the same: engines are reconfigured.
    const keepAnswer = outcome.status !== 'failed' && (learned.answersKept > 0.3 || ++learned.answersSkipped % 8 === 0)
    if (keepAnswer) this.#index.insert(fullChain, backend.index, { answerFromBlock: promptChain.length })
    const block = known !== null && known.heldBlocks > 0 && this.#index.slots(backend.index) === Infinity
    if (finding === 'evicted' && block) this.#shrink(backend.index, learned)
    if (outcome.status !== 'failed' && outcome.partial !== true) {
      const conversation = conversationKey(outcome.tenant, outcome.sessionId)
      this.#pressure.answered(conversation, promptChain, backend.index, outcome.awaits ?? 'person')
    }
    return { finding, cachedTokens, homeCleared: dispatched?.homeCleared ?? false }
  }

  #compare(
    outcome: Outcome,
    learned: Learned,
    cachedTokens: number,
    promptTokens: number,
    known: Dispatched | null,
  ): FindingName {
    const { promptChain: chain, expectedCachedTokens } = outcome
    const held = known !== null && known.heldBlocks > 0
    const age = held ? known.age : 0
    const kept = blocksOf(cachedTokens, chain, promptTokens)
    const tolerance = Math.max(tokensOf(1.5, chain, promptTokens), DRIFT * promptTokens)
    const exact = (outcome.usage?.cachedTokens ?? null) !== null
    if (exact && held && known.heldBlocks > known.promptBlocks && kept >= known.promptBlocks - 1) {
      const share = Math.min(1, Math.max(0, kept - known.promptBlocks) / (known.heldBlocks - known.promptBlocks))
      learned.answersKept += 0.1 * (share - learned.answersKept)
      if (kept < known.heldBlocks - 1) {
        learned.proven = Math.max(learned.proven, age)
        return 'answerLost'
      }
    }
    const found = held ? tokensOf(known.heldBlocks, chain, promptTokens) : expectedCachedTokens
    if (cachedTokens >= found - tolerance) {
      if (held && cachedTokens > tolerance) learned.proven = Math.max(learned.proven, age)
      return cachedTokens <= expectedCachedTokens + tolerance ? 'confirmed' : 'larger'
    }
    const nothing = cachedTokens <= tolerance
    if (!held || age > Math.max(0, learned.proven) / 2) {
      if (held) learned.proven = Math.min(learned.proven, age)
      return 'evicted'
    }
    return nothing && learned.proven >= 0 ? 'restarted' : 'drifted'
  }

  #correct(outcome: Outcome, learned: Learned, finding: FindingName, kept: number, known: Dispatched | null): void {
    const { promptChain: chain, backend } = outcome
    const index = this.#index
    const b = backend.index
    if (finding === 'restarted') {
      Object.assign(learned, { proven: -1, remaining: 0, doubts: 0 })
      index.clearBackend(b)
      this.#pressure.cleared(b)
      return
    }
    if (finding === 'answerLost' || finding === 'evicted' || finding === 'drifted') index.truncate(chain, b, kept)
    if (finding !== 'drifted' && known?.returned) this.#pressure.observe(known.returned, kept)
    if (finding === 'evicted' && known !== null) index.evictUsedUpTo(b, known.lastUse)
    if (index.slots(b) < Infinity) {
      // llama.cpp: sequences go as a whole. A cache in RAM behind the slots (`--cache-ram`) is told to nobody.
      if (finding === 'larger' && index.chains(b) >= index.slots(b)) index.setSlots(b, index.slots(b) + 1)
      if (finding === 'evicted') index.setSlots(b, Math.max(backend.slots ?? 1, index.chains(b)))
      return
    }
    if (finding === 'larger' && index.blocks(b) >= 0.9 * index.capacity(b)) index.setCapacity(b, index.capacity(b) * GROWTH)
  }

  /** What the backend used after the lost blocks is all it can hold: learned once this answer's blocks are in. */
  #shrink(b: number, learned: Learned): void {
    const remaining = this.#index.blocks(b)
    if (learned.remaining > 0) this.#index.setCapacity(b, Math.max(learned.remaining, remaining))
    learned.remaining = remaining
  }

  /** The engine's own word on its capacity, in blocks; 0 where it says nothing. */
  #hear(backend: Backend, learned: Learned, blocks: number): void {
    if (blocks === 0 || backend.cacheCapacityTokens === learned.toldTokens) return
    learned.toldTokens = backend.cacheCapacityTokens
    this.#pressure.told(backend.index, blocks)
    this.#index.setCapacity(backend.index, blocks)
  }

  #learned(backendIndex: number): Learned {
    for (let next = this.#backends.length; next <= backendIndex; next++) {
      this.#backends.push({ proven: -1, remaining: 0, doubts: 0, answersKept: 1, answersSkipped: 0, toldTokens: null })
    }
    return this.#backends[backendIndex]!
  }
}

export type FindingName = 'confirmed' | 'answerLost' | 'evicted' | 'restarted' | 'drifted' | 'larger'

/** `homeCleared`: the cache of the backend where the conversation was last had been emptied since. */
export type Finding = {
  readonly finding: FindingName | null
  readonly cachedTokens: number | null
  readonly homeCleared: boolean
}

const NO_FINDING: Finding = { finding: null, cachedTokens: null, homeCleared: false }

/** Whole blocks of the chain that so many tokens fill. */
const blocksOf = (tokens: number, chain: BlockChain, promptTokens: number): number =>
  Math.floor((tokens * chain.totalCharacters) / promptTokens / chain.blockCharacters + 0.01)

const tokensOf = (blocks: number, chain: BlockChain, promptTokens: number): number =>
  (blocks * chain.blockCharacters * promptTokens) / chain.totalCharacters

type Dispatched = {
  readonly backendIndex: number
  /** The conversation goes on where it was: an observation of how long blocks survive there. */
  readonly returned: Return | null
  readonly homeCleared: boolean
  /** -1 where the index holds nothing of the chain. */
  readonly lastUse: number
  readonly age: number
  readonly promptBlocks: number
  readonly heldBlocks: number
}

type Learned = {
  /** The largest age, in blocks, that a chain was seen to survive; -1 before anything was found again. */
  proven: number
  /** Blocks that remained after the last eviction found, 0 before the first. */
  remaining: number
  /** Restarts in a row that only the time to the first token shows. */
  doubts: number
  /** Share of answers' blocks that were still there when their conversation went on. */
  answersKept: number
  answersSkipped: number
  /** The capacity that the engine told last, in tokens; null before it was heard. */
  toldTokens: number | null
}

const MAX_IN_FLIGHT = 10_000
/** Tokens per character vary along a prompt; a difference of less than this share of it proves nothing. */
const DRIFT = 0.1
/** One answer widens the belief a little: a cache twice as large as believed shows after eight. */
const GROWTH = 1.1
const DOUBTS = 2
