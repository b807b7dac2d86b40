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
import { NGRAM_BITS } from './ngrams.ts'
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
    const dense = this.#dense
    const sparse = this.#sparse
    sums.fill(0)
    for (let place = 0; place < features.bucketCount; place++) {
      const row = this.#rows[features.buckets[place]!]!
      if (row === 0) continue
      const start = (row - 1) * classes
      for (let at = 0; at < classes; at++) sums[at]! += sparse[start + at]!
    }
    floats.fill(0)
    const { embedding } = features
    for (let axis = 0; axis < embedding.length; axis++) {
      const value = embedding[axis]!
      const start = axis * classes
      for (let at = 0; at < classes; at++) floats[at]! += value * dense[start + at]!
    }
    const sparseWeight = (HALF * this.#sparseScale) / Math.sqrt(Math.max(1, features.bucketCount))
    const denseWeight = HALF * this.#denseScale
    for (let at = 0; at < classes; at++) {
      floats[at] = this.#bias[at]! + sparseWeight * sums[at]! + denseWeight * floats[at]!
    }
    logSoftmax(floats, classes)
    into.fill(0)
    for (let at = 0; at < classes; at++) into[this.#labelOf[at]!]! += Math.exp(floats[at]!)
    for (let label = 0; label < this.labels.length; label++) into[label] = Math.log(Math.max(LEAST, into[label]!))
  }
}

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
  const scale = most / 127
  return { values: Int8Array.from(weights, (weight) => Math.round(weight / scale)), scale }
}
