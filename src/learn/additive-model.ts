/**
 * A sum of effects, learned one outcome at a time: an effect each of what an outcome is labelled with (everyone, the model, the
 * intent, the topic, the tenant's topic), of a number (a slope) and of a vector (one weight an axis). Each effect is a belief
 * (mean, variance) that begins at zero, so an effect with few outcomes hardly moves: shrinkage, from the special to the general.
 *
 *   residual = y - sum(mean_i x_i)        gain_i = v_i x_i / (noise + sum(v_j x_j^2))
 *   mean_i += gain_i * residual           v_i -= gain_i * x_i * v_i        v_i += drift
 *
 * A Kalman filter whose covariance is kept to its diagonal (Bayesian linear regression, recursive): O(effects) an outcome, 2
 * microseconds with 256 axes, where the full covariance would cost 65 thousand multiplications. The drift lets old outcomes
 * fade: an effect follows about the last `MEMORY` of its own. At most `maxLabels` effects of labels, the least recently
 * learned goes first and is counted.
 */
export type AdditiveOptions = {
  readonly maxLabels: number
  /** How far effects are expected to be from zero, as variances: of a label, by its level; of the slope; of each axis. */
  readonly labelVariance: number
  readonly slopeVariance: number
  readonly axisVariance: number
}

export type Evidence = {
  /** From the general to the special. */
  readonly labels: readonly string[]
  readonly number: number
  /** Of unit length; null where there is none. */
  readonly vector: Float32Array | null
}

type Effect = { mean: number; variance: number }

const MEMORY = 1000
/** Variance of an outcome around its expectation before any was seen; logarithms of lengths spread about so. */
const FIRST_NOISE = 1
const LEAST_NOISE = 1e-3
/** The noise follows about so many outcomes. */
const NOISE_MEMORY = 200

export class AdditiveModel {
  readonly #options: AdditiveOptions
  readonly #labels = new Map<string, Effect>()
  readonly #slope: Effect
  #means = new Float32Array(0)
  #variances = new Float32Array(0)
  #noise = FIRST_NOISE
  evicted = 0

  constructor(options: AdditiveOptions) {
    this.#options = options
    this.#slope = { mean: 0, variance: options.slopeVariance }
  }

  get labels(): number {
    return this.#labels.size
  }

  predict({ labels, number, vector }: Evidence): number {
    let sum = this.#slope.mean * number
    for (const label of labels) sum += this.#labels.get(label)?.mean ?? 0
    if (vector !== null && this.#means.length === vector.length) sum += product(this.#means, vector)
    return sum
  }

  /** `weight` 0..1: how far the outcome is to be believed. */
  observe(evidence: Evidence, y: number, weight = 1): void {
    const { labels, number, vector } = evidence
    const residual = y - this.predict(evidence)
    const effects = labels.map((label) => this.#effectOf(label))
    const { slopeVariance, labelVariance, axisVariance } = this.#options
    if (vector !== null && this.#means.length !== vector.length && axisVariance > 0) {
      this.#means = new Float32Array(vector.length)
      this.#variances = new Float32Array(vector.length).fill(axisVariance)
    }
    const withAxes = vector !== null && this.#means.length === vector.length
    let total = this.#noise / Math.max(1e-6, weight) + this.#slope.variance * number * number
    for (const effect of effects) total += effect.variance
    if (withAxes) total += spread(this.#variances, vector)
    for (const effect of effects) move(effect, 1, residual, total, labelVariance)
    move(this.#slope, number, residual, total, slopeVariance)
    if (withAxes) this.#moveAxes(vector, residual, total)
    this.#noise = Math.max(LEAST_NOISE, this.#noise + (weight * (residual * residual - this.#noise)) / NOISE_MEMORY)
  }

  toJson(): AdditiveJson {
    return {
      labels: [...this.#labels].map(([label, { mean, variance }]) => [label, mean, variance] as const),
      slope: [this.#slope.mean, this.#slope.variance],
      means: [...this.#means],
      variances: [...this.#variances],
      noise: this.#noise,
    }
  }

  restore({ labels, slope, means, variances, noise }: AdditiveJson): void {
    this.#labels.clear()
    for (const [label, mean, variance] of labels.slice(-this.#options.maxLabels)) this.#labels.set(label, { mean, variance })
    this.#slope.mean = slope[0]
    this.#slope.variance = slope[1]
    this.#means = Float32Array.from(means)
    this.#variances = Float32Array.from(variances)
    this.#noise = noise
  }

  #moveAxes(vector: Float32Array, residual: number, total: number): void {
    const means = this.#means
    const variances = this.#variances
    const most = this.#options.axisVariance
    const drift = most / MEMORY
    for (let axis = 0; axis < vector.length; axis++) {
      const x = vector[axis]!
      const variance = variances[axis]!
      const gain = (variance * x) / total
      means[axis]! += gain * residual
      variances[axis] = Math.min(most, variance - gain * x * variance + drift)
    }
  }

  #effectOf(label: string): Effect {
    const effects = this.#labels
    const effect = effects.get(label) ?? { mean: 0, variance: this.#options.labelVariance }
    effects.delete(label)
    effects.set(label, effect)
    if (effects.size > this.#options.maxLabels) {
      effects.delete(effects.keys().next().value!)
      this.evicted++
    }
    return effect
  }
}

export type AdditiveJson = {
  readonly labels: readonly (readonly [label: string, mean: number, variance: number])[]
  readonly slope: readonly [mean: number, variance: number]
  readonly means: readonly number[]
  readonly variances: readonly number[]
  readonly noise: number
}

function product(means: Float32Array, vector: Float32Array): number {
  let sum = 0
  for (let axis = 0; axis < vector.length; axis++) sum += means[axis]! * vector[axis]!
  return sum
}

function spread(variances: Float32Array, vector: Float32Array): number {
  let sum = 0
  for (let axis = 0; axis < vector.length; axis++) sum += variances[axis]! * vector[axis]! * vector[axis]!
  return sum
}

function move(effect: Effect, x: number, residual: number, total: number, prior: number): void {
  const gain = (effect.variance * x) / total
  effect.mean += gain * residual
  effect.variance = Math.min(prior, effect.variance - gain * x * effect.variance + prior / MEMORY)
}
