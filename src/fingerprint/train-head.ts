/**
 * Trains a softmax head: Adagrad on cross-entropy with a small L2, examples in a new seeded order every epoch. Classes whose
 * probability is below `NEGLIGIBLE` get no gradient, which leaves the result alone and makes 150 classes cost what 10 do.
 * 15,000 utterances of 151 classes take half a minute on one core.
 */
import { MOST_NGRAMS, NGRAM_BITS } from './ngrams.ts'
import type { HeadWeights } from './softmax-head.ts'
import type { TextFeatures } from './text-features.ts'

export type HeadExample = {
  readonly embedding: Float32Array
  readonly buckets: Int32Array
  readonly label: number
  readonly weight?: number
}

export type HeadTraining = {
  readonly epochs?: number
  readonly rate?: number
  readonly decay?: number
  /** At most so many n-grams keep a row, those with the largest weights; all where it is left out. */
  readonly mostRows?: number
  /** The label of each class; left out where classes are labels. Examples name classes. */
  readonly labelOf?: readonly number[]
  readonly random: () => number
}

const NEGLIGIBLE = 5e-4
const HALF = Math.SQRT1_2

export const exampleOf = (features: TextFeatures, label: number, weight = 1): HeadExample => ({
  embedding: features.embedding.slice(),
  buckets: features.buckets.slice(0, features.bucketCount),
  label,
  weight,
})

export function trainHead(
  labels: readonly string[],
  examples: readonly HeadExample[],
  options: HeadTraining,
): HeadWeights {
  const { epochs = 15, rate = 0.3, decay = 1e-5, random } = options
  const labelOf = Uint16Array.from(options.labelOf ?? labels.keys())
  const classes = labelOf.length
  const dimensions = examples[0]!.embedding.length
  const { buckets, rowOf } = rowsOf(examples)
  const dense = new Float32Array(dimensions * classes)
  const sparse = new Float32Array(buckets.length * classes)
  const bias = new Float32Array(classes)
  const denseSquares = new Float32Array(dense.length).fill(1e-6)
  const sparseSquares = new Float32Array(sparse.length).fill(1e-6)
  const biasSquares = new Float32Array(classes).fill(1e-6)
  const logits = new Float32Array(classes)
  const active = new Int32Array(classes)
  const gradients = new Float32Array(classes)
  const starts = new Int32Array(MOST_NGRAMS)
  const order = Int32Array.from(examples, (_, place) => place)
  for (let epoch = 0; epoch < epochs; epoch++) {
    shuffle(order, random)
    const step = rate * (1 - epoch / (epochs + 1))
    for (const place of order) {
      const { embedding, buckets: found, label, weight = 1 } = examples[place]!
      const share = HALF / Math.sqrt(Math.max(1, found.length))
      logits.fill(0)
      for (let place = 0; place < found.length; place++) starts[place] = (rowOf[found[place]!]! - 1) * classes
      addRows(sparse, starts, found.length, logits)
      for (let at = 0; at < classes; at++) logits[at] = bias[at]! + share * logits[at]!
      for (let axis = 0; axis + 1 < dimensions; axis += 2) {
        const one = HALF * embedding[axis]!
        const other = HALF * embedding[axis + 1]!
        const first = axis * classes
        const second = first + classes
        for (let at = 0; at < classes; at++) {
          logits[at] = logits[at]! + one * dense[first + at]! + other * dense[second + at]!
        }
      }
      let most = -Infinity
      for (let at = 0; at < classes; at++) most = Math.max(most, logits[at]!)
      let sum = 0
      for (let at = 0; at < classes; at++) {
        logits[at] = Math.exp(logits[at]! - most)
        sum += logits[at]!
      }
      let count = 0
      for (let at = 0; at < classes; at++) {
        const probability = logits[at]! / sum
        if (at !== label && probability < NEGLIGIBLE) continue
        active[count] = at
        gradients[count++] = weight * (probability - (at === label ? 1 : 0))
      }
      for (let k = 0; k < count; k++) {
        const at = active[k]!
        const gradient = gradients[k]!
        biasSquares[at]! += gradient * gradient
        bias[at]! -= (step * gradient) / Math.sqrt(biasSquares[at]!)
      }
      for (let place = 0; place < found.length; place++) {
        adagrad(sparse, sparseSquares, starts[place]!, active, gradients, count, share, step, decay)
      }
      for (let axis = 0; axis < dimensions; axis++) {
        adagrad(dense, denseSquares, axis * classes, active, gradients, count, HALF * embedding[axis]!, step, decay)
      }
    }
  }
  return strongest({ labels, labelOf, dense, bias, buckets, sparse }, options.mostRows ?? Infinity)
}

function strongest(weights: HeadWeights, most: number): HeadWeights {
  const { buckets, sparse, labelOf } = weights
  if (buckets.length <= most) return weights
  const classes = labelOf.length
  const strength = Float64Array.from(buckets, (_, row) => {
    let squares = 0
    for (let at = 0; at < classes; at++) squares += sparse[row * classes + at]! ** 2
    return squares
  })
  const kept = Array.from(buckets.keys())
    .sort((left, right) => strength[right]! - strength[left]!)
    .slice(0, most)
    .sort((left, right) => left - right)
  const rows = new Float32Array(kept.length * classes)
  kept.forEach((row, place) => rows.set(sparse.subarray(row * classes, (row + 1) * classes), place * classes))
  return { ...weights, buckets: Uint32Array.from(kept, (row) => buckets[row]!), sparse: rows }
}

/** Four rows at a time: the sums are loaded and stored a quarter as often. */
function addRows(rows: Float32Array, starts: Int32Array, count: number, into: Float32Array): void {
  let place = 0
  for (; place + 4 <= count; place += 4) {
    const a = starts[place]!
    const b = starts[place + 1]!
    const c = starts[place + 2]!
    const d = starts[place + 3]!
    for (let at = 0; at < into.length; at++) {
      into[at] = into[at]! + rows[a + at]! + rows[b + at]! + rows[c + at]! + rows[d + at]!
    }
  }
  for (; place < count; place++) {
    const start = starts[place]!
    for (let at = 0; at < into.length; at++) into[at] = into[at]! + rows[start + at]!
  }
}

function adagrad(
  weights: Float32Array,
  squares: Float32Array,
  start: number,
  active: Int32Array,
  gradients: Float32Array,
  count: number,
  value: number,
  step: number,
  decay: number,
): void {
  for (let k = 0; k < count; k++) {
    const at = start + active[k]!
    const gradient = gradients[k]! * value + decay * weights[at]!
    squares[at]! += gradient * gradient
    weights[at]! -= (step * gradient) / Math.sqrt(squares[at]!)
  }
}

function rowsOf(
  examples: readonly HeadExample[],
): { readonly buckets: Uint32Array; readonly rowOf: Int32Array } {
  const seen = new Uint32Array(1 << NGRAM_BITS)
  for (const { buckets } of examples) for (const bucket of buckets) seen[bucket]!++
  const kept: number[] = []
  seen.forEach((times, bucket) => {
    if (times > 0) kept.push(bucket)
  })
  const rowOf = new Int32Array(1 << NGRAM_BITS)
  kept.forEach((bucket, row) => {
    rowOf[bucket] = row + 1
  })
  return { buckets: Uint32Array.from(kept), rowOf }
}

function shuffle(order: Int32Array, random: () => number): void {
  for (let place = order.length - 1; place > 0; place--) {
    const other = Math.floor(random() * (place + 1))
    const kept = order[place]!
    order[place] = order[other]!
    order[other] = kept
  }
}
