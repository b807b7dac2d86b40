/**
 * What an operator sees and may set: one row a model, one cell a topic.
 *
 * A cell is the expected quality of a question that is purely of its topic and otherwise like all questions of that topic were
 * (intents, kinds). The interval holds 90 % of the belief. Setting a cell says "as if so many outcomes of this quality had been
 * seen"; it never ages, and later outcomes outweigh it.
 */
import type { FeatureVector, SubjectFeatures } from './expertise-features.ts'
import { LEVEL } from './expertise-features.ts'
import { pairOf, type Evidence } from './expertise-evidence.ts'
import type { ModelPool } from './expertise-pool.ts'

export type ExpertiseCell = {
  readonly topic: string
  readonly mean: number
  readonly low: number
  readonly high: number
  /** Effective number of outcomes, decayed. */
  readonly observations: number
  readonly lastLessonMs: number | null
}
export type ExpertiseRow = {
  readonly model: string
  /** Over all that was asked of the pool. */
  readonly overall: Omit<ExpertiseCell, 'topic'>
  readonly topics: readonly ExpertiseCell[]
  /** How often it was noticed to have become better or worse. */
  readonly changes: number
  readonly edited: readonly ExpertiseSetting[]
}
export type ExpertiseSetting = { readonly topic: string | null; readonly quality: number; readonly outcomes: number; readonly atMs: number }

/** `quality` sets, `reset` forgets what was learned and set; of one topic, or without it of the whole model. */
export type ExpertiseEdit =
  | { readonly tenant: string; readonly model: string; readonly topic?: string; readonly quality: number; readonly outcomes?: number }
  | { readonly tenant: string; readonly model: string; readonly topic?: string; readonly reset: true }

export function tableOf(pool: ModelPool, features: SubjectFeatures): ExpertiseRow[] {
  return [...pool.models].map(([model, known]) => {
    const cell = (topic: number | null): Omit<ExpertiseCell, 'topic'> => {
      const x = typical(pool, features, topic)
      const mean = known.belief.mean(x, pool)
      const reach = INTERVAL * Math.sqrt(known.belief.variance(x, pool))
      const place = topic ?? LEVEL
      const lastMs = known.lastMs[place] ?? 0
      return {
        mean,
        low: mean - reach,
        high: mean + reach,
        observations: known.evidence.weightOf(place),
        lastLessonMs: lastMs === 0 ? null : lastMs,
      }
    }
    const topics = [...features.placesOf('topic')].map(([topic, place]) => ({ topic, ...cell(place) }))
    return { model, overall: cell(null), topics, changes: known.changes, edited: [...known.settings.values()].filter(({ outcomes }) => outcomes > 0) }
  })
}

/** The mean subject of the pool, or of those of one topic; with that topic and no other. */
export function typical(pool: ModelPool, features: SubjectFeatures, topic: number | null): FeatureVector {
  const size = features.size
  const sums = new Float64Array(size)
  for (const { evidence } of pool.models.values()) {
    for (let place = 0; place < evidence.size; place++) sums[place]! += together(evidence, place, topic ?? LEVEL)
  }
  const whole = topic === null ? sums[LEVEL]! : met(pool, topic)
  const x: FeatureVector = { count: 0, places: new Int32Array(size), values: new Float64Array(size) }
  for (let place = 0; place < size; place++) {
    const isTopic = features.groupOf(place) === 'topic'
    const share = whole > 0 ? sums[place]! / whole : 0
    const value = place === LEVEL ? 1 : topic !== null && isTopic ? (place === topic ? 1 : 0) : share
    if (value === 0) continue
    x.places[x.count] = place
    x.values[x.count++] = value
  }
  return x
}

const together = (evidence: Evidence, one: number, other: number): number =>
  one < evidence.size && other < evidence.size ? evidence.cross[pairOf(one, other)]! : 0

function met(pool: ModelPool, topic: number): number {
  let sum = 0
  for (const { evidence } of pool.models.values()) sum += evidence.weightOf(topic)
  return sum
}

/** Of a normal distribution, 90 % lie within so many deviations. */
const INTERVAL = 1.645
