/** Policies that know nothing of caches: the rules of `src/schedule/policies`. */
import {
  leastInFlight as leastInFlightRule,
  leastQueuedTokens as leastQueuedTokensRule,
  powerOfTwo as powerOfTwoRule,
  randomChoice,
  roundRobin as roundRobinRule,
} from '../../src/schedule/policies/uninformed.ts'
import { fromRule } from './from-rule.ts'

export const random = fromRule('random', 'any backend', randomChoice)
export const roundRobin = fromRule('round-robin', 'in turn', roundRobinRule)
export const leastInFlight = fromRule('least-inflight', 'fewest requests in flight', leastInFlightRule)
export const leastQueuedTokens = fromRule(
  'least-queued-tokens',
  'fewest prompt tokens before their first token',
  leastQueuedTokensRule,
)
export const powerOfTwo = fromRule(
  'p2c',
  'the less loaded of two drawn backends (requests in flight)',
  powerOfTwoRule,
)
