/**
 * Ways of choosing a model that could have been followed instead. Each says with which probability it would have chosen each of
 * the models that were considered; null where it cannot be followed, since the model that it wants was not there.
 */
import type { ConsideredRecord } from '../../model/choice.ts'
import type { GradedChoice } from './choice-lines.ts'
import { probabilitiesOfBest } from './best-of-normals.ts'

export type TargetPolicy = {
  readonly name: string
  readonly probabilities: (choice: GradedChoice) => readonly number[] | null
}

/** With the probabilities that were logged: the mean of what was scored. */
export const done: TargetPolicy = {
  name: 'what was done',
  probabilities: ({ considered }) => considered.map(({ propensity }) => propensity),
}

export const always = (model: string): TargetPolicy => ({
  name: `always ${model}`,
  probabilities: ({ considered }) => only(considered, model),
})

/** The best by what was expected then, no draws, whatever it takes. */
export const greedy: TargetPolicy = {
  name: 'greedy',
  probabilities: ({ considered }) => {
    const best = Math.max(...considered.map(({ mean }) => mean))
    const ties = considered.filter(({ mean }) => mean === best).length
    return considered.map(({ mean }) => (mean === best ? 1 / ties : 0))
  },
}

/**
 * Draws as the gateway does, with another price of quality: quality - seconds / (100 * price) is normal around its mean, and
 * the largest is chosen. The gateway's own gates and caps on drawing are not repeated.
 */
export const priced = (secondsPerQualityPoint: number): TargetPolicy => ({
  name: `seconds_per_quality_point ${secondsPerQualityPoint}`,
  probabilities: ({ considered }) =>
    probabilitiesOfBest(
      considered.map(({ mean, seconds }) => mean - seconds / (100 * secondsPerQualityPoint)),
      considered.map(({ deviation }) => deviation),
    ),
})

/** Topic -> model; `default` for the others. */
export const tabled = (name: string, table: Readonly<Record<string, string>>): TargetPolicy => ({
  name,
  probabilities: ({ considered, topic }) => {
    const model = Object.hasOwn(table, topic) ? table[topic] : table['default']
    return model === undefined ? null : only(considered, model)
  },
})

function only(considered: readonly ConsideredRecord[], wanted: string): readonly number[] | null {
  const place = considered.findIndex(({ model }) => model === wanted)
  return place === -1 ? null : considered.map((_, n) => (n === place ? 1 : 0))
}
