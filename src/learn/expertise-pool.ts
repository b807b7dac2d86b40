/**
 * The models that one tenant's outcomes are about, and what they have in common: coefficients of every model are drawn
 * around the pool's mean, and how far they scatter is learned for each kind of feature (empirical Bayes).
 *
 *   coefficient of model i for feature f ~ Normal(mean f, variance of f's kind)
 *
 * So a hard topic is hard for a model that was never asked about it, a new model starts as the pool's mean with wide
 * uncertainty, and where models do not differ by topic the scatter goes to nothing and only levels are left to compare.
 * Means: generalised least squares over the models; variances: MacKay's fixed point (Bayesian interpolation, 1992) with
 * `CERTAINTY` pseudo-models of the first guess. Both move at the end of a sweep, which solves one model at each lesson.
 */
import { Belief, invert, multiply, type CoefficientPrior } from './expertise-belief.ts'
import { ChangeTest } from './expertise-change.ts'
import { Evidence, pairOf, pairsOf } from './expertise-evidence.ts'
import { COMPLEXITY, LEVEL, type FeatureKind, type FeatureVector, type SubjectFeatures } from './expertise-features.ts'

export class KnownModel {
  /** Of all replicas together. */
  readonly evidence = new Evidence()
  readonly belief = new Belief()
  readonly change = new ChangeTest()
}

type Spread = Record<FeatureKind, number>

export class ModelPool implements CoefficientPrior {
  readonly #features: SubjectFeatures
  readonly models = new Map<string, KnownModel>()
  #means = new Float64Array(0)
  #variances: Spread = { ...FIRST_VARIANCES }
  #noise = { sum: FIRST_NOISE * NOISE_CERTAINTY, weight: NOISE_CERTAINTY }
  #sweep: Sweep | null = null
  #lessonsSinceSweep = 0
  #lessons = 0

  constructor(features: SubjectFeatures) {
    this.#features = features
  }

  /** Variance of one outcome around what is expected of it. */
  get noise(): number {
    return this.#noise.sum / this.#noise.weight
  }

  get variances(): Readonly<Spread> {
    return this.#variances
  }

  meanOf(place: number): number {
    if (place < this.#means.length) return this.#means[place]!
    return place === LEVEL ? FIRST_LEVEL : 0
  }

  varianceOf(place: number): number {
    return this.#variances[this.#features.kindOf(place)]
  }

  modelNamed(name: string): KnownModel {
    let model = this.models.get(name)
    if (model === undefined) {
      model = new KnownModel()
      this.models.set(name, model)
    }
    return model
  }

  learn(model: KnownModel, x: FeatureVector, score: number, weight: number): number | null {
    const size = this.#features.size
    model.evidence.grow(size)
    model.belief.grow(size, this)
    const noise = this.noise
    const residual = score - model.belief.mean(x, this)
    const doubt = model.belief.variance(x, this)
    this.#noise.sum += weight * Math.max(0, residual * residual - doubt)
    this.#noise.weight += weight
    if (this.#noise.weight > NOISE_MEMORY) {
      this.#noise.sum *= NOISE_MEMORY / this.#noise.weight
      this.#noise.weight = NOISE_MEMORY
    }
    model.evidence.add(x, score, weight)
    model.belief.learn(x, score, noise / weight)
    const changed = model.change.observe(residual, Math.sqrt(noise + doubt), weight)
    if (changed !== null) {
      const { evidence } = model
      evidence.shift(changed)
      if (evidence.weight > KEPT_AFTER_CHANGE) evidence.scale(KEPT_AFTER_CHANGE / evidence.weight)
      model.belief.solve(evidence, noise, this, size)
    }
    this.#lessons++
    this.#lessonsSinceSweep++
    this.#step(size)
    return changed
  }

  /** One model of the sweep; sweeps begin when there are two in a hundred more lessons. */
  #step(size: number): void {
    if (this.#sweep === null) {
      if (this.#lessonsSinceSweep < this.#lessons / 50) return
      this.#lessonsSinceSweep = 0
      this.#sweep = { left: [...this.models.values()], size, precision: new Float64Array(pairsOf(size)), pull: new Float64Array(size), squares: zeroes(), known: zeroes() }
    }
    const model = this.#sweep.left.pop()!
    model.belief.solve(model.evidence, this.noise, this, Math.max(size, this.#sweep.size))
    this.#gather(this.#sweep, model)
    if (this.#sweep.left.length > 0) return
    this.#settle(this.#sweep)
    this.#sweep = null
  }

  #gather(sweep: Sweep, { belief, evidence }: KnownModel): void {
    const certainty = Float64Array.from({ length: sweep.size }, (_, place) => 1 / this.varianceOf(place))
    for (let one = 0; one < sweep.size; one++) {
      let pull = 0
      for (let other = 0; other < sweep.size; other++) {
        const covariance = belief.covarianceOf(one, other, this)
        if (other < evidence.size) pull += (covariance * evidence.scores[other]!) / this.noise
        if (other > one) continue
        sweep.precision[pairOf(one, other)]! += (one === other ? certainty[one]! : 0) - certainty[one]! * covariance * certainty[other]!
      }
      sweep.pull[one]! += certainty[one]! * pull
      const kind = this.#features.kindOf(one)
      const apart = belief.meanOf(one, this) - this.meanOf(one)
      sweep.squares[kind] += apart * apart
      sweep.known[kind] += Math.max(0, 1 - belief.covarianceOf(one, one, this) * certainty[one]!)
    }
  }

  #settle({ size, precision, pull, squares, known }: Sweep): void {
    for (let place = 0; place < size; place++) {
      const certainty = 1 / MEAN_VARIANCES[this.#features.kindOf(place)]
      precision[pairOf(place, place)]! += certainty
      if (place === LEVEL) pull[place]! += certainty * FIRST_LEVEL
    }
    invert(precision, size)
    this.#means = new Float64Array(size)
    multiply(precision, pull, this.#means)
    for (const kind of Object.keys(FIRST_VARIANCES) as FeatureKind[]) {
      const certainty = CERTAINTY[kind]
      this.#variances[kind] = (squares[kind] + certainty * FIRST_VARIANCES[kind]) / (known[kind] + certainty)
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
const zeroes = (): Spread => ({ level: 0, topic: 0, intent: 0, complexity: 0 })

const FIRST_LEVEL = 0.5
const FIRST_VARIANCES: Spread = { level: 0.15 ** 2, topic: 0.08 ** 2, intent: 0.05 ** 2, complexity: 0.1 ** 2 }
const MEAN_VARIANCES: Spread = { level: 0.3 ** 2, topic: 0.2 ** 2, intent: 0.1 ** 2, complexity: 0.3 ** 2 }
const CERTAINTY: Spread = { level: 2, topic: 4, intent: 4, complexity: 2 }
const FIRST_NOISE = 0.22
const NOISE_CERTAINTY = 50
const NOISE_MEMORY = 5000
const KEPT_AFTER_CHANGE = 100
export const KNOWN_FROM_START = [LEVEL, COMPLEXITY]
