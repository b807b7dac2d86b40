import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReturnGaps } from '../../src/upstream/return-gaps.ts'
import { seeded } from '../schedule/fixture.ts'

test('gaps are learned by kind', () => {
  const gaps = new ReturnGaps()
  const random = seeded(1)
  for (let gap = 0; gap < 400; gap++) {
    gaps.returned('tool', 5 * Math.exp(random() - 0.5))
    gaps.returned('human', 40 * Math.exp(random() - 0.5))
  }
  assert.ok(Math.abs(gaps.expectedSeconds('tool') - 5) < 1)
  assert.ok(Math.abs(gaps.expectedSeconds('human') - 40) < 8)
})

test('whoever has been away long is less likely to come, and one who often does not come is not expected', () => {
  const gaps = new ReturnGaps()
  for (let gap = 0; gap < 200; gap++) {
    gaps.returned('tool', 2)
    if (gap % 2 === 0) gaps.returned('human', 60)
    else gaps.gone('human')
  }
  assert.ok(gaps.probability('tool', 1) > 0.9)
  let before = 1
  for (const away of [0, 10, 30, 60, 90, 200, 600]) {
    const now = gaps.probability('human', away)
    assert.ok(now <= before + 1e-9 && now >= 0, `${now} after ${away} s`)
    before = now
  }
  assert.ok(gaps.probability('human', 1) < 0.6 && before < 0.05)
})

test('a conversation is given up within ten minutes, however long gaps are', () => {
  const gaps = new ReturnGaps()
  for (let gap = 0; gap < 100; gap++) gaps.returned('human', 5000)
  assert.equal(gaps.goneAfterSeconds('human'), 600)
  assert.equal(gaps.goneAfterSeconds('tool') >= 30, true)
})
