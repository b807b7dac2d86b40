/**
 * Concurrency and requests per minute, per tenant; both off unless configured. The rate is a token bucket that holds one
 * minute's worth. State is one entry a configured tenant.
 */
import { HomingError } from '../model/error.ts'

export type TenantLimit = { readonly concurrency: number | null; readonly requestsPerMinute: number | null }

export class TenantLimits {
  readonly #limitOf: (tenant: string) => TenantLimit
  readonly #nowMs: () => number
  readonly #inFlight = new Map<string, number>()
  readonly #buckets = new Map<string, { tokens: number; atMs: number }>()

  constructor(limitOf: (tenant: string) => TenantLimit, nowMs: () => number) {
    this.#limitOf = limitOf
    this.#nowMs = nowMs
  }

  /** Admits a request or throws 429; call what it returns once, when the request is over. */
  enter(tenant: string): () => void {
    const limit = this.#limitOf(tenant)
    if (limit.requestsPerMinute !== null) this.#take(tenant, limit.requestsPerMinute)
    if (limit.concurrency === null) return () => {}
    const running = this.#inFlight.get(tenant) ?? 0
    if (running >= limit.concurrency) {
      throw new HomingError(
        'rate_limit_exceeded',
        { why: `This key has ${running} requests in flight; its limit is ${limit.concurrency}.` },
        { retryAfterSeconds: 1 },
      )
    }
    this.#inFlight.set(tenant, running + 1)
    let left = false
    return () => {
      if (left) return
      left = true
      this.#inFlight.set(tenant, this.#inFlight.get(tenant)! - 1)
    }
  }

  #take(tenant: string, perMinute: number): void {
    const now = this.#nowMs()
    const bucket = this.#buckets.get(tenant) ?? { tokens: perMinute, atMs: now }
    bucket.tokens = Math.min(perMinute, bucket.tokens + ((now - bucket.atMs) * perMinute) / 60_000)
    bucket.atMs = now
    this.#buckets.set(tenant, bucket)
    if (bucket.tokens < 1) {
      const retryAfterSeconds = Math.max(1, Math.ceil(((1 - bucket.tokens) * 60) / perMinute))
      throw new HomingError(
        'rate_limit_exceeded',
        { why: `This key may send ${perMinute} requests a minute.` },
        { retryAfterSeconds },
      )
    }
    bucket.tokens--
  }
}
