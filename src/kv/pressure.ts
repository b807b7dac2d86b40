/**
 * What is about to go cold: the probability that a conversation's blocks are still at its backend, now and when it is
 * expected back.
 *
 *   P(resident now)        = S_b(age)                          age: blocks stored at b since the conversation's last turn
 *   P(resident at return)  = sum over return times t of P(returns at t) * S_b(age + rate_b * t)
 *
 * S_b is learned per backend (`survival.ts`), return times per kind of gap (`return-gaps.ts`), `rate_b` is the number of
 * blocks stored a second (exponential mean over `RATE_MEMORY_MS`). A chain is evicted from its end and a prefix that other
 * sessions use as well stays fresh through them, so the age of a conversation's last block is its own age plus its
 * private length, the trunk not counted.
 *
 * Every continued turn that goes to the backend of its predecessor is one observation of S_b: what the answer reports as
 * cached says where the chain was cut. Before it is learned from, the prediction is scored: Brier score, beside that of
 * the base rate (share of conversations that were still resident), over the last `SCORED` or so.
 *
 * One entry a conversation, least recently answered leaves first and is counted; O(1) a turn.
 */
import type { BlockChain } from '../model/turn.ts'
import { ReturnGaps, type Gap, type GapKind } from './return-gaps.ts'
import { SurvivalCurve } from './survival.ts'

/** What a conversation left at the backend that answered it last. */
export type Residence = {
  readonly backendIndex: number
  /** Index clock of the backend when the turn ended. */
  readonly clock: number
  /** Blocks of its prompt, and how many of them, from the start, other sessions use as well. */
  readonly blocks: number
  readonly trunkBlocks: number
  /** Hash of the last block: a prompt that changed before it says nothing about eviction. */
  readonly low: number
  readonly high: number
  readonly kind: GapKind
  readonly gap: Gap
}

export type Forecast = {
  readonly backendIndex: number
  /** Probability that its last block is still there. */
  readonly now: number
  /** Standard error of `now`. */
  readonly uncertainty: number
  /** Probability that it returns at all, and within which time half of those have. */
  readonly returns: number
  readonly expectedReturnMs: number | null
  /** Probability that it is still there when it returns, given that it does. */
  readonly atReturn: number
}

export type SurvivalScore = {
  readonly observations: number
  readonly brier: number
  readonly baseRateBrier: number
}

type IndexPort = {
  clock(backendIndex: number): number
  trunk(chain: BlockChain, backendIndex: number): { readonly blocks: number }
}

/** One conversation of one tenant. */
export const conversationKey = (tenant: string, sessionId: string): string => `${tenant}\n${sessionId}`

export class Pressure {
  readonly #index: IndexPort
  readonly #nowMs: () => number
  readonly #maxConversations: number
  readonly #conversations = new Map<string, Residence>()
  readonly #backends: BackendPressure[] = []
  readonly #everywhere = new SurvivalCurve()
  /** When conversations come back, learned over all that were answered. */
  readonly gaps: ReturnGaps
  readonly #scores = { weight: 0, brier: 0, resident: 0, observations: 0 }
  #evicted = 0

  constructor(options: { readonly index: IndexPort; readonly nowMs: () => number; readonly maxConversations: number }) {
    this.#index = options.index
    this.#nowMs = options.nowMs
    this.#maxConversations = options.maxConversations
    this.gaps = new ReturnGaps(options.nowMs)
  }

