/** A bucket of tokens per backend: a minute's worth, filled within a minute, and never overdrawn. */
export class PrewarmBudget {
  readonly #nowMs: () => number
  readonly #buckets = new Map<number, { tokens: number; atMs: number }>()

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** False, and nothing is taken, where it does not last. */
  take(backendIndex: number, tokens: number, perMinute: number): boolean {
    const now = this.#nowMs()
    const bucket = this.#buckets.get(backendIndex) ?? { tokens: perMinute, atMs: now }
    bucket.tokens = Math.min(perMinute, bucket.tokens + ((now - bucket.atMs) / 60_000) * perMinute)
    bucket.atMs = now
    this.#buckets.set(backendIndex, bucket)
    if (bucket.tokens < tokens) return false
    bucket.tokens -= tokens
    return true
  }

  giveBack(backendIndex: number, tokens: number): void {
    const bucket = this.#buckets.get(backendIndex)
    if (bucket !== undefined) bucket.tokens += Math.max(0, tokens)
  }
}
