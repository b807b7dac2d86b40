import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../sim/random.ts'
import { EstimateLevel } from '../../src/learn/estimate-level.ts'
import { SignalReliability } from '../../src/learn/signal-reliability.ts'

const RATES = [{ good: 0.1, bad: 0.4 }, { good: 0.3, bad: 0.6 }]

/** Estimates of answers of which so many are good, from signs with these rates, judged by those of `RATES`. */
function lessons(truth: typeof RATES, goodShare: number, answers: number): { readonly mean: number; readonly weight: number } {
  const random = seededRandom(5)
  const judge = new SignalReliability({ priors: RATES })
  const level = new EstimateLevel()
  let [sum, weights] = [0, 0]
  for (let at = 0; at < answers; at++) {
    const good = random() < goodShare
    let found = 0
    truth.forEach((rates, sign) => {
      if (random() < (good ? rates.good : rates.bad)) found |= 1 << sign
    })
    const { estimate, weight } = level.worth(3, judge.verdict({ sought: 3, found }), judge.share)
    if (at < answers / 2) continue
    sum += estimate
    weights += weight
  }
  return { mean: sum / (answers / 2), weight: weights / (answers / 2) }
}

test('where the rates are right, estimates are on the level of the share and weigh what they tell', () => {
  const told = new SignalReliability({ priors: RATES }).verdict({ sought: 3, found: 0 }).informativeness
  const { mean, weight } = lessons(RATES, 0.7, 8000)
  assert.ok(Math.abs(mean - 0.7) < 0.02, String(mean))
  assert.ok(weight > 0.9 * told && weight <= told, `${weight} of ${told}`)
})

test('where the signs never show, silence weighs next to nothing and is not praise', () => {
  const never = RATES.map(() => ({ good: 0, bad: 0 }))
  const { mean, weight } = lessons(never, 0.7, 4000)
  assert.ok(Math.abs(mean - 0.7) < 0.02, String(mean))
  assert.ok(weight < 0.003, String(weight))
})

test('sets of signs are bounded; what a further one tells is worth nothing, and counted', () => {
  const level = new EstimateLevel()
  const verdict = { probability: 0.9, informativeness: 0.3, estimate: 1.2 }
  for (let set = 0; set < 70; set++) level.worth(set, verdict, 0.7)
  assert.equal(level.refused, 6)
  assert.deepEqual(level.worth(69, verdict, 0.7), { estimate: 0.7, weight: 0 })
  assert.ok(level.worth(1, verdict, 0.7).weight > 0)
})
