import assert from 'node:assert/strict'
import { test } from 'node:test'
import { accountOf, type CacheEvidence } from '../../src/cache-account.ts'
import type { RankedBackend } from '../../src/model/decision.ts'
import { backendAt } from '../schedule/fixture.ts'

const ranked = (index: number, expectedCachedTokens: number): RankedBackend => ({
  backend: backendAt(index), model: 'm', expectedCachedTokens, waitSeconds: 0, prefillSeconds: 0, decodeSeconds: 0, regretSeconds: 0, qualitySeconds: 0, costSeconds: 0,
})
const home = ranked(0, 1900)

function account(changes: Partial<CacheEvidence> & { ranked?: readonly RankedBackend[]; away?: readonly string[]; prepared?: number } = {}) {
  const choices = changes.ranked ?? [home]
  return accountOf({
    decision: {
      ranked: choices, reason: 'home', promptTokens: 2200, expectedOutputTokens: 10, queuedMs: 0, decideMicroseconds: 1,
      filteredOut: (changes.away ?? []).map((backendId) => ({ backendId, by: 'health' })),
      ...(changes.prepared === undefined ? {} : { prepared: { tokens: changes.prepared, expectedTokens: 1950 - changes.prepared, foundTokens: 1950 - changes.prepared, pieces: 1, ms: 1 } }),
    },
    choice: choices[0]!, leftTokens: 2000, homeBackendId: 'a', change: () => 'none',
    finding: { finding: 'confirmed', cachedTokens: 1950, homeCleared: false }, promptTokens: 2200, cachedTokens: 1950, failedOver: false,
    ...changes,
  })
}
const missed = { cachedTokens: 0, finding: { finding: 'evicted', cachedTokens: 0, homeCleared: false } }

test('what was cached as far as it could be is a hit; a prompt nobody computed before is new', () => {
  assert.deepEqual(account(), { why: 'hit', reusableTokens: 2000, missedTokens: 0, inferred: false })
  assert.equal(account({ ranked: [ranked(0, 0)], leftTokens: 0, cachedTokens: 0 }).why, 'new')
})

test('a miss names the first cause in the order in which they act', () => {
  assert.deepEqual(account(missed), { why: 'evicted', reusableTokens: 2000, missedTokens: 2000, inferred: false })
  for (const [change, why] of [['model', 'model_changed'], ['tools', 'tools_changed'], ['instructions', 'instructions_changed'], ['reasoning', 'reasoning_dropped'], ['history', 'history_changed']] as const)
    assert.equal(account({ ...missed, change: () => change }).why, why)
  assert.equal(account({ ...missed, ranked: [ranked(1, 0), home] }).why, 'moved')
  assert.equal(account({ ...missed, ranked: [ranked(1, 0)], away: ['a'] }).why, 'home_unavailable')
  assert.equal(account({ ...missed, failedOver: true }).why, 'home_unavailable')
  assert.equal(account({ ...missed, finding: { finding: 'restarted', cachedTokens: 0, homeCleared: false } }).why, 'restarted')
  assert.equal(account({ ...missed, finding: { finding: 'confirmed', cachedTokens: 0, homeCleared: true } }).why, 'restarted')
  const drifted = { finding: 'drifted', cachedTokens: 600, homeCleared: false }
  assert.equal(account({ cachedTokens: 600, finding: drifted }).why, 'rendered_differently')
  assert.equal(account({ cachedTokens: 600, finding: drifted, change: () => 'reasoned' }).why, 'reasoning_dropped')
})

test('a hidden answer is judged by its time where that tells, and said so', () => {
  assert.equal(account({ cachedTokens: null, finding: { finding: null, cachedTokens: null, homeCleared: false } }).why, 'not_told')
  const judged = account({ cachedTokens: null, finding: { finding: 'evicted', cachedTokens: 0, homeCleared: false } })
  assert.deepEqual([judged.why, judged.inferred], ['evicted', true])
})

test('what the turn itself had prepared was not cached', () => {
  assert.equal(account({ prepared: 1500 }).missedTokens, 1550)
  assert.deepEqual(account({ prepared: 1920, leftTokens: 0 }), { why: 'hit', reusableTokens: 30, missedTokens: 0, inferred: false })
  assert.equal(account({ prepared: 1950, leftTokens: 0 }).why, 'new', 'nobody had computed it before')
})
