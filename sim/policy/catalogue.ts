/** Every policy of the laboratory, in the order of its tables. */
import { hashSession, hashSessionBounded, hashTwoBlocks, hashTwoBlocksBounded } from './consistent-hash.ts'
import { dynamoLinear, lmetric, minTtftTripleUncached, mooncakeMinTtft } from './exact-cache.ts'
import { homing, homingExact, homingPrewarm } from './homing.ts'
import { lateBinding } from './late-binding.ts'
import { llmdDefault, llmdFilterTokenLoad } from './llm-d.ts'
import { oracle } from './oracle.ts'
import type { Policy } from './policy.ts'
import { sglangCacheAware, vllmRouterSticky } from './sglang.ts'
import { leastInFlight, leastQueuedTokens, powerOfTwo, random, roundRobin } from './simple.ts'

export const POLICIES: readonly Policy[] = [
  random,
  roundRobin,
  leastInFlight,
  leastQueuedTokens,
  powerOfTwo,
  hashSession,
  hashSessionBounded,
  hashTwoBlocks,
  hashTwoBlocksBounded,
  sglangCacheAware,
  vllmRouterSticky,
  llmdDefault,
  llmdFilterTokenLoad,
  dynamoLinear,
  lmetric,
  mooncakeMinTtft,
  homing,
  homingExact,
  homingPrewarm,
  minTtftTripleUncached,
  lateBinding,
  oracle,
]

/** What `homing replay` compares unless told otherwise: the usual suspects and ours. */
export const DEFAULT_POLICIES: readonly string[] = [
  'round-robin',
  'least-inflight',
  'consistent-hash-session',
  'sglang-cache-aware',
  'llm-d-default',
  'dynamo-linear',
  'lmetric',
  'mooncake-min-ttft',
  'homing',
]

export class UnknownPolicy extends Error {
  constructor(name: string) {
    super(`unknown policy '${name}'; there are: ${POLICIES.map((policy) => policy.name).join(', ')}`)
    this.name = 'UnknownPolicy'
  }
}

/** By name, each once, in the order asked for. `all` is every one of them. */
export const policiesNamed = (names: readonly string[]): readonly Policy[] => {
  const wanted = names.flatMap((name) => (name === 'all' ? POLICIES.map((policy) => policy.name) : [name]))
  return [...new Set(wanted)].map((name) => {
    const policy = POLICIES.find((known) => known.name === name)
    if (policy === undefined) throw new UnknownPolicy(name)
    return policy
  })
}
