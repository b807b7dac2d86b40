import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { SurvivalCurve } from '../../src/kv/survival.ts'
import { seeded } from '../schedule/fixture.ts'

/** An engine that keeps each block for about `capacity` blocks stored since; `smear` 0 is a strict LRU. */
const observeCache = (curve: SurvivalCurve, capacity: number, smear: number, count: number, seed = 1): void => {
  const random = seeded(seed)
  for (let at = 0; at < count; at++) {
    const age = Math.round(capacity * 3 * random())
    curve.observe(age, age < capacity * (1 + smear * (random() - 0.5)))
  }
}

describe('SurvivalCurve', () => {
  it('finds the capacity of a strict LRU from answers that only say there or gone', () => {
    const curve = new SurvivalCurve()
    observeCache(curve, 1500, 0, 200)
    assert.ok(Math.abs(curve.median / 1500 - 1) < 0.15, `${curve.median}`)
    assert.ok(curve.at(1000) > 0.95)
    assert.ok(curve.at(2200) < 0.05)
  })

  it('is smeared where the cache is', () => {
    const curve = new SurvivalCurve()
    observeCache(curve, 1500, 1, 2000)
    for (const [age, share] of [[900, 0.9], [1500, 0.5], [2100, 0.1]] as const)
      assert.ok(Math.abs(curve.at(age) - share) < 0.12, `S(${age}) = ${curve.at(age)}`)
  })

  it('starts from the capacity that an engine tells, and leaves it when answers say otherwise', () => {
    const curve = new SurvivalCurve()
    curve.expectCapacity(4000)
    assert.ok(curve.at(3000) > 0.9 && curve.at(5500) < 0.1)
    observeCache(curve, 1000, 0, 100)
    assert.ok(curve.at(3000) < 0.1, `${curve.at(3000)}`)
  })

  it('believes in no eviction before one was seen, and one odd answer decides nothing', () => {
    const curve = new SurvivalCurve()
    assert.ok(curve.at(1e6) > 0.9)
    assert.equal(curve.median, Infinity)
    for (let at = 0; at < 50; at++) curve.observe(500 + 100 * at, true)
    curve.observe(100, false)
    assert.ok(curve.at(2000) > 0.9, `${curve.at(2000)}`)
  })

  it('starts as the other backends are, and follows its own answers', () => {
    const peers = new SurvivalCurve()
    observeCache(peers, 2000, 0, 300)
    const curve = new SurvivalCurve(peers)
    assert.ok(curve.at(1000) > 0.9 && curve.at(4000) < 0.1)
    observeCache(curve, 500, 0, 150)
    assert.ok(curve.at(1000) < 0.2, `${curve.at(1000)}`)
  })

  it('follows a cache that is made smaller', () => {
    const curve = new SurvivalCurve()
    observeCache(curve, 4000, 0, 2000)
    observeCache(curve, 1000, 0, 8000, 2)
    assert.ok(curve.at(2000) < 0.25, `${curve.at(2000)}`)
  })

  it('is sure where it saw much and unsure where it saw nothing', () => {
    const curve = new SurvivalCurve()
    observeCache(curve, 1500, 0, 400)
    assert.ok(curve.uncertainty(500) < 0.1)
    assert.ok(new SurvivalCurve().uncertainty(500) > 0.4)
  })

  it('never rises with age and stays a probability, whatever it is told', () => {
    const seen = fc.record({ age: fc.double({ min: 0, max: 1e9, noNaN: true }), survived: fc.boolean() })
    fc.assert(
      fc.property(fc.array(seen, { maxLength: 200 }), fc.option(fc.integer({ min: 1, max: 1e6 })), (all, capacity) => {
        const curve = new SurvivalCurve()
        if (capacity !== null) curve.expectCapacity(capacity)
        for (const { age, survived } of all) curve.observe(age, survived)
        let before = 1
        for (let age = 1; age < 1e9; age *= 1.3) {
          const share = curve.at(age)
          assert.ok(share >= 0 && share <= before + 1e-12, `S(${age}) = ${share} after ${before}`)
          before = share
        }
      }),
      { numRuns: 200, seed: 5 },
    )
  })
})
