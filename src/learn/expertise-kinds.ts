/**
 * Kinds of question that topics do not tell apart, found in the traffic itself: soft clusters of meaning (the embedding) and
 * form (the shape of the text), which count alike. "Multiple choice about physics" and "one line of trivia" are kinds.
 *
 *   point = [embedding - mean | form, standardised, as widely scattered as the embeddings]
 *   P(kind | point) ~ exp(-SHARPNESS / 2 * distance^2 / mean distance^2 within kinds)
 *
 * The first `SAMPLE` subjects that are asked about are kept; then k-means (k-means++ start, one pass a lesson, 2 ms each) fits
 * `KINDS` centres, which stay. Kinds learned elsewhere fit worse than one's own: bench record.
 * 26 kB; assigning costs KINDS x 269 multiplications, about 7 microseconds. It keeps no text and no outcome.
 */
import type { Subject } from '../model/quality.ts'

export const KINDS = 24
/** 500 fit no better. */
export const SAMPLE = 256
const PASSES = 8
/** 4, 8 and 16 are alike on the outcome matrices. */
const SHARPNESS = 8
/** Form counts a little less than meaning: 0.5 and 1 are alike on the outcome matrices, 2 is worse. */
const FORM_SHARE = 0.7
const FARTHEST_FORM = 2.5
const CONSTANT = 1e-6
const NEGLIGIBLE = 0.02

/** What the centres are made of; travels between replicas. */
export type KindBook = {
  /** Names it: the oldest one wins where replicas meet. */
  readonly madeAtMs: number
  readonly dimensions: number
  readonly centre: Float32Array
  /** What each form is multiplied with; 0 where it never varied. */
  readonly scale: Float32Array
  readonly centres: Float32Array
  readonly within: number
}

export class KindFinder {
  #book: KindBook | null = null
  #fit: Fit | null = null
  readonly #sample: Float32Array[] = []
  #dimensions = 0
  readonly #point = new Float32Array(1024)
  readonly probabilities = new Float64Array(KINDS)

  get book(): KindBook | null {
    return this.#book
  }

  adopt(book: KindBook): void {
    this.#book = book
    this.#fit = null
    this.#sample.length = 0
  }

