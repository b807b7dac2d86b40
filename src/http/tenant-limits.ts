/**
 * What one tenant may use: requests at once, requests a minute, tokens a minute. All off unless configured. A request is
 * counted at the door; its tokens once its history is known, before it is placed: what it is expected to need is taken
 * from the tenant's bucket (token-bucket.ts) and replaced by what it used when it ends, so the books are right in the end
 * however wrong the expectation was.
 *
 * Counted are the prompt tokens that have to be computed and the generated ones, since these are what a fleet has to give;
 * with `tokensCounted: 'all'` cached prompt tokens as well, as hosted APIs count.
 *
 * State is one entry a tenant that has a limit; tenants come from the configuration, so it is bounded by that.
 */
import { HomingError } from '../model/error.ts'
import { TokenBucket } from './token-bucket.ts'

export type TenantLimit = {
  readonly concurrency: number | null
  readonly requestsPerMinute: number | null
  readonly tokensPerMinute: number | null
  readonly tokensCounted: 'uncached' | 'all'
}

export type TokenCounts = {
  readonly promptTokens: number
  /** Of the prompt. */
  readonly cachedTokens: number
  readonly outputTokens: number
}

/** Tokens taken from a budget for one turn. */
export interface TokenCharge {
  /** What the turn used; null: nothing, all is given back. The first call counts. */
  settle(used: TokenCounts | null): void
}

export type TenantUse = {
  readonly tenant: string
  /** Null without a token budget; below zero: a debt. */
  readonly tokensLeft: number | null
  /** Of settled turns: what was taken for them at first, and what they used. */
  readonly expectedTokens: number
  readonly usedTokens: number
  readonly refused: Readonly<Record<'concurrency' | 'requests' | 'tokens', number>>
}

type State = {
  readonly limit: TenantLimit
  readonly requests: TokenBucket | null
  readonly tokens: TokenBucket | null
  readonly refused: { concurrency: number; requests: number; tokens: number }
  running: number
  expectedTokens: number
  usedTokens: number
}

export class TenantLimits {
  readonly #limitOf: (tenant: string) => TenantLimit
  readonly #nowMs: () => number
  readonly #states = new Map<string, State>()

  constructor(limitOf: (tenant: string) => TenantLimit, nowMs: () => number) {
    this.#limitOf = limitOf
    this.#nowMs = nowMs
  }

  /** Admits a request or throws 429; call what it returns once, when the request is over. */
  enter(tenant: string): () => void {
    const state = this.#stateOf(tenant)
    if (state === null) return () => {}
    const { concurrency, requestsPerMinute } = state.limit
    const waitMs = state.requests?.take(1, this.#nowMs()) ?? 0
    if (waitMs > 0) {
      state.refused.requests++
      throw tooMany(`This key may send ${requestsPerMinute} requests a minute.`, waitMs)
    }
    if (concurrency === null) return () => {}
    if (state.running >= concurrency) {
      state.refused.concurrency++
      throw tooMany(`This key has ${state.running} requests in flight; its limit is ${concurrency}.`, 1000)
    }
    state.running++
    let left = false
    return () => {
      if (left) return
      left = true
      state.running--
    }
  }

  /** Takes a turn's expected tokens from the tenant's budget or throws 429. Without a budget nothing is asked for. */
  charge(tenant: string, expect: () => TokenCounts): TokenCharge {
    const state = this.#stateOf(tenant)
    if (state === null || state.tokens === null) return NO_CHARGE
    const { limit, tokens } = state
    const expected = counted(expect(), limit)
    const now = this.#nowMs()
    const waitMs = tokens.take(expected, now)
    if (waitMs > 0) {
      state.refused.tokens++
      const left = Math.max(0, Math.floor(tokens.level(now)))
      throw tooMany(
        `This key may use ${tokens.perMinute} tokens a minute; ${left} are left, and this request is expected to use ` +
          `about ${Math.ceil(expected)}.`,
        waitMs,
      )
    }
    let settled = false
    return {
      settle: (used) => {
        if (settled) return
        settled = true
        const actual = used === null ? 0 : counted(used, limit)
        tokens.correct(expected - actual, this.#nowMs())
        state.expectedTokens += expected
        state.usedTokens += actual
      },
    }
  }

  /** OpenAI's `x-ratelimit-*` headers for the rates that the tenant has. */
  headers(tenant: string): Record<string, string> {
    const headers: Record<string, string> = {}
    const state = this.#stateOf(tenant)
    if (state === null) return headers
    const now = this.#nowMs()
    for (const what of ['requests', 'tokens'] as const) {
      const bucket = state[what]
      if (bucket === null) continue
      headers[`x-ratelimit-limit-${what}`] = String(bucket.perMinute)
      headers[`x-ratelimit-remaining-${what}`] = String(Math.max(0, Math.floor(bucket.level(now))))
      headers[`x-ratelimit-reset-${what}`] = shortDuration(bucket.fullInMs(now))
    }
    return headers
  }

  use(): readonly TenantUse[] {
    const now = this.#nowMs()
    return [...this.#states].map(([tenant, { tokens, refused, expectedTokens, usedTokens }]) => ({
      tenant,
      tokensLeft: tokens === null ? null : tokens.level(now),
      expectedTokens,
      usedTokens,
      refused,
    }))
  }

  #stateOf(tenant: string): State | null {
    const known = this.#states.get(tenant)
    if (known !== undefined) return known
    const limit = this.#limitOf(tenant)
    const { concurrency, requestsPerMinute, tokensPerMinute } = limit
    if (concurrency === null && requestsPerMinute === null && tokensPerMinute === null) return null
    const now = this.#nowMs()
    const state: State = {
      limit,
      requests: requestsPerMinute === null ? null : new TokenBucket(requestsPerMinute, now),
      tokens: tokensPerMinute === null ? null : new TokenBucket(tokensPerMinute, now),
      refused: { concurrency: 0, requests: 0, tokens: 0 },
      running: 0,
      expectedTokens: 0,
      usedTokens: 0,
    }
    this.#states.set(tenant, state)
    return state
  }
}

const NO_CHARGE: TokenCharge = { settle() {} }

const counted = ({ promptTokens, cachedTokens, outputTokens }: TokenCounts, { tokensCounted }: TenantLimit): number =>
  (tokensCounted === 'all' ? promptTokens : Math.max(0, promptTokens - cachedTokens)) + outputTokens

const tooMany = (why: string, waitMs: number): HomingError =>
  new HomingError('rate_limit_exceeded', { why }, { retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)) })

/** As OpenAI writes the time until a limit is whole again: `0s`, `120ms`, `7.5s`, `6m0s`. */
function shortDuration(ms: number): string {
  if (ms < 1) return '0s'
  if (ms < 1000) return `${Math.ceil(ms)}ms`
  const seconds = Math.ceil(ms / 10) / 100
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${Math.ceil(seconds % 60)}s`
}
