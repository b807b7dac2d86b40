/**
 * Recursive least squares on relative error: each sample is divided by its prediction, so that a 10 s prefill and a
 * 50 ms one pull alike. `deviation` is how far from `value` a coefficient may well be (the prior's covariance).
 *
 *   x, y     features and measured value, both divided by max(prediction, floor)
 *   gain     P x / (lambda + x' P x),   P <- (P - gain x' P) / lambda          (Haykin, Adaptive Filter Theory, ch. 10)
 *
 * Residuals beyond `CLIP` count as `CLIP` (Huber). Coefficients below zero are set to zero: more work never takes less
 * time. P may not grow beyond the prior, so forgetting without news does not blow it up. O(k^2) for k features.
 */
export class RelativeRegression {
  readonly #coefficients: Float64Array
  readonly #covariance: Float64Array
  readonly #largest: Float64Array
  readonly #gain: Float64Array
  readonly #scaled: Float64Array

  constructor(prior: readonly { readonly value: number; readonly deviation: number }[]) {
    const size = prior.length
    this.#coefficients = Float64Array.from(prior, (each) => each.value)
    this.#covariance = new Float64Array(size * size)
    this.#largest = Float64Array.from(prior, (each) => each.deviation ** 2)
    for (let i = 0; i < size; i++) this.#covariance[i * size + i] = this.#largest[i]!
    this.#gain = new Float64Array(size)
    this.#scaled = new Float64Array(size)
  }

  get coefficients(): Float64Array {
    return this.#coefficients.slice()
  }

  predict(features: Float64Array): number {
    let sum = 0
    for (let i = 0; i < this.#coefficients.length; i++) sum += this.#coefficients[i]! * features[i]!
    return Math.max(FLOOR, sum)
  }

  observe(features: Float64Array, measured: number): void {
    const size = this.#coefficients.length
    const [covariance, gain, x] = [this.#covariance, this.#gain, this.#scaled]
    const prediction = this.predict(features)
    for (let i = 0; i < size; i++) x[i] = features[i]! / prediction
    const residual = Math.max(-CLIP, Math.min(CLIP, measured / prediction - 1))
    let power = NOISE
    for (let i = 0; i < size; i++) {
      let sum = 0
      for (let j = 0; j < size; j++) sum += covariance[i * size + j]! * x[j]!
      gain[i] = sum
      power += sum * x[i]!
    }
    for (let i = 0; i < size; i++) {
      this.#coefficients[i] = Math.max(0, this.#coefficients[i]! + (gain[i]! / power) * residual)
    }
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        covariance[i * size + j] = (covariance[i * size + j]! - (gain[i]! * gain[j]!) / power) / FORGETTING
      }
    }
    // Scaled back as a whole where it outgrew the prior: a correlation may not exceed 1.
    for (let i = 0; i < size; i++) {
      const excess = covariance[i * size + i]! / this.#largest[i]!
      if (excess <= 1) continue
      const shrink = 1 / Math.sqrt(excess)
      for (let j = 0; j < size; j++) {
        covariance[i * size + j]! *= shrink
        covariance[j * size + i]! *= shrink
      }
    }
  }
}

/** A tenth of a millisecond: no prediction is below. */
const FLOOR = 1e-4
const CLIP = 0.5
/** Variance of one measurement's relative error: 15 % on a quiet machine. */
const NOISE = 0.0225
/** Remembers about 500 answers: hardware does not change its shape. */
const FORGETTING = 0.998
