import type { Outcome } from '../model/outcome.ts'

/**
 * How many tokens an answer will have: a running mean per session, leaning on the tenant's, leaning on everyone's, or on what
 * the content lets expect where that has been the better guess.
 * Each level counts as `LEAN` answers of the level below, so a session's own habit shows after a few turns.
 *
 * Means are of answers capped at `CAP`, so that one runaway answer does not decide. At most `maxSessions` sessions and
 * `maxTenants` tenants are kept; the least recently answered goes first and is counted in `evicted`.
 */
export class OutputLength {
  readonly #sessions: Means
  readonly #tenants: Means
  readonly #everyone = { mean: FIRST_GUESS, weight: LEAN }
  readonly #content = new ContentLength()

  constructor(options: { readonly maxSessions?: number; readonly maxTenants?: number } = {}) {
    this.#sessions = new Means(options.maxSessions ?? 50_000)
    this.#tenants = new Means(options.maxTenants ?? 10_000)
  }

  expectedTokens(request: {
    readonly tenant: string
    readonly sessionId: string
    readonly maxOutputTokens: number | null
    readonly likelyOutputTokens?: number
  }): number {
    const ofTenant = this.#tenants.leaningOn(request.tenant, this.#content.priorFor(request, this.#everyone.mean))
    const expected = this.#sessions.leaningOn(`${request.tenant}\n${request.sessionId}`, ofTenant)
    return request.maxOutputTokens === null ? expected : Math.min(expected, request.maxOutputTokens)
  }

  /** Of first answers: how far content and the mean were off, as mean absolute logarithms; null before 20 answers. */
  get errors(): { readonly content: number; readonly mean: number } | null {
    return this.#content.errors
  }

  observe(outcome: Outcome): void {
    if (outcome.usage === null || (outcome.status !== 'completed' && outcome.status !== 'incomplete')) return
    const tokens = Math.min(CAP, outcome.usage.outputTokens)
    this.#sessions.add(`${outcome.tenant}\n${outcome.sessionId}`, tokens)
    this.#tenants.add(outcome.tenant, tokens)
    this.#content.observe(outcome, tokens, this.#everyone.mean)
    towards(this.#everyone, tokens, 1000)
  }

  get evicted(): number {
    return this.#sessions.evicted + this.#tenants.evicted
  }
}

/** Mean answer of the Mooncake conversation trace is 340 tokens, of the Azure conversation trace 211. */
const FIRST_GUESS = 256
const LEAN = 3
const CAP = 16_384
/** A session's or tenant's mean forgets answers older than about this many. */
const MEMORY = 20

type Mean = { mean: number; weight: number }

function towards(mean: Mean, value: number, memory: number): void {
  mean.weight = Math.min(memory, mean.weight + 1)
  mean.mean += (value - mean.mean) / mean.weight
}

/** Running means by key, least recently used first in the map's order. */
class Means {
  readonly #max: number
  readonly #means = new Map<string, Mean>()
  evicted = 0

  constructor(max: number) {
    this.#max = max
  }

  leaningOn(key: string, prior: number): number {
    const own = this.#means.get(key)
    return own === undefined ? prior : (own.weight * own.mean + LEAN * prior) / (own.weight + LEAN)
  }

  add(key: string, value: number): void {
    const own = this.#means.get(key) ?? { mean: 0, weight: 0 }
    towards(own, value, MEMORY)
    this.#means.delete(key)
    this.#means.set(key, own)
    if (this.#means.size > this.#max) {
      this.#means.delete(this.#means.keys().next().value!)
      this.evicted++
    }
  }
}

/**
 * The fingerprint's guess, with one offset that is learnt, and the right to be used: it replaces everyone's mean only while its
 * mean error, in logarithms, is the smaller one. Guesses of answers that are not back yet are kept by session, `PENDING` at
 * most, the oldest leaves first.
 */
class ContentLength {
  readonly #pending = new Map<string, number>()
  readonly #offset: Mean = { mean: 0, weight: LEAN }
  readonly #errors = { content: { mean: 0, weight: 0 }, mean: { mean: 0, weight: 0 } }

  priorFor(
    request: { readonly tenant: string; readonly sessionId: string; readonly likelyOutputTokens?: number },
    everyone: number,
  ): number {
    const { likelyOutputTokens } = request
    if (likelyOutputTokens === undefined) return everyone
    const key = `${request.tenant}\n${request.sessionId}`
    this.#pending.delete(key)
    this.#pending.set(key, likelyOutputTokens)
    if (this.#pending.size > PENDING) this.#pending.delete(this.#pending.keys().next().value!)
    const { content, mean } = this.#errors
    const trusted = content.weight >= FEWEST_JUDGED && content.mean < mean.mean
    return trusted ? Math.min(CAP, likelyOutputTokens * Math.exp(this.#offset.mean)) : everyone
  }

  observe(outcome: Outcome, tokens: number, everyone: number): void {
    const key = `${outcome.tenant}\n${outcome.sessionId}`
    const guess = this.#pending.get(key)
    if (guess === undefined) return
    this.#pending.delete(key)
    const actual = Math.log1p(tokens)
    const off = actual - Math.log1p(guess)
    towards(this.#errors.content, Math.abs(off - this.#offset.mean), 200)
    towards(this.#errors.mean, Math.abs(actual - Math.log1p(everyone)), 200)
    towards(this.#offset, off, 200)
  }

  get errors(): { readonly content: number; readonly mean: number } | null {
    const { content, mean } = this.#errors
    return content.weight < FEWEST_JUDGED ? null : { content: content.mean, mean: mean.mean }
  }
}
const PENDING = 10_000
/** Answers before a guess can be told from the mean: the error of a mean of 20 is a fifth of the spread. */
const FEWEST_JUDGED = 20
