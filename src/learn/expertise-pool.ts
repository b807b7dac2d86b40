/**
 * The models that one tenant's outcomes are about, and what they have in common: the coefficients of every model are drawn
 * around the pool's mean, and how far they scatter is learned for each group of features (empirical Bayes).
 *
 *   coefficient of model i for feature f ~ Normal(mean of f, variance of f's group)
 *
 * So a hard topic is hard for a model that was never asked about it, a new model starts as the pool's mean with wide
 * uncertainty, and where models do not differ by topic the scatter shrinks until only levels are left to compare. Means:
 * generalised least squares over the models. Variances: MacKay's fixed point (Bayesian interpolation, 1992), with `CERTAINTY`
 * pseudo-coefficients of the first guess. Both move at the end of a sweep, which solves one model at each lesson.
 */
import { invert, multiply, type CoefficientPrior } from './expertise-belief.ts'
import { pairOf, pairsOf } from './expertise-evidence.ts'
import { FEATURE_GROUPS, LEVEL, type FeatureGroup, type FeatureVector, type SubjectFeatures } from './expertise-features.ts'
import { KnownModel } from './expertise-model.ts'

export type Spread = Record<FeatureGroup, number>

export class ModelPool implements CoefficientPrior {
  readonly #features: SubjectFeatures
  readonly #maxModels: number
  readonly #evicted: () => void
  readonly models = new Map<string, KnownModel>()
  readonly variances: Spread = { ...FIRST_VARIANCES }
  readonly #noise = { sum: FIRST_NOISE * NOISE_CERTAINTY, weight: NOISE_CERTAINTY }
  #means = new Float64Array(0)
  #sweep: Sweep | null = null
  #lessons = 0
  #lessonsAtSweep = 0
  choicesSinceLesson = 0

  constructor(features: SubjectFeatures, maxModels: number, evicted: () => void) {
    this.#features = features
    this.#maxModels = maxModels
    this.#evicted = evicted
  }

  /** Variance of one outcome around what is expected of it. */
  get noise(): number {
    return this.#noise.sum / this.#noise.weight
  }

