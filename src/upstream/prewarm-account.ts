/**
 * What pre-warming costs and brings, by rule; a rule that does not pay is switched off for a while.
 *
 *   trial    a prefix that was computed at a backend ahead of its turn
 *   hit      a turn came there in time and took at least half of it from the cache, by the engine's own count
 *   wasted   nobody came within `LIFE_MS`, or what came did not find it
 *   saved    seconds of the learned latency for the computed tokens that the turn found cached
 *   spent    seconds of the same latency for the tokens that were computed ahead
 *
 * A rule is off when, over its last trials (about `MEMORY` of them), it saved less than `WORTH` of what it spent. Seconds
 * ahead of time are idle ones, seconds saved are somebody's wait, hence less than one for one. After `OFF_MS` it starts
 * anew: workloads change.
 *
 * Matching a turn costs one comparison per warm prefix of its backend, at most `MAX_PER_BACKEND`; the oldest leaves
 * first, as wasted.
 */
import type { Outcome } from '../model/outcome.ts'
import { startsWith, type BlockChain } from '../model/turn.ts'

export const PREWARM_RULES = ['drain', 'overload', 'tool', 'reasoning', 'shared'] as const
export type PrewarmRule = (typeof PREWARM_RULES)[number]

export type RuleAccount = {
  readonly on: boolean
  readonly trials: number
  readonly hits: number
  readonly wasted: number
  readonly spentTokens: number
  readonly savedTokens: number
  readonly spentSeconds: number
  readonly savedSeconds: number
}

/** What was computed ahead at one backend. */
export type WarmPrefix = {
  readonly rule: PrewarmRule
  /** Whose it is: what is computed later for the same one at the same backend goes on from it, and is one trial with it. */
  readonly key: string
  readonly backendIndex: number
  readonly model: string
  readonly chain: BlockChain
  /** Tokens of the prefix, and how many of them were computed, the rest having been there. */
  readonly promptTokens: number
  readonly computedTokens: number
}

export type AccountPorts = {
  /** Seconds to compute so many tokens, without what any request costs. */
  readonly seconds: (tokens: number, backendIndex: number, model: string) => number
  readonly nowMs: () => number
  /** A rule went off (`why` says with which figures) or on again. */
  readonly onSwitch: (rule: PrewarmRule, on: boolean, why: string) => void
}

type Entry = WarmPrefix & { readonly atMs: number; readonly spentSeconds: number }
type Totals = { -readonly [Field in Exclude<keyof RuleAccount, 'on'>]: number } & {
  /** Decayed over the last trials. */
  recentTrials: number
  recentSpent: number
  recentSaved: number
  offUntilMs: number
}

export class PrewarmAccount {
  readonly #ports: AccountPorts
  readonly #warm: Entry[][] = []
  readonly #taken = new Map<BlockChain, Entry>()
  readonly #totals = new Map<PrewarmRule, Totals>(PREWARM_RULES.map((rule) => [rule, newTotals()]))

  constructor(ports: AccountPorts) {
    this.#ports = ports
  }

