/**
 * Labels that an operator gives by a few sentences, added to a trained taxonomy. Nothing is trained: each new label gets odds
 * against all that the taxonomy knows, from six numbers that are comparable between labels,
 *
 *   log odds = weights . [ 1
 *                        , likeness of the text and the centre of the examples
 *                        , likeness to the nearest example
 *                        , likeness of the examples among themselves
 *                        , log of the agreement: how alike the taxonomy reads the text and the examples
 *                        , log of the words ]
 *   together = (sum of odds^RIVALRY)^(1 / RIVALRY)
 *   p(new) = odds^RIVALRY / (sum of odds^RIVALRY) * together / (1 + together)          p(known) = q(known) / (1 + together)
 *
 * where `q` are the taxonomy's own probabilities: their order never changes, new labels take from all alike. Likeness is the
 * cosine after the mean of ordinary texts is taken away (Wang et al., SimpleShot, 2019): what all questions have in common
 * would make all of them alike. The weights are learnt once, over the labels of three public sets given by 3, 5 and 10
 * sentences (training/label-examples.ts), so an operator's own sentences are only compared, never fitted.
 *
 * A label that the taxonomy has already (upper and lower case alike) is extended: what the examples earn is added to its
 * probability.
 *
 * Cost: 256 multiplications a label, and an example of those that are near: a microsecond a label. Bounded by what the
 * configuration takes (config/label-examples.ts): 64 labels, 500 examples.
 */
import { ORDINARY_TEXTS } from './ordinary-texts.ts'
import type { Taxonomy } from './taxonomy.ts'
import type { FeatureReader, TextFeatures } from './text-features.ts'
import { dot, toUnitLength } from './token-table.ts'

/** By label; see `src/config/label-examples.ts` for what is refused. */
export type LabelExamples = ReadonlyMap<string, readonly string[]>

/** What of a taxonomy reads conversations. */
export type LabelReader = Pick<Taxonomy, 'labels' | 'filter' | 'outOfScopeAt' | 'read' | 'cue'>

/** Log odds from what `Evidence` holds, in its order; printed by training/label-examples.ts. */
export const EXAMPLE_WEIGHTS: readonly number[] = [0.22, 5.17, 4.1, -4.68, 1.03, -0.79]

/** Constant, likeness to the centre, to the nearest, among themselves, log of the agreement, log of the words. */
export type Evidence = Float64Array

type Given = {
  readonly centre: Float32Array
  readonly examples: readonly Float32Array[]
  /** Mean likeness of an example to the nearest other one: narrow labels are held to more than broad ones. */
  readonly amongThemselves: number
  /** Square roots of the taxonomy's mean probabilities of the examples. */
  readonly roots: Float32Array
  /** Its place among all labels. */
  readonly label: number
}

export class LabelsByExample implements LabelReader {
  readonly labels: readonly string[]
  readonly filter: LabelReader['filter']
  readonly outOfScopeAt: number
  readonly #base: LabelReader
  readonly #weights: readonly number[]
  readonly #ordinary: Float32Array
  readonly #given: readonly Given[]
  readonly #known: Float32Array
  readonly #roots: Float32Array
  readonly #centred: Float32Array
  readonly #evidence: Evidence = new Float64Array(EXAMPLE_WEIGHTS.length)

