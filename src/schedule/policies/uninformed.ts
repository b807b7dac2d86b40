/** Rules that know nothing of caches. */
import { leastOf, type Rule, type RulePorts } from './rule.ts'

const below = (random: () => number, bound: number): number => Math.floor(random() * bound)

export const randomChoice = ({ random }: RulePorts): Rule<unknown> => ({
  choose: (_turn, candidates) => below(random, candidates.length),
})

/**
 * The candidate that had its last turn longest ago. Over one set of candidates that is going round; where models have
 * different backends each model goes round its own, and who comes back gets one turn and not a flood.
 */
export const roundRobin = (): Rule<unknown> => {
  const lastTurn: number[] = []
  let turns = 0
  return {
    choose: (_turn, candidates) => {
      let chosen = 0
      for (let position = 1; position < candidates.length; position++) {
        if ((lastTurn[candidates[position]!.index] ?? 0) < (lastTurn[candidates[chosen]!.index] ?? 0)) chosen = position
      }
      lastTurn[candidates[chosen]!.index] = ++turns
      return chosen
    },
  }
}

export const leastInFlight = ({ ledger, random }: RulePorts): Rule<unknown> => ({
  choose: (_turn, candidates) =>
    leastOf(candidates.length, random, (position) => ledger.runningCount(candidates[position]!.index)),
})

export const leastQueuedTokens = ({ ledger, random }: RulePorts): Rule<unknown> => ({
  choose: (_turn, candidates) =>
    leastOf(candidates.length, random, (position) => ledger.queuedPrefillTokens(candidates[position]!.index)),
})

/** Mitzenmacher's power of two choices, over requests in flight. */
export const powerOfTwo = ({ ledger, random }: RulePorts): Rule<unknown> => ({
  choose: (_turn, candidates) => {
    const count = candidates.length
    const first = below(random, count)
    const other = (first + 1 + below(random, Math.max(1, count - 1))) % count
    const load = (position: number): number => ledger.runningCount(candidates[position]!.index)
    return load(other) < load(first) ? other : first
  },
})
