/**
 * What any router can know of its backends by itself: requests in flight, prefill tokens queued (until the first
 * token), tokens of context held (until the end). Baselines read it; its predictions use the router's own estimate of
 * what is cached at the time of placement. O(1) per change except for the short list of queued prefills.
 */
import type { SimulatedRequest } from './request.ts'

type Queued = { readonly request: SimulatedRequest; readonly uncachedTokens: number }

export class Ledger {
  readonly inFlight: Int32Array
  readonly queuedTokens: Float64Array
  /** Prompt tokens in flight that were placed and not yet ended. */
  readonly contextTokens: Float64Array
  readonly #queued: Queued[][]
  readonly #headStartMs: Float64Array

  constructor(backends: number) {
    this.inFlight = new Int32Array(backends)
    this.queuedTokens = new Float64Array(backends)
    this.contextTokens = new Float64Array(backends)
    this.#queued = Array.from({ length: backends }, () => [])
    this.#headStartMs = new Float64Array(backends)
  }

  /** Requests that wait for their first token. */
  prefilling(backend: number): number {
    return this.#queued[backend]!.length
  }

  placed(request: SimulatedRequest, backend: number, uncachedTokens: number, nowMs: number): void {
    const queued = this.#queued[backend]!
    if (queued.length === 0) this.#headStartMs[backend] = nowMs
    queued.push({ request, uncachedTokens })
    this.inFlight[backend]!++
    this.queuedTokens[backend]! += uncachedTokens
    this.contextTokens[backend]! += request.promptTokens
  }

  firstToken(request: SimulatedRequest, backend: number, nowMs: number): void {
    this.#unqueue(request, backend)
    this.#headStartMs[backend] = nowMs
  }

  ended(request: SimulatedRequest, backend: number): void {
    this.#unqueue(request, backend)
    this.inFlight[backend]!--
    this.contextTokens[backend]! -= request.promptTokens
  }

  /** Seconds until the queued prefills are done at this speed, what the first one has had already taken off. */
  waitSeconds(backend: number, tokensPerSecond: number, nowMs: number): number {
    const head = this.#queued[backend]![0]
    if (head === undefined) return 0
    const elapsed = (nowMs - this.#headStartMs[backend]!) / 1000
    return this.queuedTokens[backend]! / tokensPerSecond - Math.min(elapsed, head.uncachedTokens / tokensPerSecond)
  }

  #unqueue(request: SimulatedRequest, backend: number): void {
    const queued = this.#queued[backend]!
    const at = queued.findIndex((entry) => entry.request === request)
    if (at < 0) return
    this.queuedTokens[backend]! -= queued[at]!.uncachedTokens
    queued.splice(at, 1)
    if (queued.length === 0) this.queuedTokens[backend] = 0 // no drift from rounding
  }
}
