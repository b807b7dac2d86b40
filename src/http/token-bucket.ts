/**
 * So many units a minute. The bucket holds one minute's worth, is full at first and refills evenly; a level below zero is
 * a debt that refilling pays off.
 *
 * What asks for more than the bucket can ever hold is let in when the bucket is full and leaves a debt: over time the
 * rate holds, and nothing is refused for ever. O(1), two numbers.
 */
export class TokenBucket {
  readonly perMinute: number
  #level: number
  #atMs: number

  constructor(perMinute: number, nowMs: number) {
    this.perMinute = perMinute
    this.#level = perMinute
    this.#atMs = nowMs
  }

  level(nowMs: number): number {
    if (nowMs > this.#atMs) {
      this.#level = Math.min(this.perMinute, this.#level + ((nowMs - this.#atMs) * this.perMinute) / MINUTE_MS)
      this.#atMs = nowMs
    }
    return this.#level
  }

  /** Takes the amount and returns 0; or takes nothing and returns the milliseconds until there is enough. */
  take(amount: number, nowMs: number): number {
    const missing = Math.min(amount, this.perMinute) - this.level(nowMs)
    if (missing > ROUNDING * this.perMinute) return (missing * MINUTE_MS) / this.perMinute
    this.#level -= amount
    return 0
  }

  /** Gives back what was taken in vain; takes, where negative, what was used beyond. */
  correct(amount: number, nowMs: number): void {
    this.#level = Math.min(this.perMinute, this.level(nowMs) + amount)
  }

  /** Milliseconds until it is full. */
  fullInMs(nowMs: number): number {
    return ((this.perMinute - this.level(nowMs)) * MINUTE_MS) / this.perMinute
  }
}

const MINUTE_MS = 60_000
/** Sums of fractions: whoever comes back after exactly the time it was told must not miss by the last digit. */
const ROUNDING = 1e-9
