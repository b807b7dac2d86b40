/**
 * How many times slower than the shape a backend computes prompts, from its last `KEPT` answers: a low quantile of
 * log(measured / shape), told apart from its peers' as far as that is certain (`amongPeers`).
 *
 * One odd answer moves a quantile by one rank; a backend that turns half as fast has filled the ranks that count after
 * eleven answers. The quantile is below the middle since what disturbs only ever adds: a prompt that had to wait for work
 * nobody told us of looks slow, and a mean would call the backend slow for it (fifteen times too slow where others'
 * prompts took half of the time: bench/engine-load.bench.ts).
 *
 * Answers keep their features, and ratios are taken against the shape as it is now. O(KEPT log KEPT) per answer, about
 * 2 us; 1 KB a backend.
 */
import { amongPeers, meanOf, type PeerLevel } from './peer-level.ts'
import type { RelativeRegression } from './relative-regression.ts'

export class SpeedFactor {
  readonly #level: PeerLevel
  readonly #shape: RelativeRegression
  /** Features and measured value of each kept answer, round robin. */
  readonly #answers: Float64Array[] = []
  readonly #measured = new Float64Array(KEPT)
  readonly #logs = new Float64Array(KEPT)
  #count = 0
  #log = 0
  #middle = 0
  #deviation = FIRST_DEVIATION
  #inLevel = false

  constructor(shape: RelativeRegression, level: PeerLevel) {
    this.#shape = shape
    this.#level = level
  }

  get factor(): number {
    return Math.exp(this.#among(this.#log))
  }

  /**
   * What an answer is divided by before the shape learns from it: the middle rank. A tenth of the level that all
   * backends have in common is left in, so that it moves into the shape and the factors stay around 1 for ever.
   */
  get aroundOne(): number {
    return Math.exp(this.#among(this.#middle) - TO_SHAPE * meanOf(this.#level))
  }

  /** Enough answers to trust the level. */
  get settled(): boolean {
    return this.#count >= SETTLED
  }

  /** Standard deviation of log(measured / predicted) over the kept answers; 1 before the first. */
  get uncertainty(): number {
    return this.#count === 0 ? 1 : Math.hypot(this.#deviation, 0.5 / this.#count)
  }

  observe(features: Float64Array, measured: number): void {
    const place = this.#count % KEPT
    const kept = (this.#answers[place] ??= new Float64Array(features.length))
    kept.set(features)
    this.#measured[place] = measured
    this.#count++
    const known = Math.min(this.#count, KEPT)
    for (let at = 0; at < known; at++) {
      this.#logs[at] = Math.log(this.#measured[at]! / this.#shape.predict(this.#answers[at]!))
    }
    const sorted = this.#logs.subarray(0, known).sort()
    const before = this.#inLevel ? this.#log : 0
    this.#log = rank(sorted, LOWER)
    this.#middle = rank(sorted, 0.5)
    this.#level.sum += this.#log - before
    if (!this.#inLevel) this.#level.count++
    this.#inLevel = true
    // Half of a normal's values lie within 0.674 deviations of its middle.
    if (known >= SETTLED) {
      this.#deviation = Math.max(SMALLEST_DEVIATION, (rank(sorted, 0.75) - rank(sorted, 0.25)) / 1.349)
    }
  }

  unsettle(): void {
    this.#count = 0
    this.#deviation = FIRST_DEVIATION
  }

  #among(log: number): number {
    return amongPeers(log, this.#count, this.#deviation, KEPT, this.#level)
  }
}

/** Between the ranks where it falls between two. */
function rank(sorted: Float64Array, quantile: number): number {
  const at = quantile * (sorted.length - 1)
  const below = Math.floor(at)
  const above = Math.min(sorted.length - 1, below + 1)
  return sorted[below]! + (at - below) * (sorted[above]! - sorted[below]!)
}

/** 70 % of them must be of the new speed: eleven turns, within the twenty that are allowed. */
const KEPT = 16
/** 0.2 to 0.4 are alike where others load half of the fleet, and 0.5 gives in to unseen work (2.0 instead of 1.9 s). */
const LOWER = 0.3
const SETTLED = 4
const TO_SHAPE = 0.1
/** Of one answer, before four of them tell. */
const FIRST_DEVIATION = 0.3
/** Below 2 % every tremor would count. */
const SMALLEST_DEVIATION = 0.02
