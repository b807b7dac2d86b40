import type { Outcome } from '../model/outcome.ts'

/**
 * How many tokens an answer will have: a running mean per session, leaning on the tenant's, leaning on everyone's.
 * Each level counts as `LEAN` answers of the level below, so a session's own habit shows after a few turns.
 *
 * Means are of answers capped at `CAP`, so that one runaway answer does not decide. At most `maxSessions` sessions and
 * `maxTenants` tenants are kept; the least recently answered goes first and is counted in `evicted`.
 */
export class OutputLength {
  readonly #sessions: Means
  readonly #tenants: Means
  readonly #everyone = { mean: FIRST_GUESS, weight: LEAN }

  constructor(options: { readonly maxSessions?: number; readonly maxTenants?: number } = {}) {
    this.#sessions = new Means(options.maxSessions ?? 50_000)
    this.#tenants = new Means(options.maxTenants ?? 10_000)
  }

  expectedTokens(request: {
    readonly tenant: string
    readonly sessionId: string
    readonly maxOutputTokens: number | null
  }): number {
    const ofTenant = this.#tenants.leaningOn(request.tenant, this.#everyone.mean)
    const expected = this.#sessions.leaningOn(`${request.tenant}\n${request.sessionId}`, ofTenant)
    return request.maxOutputTokens === null ? expected : Math.min(expected, request.maxOutputTokens)
  }

  observe(outcome: Outcome): void {
    if (outcome.usage === null || (outcome.status !== 'completed' && outcome.status !== 'incomplete')) return
    const tokens = Math.min(CAP, outcome.usage.outputTokens)
    this.#sessions.add(`${outcome.tenant}\n${outcome.sessionId}`, tokens)
    this.#tenants.add(outcome.tenant, tokens)
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
