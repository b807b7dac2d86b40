import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Speaker } from '../../src/fingerprint/conversation-context.ts'
import { describeSteps, NO_STEPS, packSteps, STEP_BYTES, STEPS, unpackSteps, withStep, type StepsSoFar } from '../../src/fingerprint/steps-so-far.ts'

type Turn = readonly [Speaker, number]
const after = (...turns: readonly Turn[]): StepsSoFar =>
  turns.reduce((steps, [speaker, tokens]) => withStep(steps, speaker, tokens), NO_STEPS)
const described = (steps: StepsSoFar): Float32Array => {
  const row = new Float32Array(STEPS.length)
  describeSteps(steps, row, 0)
  return row
}

test('an answer was a call when a tool speaks next, and words when the user does', () => {
  const steps = after(['user', 9], ['assistant', 20], ['tool', 300], ['assistant', 80], ['user', 4])
  assert.deepEqual([steps.calls, steps.replies], [1, 1])
  assert.equal(steps.lastCall, Math.round(1000 * Math.log(21)))
  assert.equal(steps.lastReply, Math.round(1000 * Math.log(81)))
  assert.equal(steps.asked, 2)
})

test('a run of calls lasts until an answer in words, however many results one call has', () => {
  const called: Turn[] = [['user', 9], ['assistant', 20], ['tool', 30], ['tool', 30], ['assistant', 20], ['tool', 30]]
  assert.equal(after(...called).run, 2)
  assert.equal(after(...called).alike, true)
  const told = after(...called, ['assistant', 90], ['user', 5])
  assert.equal(told.run, 0)
  assert.equal(told.alike, false)
})

test('an answer that nobody has spoken after is neither a call nor words', () => {
  const steps = after(['user', 9], ['assistant', 20])
  assert.deepEqual([steps.calls, steps.replies], [0, 0])
})

test('whatever the turns, a record keeps what was, and the features stay small and finite', () => {
  const speaker = fc.constantFrom<Speaker>('user', 'assistant', 'tool', 'system')
  fc.assert(
    fc.property(fc.array(fc.tuple(speaker, fc.nat({ max: 200_000 })), { maxLength: 60 }), (turns) => {
      const steps = after(...turns)
      const record = Buffer.alloc(STEP_BYTES)
      assert.equal(packSteps(steps, record, 0), STEP_BYTES)
      assert.deepEqual(unpackSteps(record, 0), steps)
      for (const value of described(steps)) assert.ok(value >= 0 && value <= 2, String(value))
    }),
  )
})
