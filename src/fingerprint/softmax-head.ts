/**
 * Which of a list of labels a text has: one softmax over the embedding (unit length) and the n-grams (presence, unit
 * length), both at equal weight, so neither half drowns the other.
 *
 *   logit[class] = bias[class] + (embedding . dense[class] + sum over n-grams of sparse[n-gram][class] / sqrt(n-grams)) / sqrt 2
 *
 * Weights are int8 with one scale each for the dense and the sparse part. Only n-grams that training saw have a row;
 * `rows` maps a bucket to its row + 1. A row lies together, label after label, so a text reads (256 + n-grams) * labels bytes in
 * order: 20 words and 150 labels take 40 microseconds.
 */
import { MOST_NGRAMS, NGRAM_BITS } from './ngrams.ts'
import { FingerprintFileError, type SectionFile, type SectionWriter } from './section-file.ts'
import type { TextFeatures } from './text-features.ts'

const HALF = Math.SQRT1_2

export type HeadWeights = {
  readonly labels: readonly string[]
  /**
   * The label of each class. A label that is several things ("travel": visas, flights, weather) is learnt as several
   * classes whose probabilities add up, since one plane through all of them fits none; else classes are labels.
   */
  readonly labelOf: Uint16Array
  readonly dense: Float32Array
  readonly bias: Float32Array
  /** Buckets in ascending order, and a row of one weight a class for each. */
  readonly buckets: Uint32Array
  readonly sparse: Float32Array
}

export class SoftmaxHead {
  readonly labels: readonly string[]
  readonly #labelOf: Uint16Array
  readonly #bias: Float32Array
  readonly #dense: Int8Array
  readonly #denseScale: number
  readonly #buckets: Uint32Array
  readonly #sparse: Int8Array
  readonly #sparseScale: number
  readonly #rows: Int32Array
  readonly #sums: Int32Array
  readonly #floats: Float32Array
  readonly #starts: Int32Array

  private constructor(parts: {
    labels: readonly string[]
    labelOf: Uint16Array
    bias: Float32Array
    dense: Int8Array
    denseScale: number
    buckets: Uint32Array
    sparse: Int8Array
    sparseScale: number
  }) {
    this.labels = parts.labels
    this.#labelOf = parts.labelOf
    this.#bias = parts.bias
    this.#dense = parts.dense
    this.#denseScale = parts.denseScale
    this.#buckets = parts.buckets
    this.#sparse = parts.sparse
    this.#sparseScale = parts.sparseScale
    this.#rows = new Int32Array(1 << NGRAM_BITS)
    parts.buckets.forEach((bucket, row) => {
      this.#rows[bucket] = row + 1
    })
    this.#sums = new Int32Array(parts.bias.length)
    this.#floats = new Float32Array(parts.bias.length)
    this.#starts = new Int32Array(MOST_NGRAMS)
  }

  static of(weights: HeadWeights): SoftmaxHead {
    const dense = quantised(weights.dense)
    const sparse = quantised(weights.sparse)
    return new SoftmaxHead({
      labels: weights.labels,
      labelOf: weights.labelOf,
      bias: weights.bias,
      dense: dense.values,
      denseScale: dense.scale,
      buckets: weights.buckets,
      sparse: sparse.values,
      sparseScale: sparse.scale,
    })
  }

  static load(file: SectionFile, name: string): SoftmaxHead {
    const labels = JSON.parse(file.text(`${name}.labels`)) as string[]
    const scales = file.numbers(`${name}.scales`, Float32Array)
    const head = {
      labels,
      labelOf: file.numbers(`${name}.labelOf`, Uint16Array),
      bias: file.numbers(`${name}.bias`, Float32Array),
      dense: file.numbers(`${name}.dense`, Int8Array),
      denseScale: scales[0]!,
      buckets: file.numbers(`${name}.buckets`, Uint32Array),
      sparse: file.numbers(`${name}.sparse`, Int8Array),
      sparseScale: scales[1]!,
    }
    const classes = head.bias.length
    if (head.labelOf.length !== classes || head.sparse.length !== head.buckets.length * classes) {
      throw new FingerprintFileError(file.path, `head ${name} does not fit its labels`)
    }
    return new SoftmaxHead(head)
  }

