/**
 * A number that is expected before it is known (an answer's length, turns still to come, whether a small model fails), learned from
 * what came, on top of a shipped prior.
 *
 *   learned = prior + effects of everyone, the labels, the prior itself and the embedding     (additive-model.ts)
 *   told    = learned, where its measured error is smaller than the prior's; else the prior
 *
 * "Where" is the topic, once it has `FEWEST_JUDGED` outcomes of its own; before that, everybody. Errors are mean absolute
 * ones (squared ones of probabilities), each measured before the outcome was learned from, over about the last `ERROR_MEMORY`; that of everyone's mean stands
 * beside them, since a prior can be worse than no prior. The 90th percentile follows the outcomes by the rule of Robbins and
 * Monro: up by .9 of a step where one is above, down by .1 where it is below.
 *
 * Numbers are in the unit in which errors count (logarithms of lengths). O(labels + axes) an outcome.
 */
import { AdditiveModel, type AdditiveJson, type AdditiveOptions } from './additive-model.ts'

/** What is known when the number is asked for. */
export type Reading = {
  readonly prior: number
  readonly tenant: string
  readonly topic: string
  /** Further labels by which outcomes differ: the intent, the model; each its own effect. */
  readonly also: readonly string[]
  readonly embedding: Float32Array | null
}

export type Told = { readonly value: number; readonly learned: boolean }

export type QuantityErrors = {
  readonly prior: number
  readonly learned: number
  readonly mean: number
  readonly judged: number
  /** Share of outcomes below the 90th percentile that was told. */
  readonly belowP90: number
}

export type LearnedQuantityOptions = AdditiveOptions & {
  readonly maxTopics: number
  readonly firstSpread: number
  /** Errors are squared: the right way to judge a probability by what came (Brier), where absolute ones reward 0 and 1. */
  readonly squared: boolean
}

type Errors = { prior: number; learned: number; judged: number }

/** Before that the means of two errors cannot be told apart: that of 20 has a fifth of their spread. */
export const FEWEST_JUDGED = 20
const ERROR_MEMORY = 200
const MEAN_MEMORY = 1000
const STEP = 0.05
const PERCENTILE = 0.9

export class LearnedQuantity {
  readonly #options: LearnedQuantityOptions
  readonly #model: AdditiveModel
  readonly #everyone: Errors = { prior: 0, learned: 0, judged: 0 }
  readonly #topics = new Map<string, Errors>()
  #mean = { value: 0, count: 0, error: 0 }
  #belowP90 = PERCENTILE
  #spread: number

  constructor(options: LearnedQuantityOptions) {
    this.#options = options
    this.#model = new AdditiveModel(options)
    this.#spread = options.firstSpread
  }

  expect(reading: Reading): Told {
    const own = this.#topics.get(reading.topic)
    const judge = own !== undefined && own.judged >= FEWEST_JUDGED ? own : this.#everyone
    const learned = judge.judged >= FEWEST_JUDGED && judge.learned < judge.prior
    return { value: learned ? this.learned(reading) : reading.prior, learned }
  }

  /** How far above the expected value nine of ten outcomes stay. */
  get spread(): number {
    return this.#spread
  }

  /** Null before enough outcomes were judged. */
  get errors(): QuantityErrors | null {
    const { prior, learned, judged } = this.#everyone
    if (judged < FEWEST_JUDGED) return null
    return { prior, learned, mean: this.#mean.error, judged, belowP90: this.#belowP90 }
  }

  get sizes(): { readonly labels: number; readonly evicted: number } {
    return { labels: this.#model.labels, evicted: this.#model.evicted }
  }

  observe(reading: Reading, y: number, weight = 1): void {
    const told = this.expect(reading)
    const learned = this.learned(reading)
    const off = (value: number): number => (this.#options.squared ? (y - value) ** 2 : Math.abs(y - value))
    for (const errors of [this.#everyone, this.#errorsOf(reading.topic)]) {
      errors.judged++
      const share = weight / Math.min(errors.judged, ERROR_MEMORY)
      errors.prior += share * (off(reading.prior) - errors.prior)
      errors.learned += share * (off(learned) - errors.learned)
    }
    const mean = this.#mean
    // the first outcome has no mean before it
    if (mean.count > 0) mean.error += (off(mean.value) - mean.error) / Math.min(mean.count, ERROR_MEMORY)
    mean.count++
    mean.value += (y - mean.value) / Math.min(mean.count, MEAN_MEMORY)
    const below = y <= told.value + this.#spread
    this.#belowP90 += ((below ? 1 : 0) - this.#belowP90) / ERROR_MEMORY
    this.#spread = Math.max(0, this.#spread + STEP * (below ? PERCENTILE - 1 : PERCENTILE))
    this.#model.observe(evidenceOf(reading), y - reading.prior, weight)
  }

  toJson(): LearnedQuantityJson {
    return {
      model: this.#model.toJson(),
      everyone: { ...this.#everyone },
      topics: [...this.#topics].map(([topic, errors]) => [topic, { ...errors }] as const),
      mean: { ...this.#mean },
      belowP90: this.#belowP90,
      spread: this.#spread,
    }
  }

  restore({ model, everyone, topics, mean, belowP90, spread }: LearnedQuantityJson): void {
    this.#model.restore(model)
    Object.assign(this.#everyone, everyone)
    this.#topics.clear()
    for (const [topic, errors] of topics.slice(-this.#options.maxTopics)) this.#topics.set(topic, { ...errors })
    this.#mean = { ...mean }
    this.#belowP90 = belowP90
    this.#spread = spread
  }

  /** Whether it is told or not. */
  learned(reading: Reading): number {
    return reading.prior + this.#model.predict(evidenceOf(reading))
  }

  #errorsOf(topic: string): Errors {
    const errors = this.#topics.get(topic) ?? { prior: 0, learned: 0, judged: 0 }
    this.#topics.delete(topic)
    this.#topics.set(topic, errors)
    if (this.#topics.size > this.#options.maxTopics) this.#topics.delete(this.#topics.keys().next().value!)
    return errors
  }
}

export type LearnedQuantityJson = {
  readonly model: AdditiveJson
  readonly everyone: Errors
  readonly topics: readonly (readonly [topic: string, errors: Errors])[]
  readonly mean: { readonly value: number; readonly count: number; readonly error: number }
  readonly belowP90: number
  readonly spread: number
}

const evidenceOf = ({ prior, tenant, topic, also, embedding }: Reading) => ({
  labels: ['', ...also, `topic ${topic}`, `tenant ${tenant}\n${topic}`],
  number: prior,
  vector: embedding,
})
