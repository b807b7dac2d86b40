/**
 * How long blocks survive at one backend: S(age), the share that is still there when `age` blocks were stored since
 * their last use. Age counts what was stored, not seconds: an engine evicts when it needs room, never by itself.
 *
 *   bins       log-spaced, BINS_PER_OCTAVE to a doubling of age
 *   survived   weight of observations "still there at this age"      each answer gives at most two: a chain of blocks is
 *   gone       weight of observations "gone at this age"             evicted from its end, so the cut lies at one age
 *
 * An answer never shows when a block went, only whether it was still there: current-status data, censored on both sides.
 * Its maximum-likelihood estimate is the non-increasing fit of survived / (survived + gone), found by pooling adjacent
 * violators (Ayer, Brunk, Ewing, Reid, Silverman, Ann. Math. Statist. 26, 1955; Groeneboom, Wellner 1992). A strict LRU
 * gives a step at its capacity; reuse of older blocks, paging and other clients smear it, and no shape is assumed.
 *
 * Every bin starts with a small part of an observation from a log-logistic step around the capacity that the engine told
 * (almost no eviction where it told none); observations are forgotten with a half-life of `HALF_LIFE`.
 * Observe O(1) plus O(bins) at the next read, read O(1). About 6 kB a backend.
 */
export class SurvivalCurve {
  readonly #survived = new Float64Array(BINS)
  readonly #gone = new Float64Array(BINS)
  /** Fitted survival at the middle of each bin, and the weight that it rests on. */
  readonly #fitted = new Float64Array(BINS)
  readonly #pooled = new Float64Array(BINS)
  #scale = 1
  #stale = true
  #capacity = Infinity
  readonly #peers: SurvivalCurve | null
  observations = 0

  /** `peers`: the same of all backends together, from which one starts that told no capacity. */
  constructor(peers: SurvivalCurve | null = null) {
    this.#peers = peers
  }

  /** Blocks that the engine says it can hold: where the curve starts from. */
  expectCapacity(blocks: number): void {
    if (blocks === this.#capacity) return
    this.#capacity = blocks
    this.#stale = true
  }

  observe(age: number, survived: boolean): void {
    const bin = binOf(age)
    // Newer observations weigh more, instead of older ones less: one multiplication in place of one a bin.
    this.#scale /= FORGETTING
    if (survived) this.#survived[bin]! += this.#scale
    else this.#gone[bin]! += this.#scale
    this.observations++
    this.#stale = true
    if (this.#scale < RESCALE) return
    for (let each = 0; each < BINS; each++) {
      this.#survived[each]! /= this.#scale
      this.#gone[each]! /= this.#scale
    }
    this.#scale = 1
  }

  /** Probability that a block last used so long ago is still there. */
  at(age: number): number {
    if (this.#stale) this.#fit()
    return between(this.#fitted, age)
  }

  /** Half of the blocks are gone at this age: the effective capacity. Infinity where no eviction is in sight. */
  get median(): number {
    if (this.#stale) this.#fit()
    for (let bin = 0; bin < BINS; bin++) if (this.#fitted[bin]! < 0.5) return ageOf(bin)
    return Infinity
  }

  /** Standard error of `at(age)`: binomial, of the observations pooled there. 0.5 is no knowledge at all. */
  uncertainty(age: number): number {
    if (this.#stale) this.#fit()
    const bin = binOf(age)
    const share = this.#fitted[bin]!
    return Math.min(0.5, Math.sqrt((share * (1 - share) + 0.25 / this.#pooled[bin]!) / this.#pooled[bin]!))
  }

  #fit(): void {
    this.#stale = false
    const { survived, gone } = { survived: this.#survived, gone: this.#gone }
    const priorWeight = this.#capacity === Infinity && this.#peers === null ? UNTOLD_WEIGHT : PRIOR_WEIGHT
    // Blocks of equal fit: their first bin, weight and survived weight.
    let blocks = 0
    for (let bin = 0; bin < BINS; bin++) {
      starts[blocks] = bin
      kept[blocks] = priorWeight * this.#prior(ageOf(bin)) + survived[bin]! / this.#scale
      weights[blocks] = priorWeight + (survived[bin]! + gone[bin]!) / this.#scale
      blocks++
      while (blocks > 1 && kept[blocks - 1]! * weights[blocks - 2]! > kept[blocks - 2]! * weights[blocks - 1]!) {
        kept[blocks - 2]! += kept[blocks - 1]!
        weights[blocks - 2]! += weights[blocks - 1]!
        blocks--
      }
    }
    for (let block = 0; block < blocks; block++) {
      const end = block + 1 < blocks ? starts[block + 1]! : BINS
      const share = kept[block]! / weights[block]!
      this.#fitted.fill(share, starts[block]!, end)
      this.#pooled.fill(weights[block]!, starts[block]!, end)
    }
  }

  #prior(age: number): number {
    if (this.#capacity === Infinity) return this.#peers === null ? UNTOLD : this.#peers.at(age)
    return 1 / (1 + (age / this.#capacity) ** PRIOR_STEEPNESS)
  }
}

const FIRST_AGE = 8
const BINS_PER_OCTAVE = 8
/** Up to 8 * 2^22 = 33 million blocks, a billion tokens. */
const BINS = 22 * BINS_PER_OCTAVE + 1
/** An eighth of an observation a bin: a few observations in an octave outweigh the prior there. */
const PRIOR_WEIGHT = 0.125
/** One block seen to be gone must outweigh all that is assumed of larger ages, or these would pull it up by pooling. */
const UNTOLD_WEIGHT = 0.01
/** From 93 % to 7 % between 0.8 and 1.25 times the capacity told. */
const PRIOR_STEEPNESS = 12
/** Without a word on capacity a block is taken to be there: most engines hold thousands of conversations' worth. */
const UNTOLD = 0.95
/** Observations; engines are reconfigured and other clients come and go within hours. */
const HALF_LIFE = 2000
const FORGETTING = 2 ** (-1 / HALF_LIFE)
const RESCALE = 1e100

const starts = new Int32Array(BINS)
const kept = new Float64Array(BINS)
const weights = new Float64Array(BINS)

const placeOf = (age: number): number => BINS_PER_OCTAVE * Math.log2(Math.max(FIRST_AGE, age) / FIRST_AGE)
const binOf = (age: number): number => Math.min(BINS - 1, Math.round(placeOf(age)))
const ageOf = (bin: number): number => FIRST_AGE * 2 ** (bin / BINS_PER_OCTAVE)

function between(values: Float64Array, age: number): number {
  const place = Math.min(BINS - 1, placeOf(age))
  const bin = Math.min(BINS - 2, Math.floor(place))
  const share = place - bin
  return values[bin]! * (1 - share) + values[bin + 1]! * share
}
