/**
 * What was seen of one model, as sums that add up: over replicas, over time and with forgetting.
 *
 *   cross[f, g] = sum of w x_f x_g      scores[f] = sum of w x_f y      (x: the subject's features, level first, always 1)
 *
 * `cross` is the lower triangle, row after row, so that a new feature appends a row. With the level in front, `cross[level, f]`
 * is how much was seen of feature f and `cross[level, level]` how much at all. Cost of a lesson: the square of the features
 * that its subject has, about 30 additions. 4 bytes a sum where it is stored, 8 in memory.
 */
import { LEVEL, type FeatureVector } from './expertise-features.ts'

export const pairOf = (one: number, other: number): number =>
  one >= other ? (one * (one + 1)) / 2 + other : (other * (other + 1)) / 2 + one
export const pairsOf = (size: number): number => (size * (size + 1)) / 2

export class Evidence {
  cross: Float64Array
  scores: Float64Array

  constructor(size = 0) {
    this.cross = new Float64Array(pairsOf(size))
    this.scores = new Float64Array(size)
  }

  get size(): number {
    return this.scores.length
  }

  /** Effective number of outcomes. */
  get weight(): number {
    return this.scores.length === 0 ? 0 : this.cross[0]!
  }

  /** Effective number of outcomes that had the feature. */
  weightOf(place: number): number {
    return place < this.size ? this.cross[pairOf(place, LEVEL)]! : 0
  }

  grow(size: number): void {
    if (size <= this.size) return
    this.cross = enlarged(this.cross, pairsOf(size))
    this.scores = enlarged(this.scores, size)
  }

  add(x: FeatureVector, score: number, weight: number): void {
    const { cross, scores } = this
    for (let one = 0; one < x.count; one++) {
      const place = x.places[one]!
      const value = weight * x.values[one]!
      scores[place]! += value * score
      for (let other = 0; other <= one; other++) cross[pairOf(place, x.places[other]!)]! += value * x.values[other]!
    }
  }

  addAll(other: Evidence, factor = 1): void {
    this.grow(other.size)
    for (let at = 0; at < other.cross.length; at++) this.cross[at]! += factor * other.cross[at]!
    for (let at = 0; at < other.scores.length; at++) this.scores[at]! += factor * other.scores[at]!
  }

  scale(factor: number): void {
    for (let at = 0; at < this.cross.length; at++) this.cross[at]! *= factor
    for (let at = 0; at < this.scores.length; at++) this.scores[at]! *= factor
  }

  /** As if every score had been different by so much. */
  shift(by: number): void {
    for (let place = 0; place < this.size; place++) this.scores[place]! += by * this.weightOf(place)
  }

  /**
   * Forgets what is particular to one feature and what is known only together with it: its coefficient is marginalised
   * under a flat prior (Schur complement), and what is left is as if it had never been pinned down.
   */
  forget(place: number): void {
    const own = place < this.size ? this.cross[pairOf(place, place)]! : 0
    if (own <= 0) return
    const row = Float64Array.from({ length: this.size }, (_, at) => this.cross[pairOf(place, at)]!)
    const score = this.scores[place]!
    for (let one = 0; one < this.size; one++) {
      this.scores[one]! -= (row[one]! * score) / own
      for (let other = 0; other <= one; other++) this.cross[pairOf(one, other)]! -= (row[one]! * row[other]!) / own
    }
  }

  /** As if the feature had never been looked at. */
  drop(place: number): void {
    if (place >= this.size) return
    this.scores[place] = 0
    for (let other = 0; other < this.size; other++) this.cross[pairOf(place, other)] = 0
  }

  copy(): Evidence {
    const copy = new Evidence()
    copy.cross = this.cross.slice()
    copy.scores = this.scores.slice()
    return copy
  }
}

function enlarged(values: Float64Array, size: number): Float64Array {
  const larger = new Float64Array(size)
  larger.set(values)
  return larger
}
