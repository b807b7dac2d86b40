import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { OthersWork } from '../../src/fleet/others-work.ts'

const at = () => {
  const clock = { ms: 1000 }
  return { clock, others: new OthersWork({ nowMs: () => clock.ms }) }
}
const queue = (waiting: number, running = 1, busyShare = 0) => ({ waiting, running, tokensEach: 4000, secondsEach: 0.5, busyShare })

test('what waits for an engine is worth the prompts in front, and the rest of the one under way', () => {
  const { others } = at()
  others.observe(3, queue(4))
  assert.equal(others.waitSeconds(3), 2.5)
  assert.deepEqual([others.waitSeconds(0), others.waitSeconds(9), others.running(3), others.running(9)], [0, 0, 1, 0])
  others.observe(1, queue(0, 2, 0.4))
  assert.equal(others.waitSeconds(1), 0.2)
})

test('a reading is worked off with time, and without a new one nothing of it is left after ten seconds', () => {
  const { clock, others } = at()
  others.observe(0, queue(4))
  clock.ms += 1000
  const later = others.waitSeconds(0)
  assert.ok(later < 2.5 && later > 1, String(later))
  clock.ms += 3900
  assert.equal(others.trust(0), 1)
  clock.ms += 2600
  assert.equal(others.trust(0), 0.5)
  clock.ms += 2500
  assert.deepEqual([others.trust(0), others.waitSeconds(0), others.running(0)], [0, 0, 0])
})

test('a turn of ours sent after the reading has its first token: what was queued then is done', () => {
  const { clock, others } = at()
  for (let n = 0; n < 30; n++) others.observe(0, queue(0))
  others.observe(0, queue(6))
  const before = others.waitSeconds(0)
  others.answered(0, clock.ms - 1)
  assert.equal(others.waitSeconds(0), before, 'a turn sent before the reading proves nothing')
  clock.ms += 100
  others.answered(0, clock.ms)
  assert.ok(others.waitSeconds(0) < 0.1 * before)
})

test('whatever is read and whenever it is asked: finite, never negative, never more than was ever read', () => {
  const reading = fc.record({ waiting: fc.nat(500), running: fc.nat(500), tokensEach: fc.nat(100_000), secondsEach: fc.double({ min: 0, max: 60, noNaN: true }), busyShare: fc.double({ min: -1, max: 2, noNaN: true }) })
  fc.assert(fc.property(fc.array(fc.tuple(reading, fc.nat(20_000)), { minLength: 1 }), (steps) => {
    const { clock, others } = at()
    let most = 0
    let version = others.version(0)
    for (const [one, ms] of steps) {
      others.observe(0, one)
      most = Math.max(most, (one.waiting + 1) * one.secondsEach)
      const wait = others.waitSeconds(0)
      clock.ms += ms
      assert.ok(wait >= 0 && wait <= most + 1e-9 && others.waitSeconds(0) >= 0)
      assert.ok(others.version(0) >= version, 'versions only grow')
      version = others.version(0)
    }
    others.forget(0)
    assert.ok(others.waitSeconds(0) === 0 && others.version(0) > version)
  }))
})