  meanOf(place: number): number {
    if (place < this.#means.length) return this.#means[place]!
    return place === LEVEL ? FIRST_LEVEL : 0
  }

  varianceOf(place: number): number {
    return this.variances[this.#features.groupOf(place)]
  }

  /** Moves it to the end of the map: the model that learned longest ago leaves first. */
  modelNamed(name: string): KnownModel {
    const model = this.models.get(name) ?? new KnownModel()
    this.models.delete(name)
    this.models.set(name, model)
    if (this.models.size > this.#maxModels) {
      this.models.delete(this.models.keys().next().value!)
      this.#evicted()
    }
    return model
  }

  /**
   * A negative weight takes a lesson back. `ofChange`: what it weighs as a sign of change, where that differs. True where the
   * model is found to have changed.
   */
  learn(model: KnownModel, x: FeatureVector, score: number, weight: number, ofChange = weight): boolean {
    const size = this.#features.size
    model.belief.grow(size, this)
    const noise = this.noise
    const residual = score - model.belief.mean(x, this)
    const doubt = model.belief.variance(x, this)
    model.add(x, score, weight, size)
    model.belief.learn(x, score, noise / weight)
    this.#lessons++
    this.#step(size)
    this.#learnNoise(Math.max(0, residual * residual - doubt), weight)
    const by = model.change.observe(residual, Math.sqrt(noise + doubt), ofChange)
    if (by === null) return false
    model.changeBy(by)
    this.solve(model)
    return true
  }

  solve(model: KnownModel): void {
    model.belief.solve([model.evidence, model.declared], this.noise, this, this.#features.size)
  }

  /** Variances come nearer to what the evidence says with each round. */
  solveAll(rounds: number): void {
    this.#sweep = null
    for (let round = 0; round < rounds; round++) {
      const sweep = this.#beginSweep(this.#features.size)
      while (sweep.left.length > 0) this.#sweepOne(sweep, sweep.left.pop()!)
      this.#settle(sweep)
    }
    for (const model of this.models.values()) this.solve(model)
  }

  #learnNoise(square: number, weight: number): void {
    const noise = this.#noise
    noise.weight = Math.max(NOISE_CERTAINTY, noise.weight + weight)
    noise.sum = Math.max(LEAST_NOISE * noise.weight, noise.sum + weight * Math.min(1, square))
    if (noise.weight <= NOISE_MEMORY) return
    noise.sum *= NOISE_MEMORY / noise.weight
    noise.weight = NOISE_MEMORY
  }

  #step(size: number): void {
    if (this.#sweep === null) {
      if (this.#lessons - this.#lessonsAtSweep < SWEEP_AFTER * this.#lessons) return
      this.#lessonsAtSweep = this.#lessons
      this.#sweep = this.#beginSweep(size)
    }
    const model = this.#sweep.left.pop()
    if (model !== undefined) this.#sweepOne(this.#sweep, model)
    if (this.#sweep.left.length > 0) return
    this.#settle(this.#sweep)
    this.#sweep = null
  }

  #beginSweep(size: number): Sweep {
    return {
      left: [...this.models.values()],
      size,
      precision: new Float64Array(pairsOf(size)),
      pull: new Float64Array(size),
      squares: { ...NOTHING },
      known: { ...NOTHING },
    }
  }

  /** With T = 1 / variance and S a model's covariance, what it says of the mean weighs T - T S T, and pulls T S scores. */
  #sweepOne(sweep: Sweep, model: KnownModel): void {
    this.solve(model)
    const { belief, evidence, declared } = model
    const { size, precision, pull } = sweep
    for (let one = 0; one < size; one++) {
      const certainty = 1 / this.varianceOf(one)
      let sum = 0
      for (let other = 0; other < size; other++) {
        const covariance = belief.covarianceOf(one, other, this)
        const scores = (other < evidence.size ? evidence.scores[other]! : 0) + (other < declared.size ? declared.scores[other]! : 0)
        sum += (covariance * scores) / this.noise
        if (other > one) continue
        precision[pairOf(one, other)]! += (one === other ? certainty : 0) - (certainty * covariance) / this.varianceOf(other)
      }
      pull[one]! += certainty * sum
      const group = this.#features.groupOf(one)
      const apart = belief.meanOf(one, this) - this.meanOf(one)
      sweep.squares[group] += apart * apart
      sweep.known[group] += Math.max(0, 1 - belief.covarianceOf(one, one, this) * certainty)
    }
  }

  #settle({ size, precision, pull, squares, known }: Sweep): void {
    for (let place = 0; place < size; place++) {
      const certainty = 1 / MEAN_VARIANCES[this.#features.groupOf(place)]
      precision[pairOf(place, place)]! += certainty
      if (place === LEVEL) pull[place]! += certainty * FIRST_LEVEL
    }
    invert(precision, size)
    this.#means = new Float64Array(size)
    multiply(precision, pull, this.#means)
    for (const group of FEATURE_GROUPS) {
      this.variances[group] = (squares[group] + CERTAINTY * FIRST_VARIANCES[group]) / (known[group] + CERTAINTY)
    }
  }
}

type Sweep = {
  readonly left: KnownModel[]
  readonly size: number
  readonly precision: Float64Array
  readonly pull: Float64Array
  readonly squares: Spread
  readonly known: Spread
}
const NOTHING: Spread = { level: 0, topic: 0, intent: 0, kind: 0 }

/** Of answers that are right or wrong, before any is seen. */
const FIRST_LEVEL = 0.5
const FIRST_NOISE = 0.22
/** Deviations as the regressions on the outcome matrices end up with, within a factor of two, after every outcome is known. */
const FIRST_VARIANCES: Spread = { level: 0.15 ** 2, topic: 0.08 ** 2, intent: 0.05 ** 2, kind: 0.1 ** 2 }
/** Wide: what all models have in common is soon known. */
const MEAN_VARIANCES: Spread = { level: 0.3 ** 2, topic: 0.2 ** 2, intent: 0.1 ** 2, kind: 0.2 ** 2 }
const CERTAINTY = 8
const NOISE_CERTAINTY = 50
const NOISE_MEMORY = 5000
/** Scores that never differ would otherwise be believed at once. */
const LEAST_NOISE = 0.01
/** A sweep when there are so many more lessons, as a share. */
const SWEEP_AFTER = 0.05
