/**
 * What is believed of one model: a Gaussian over the coefficients of its expected quality, a Bayesian linear regression
 * (Bishop, Pattern Recognition and Machine Learning, 3.3) on its evidence with the pool's prior.
 *
 *   precision = cross / noise + 1 / variance        mean = covariance (scores / noise + prior mean / variance)
 *
 * A lesson moves it exactly, by one step of rank one; evidence that decays, and a prior that moves, are taken in by solving
 * anew. F features: F^2 / 2 numbers; a lesson costs F^2 multiplications (microseconds), solving F^3 (100 microseconds at 35).
 */
import { pairOf, pairsOf, type Evidence } from './expertise-evidence.ts'
import type { FeatureVector } from './expertise-features.ts'

/** What a coefficient is expected to be before anything was seen. */
export interface CoefficientPrior {
  meanOf(place: number): number
  varianceOf(place: number): number
}

export class Belief {
  #means = new Float64Array(0)
  /** Single precision: it is computed anew every few lessons. */
  #covariance = new Float32Array(0)
  #spread = new Float64Array(0)

  get size(): number {
    return this.#means.length
  }

  meanOf(place: number, prior: CoefficientPrior): number {
    return place < this.size ? this.#means[place]! : prior.meanOf(place)
  }

  covarianceOf(one: number, other: number, prior: CoefficientPrior): number {
    if (one < this.size && other < this.size) return this.#covariance[pairOf(one, other)]!
    return one === other ? prior.varianceOf(one) : 0
  }

  mean(x: FeatureVector, prior: CoefficientPrior): number {
    let sum = 0
    for (let at = 0; at < x.count; at++) sum += x.values[at]! * this.meanOf(x.places[at]!, prior)
    return sum
  }

  variance(x: FeatureVector, prior: CoefficientPrior): number {
    let sum = 0
    for (let one = 0; one < x.count; one++) {
      const [place, value] = [x.places[one]!, x.values[one]!]
      sum += value * value * this.covarianceOf(place, place, prior)
      for (let other = 0; other < one; other++) {
        sum += 2 * value * x.values[other]! * this.covarianceOf(place, x.places[other]!, prior)
      }
    }
    return Math.max(0, sum)
  }

  grow(size: number, prior: CoefficientPrior): void {
    const before = this.size
    if (size <= before) return
    const means = new Float64Array(size)
    means.set(this.#means)
    const covariance = new Float32Array(pairsOf(size))
    covariance.set(this.#covariance)
    for (let place = before; place < size; place++) {
      means[place] = prior.meanOf(place)
      covariance[pairOf(place, place)] = prior.varianceOf(place)
    }
    this.#means = means
    this.#covariance = covariance
    this.#spread = new Float64Array(size)
  }

  /** `noise` is the variance of one outcome; all features of x have to be within `size`. */
  learn(x: FeatureVector, score: number, noise: number): void {
    const [means, covariance, spread] = [this.#means, this.#covariance, this.#spread]
    let predicted = 0
    for (let at = 0; at < x.count; at++) predicted += x.values[at]! * means[x.places[at]!]!
    for (let place = 0; place < spread.length; place++) {
      let sum = 0
      for (let at = 0; at < x.count; at++) sum += x.values[at]! * covariance[pairOf(place, x.places[at]!)]!
      spread[place] = sum
    }
    let power = noise
    for (let at = 0; at < x.count; at++) power += x.values[at]! * spread[x.places[at]!]!
    const step = (score - predicted) / power
    let pair = 0
    for (let one = 0; one < spread.length; one++) {
      means[one]! += step * spread[one]!
      const share = spread[one]! / power
      for (let other = 0; other <= one; other++) covariance[pair++]! -= share * spread[other]!
    }
  }

  /** Anew from everything that is known: what was seen, and what was declared. */
  solve(evidence: readonly Evidence[], noise: number, prior: CoefficientPrior, size: number): void {
    this.grow(size, prior)
    const precision = new Float64Array(pairsOf(size))
    const pull = new Float64Array(size)
    for (const { cross, scores } of evidence) {
      for (let at = 0; at < cross.length; at++) precision[at]! += cross[at]! / noise
      for (let at = 0; at < scores.length; at++) pull[at]! += scores[at]! / noise
    }
    for (let place = 0; place < size; place++) {
      const certainty = 1 / prior.varianceOf(place)
      precision[pairOf(place, place)]! += certainty
      pull[place]! += certainty * prior.meanOf(place)
    }
    invert(precision, size)
    this.#covariance.set(precision)
    multiply(precision, pull, this.#means)
  }
}

/** Of a symmetric matrix by its lower triangle. */
export function multiply(matrix: Float64Array, vector: Float64Array, into: Float64Array): void {
  into.fill(0)
  let pair = 0
  for (let one = 0; one < vector.length; one++) {
    let sum = 0
    for (let other = 0; other < one; other++) {
      const value = matrix[pair++]!
      sum += value * vector[other]!
      into[other]! += value * vector[one]!
    }
    into[one]! += sum + matrix[pair++]! * vector[one]!
  }
}

/** A symmetric positive definite matrix by its lower triangle, in place: Cholesky, the factor's inverse, its square. */
export function invert(matrix: Float64Array, size: number): void {
  for (let one = 0; one < size; one++) {
    const row = pairOf(one, 0)
    for (let other = 0; other <= one; other++) {
      const start = pairOf(other, 0)
      let sum = matrix[row + other]!
      for (let at = 0; at < other; at++) sum -= matrix[row + at]! * matrix[start + at]!
      matrix[row + other] = one === other ? Math.sqrt(Math.max(sum, Number.MIN_VALUE)) : sum / matrix[start + other]!
    }
  }
  for (let column = 0; column < size; column++) {
    matrix[pairOf(column, column)] = 1 / matrix[pairOf(column, column)]!
    for (let one = column + 1; one < size; one++) {
      const row = pairOf(one, 0)
      let sum = 0
      for (let at = column; at < one; at++) sum -= matrix[row + at]! * matrix[pairOf(at, column)]!
      matrix[row + column] = sum / matrix[row + one]!
    }
  }
  for (let one = 0; one < size; one++) {
    for (let other = 0; other <= one; other++) {
      let sum = 0
      for (let at = one; at < size; at++) sum += matrix[pairOf(at, one)]! * matrix[pairOf(at, other)]!
      matrix[pairOf(one, other)] = sum
    }
  }
}
