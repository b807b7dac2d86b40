/**
 * One vector per token, int8 with a scale a row; a text is the weighted sum of its rows at unit length. A token that occurs
 * n times counts as sqrt(n), and the weight of a token is the length of its row: both are how the table was distilled
 * (training/distil.py). 256 dimensions cost a quarter of a microsecond a token.
 */
export class TokenTable {
  readonly dimensions: number
  readonly #rows: Int8Array
  readonly #scales: Float32Array
  readonly #counts: Uint16Array

  constructor(rows: Int8Array, scales: Float32Array, dimensions: number) {
    this.#rows = rows
    this.#scales = scales
    this.dimensions = dimensions
    this.#counts = new Uint16Array(scales.length)
  }

  /** The vector of `tokens[0..count)` at unit length into `into`; all zero when nothing is known of it. Sorts nothing. */
  embed(tokens: Int32Array, count: number, into: Float32Array): void {
    const { dimensions } = this
    const rows = this.#rows
    const counts = this.#counts
    into.fill(0)
    for (let place = 0; place < count; place++) counts[tokens[place]!]!++
    for (let place = 0; place < count; place++) {
      const token = tokens[place]!
      const times = counts[token]!
      if (times === 0) continue
      counts[token] = 0
      const weight = this.#scales[token]! * (times === 1 ? 1 : Math.sqrt(times))
      const start = token * dimensions
      for (let axis = 0; axis < dimensions; axis++) into[axis]! += weight * rows[start + axis]!
    }
    toUnitLength(into)
  }
}

/** Returns the length it had. */
export function toUnitLength(vector: Float32Array): number {
  let squares = 0
  for (let axis = 0; axis < vector.length; axis++) squares += vector[axis]! * vector[axis]!
  const length = Math.sqrt(squares)
  if (length < 1e-9) {
    vector.fill(0)
    return 0
  }
  for (let axis = 0; axis < vector.length; axis++) vector[axis]! /= length
  return length
}

export function dot(left: Float32Array, right: Float32Array): number {
  let sum = 0
  for (let axis = 0; axis < left.length; axis++) sum += left[axis]! * right[axis]!
  return sum
}