  constructor(base: LabelReader, examples: LabelExamples, reader: FeatureReader, weights = EXAMPLE_WEIGHTS) {
    this.#base = base
    this.#weights = weights
    this.filter = base.filter
    this.outOfScopeAt = base.outOfScopeAt
    this.#known = new Float32Array(base.labels.length)
    this.#roots = new Float32Array(base.labels.length)
    this.#ordinary = meanOf(ORDINARY_TEXTS.map((text) => reader.read(text).embedding.slice()))
    this.#centred = new Float32Array(this.#ordinary.length)
    const labels = [...base.labels]
    const places = new Map(labels.map((label, place) => [label.toLowerCase(), place]))
    this.#given = [...examples].map(([label, texts]) => {
      const known = places.get(label.toLowerCase())
      if (known === undefined) labels.push(label)
      return this.#learn(texts, known ?? labels.length - 1, reader)
    })
    this.labels = labels
  }

  /** Log-probabilities of this text alone. */
  read(features: TextFeatures, into: Float32Array): void {
    this.#look(features)
    into.fill(0)
    let sum = 0
    for (const given of this.#given) {
      const power = Math.exp(RIVALRY * this.#logOdds(given, features))
      into[given.label]! += power
      sum += power
    }
    const together = sum ** (1 / RIVALRY)
    const taken = together / (1 + together)
    for (let label = 0; label < into.length; label++) {
      const known = label < this.#known.length ? Math.exp(this.#known[label]!) : 0
      const given = sum === 0 ? 0 : into[label]! / sum
      into[label] = Math.log(Math.max(LEAST, (1 - taken) * known + taken * given))
    }
  }

  cue(features: TextFeatures): number | null {
    return this.#base.cue(features)
  }

  /** Of each label that was given, in order: what its odds are made of. For learning the weights. */
  evidence(features: TextFeatures): Evidence[] {
    this.#look(features)
    return this.#given.map((given) => {
      this.#logOdds(given, features)
      return this.#evidence.slice()
    })
  }

  #learn(texts: readonly string[], label: number, reader: FeatureReader): Given {
    const probabilities = new Float32Array(this.#known.length)
    const examples = texts.map((text) => {
      this.#look(reader.read(text))
      for (let at = 0; at < probabilities.length; at++) probabilities[at]! += Math.exp(this.#known[at]!) / texts.length
      return this.#centred.slice()
    })
    const centre = meanOf(examples)
    toUnitLength(centre)
    let among = 0
    examples.forEach((example, at) => {
      among += nearest(example, examples.filter((_, other) => other !== at)) / examples.length
    })
    return { centre, examples, amongThemselves: Math.min(MOST_ALIKE, among), roots: probabilities.map(Math.sqrt), label }
  }

  /** What all labels need of a text: the taxonomy's own reading and the centred embedding. */
  #look(features: TextFeatures): void {
    this.#base.read(features, this.#known)
    for (let label = 0; label < this.#known.length; label++) this.#roots[label] = Math.exp(this.#known[label]! / 2)
    const { embedding } = features
    for (let axis = 0; axis < embedding.length; axis++) this.#centred[axis] = embedding[axis]! - this.#ordinary[axis]!
    toUnitLength(this.#centred)
  }

  #logOdds({ centre, examples, amongThemselves, roots }: Given, { words }: TextFeatures): number {
    const evidence = this.#evidence
    evidence[0] = 1
    evidence[1] = dot(centre, this.#centred)
    // most texts are far from most labels: these are not compared with each example
    evidence[2] = evidence[1] < FAR ? evidence[1] : nearest(this.#centred, examples)
    evidence[3] = amongThemselves
    // where the taxonomy is sure of what no example is, odds have to fall far: a conversation could not move on else
    evidence[4] = Math.log(Math.max(LEAST_AGREEMENT, dot(roots, this.#roots)))
    evidence[5] = Math.log(Math.max(1, words))
    let sum = 0
    for (let at = 0; at < evidence.length; at++) sum += this.#weights[at]! * evidence[at]!
    return sum
  }
}

/**
 * Of 1, odds would add up: 64 labels that are a little likely each would take half of every text. Higher, the best one stands
 * more and more for all. Measured by `npm run bench:examples` with 64 labels at once: 1 leaves built-in labels .67 of texts that
 * are theirs, 1.5 leaves .81, 2 leaves .84, but recall within conversations falls by 3 points from each to the next.
 */
const RIVALRY = 1.5
/** Likeness to a centre below which likeness to its examples is not looked at; of unrelated texts it is 0 on average. */
const FAR = 0.1
/** One part in ten thousand, as probabilities go: the root of it. */
const LEAST_AGREEMENT = 0.01
/** Sentences that are more alike than this say one thing in other words, and not how narrow a label is. */
const MOST_ALIKE = 0.65

/** Of probabilities whose logarithm is taken. */
const LEAST = 1e-12

function nearest(vector: Float32Array, others: readonly Float32Array[]): number {
  let most = -1
  for (const other of others) most = Math.max(most, dot(vector, other))
  return most
}

function meanOf(vectors: readonly Float32Array[]): Float32Array {
  const mean = new Float32Array(vectors[0]!.length)
  for (const vector of vectors) for (let axis = 0; axis < mean.length; axis++) mean[axis]! += vector[axis]! / vectors.length
  return mean
}
