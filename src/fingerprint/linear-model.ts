/**
 * A linear model over the shape, the embedding and a few numbers of the conversation, for what is a quantity: complexity (through
 * a logistic), the log of the output's length, turns that remain. A kilobyte each.
 *
 * Trained exactly: ridge regression by Cholesky's decomposition of the normal equations, and for the logistic link Newton
 * steps of the same (iteratively reweighted least squares). The first feature is the constant and is not shrunk.
 */
export type Link = 'identity' | 'logistic'

export class LinearModel {
  readonly weights: Float32Array
  readonly #link: Link

  constructor(weights: Float32Array, link: Link) {
    this.weights = weights
    this.#link = link
  }

  /** The features are those of all `parts`, one after the other. */
  predict(...parts: readonly Float32Array[]): number {
    let sum = 0
    let at = 0
    for (const part of parts) for (let place = 0; place < part.length; place++) sum += this.weights[at++]! * part[place]!
    return this.#link === 'logistic' ? 1 / (1 + Math.exp(-sum)) : sum
  }
}

export type LinearExample = { readonly features: Float32Array; readonly wanted: number; readonly weight?: number }

const NEWTON_STEPS = 6

/** For the logistic link `wanted` may be any share from 0 to 1. `shrink` is the ridge of each feature, in examples. */
export function trainLinear(
  examples: readonly LinearExample[],
  link: Link,
  shrink: (feature: number) => number,
): LinearModel {
  const size = examples[0]!.features.length
  let weights = new Float64Array(size)
  for (let step = 0; step < (link === 'logistic' ? NEWTON_STEPS : 1); step++) {
    const normal = new Float64Array(size * size)
    const right = new Float64Array(size)
    for (const { features, wanted, weight = 1 } of examples) {
      let share = weight
      let target = wanted
      if (link === 'logistic') {
        let logit = 0
        for (let at = 0; at < size; at++) logit += weights[at]! * features[at]!
        const probability = 1 / (1 + Math.exp(-logit))
        const curvature = Math.max(1e-3, probability * (1 - probability))
        share = weight * curvature
        target = logit + (wanted - probability) / curvature
      }
      for (let row = 0; row < size; row++) {
        const scaled = share * features[row]!
        if (scaled === 0) continue
        right[row]! += scaled * target
        for (let column = 0; column <= row; column++) normal[row * size + column]! += scaled * features[column]!
      }
    }
    for (let at = 0; at < size; at++) normal[at * size + at]! += at === 0 ? 1e-9 : shrink(at)
    weights = solved(normal, right)
  }
  return new LinearModel(Float32Array.from(weights), link)
}

/** Solves the symmetric positive system whose lower half is given; overwrites it. */
function solved(matrix: Float64Array, right: Float64Array): Float64Array<ArrayBuffer> {
  const size = right.length
  for (let row = 0; row < size; row++) {
    for (let column = 0; column <= row; column++) {
      let sum = matrix[row * size + column]!
      for (let at = 0; at < column; at++) sum -= matrix[row * size + at]! * matrix[column * size + at]!
      matrix[row * size + column] = row === column ? Math.sqrt(Math.max(1e-12, sum)) : sum / matrix[column * size + column]!
    }
  }
  const solution = new Float64Array(right)
  for (let row = 0; row < size; row++) {
    for (let at = 0; at < row; at++) solution[row]! -= matrix[row * size + at]! * solution[at]!
    solution[row]! /= matrix[row * size + row]!
  }
  for (let row = size - 1; row >= 0; row--) {
    for (let at = row + 1; at < size; at++) solution[row]! -= matrix[at * size + row]! * solution[at]!
    solution[row]! /= matrix[row * size + row]!
  }
  return solution
}
