import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Ledger } from '../../src/fleet/ledger.ts'
import type { Policy } from '../../src/schedule/policy.ts'
import { createPolicy, POLICY_NAMES, type PolicyName } from '../../src/schedule/policies/catalogue.ts'
import { backendAt, newFleet, requestFor, seeded, words } from './fixture.ts'

type Given = {
  readonly running?: readonly number[]
  readonly queued?: readonly number[]
  readonly context?: readonly number[]
  readonly cached?: readonly number[]
  readonly waitSeconds?: readonly number[]
  readonly prefillSeconds?: readonly number[]
}

const BACKENDS = [backendAt(0), backendAt(1), backendAt(2)]
const boardOf = (given: Given) => {
  const column = (values: readonly number[] = [0, 0, 0]): Float64Array => Float64Array.from(values)
  return {
    cachedTokens: column(given.cached), waitSeconds: column(given.waitSeconds), prefillSeconds: column(given.prefillSeconds),
    decodeSeconds: column(), regretSeconds: column(), qualitySeconds: column(), costSeconds: column(),
  }
}
const policyWith = (name: PolicyName, given: Given = {}, seed = 1): Policy => createPolicy(name, {
  random: seeded(seed),
  ledger: {
    runningCount: (backend) => given.running?.[backend] ?? 0,
    queuedPrefillTokens: (backend) => given.queued?.[backend] ?? 0,
    contextTokens: (backend) => given.context?.[backend] ?? 0,
  },
})
/** A prompt of 1,024 tokens. */
const asked = (session = 's') => requestFor(words('x', 2), { sessionId: session })

const CHOICES: readonly (readonly [PolicyName, string, Given, number])[] = [
  ['least-inflight', 'fewest turns', { running: [2, 1, 3] }, 1],
  ['least-queued-tokens', 'fewest queued prompt tokens, however many turns', { running: [0, 1, 9], queued: [80, 90, 5] }, 2],
  ['lmetric', '(0 + 1024) x 3, (100 + 1024) x 2, (0 + 512) x 5', { running: [2, 1, 4], queued: [0, 100, 0], cached: [0, 0, 512] }, 1],
  ['dynamo-linear', 'context in flight counts as much as prefill', { context: [900, 0, 400], cached: [1000, 0, 600] }, 2],
  ['mooncake-min-ttft', 'least wait and prefill together', { waitSeconds: [0, 0.5, 0.2], prefillSeconds: [1, 0.4, 0.8] }, 1],
]

describe('Published policies', () => {
  for (const [name, why, given, expected] of CHOICES) {
    it(`${name}: ${why}`, () => {
      for (let seed = 1; seed < 10; seed++) {
        assert.equal(policyWith(name, given, seed).choose(asked(), BACKENDS, boardOf(given)), expected)
      }
    })
  }

  it('round-robin goes round, each model its own backends, and who was away gets one turn', () => {
    const policy = policyWith('round-robin')
    const [a, b, c] = BACKENDS as [typeof BACKENDS[0], typeof BACKENDS[0], typeof BACKENDS[0]]
    const pick = (...candidates: typeof BACKENDS): string => candidates[policy.choose(asked(), candidates, boardOf({}))]!.id
    assert.equal([pick(a, b, c), pick(a, b, c), pick(a, b, c), pick(a, b, c)].join(''), 'abca')
    assert.equal([pick(a, b), pick(c), pick(a, b), pick(c), pick(a, b)].join(''), 'bcacb')
    assert.equal([pick(a, b, c), pick(a, b, c), pick(a, b, c)].join(''), 'acb')
  })

  it('p2c never takes the most loaded of three, random takes each', () => {
    const taken = (name: PolicyName): Set<number> => {
      const policy = policyWith(name, { running: [1, 9, 0] })
      return new Set(Array.from({ length: 200 }, () => policy.choose(asked(), BACKENDS, boardOf({}))))
    }
    assert.deepEqual([...taken('p2c')].sort(), [0, 2])
    assert.deepEqual([...taken('random')].sort(), [0, 1, 2])
  })

  it('consistent hashing keeps a session, moves only those of a backend that leaves, and takes them back', () => {
    const policy = policyWith('consistent-hash-session')
    const sessions = Array.from({ length: 300 }, (_, i) => `session ${i}`)
    const homes = (candidates: typeof BACKENDS): string[] =>
      sessions.map((session) => candidates[policy.choose(asked(session), candidates, boardOf({}))]!.id)
    const before = homes(BACKENDS)
    for (const id of 'abc') assert.ok(before.filter((home) => home === id).length > 50, id)
    const without = homes([BACKENDS[0]!, BACKENDS[2]!])
    for (const [i, home] of before.entries()) if (home !== 'b') assert.equal(without[i], home)
    assert.deepEqual(homes(BACKENDS), before)
    assert.deepEqual(homes([...BACKENDS].reverse()), before, 'the order of the candidates says nothing')
  })

  it('bounded hashing walks past a backend far above the mean load', () => {
    const given: Given = { running: [0, 0, 12] }
    const policy = policyWith('consistent-hash-session-bounded', given)
    for (let i = 0; i < 100; i++) assert.notEqual(policy.choose(asked(`session ${i}`), BACKENDS, boardOf(given)), 2)
  })

  for (const name of POLICY_NAMES) {
    it(`${name} drives the scheduler: a usable backend, and the decision names it`, async () => {
      const policy = createPolicy(name, { ledger: new Ledger({ nowMs: () => 0 }), random: seeded(3) })
      const { scheduler } = newFleet([backendAt(0), backendAt(1, { healthy: false }), backendAt(2)], { policy })
      for (let i = 0; i < 20; i++) {
        const { reason, policy: named, ranked } = await scheduler.place(requestFor(words(`x${i}`, 2)))
        assert.deepEqual([reason, named], ['policy', name])
        assert.notEqual(ranked[0]!.backend.id, 'b')
      }
    })
  }
})
