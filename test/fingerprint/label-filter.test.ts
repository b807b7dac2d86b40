import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FEATURES, LabelFilter } from '../../src/fingerprint/label-filter.ts'
import { logSoftmax } from '../../src/fingerprint/softmax-head.ts'

const turn = { speaker: 'user' as const, likeness: 0.5, words: 5, cue: 0 }
const sure = (label: number, labels = 3): Float32Array => {
  const row = new Float32Array(labels).fill(-4)
  row[label] = 0
  logSoftmax(row, labels)
  return row
}
const constant = (value: number): LabelFilter => {
  const weights = new Float32Array(FEATURES.length)
  weights[0] = value
  return new LabelFilter(weights)
}

test('a turn that says nothing keeps the label of the turns before it', () => {
  const filter = constant(-4)
  const belief = new Float32Array(3).fill(1 / 3)
  filter.step(belief, { ...turn, turn: 0, logEmission: sure(1) })
  const nothing = new Float32Array(3).fill(Math.log(1 / 3))
  for (let at = 1; at < 6; at++) filter.step(belief, { ...turn, words: 1, turn: at, logEmission: nothing })
  assert.ok(belief[1]! > 0.75, String(belief))
})

test('where a change is likely the turn itself decides', () => {
  const belief = Float32Array.of(0.98, 0.01, 0.01)
  const change = constant(3).step(belief, { ...turn, turn: 4, logEmission: sure(2) })
  assert.ok(change > 0.9 && belief[2]! > 0.8, String(belief))
})

test('a belief stays a distribution, however contrary the evidence', () => {
  const log = fc.double({ min: -700, max: 0, noNaN: true })
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.array(log, { minLength: 4, maxLength: 4 }), fc.boolean()), { maxLength: 20 }), (turns) => {
      const filter = constant(0)
      const belief = new Float32Array(4).fill(1 / 4)
      turns.forEach(([row, user], at) => {
        const change = filter.step(belief, { ...turn, speaker: user ? 'user' : 'assistant', turn: at, logEmission: Float32Array.from(row) })
        assert.ok(change >= 0 && change <= 1)
        assert.ok(belief.every((value) => value >= 0 && value <= 1))
        assert.ok(Math.abs(belief.reduce((sum, value) => sum + value, 0) - 1) < 1e-3)
      })
    }),
    { examples: [[[[[-104, -104, -104, -104], false]]]] },
  )
})
