/**
 * What signs are worth where the rates may be wrong: no more than they vary, around the level of what is believed of all answers.
 *
 *   centred = estimate - mean estimate of this set of signs lately + share of good answers
 *   weight  = informativeness * min(1, variance of its estimates lately / variance that they ought to have)
 *   ought   = share (1 - share) / informativeness
 *
 * Where the rates are right nothing changes. Where an application shows no signs at all, silence would count for whichever model is
 * used, and the more the more it is used; like this only differences between answers teach.
 *
 * O(1). At most `MOST_SETS` sets of signs (eleven signs make a dozen sets that are looked for together); what is told by a further one is
 * worth nothing, and counted.
 */
import type { Verdict } from './signal-reliability.ts'

export type Worth = { readonly estimate: number; readonly weight: number }

type Level = { mean: number; variance: number; weight: number }

export class EstimateLevel {
  readonly #sets = new Map<number, Level>()
  refused = 0

  /** `set`: what was looked for. `share`: of good answers. */
  worth(set: number, { estimate, informativeness }: Verdict, share: number): Worth {
    if (informativeness <= 0) return { estimate: share, weight: 0 }
    const ought = (share * (1 - share)) / informativeness
    let level = this.#sets.get(set)
    if (level === undefined) {
      if (this.#sets.size >= MOST_SETS) {
        this.refused++
        return { estimate: share, weight: 0 }
      }
      this.#sets.set(set, (level = { mean: share, variance: ought, weight: FIRST_WEIGHT }))
    }
    const { mean, variance } = level
    const apart = estimate - mean
    level.weight = Math.min(MEMORY, level.weight + 1)
    level.mean += apart / level.weight
    level.variance += (apart * (estimate - level.mean) - variance) / level.weight
    return { estimate: apart + share, weight: informativeness * Math.min(1, variance / ought) }
  }
}

const MOST_SETS = 64
/** Answers that the level as it ought to be counts for. */
const FIRST_WEIGHT = 10
/** Answers until old ones have faded; rates move on that scale too. */
const MEMORY = 500
