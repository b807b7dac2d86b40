/**
 * What an operator sees: for each model a row over all topics and one a topic. A row is what is expected of a question that is
 * purely of its topic and otherwise like all questions of that topic were (intents, kinds).
 */
import type { FeatureVector, SubjectFeatures } from './expertise-features.ts'
import { LEVEL } from './expertise-features.ts'
import { pairOf, type Evidence } from './expertise-evidence.ts'
import type { ModelPool } from './expertise-pool.ts'

export type ExpertiseRow = {
  readonly model: string
  /** Null: over all topics. */
  readonly topic: string | null
  readonly mean: number
  readonly deviation: number
  /** Effective number of outcomes behind it, decayed. */
  readonly observations: number
  /** When it was last learned or edited, milliseconds since 1970; null: never. */
  readonly lastChangeMs: number | null
}
/** Outcomes 0: what was set or declared is withdrawn. */
export type ExpertiseSetting = { readonly topic: string | null; readonly quality: number; readonly outcomes: number; readonly atMs: number }
/** One cell; topic null: the whole model. */
export type ExpertiseCell = { readonly tenant: string; readonly model: string; readonly topic: string | null }

/** For each model the row over all topics, then one a topic. */
export function tableOf(pool: ModelPool, features: SubjectFeatures): ExpertiseRow[] {
  const topics: [string | null, FeatureVector, number][] = [[null, typical(pool, features, null), LEVEL]]
  for (const [topic, place] of features.placesOf('topic')) topics.push([topic, typical(pool, features, place), place])
  return [...pool.models].flatMap(([model, known]) =>
    topics.map(([topic, x, place]): ExpertiseRow => {
      const lastMs = Math.max(known.lastMs[place] ?? 0, known.settings.get(topic ?? '')?.atMs ?? 0)
      return {
        model,
        topic,
        mean: known.belief.mean(x, pool),
        deviation: Math.sqrt(known.belief.variance(x, pool)),
        observations: known.evidence.weightOf(place),
        lastChangeMs: lastMs === 0 ? null : lastMs,
      }
    }),
  )
}

/** The mean subject of the pool, or of those of one topic; with that topic and no other. */
function typical(pool: ModelPool, features: SubjectFeatures, topic: number | null): FeatureVector {
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