  save(file: SectionWriter, name: string): void {
    file.addText(`${name}.labels`, JSON.stringify(this.labels))
    file.add(`${name}.labelOf`, this.#labelOf)
    file.add(`${name}.scales`, Float32Array.of(this.#denseScale, this.#sparseScale))
    file.add(`${name}.bias`, this.#bias)
    file.add(`${name}.dense`, this.#dense)
    file.add(`${name}.buckets`, this.#buckets)
    file.add(`${name}.sparse`, this.#sparse)
  }

  /** Log-probabilities of the labels into `into`. */
  logProbabilities(features: TextFeatures, into: Float32Array): void {
    const classes = this.#bias.length
    const sums = this.#sums
    const floats = this.#floats
    this.#sumSparse(features)
    const sparseWeight = (HALF * this.#sparseScale) / Math.sqrt(Math.max(1, features.bucketCount))
    for (let at = 0; at < classes; at++) floats[at] = this.#bias[at]! + sparseWeight * sums[at]!
    const denseWeight = HALF * this.#denseScale * this.#sumDense(features.embedding)
    for (let at = 0; at < classes; at++) floats[at]! += denseWeight * sums[at]!
    logSoftmax(floats, classes)
    into.fill(0)
    for (let at = 0; at < classes; at++) into[this.#labelOf[at]!]! += Math.exp(floats[at]!)
    for (let label = 0; label < this.labels.length; label++) into[label] = Math.log(Math.max(LEAST, into[label]!))
  }

  /** The rows of the text's n-grams, four at a time: the sums are loaded and stored a quarter as often. */
  #sumSparse(features: TextFeatures): void {
    const starts = this.#starts
    const classes = this.#bias.length
    let count = 0
    for (let place = 0; place < features.bucketCount; place++) {
      const row = this.#rows[features.buckets[place]!]!
      if (row !== 0) starts[count++] = (row - 1) * classes
    }
    const sums = this.#sums
    const sparse = this.#sparse
    sums.fill(0)
    let place = 0
    for (; place + 4 <= count; place += 4) {
      const a = starts[place]!
      const b = starts[place + 1]!
      const c = starts[place + 2]!
      const d = starts[place + 3]!
      for (let at = 0; at < classes; at++) {
        sums[at] = (sums[at]! + sparse[a + at]! + sparse[b + at]! + sparse[c + at]! + sparse[d + at]!) | 0
      }
    }
    for (; place < count; place++) {
      const start = starts[place]!
      for (let at = 0; at < classes; at++) sums[at] = (sums[at]! + sparse[start + at]!) | 0
    }
  }

  /**
   * The same for the axes of the embedding, as whole numbers: its largest axis becomes `STEPS`. Returns the unit. Whole
   * numbers are twice as fast as conversions, and 1/1000 of the largest axis is below what int8 weights can tell.
   */
  #sumDense(embedding: Float32Array): number {
    let most = 1e-9
    for (let axis = 0; axis < embedding.length; axis++) most = Math.max(most, Math.abs(embedding[axis]!))
    const unit = most / STEPS
    const sums = this.#sums
    const dense = this.#dense
    const classes = this.#bias.length
    sums.fill(0)
    for (let axis = 0; axis < embedding.length; axis += 4) {
      const a = Math.round(embedding[axis]! / unit) | 0
      const b = Math.round(embedding[axis + 1]! / unit) | 0
      const c = Math.round(embedding[axis + 2]! / unit) | 0
      const d = Math.round(embedding[axis + 3]! / unit) | 0
      const first = axis * classes
      const second = first + classes
      const third = second + classes
      const fourth = third + classes
      for (let at = 0; at < classes; at++) {
        sums[at] =
          (sums[at]! + a * dense[first + at]! + b * dense[second + at]! + c * dense[third + at]! + d * dense[fourth + at]!) | 0
      }
    }
    return unit
  }
}

/** 256 axes of 1,000 steps at 127 stay far below 2^31. */
const STEPS = 1000

/** Of probabilities whose logarithm is taken. */
const LEAST = 1e-12

/** In place, over the first `count`. */
export function logSoftmax(logits: Float32Array, count: number): void {
  let most = -Infinity
  for (let label = 0; label < count; label++) most = Math.max(most, logits[label]!)
  let sum = 0
  for (let label = 0; label < count; label++) sum += Math.exp(logits[label]! - most)
  const log = most + Math.log(sum)
  for (let label = 0; label < count; label++) logits[label]! -= log
}

function quantised(weights: Float32Array): { readonly values: Int8Array; readonly scale: number } {
  let most = 1e-12
  for (const weight of weights) most = Math.max(most, Math.abs(weight))
  // as the file keeps it, so that what was saved says the same
  const scale = Math.fround(most / 127)
  return { values: Int8Array.from(weights, (weight) => Math.round(weight / scale)), scale }
}
