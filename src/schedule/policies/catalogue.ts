/** Published policies that an operator can put in the configuration by name; `homing`, the cost model, is none of them. */
import type { Policy } from '../policy.ts'
import { dynamoLinear, lmetric, mooncakeMinTtft } from './cache-cost.ts'
import { consistentHash } from './consistent-hash.ts'
import { hashText } from './mix.ts'
import type { Rule, RulePorts } from './rule.ts'
import { leastInFlight, leastQueuedTokens, powerOfTwo, randomChoice, roundRobin } from './uninformed.ts'

type Session = { readonly sessionId: string }

const bySession =
  (bounded: boolean) =>
  (ports: RulePorts): Rule<Session> =>
    consistentHash<Session>(ports, {
      ofTurn: ({ sessionId }) => hashText(sessionId),
      ofBackend: ({ id }) => hashText(id),
      bounded,
    })

const RULES = {
  random: randomChoice,
  'round-robin': roundRobin,
  'least-inflight': leastInFlight,
  'least-queued-tokens': leastQueuedTokens,
  p2c: powerOfTwo,
  'consistent-hash-session': bySession(false),
  'consistent-hash-session-bounded': bySession(true),
  'dynamo-linear': dynamoLinear,
  lmetric,
  'mooncake-min-ttft': mooncakeMinTtft,
} satisfies Record<string, (ports: RulePorts) => Rule<Session & { readonly promptTokens: number }>>

export type PolicyName = keyof typeof RULES
export const POLICY_NAMES = Object.keys(RULES) as readonly PolicyName[]

export function createPolicy(name: PolicyName, ports: RulePorts): Policy {
  return { name, choose: RULES[name](ports).choose }
}