  isOn(rule: PrewarmRule): boolean {
    const totals = this.#totals.get(rule)!
    if (totals.offUntilMs === 0) return true
    if (this.#ports.nowMs() < totals.offUntilMs) return false
    Object.assign(totals, { recentTrials: 0, recentSpent: 0, recentSaved: 0, offUntilMs: 0 })
    this.#ports.onSwitch(rule, true, 'it is tried again')
    return true
  }

  warmed(prefix: WarmPrefix): void {
    const { backendIndex, model, computedTokens, chain } = prefix
    const spentSeconds = this.#ports.seconds(computedTokens, backendIndex, model)
    const totals = this.#totals.get(prefix.rule)!
    totals.spentTokens += computedTokens
    totals.spentSeconds += spentSeconds
    for (let next = this.#warm.length; next <= backendIndex; next++) this.#warm.push([])
    const warm = this.#warm[backendIndex]!
    this.expire()
    const at = warm.findIndex((entry) => entry.key === prefix.key && entry.rule === prefix.rule)
    const [before] = at < 0 ? [] : warm.splice(at, 1)
    if (before === undefined) totals.trials++
    const longer = before === undefined || chain.length >= before.chain.length ? prefix : before
    warm.push({
      ...longer,
      computedTokens: computedTokens + (before?.computedTokens ?? 0),
      spentSeconds: spentSeconds + (before?.spentSeconds ?? 0),
      atMs: this.#ports.nowMs(),
    })
    if (warm.length > MAX_PER_BACKEND) this.#waste(warm.shift()!)
  }

  /** A turn goes to a backend now. True where something was computed there for it. */
  dispatched(chain: BlockChain, backendIndex: number): boolean {
    const warm = this.#warm[backendIndex]
    // What was found for it at a backend that failed may still be read by another turn.
    const before = this.#taken.get(chain)
    if (before !== undefined) {
      this.#taken.delete(chain)
      this.#giveBack(before)
    }
    if (warm === undefined || warm.length === 0) return false
    this.expire()
    let at = -1
    for (let index = 0; index < warm.length; index++)
      if (startsWith(chain, warm[index]!.chain) && (at < 0 || warm[index]!.chain.length > warm[at]!.chain.length)) at = index
    if (at < 0) return false
    const [entry] = warm.splice(at, 1)
    this.#taken.set(chain, entry!)
    if (this.#taken.size > MAX_TAKEN) {
      const [oldest, unread] = this.#taken.entries().next().value!
      this.#taken.delete(oldest)
      this.#giveBack(unread)
    }
    return true
  }

  /** What came of a turn. True where it found what was computed ahead for it. */
  settle(outcome: Outcome): boolean {
    const entry = this.#taken.get(outcome.promptChain)
    if (entry === undefined) return false
    this.#taken.delete(outcome.promptChain)
    if (entry.backendIndex !== outcome.backend.index || outcome.ttftMs === null) {
      this.#giveBack(entry)
      return false
    }
    const cached = (outcome.usage?.cachedTokens ?? outcome.expectedCachedTokens) - (outcome.preparedTokens ?? 0)
    const before = entry.promptTokens - entry.computedTokens
    const saved = Math.max(0, Math.min(entry.computedTokens, Math.min(cached, entry.promptTokens) - before))
    if (saved < entry.computedTokens / 2) {
      this.#waste(entry)
      return false
    }
    const savedSeconds = this.#ports.seconds(saved, entry.backendIndex, entry.model)
    const totals = this.#totals.get(entry.rule)!
    totals.hits++
    totals.savedTokens += saved
    totals.savedSeconds += savedSeconds
    this.#judge(entry.rule, entry.spentSeconds, savedSeconds)
    return true
  }

  /** The backend lost its cache. */
  emptied(backendIndex: number): void {
    for (const entry of this.#warm[backendIndex]?.splice(0) ?? []) this.#waste(entry)
  }

  /** Whoever has not come within the life of a warm prefix does not count any more. */
  expire(): void {
    const oldestMs = this.#ports.nowMs() - LIFE_MS
    for (const warm of this.#warm) while (warm.length > 0 && warm[0]!.atMs < oldestMs) this.#waste(warm.shift()!)
  }

  get rules(): Readonly<Record<PrewarmRule, RuleAccount>> {
    const now = this.#ports.nowMs()
    const shown = [...this.#totals].map(([rule, totals]) => {
      const { trials, hits, wasted, spentTokens, savedTokens, spentSeconds, savedSeconds } = totals
      const on = totals.offUntilMs <= now
      return [rule, { on, trials, hits, wasted, spentTokens, savedTokens, spentSeconds, savedSeconds }]
    })
    return Object.fromEntries(shown) as Record<PrewarmRule, RuleAccount>
  }

  /** It was not read after all. The oldest stands first, so that it expires in time. */
  #giveBack(entry: Entry): void {
    const warm = this.#warm[entry.backendIndex]!
    warm.splice(warm.findLastIndex(({ atMs }) => atMs <= entry.atMs) + 1, 0, entry)
    if (warm.length > MAX_PER_BACKEND) this.#waste(warm.shift()!)
  }

  #waste(entry: Entry): void {
    this.#totals.get(entry.rule)!.wasted++
    this.#judge(entry.rule, entry.spentSeconds, 0)
  }

  #judge(rule: PrewarmRule, spent: number, saved: number): void {
    const totals = this.#totals.get(rule)!
    const keep = 1 - 1 / MEMORY
    totals.recentTrials++
    totals.recentSpent = keep * totals.recentSpent + spent
    totals.recentSaved = keep * totals.recentSaved + saved
    if (totals.offUntilMs > 0 || totals.recentTrials < MIN_TRIALS) return
    if (totals.recentSaved >= WORTH * totals.recentSpent) return
    totals.offUntilMs = this.#ports.nowMs() + OFF_MS
    const figures = `${totals.recentSaved.toFixed(2)} s saved for ${totals.recentSpent.toFixed(2)} s spent`
    this.#ports.onSwitch(rule, false, `${figures} over its last trials`)
  }
}

const newTotals = (): Totals => ({
  trials: 0, hits: 0, wasted: 0, spentTokens: 0, savedTokens: 0, spentSeconds: 0, savedSeconds: 0,
  recentTrials: 0, recentSpent: 0, recentSaved: 0, offUntilMs: 0,
})

/** OpenAI keeps unused prefixes for 5 to 10 minutes; engines under load for less. */
export const LIFE_MS = 600_000
/** A second of somebody's wait is taken to be worth two of an idle engine. */
const WORTH = 0.5
/** A rule that hits four times in five is switched off by its first eight trials once in a hundred (binomial). */
const MIN_TRIALS = 8
const MEMORY = 20
const OFF_MS = 600_000
const MAX_PER_BACKEND = 256
/** Turns in flight that go to a warm prefix. */
const MAX_TAKEN = 10_000
