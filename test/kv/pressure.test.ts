import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BlockIndex } from '../../src/kv/block-index.ts'
import { Pressure } from '../../src/kv/pressure.ts'
import { chainOf, seeded, words } from '../schedule/fixture.ts'

function newPressure(maxConversations = 1000) {
  const clock = { nowMs: 0 }
  const nowMs = () => clock.nowMs
  const index = new BlockIndex({ maxBytes: 1 << 22, nowMs })
  return { clock, index, pressure: new Pressure({ index, nowMs, maxConversations }) }
}

describe('Pressure', () => {
  it('predicts better than the base rate which conversations are still there', () => {
    const { clock, index, pressure } = newPressure()
    const random = seeded(9)
    const storedAt = new Map<string, number>()
    const CAPACITY = 600
    for (let round = 0; round < 3000; round++) {
      clock.nowMs += 1000
      // A few conversations go on all the time, many only now and then.
      const name = `c${Math.floor(120 * random() ** 2.5)}-${Math.floor(round / 1000)}`
      const chain = chainOf(words(name, 12))
      const back = pressure.returned(name, chain, 0)
      const age = index.clock(0) - (storedAt.get(name) ?? -Infinity)
      if (back !== null) {
        const there = age + 12 < CAPACITY
        pressure.observe(back, there ? 12 : 0)
        if (!there) index.truncate(chain, 0, 0)
      }
      index.insert(chain, 0)
      storedAt.set(name, index.clock(0))
      pressure.answered(name, chain, 0, 'person')
    }
    const score = pressure.score!
    assert.ok(score.observations > 500)
    assert.ok(score.baseRateBrier > 0.1, `${score.baseRateBrier}`)
    assert.ok(score.brier < score.baseRateBrier / 3, `${score.brier} of ${score.baseRateBrier}`)
    assert.ok(Math.abs(pressure.effectiveCapacity(0) / CAPACITY - 1) < 0.25, `${pressure.effectiveCapacity(0)}`)
  })

  it('forecasts less at the expected return than now, by what is stored until then', () => {
    const { clock, index, pressure } = newPressure()
    pressure.told(0, 1000)
    for (let at = 0; at < 60; at++) {
      clock.nowMs += 1000
      index.insert(chainOf(words(`other${at}-`, 10)), 0)
      pressure.answered(`other${at}`, chainOf(words(`other${at}-`, 10)), 0, 'person')
    }
    const chain = chainOf(words('mine', 50))
    index.insert(chain, 0)
    pressure.answered('mine', chain, 0, 'person')
    const forecast = pressure.forecast('mine')!
    assert.ok(forecast.now > 0.9, `${forecast.now}`)
    assert.ok(forecast.atReturn < forecast.now)
    assert.ok(forecast.returns > 0 && forecast.returns < 1)
    assert.equal(pressure.forecast('unknown'), null)
  })

  it('a prompt that changed says nothing about eviction, and neither does another backend', () => {
    const { index, pressure } = newPressure()
    const chain = chainOf(words('x', 10))
    for (const backend of [0, 1]) index.insert(chain, backend)
    pressure.answered('c', chain, 0, 'person')
    assert.equal(pressure.returned('c', chain, 1), null)
    assert.notEqual(pressure.returned('c', chainOf([...words('x', 10), 'more']), 0), null)
    pressure.answered('c', chain, 0, 'person')
    assert.equal(pressure.returned('c', chainOf(words('y', 10)), 0), null)
  })

  it('one return is one observation: the turn behind a piece of its prompt finds what the piece brought', () => {
    const { pressure } = newPressure()
    const chain = chainOf(words('x', 10))
    pressure.answered('c', chain, 0, 'person')
    assert.notEqual(pressure.returned('c', chain, 0), null)
    assert.equal(pressure.returned('c', chain, 0), null)
  })

  it('nothing is left of a backend that was cleared', () => {
    const { index, pressure } = newPressure()
    const chain = chainOf(words('x', 10))
    index.insert(chain, 0)
    pressure.answered('c', chain, 0, 'tool')
    pressure.cleared(0)
    assert.equal(pressure.forecast('c')!.now, 0)
    assert.equal(pressure.wasCleared('c'), true)
    index.insert(chainOf(words('y', 3)), 0)
    pressure.answered('d', chainOf(words('y', 3)), 0, 'tool')
    assert.equal(pressure.wasCleared('d'), false)
  })

  it('keeps a bounded number of conversations and counts those it let go', () => {
    const { pressure } = newPressure(10)
    for (let at = 0; at < 25; at++) pressure.answered(`c${at}`, chainOf(words('x', 2)), 0, 'person')
    assert.equal(pressure.conversations, 10)
    assert.equal(pressure.evictions.size, 15)
  })
})