  /** The conversation's turn goes to a backend now. Where that is its last one, the answer will be an observation. */
  returned(conversation: string, chain: BlockChain, backendIndex: number): Return | null {
    const left = this.#conversations.get(conversation)
    if (left === undefined) return null
    this.gaps.end(left.gap)
    if (left.backendIndex !== backendIndex) return null
    // Once: what is sent after this finds what this brings.
    this.#conversations.delete(conversation)
    if (!continues(chain, left)) return null
    const age = this.#index.clock(backendIndex) - left.clock
    return { residence: left, age, predicted: this.#tailShare(left, age) }
  }

  /** `keptBlocks` of the chain were found in the cache. */
  observe(seen: Return, keptBlocks: number): void {
    const { residence, age, predicted } = seen
    const { curve } = this.#backend(residence.backendIndex)
    const own = residence.blocks - residence.trunkBlocks
    if (own <= 0) return
    const kept = Math.max(0, Math.min(own, keptBlocks - residence.trunkBlocks))
    // An engine's blocks are not ours: less than one of ours missing at the end is no loss.
    const whole = kept >= own - 1
    this.#score(predicted, whole)
    for (const each of [curve, this.#everywhere]) {
      if (kept > 0) each.observe(age + (whole ? own : kept), true)
      if (!whole) each.observe(age + kept + 1, false)
    }
  }

  /** A turn of the conversation ended at the backend; its blocks are in the index. */
  answered(conversation: string, chain: BlockChain, backendIndex: number, kind: GapKind): void {
    if (chain.length === 0) return
    const before = this.#conversations.get(conversation)
    if (before !== undefined) this.gaps.end(before.gap)
    const clock = this.#index.clock(backendIndex)
    this.#backend(backendIndex).rate.observe(clock, this.#nowMs())
    this.#conversations.delete(conversation)
    this.#conversations.set(conversation, {
      backendIndex,
      clock,
      blocks: chain.length,
      trunkBlocks: Math.min(chain.length, this.#index.trunk(chain, backendIndex).blocks),
      low: chain.hashes[2 * chain.length - 2]!,
      high: chain.hashes[2 * chain.length - 1]!,
      kind,
      gap: this.gaps.begin(kind),
    })
    if (this.#conversations.size <= this.#maxConversations) return
    this.#conversations.delete(this.#conversations.keys().next().value!)
    this.#evicted++
  }

  /** The backend told how many blocks it can hold. */
  told(backendIndex: number, blocks: number): void {
    this.#backend(backendIndex).curve.expectCapacity(blocks)
  }

  /** Its cache was emptied: what conversations left there is gone. */
  cleared(backendIndex: number): void {
    this.#backend(backendIndex).clearedAtClock = this.#index.clock(backendIndex)
  }

  /** The backend that answered this conversation last has lost its cache since. */
  wasCleared(conversation: string): boolean {
    const left = this.#conversations.get(conversation)
    return left !== undefined && left.clock <= this.#backend(left.backendIndex).clearedAtClock
  }

  /** Null for a conversation that is not known (any more). */
  forecast(conversation: string): Forecast | null {
    const left = this.#conversations.get(conversation)
    if (left === undefined) return null
    const backend = this.#backend(left.backendIndex)
    const nowMs = this.#nowMs()
    const elapsedMs = nowMs - left.gap.startMs
    const age = this.#index.clock(left.backendIndex) - left.clock
    const returns = this.gaps.returns(left.kind, elapsedMs, HORIZON_MS)
    let resident = 0
    let known = 0
    for (let fromMs = 0, toMs = FIRST_STEP_MS; fromMs < HORIZON_MS; fromMs = toMs, toMs *= 2) {
      const share = this.gaps.returns(left.kind, elapsedMs, toMs) - known
      known += share
      const stored = (backend.rate.blocksPerSecond * (fromMs + toMs)) / 2000
      resident += share * this.#tailShare(left, age + stored)
    }
    return {
      backendIndex: left.backendIndex,
      now: this.#tailShare(left, age),
      uncertainty: backend.curve.uncertainty(age),
      returns,
      expectedReturnMs: this.gaps.expectedReturnMs(left.kind, elapsedMs),
      atReturn: known > 0 ? resident / known : 0,
    }
  }

  /** Blocks stored since their last use at which half are gone; Infinity while nothing was seen to go. */
  effectiveCapacity(backendIndex: number): number {
    return this.#backend(backendIndex).curve.median
  }

  /** Answers that taught how long blocks survive there. */
  observations(backendIndex: number): number {
    return this.#backend(backendIndex).curve.observations
  }

  blocksPerSecond(backendIndex: number): number {
    return this.#backend(backendIndex).rate.blocksPerSecond
  }

  /** Probability that a conversation which has been silent for so long comes back within a minute. */
  returnsSoon(elapsedMs: number): number {
    return this.gaps.returns('person', elapsedMs, SOON_MS)
  }

  /** Mean squared error of predicted residency over recent turns; null before the first. */
  get score(): SurvivalScore | null {
    const { weight, brier, resident, observations } = this.#scores
    if (weight === 0) return null
    const share = resident / weight
    return { observations, brier: brier / weight, baseRateBrier: share * (1 - share) }
  }

  get conversations(): number {
    return this.#conversations.size
  }

  get evictions(): { readonly size: number; readonly gaps: number } {
    return { size: this.#evicted, gaps: this.gaps.evicted }
  }

  #tailShare(left: Residence, age: number): number {
    const backend = this.#backend(left.backendIndex)
    if (left.clock <= backend.clearedAtClock) return 0
    return backend.curve.at(age + left.blocks - left.trunkBlocks)
  }

  #score(predicted: number, resident: boolean): void {
    const scores = this.#scores
    const keep = 1 - 1 / SCORED
    scores.weight = scores.weight * keep + 1
    scores.brier = scores.brier * keep + (predicted - (resident ? 1 : 0)) ** 2
    scores.resident = scores.resident * keep + (resident ? 1 : 0)
    scores.observations++
  }

  #backend(backendIndex: number): BackendPressure {
    for (let next = this.#backends.length; next <= backendIndex; next++) {
      this.#backends.push({ curve: new SurvivalCurve(this.#everywhere), rate: new StoreRate(), clearedAtClock: -1 })
    }
    return this.#backends[backendIndex]!
  }
}

export type Return = { readonly residence: Residence; readonly age: number; readonly predicted: number }

type BackendPressure = { readonly curve: SurvivalCurve; readonly rate: StoreRate; clearedAtClock: number }

/** Blocks stored a second: an exponential mean, read off the index clock. */
class StoreRate {
  #clock = 0
  #atMs = -1
  blocksPerSecond = 0

  observe(clock: number, nowMs: number): void {
    if (this.#atMs >= 0) {
      const elapsedMs = nowMs - this.#atMs
      if (elapsedMs <= 0) return
      const rate = Math.max(0, clock - this.#clock) / (elapsedMs / 1000)
      this.blocksPerSecond += (1 - Math.exp(-elapsedMs / RATE_MEMORY_MS)) * (rate - this.blocksPerSecond)
    }
    this.#clock = clock
    this.#atMs = nowMs
  }
}

const continues = (chain: BlockChain, left: Residence): boolean =>
  chain.length >= left.blocks &&
  chain.hashes[2 * left.blocks - 2] === left.low &&
  chain.hashes[2 * left.blocks - 1] === left.high

/** A minute: load changes within minutes, a burst of prefills lasts seconds. */
const RATE_MEMORY_MS = 60_000
/** Two hours: beyond, no conversation's cache is kept for it. */
const HORIZON_MS = 2 * 3600_000
/** A newcomer's own next turns come within about this (median follow-up of Mooncake's conversations: 123 s). */
const SOON_MS = 60_000
const FIRST_STEP_MS = 500
/** About so many turns make the published score. */
const SCORED = 2000