  /** Takes a subject into the sample, while there is no book. */
  sample({ embedding, shape }: Pick<Subject, 'embedding' | 'shape'>): void {
    if (this.#book !== null || this.#sample.length === SAMPLE || embedding === undefined || shape === undefined) return
    const width = embedding.length + shape.length
    if (width > this.#point.length) return
    if (this.#sample.length === 0) this.#dimensions = embedding.length
    else if (embedding.length !== this.#dimensions || width !== this.#sample[0]!.length) return
    const raw = new Float32Array(width)
    raw.set(embedding)
    raw.set(shape, embedding.length)
    this.#sample.push(raw)
  }

  /** One step of the fit, once the sample is full. */
  step(random: () => number, nowMs: number): void {
    if (this.#book !== null || this.#sample.length < SAMPLE) return
    this.#fit ??= new Fit(this.#sample, this.#dimensions, random)
    if (this.#fit.step()) this.adopt(this.#fit.book(nowMs))
  }

  /** Fills `probabilities`; false where kinds are not known yet, or nothing is known of the text. */
  assign({ embedding, shape }: Pick<Subject, 'embedding' | 'shape'>): boolean {
    const book = this.#book
    if (book === null || embedding === undefined || shape === undefined) return false
    const width = book.centre.length
    if (embedding.length !== book.dimensions || embedding.length + shape.length !== width) return false
    const point = this.#point
    for (let at = 0; at < width; at++) {
      point[at] = placed(at < book.dimensions ? embedding[at]! : shape[at - book.dimensions]!, at, book)
    }
    const { probabilities } = this
    let nearest = Infinity
    for (let kind = 0; kind < KINDS; kind++) {
      const start = kind * width
      let sum = 0
      for (let at = 0; at < width; at++) {
        const apart = point[at]! - book.centres[start + at]!
        sum += apart * apart
      }
      probabilities[kind] = sum
      nearest = Math.min(nearest, sum)
    }
    let total = 0
    for (let kind = 0; kind < KINDS; kind++) {
      const likely = Math.exp(((nearest - probabilities[kind]!) * SHARPNESS) / (2 * book.within))
      probabilities[kind] = likely < NEGLIGIBLE ? 0 : likely
      total += probabilities[kind]!
    }
    for (let kind = 0; kind < KINDS; kind++) probabilities[kind]! /= total
    return true
  }
}

export const sameBook = (one: KindBook, other: KindBook): boolean =>
  one.madeAtMs === other.madeAtMs && one.within === other.within && one.centres.length === other.centres.length

type Placing = Pick<KindBook, 'dimensions' | 'centre' | 'scale'>

function placed(value: number, at: number, { dimensions, centre, scale }: Placing): number {
  if (at < dimensions) return value - centre[at]!
  const factor = scale[at - dimensions]!
  const farthest = FARTHEST_FORM * scale[scale.length - 1]!
  return Math.max(-farthest, Math.min(farthest, factor * (value - centre[at]!)))
}

/** K-means in steps: the start is one, and each pass over the sample. */
class Fit {
  readonly #points: readonly Float32Array[]
  readonly #placing: Placing
  readonly #random: () => number
  #centres: Float32Array[] = []
  #within = 1
  #passes = 0

  constructor(sample: readonly Float32Array[], dimensions: number, random: () => number) {
    this.#placing = placingOf(sample, dimensions)
    this.#points = sample.map((raw) => raw.map((value, at) => placed(value, at, this.#placing)))
    this.#random = random
  }

  /** True when it is done. */
  step(): boolean {
    if (this.#passes === 0) this.#start()
    else this.#pass()
    return ++this.#passes > PASSES
  }

  /** Each next centre is drawn by its squared distance from those before (Arthur and Vassilvitskii, k-means++, 2007). */
  #start(): void {
    const points = this.#points
    this.#centres = [points[Math.floor(this.#random() * points.length)]!.slice()]
    const distances = points.map((point) => squared(point, this.#centres[0]!))
    while (this.#centres.length < KINDS) {
      let left = this.#random() * distances.reduce((sum, each) => sum + each, 0)
      let at = 0
      while (at < points.length - 1 && (left -= distances[at]!) > 0) at++
      const centre = points[at]!.slice()
      this.#centres.push(centre)
      points.forEach((point, place) => {
        distances[place] = Math.min(distances[place]!, squared(point, centre))
      })
    }
  }

  #pass(): void {
    const sums = this.#centres.map((centre) => ({ count: 0, sum: new Float32Array(centre.length) }))
    let within = 0
    for (const point of this.#points) {
      let [best, nearest] = [0, Infinity]
      this.#centres.forEach((centre, kind) => {
        const distance = squared(point, centre)
        if (distance < nearest) [best, nearest] = [kind, distance]
      })
      within += nearest / this.#points.length
      const into = sums[best]!
      into.count++
      for (let at = 0; at < point.length; at++) into.sum[at]! += point[at]!
    }
    this.#within = Math.max(CONSTANT, within)
    this.#centres = this.#centres.map((centre, kind) => {
      const { count, sum } = sums[kind]!
      return count === 0 ? centre : sum.map((value) => value / count)
    })
  }

  book(madeAtMs: number): KindBook {
    const width = this.#centres[0]!.length
    const centres = new Float32Array(KINDS * width)
    this.#centres.forEach((centre, kind) => centres.set(centre, kind * width))
    return { madeAtMs, ...this.#placing, centres, within: this.#within }
  }
}

function placingOf(sample: readonly Float32Array[], dimensions: number): Placing {
  const width = sample[0]!.length
  const centre = new Float32Array(width)
  const variance = new Float32Array(width)
  for (const raw of sample) for (let at = 0; at < width; at++) centre[at]! += raw[at]! / sample.length
  for (const raw of sample) for (let at = 0; at < width; at++) variance[at]! += (raw[at]! - centre[at]!) ** 2 / sample.length
  let scatter = 0
  for (let at = 0; at < dimensions; at++) scatter += variance[at]!
  const forms = variance.subarray(dimensions)
  const live = forms.filter((value) => value > CONSTANT).length
  const unit = Math.sqrt((FORM_SHARE * scatter) / Math.max(1, live))
  // the last one is the unit itself, which bounds how far a form may lie out
  const scale = new Float32Array(forms.length + 1)
  forms.forEach((value, at) => {
    scale[at] = value > CONSTANT ? unit / Math.sqrt(value) : 0
  })
  scale[forms.length] = unit
  return { dimensions, centre, scale }
}

function squared(one: Float32Array, other: Float32Array): number {
  let sum = 0
  for (let at = 0; at < one.length; at++) {
    const apart = one[at]! - other[at]!
    sum += apart * apart
  }
  return sum
}
