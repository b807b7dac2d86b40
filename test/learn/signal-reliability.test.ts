import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../../sim/random.ts'
import { SignalReliability } from '../../src/learn/signal-reliability.ts'
import { foundSigns, NO_EVIDENCE, PRIOR_RATES, SIGNALS, withSign, type Evidence, type SignalRates } from '../../src/learn/signals.ts'

const shipped = (): SignalReliability => new SignalReliability({ priors: PRIOR_RATES })
const ALL = 2 ** SIGNALS.length - 1
const evidences = fc.record({ sought: fc.integer({ min: 0, max: ALL }), bits: fc.integer({ min: 0, max: ALL }) }).map(({ sought, bits }): Evidence => ({ sought, found: sought & bits }))
const only = (signal: (typeof SIGNALS)[number], found: boolean): Evidence => withSign(NO_EVIDENCE, signal, found)

test('before anything was learned every sign points the way its name says, thanks and going on for the answer', () => {
  const reliability = shipped()
  const nothing = reliability.verdict(NO_EVIDENCE)
  assert.equal(nothing.informativeness, 0)
  for (const signal of SIGNALS) {
    const { probability } = reliability.verdict(only(signal, true))
    if (signal === 'thanks' || signal === 'went_on') assert.ok(probability > nothing.probability, signal)
    else assert.ok(probability < nothing.probability, signal)
  }
  assert.deepEqual(foundSigns(withSign(only('thanks', true), 'refusal', true)), ['refusal', 'thanks'])
})

test('probabilities, informativeness and rates stay within 0 and 1 whatever is added, and estimates stay finite', () => {
  const outcomes = fc.oneof(fc.constant(null), fc.double({ min: 0, max: 1, noNaN: true }))
  fc.assert(
    fc.property(fc.array(fc.tuple(evidences, outcomes, fc.integer({ min: 1, max: 90 })), { maxLength: 40 }), evidences, (answers, asked) => {
      const reliability = shipped()
      for (const [evidence, outcome, times] of answers) for (let at = 0; at < times; at++) reliability.add(evidence, outcome)
      reliability.learn()
      const { probability, informativeness, estimate } = reliability.verdict(asked)
      assert.ok(probability > 0 && probability < 1)
      assert.ok(informativeness >= 0 && informativeness <= 1)
      assert.ok(Number.isFinite(estimate))
      for (let sign = 0; sign < SIGNALS.length; sign++) {
        const { good, bad } = reliability.rates(sign)
        assert.ok(good > 0 && good < 1 && bad > 0 && bad < 1)
      }
    }),
    { numRuns: 60 },
  )
})

test('estimates are unbiased under the rates that were learned: 1 for good answers in the mean, 0 for bad ones', () => {
  const reliability = shipped()
  const sought = 0b10_0110_0111
  for (const good of [true, false]) {
    let mean = 0
    for (let found = sought; ; found = (found - 1) & sought) {
      let likelihood = 1
      for (let sign = 0; sign < SIGNALS.length; sign++) {
        if ((sought & (1 << sign)) === 0) continue
        const rate = good ? reliability.rates(sign).good : reliability.rates(sign).bad
        likelihood *= (found & (1 << sign)) === 0 ? 1 - rate : rate
      }
      mean += likelihood * reliability.verdict({ sought, found }).estimate
      if (found === 0) break
    }
    assert.ok(Math.abs(mean - (good ? 1 : 0)) < 1e-9, `${good}: ${mean}`)
  }
})

test('an outcome that agrees with a sign never lowers the trust in it', () => {
  const trust = (reliability: SignalReliability, sign: number): number => reliability.rates(sign).bad - reliability.rates(sign).good
  const graded = fc.tuple(evidences, fc.boolean())
  fc.assert(
    fc.property(fc.array(graded, { maxLength: 60 }), fc.nat({ max: 8 }), fc.boolean(), (answers, sign, good) => {
      const without = shipped()
      const agreeing = shipped()
      for (const [evidence, right] of answers) for (const one of [without, agreeing]) one.add(evidence, right ? 1 : 0)
      agreeing.add({ sought: 1 << sign, found: good ? 0 : 1 << sign }, good ? 1 : 0) // the first nine are found on bad answers
      without.learn()
      agreeing.learn()
      assert.ok(trust(agreeing, sign) >= trust(without, sign) - 1e-12)
    }),
    { numRuns: 100 },
  )
})

test('with explicit outcomes the rates become what was counted, and the prior fades', () => {
  const reliability = shipped()
  const sign = SIGNALS.indexOf('correction')
  for (let at = 0; at < 1000; at++) {
    const good = at % 2 === 0
    reliability.add(only('correction', good ? at % 20 === 0 : at % 4 === 1), good ? 1 : 0)
  }
  reliability.learn()
  assert.ok(Math.abs(reliability.rates(sign).good - 0.1) < 0.01)
  assert.ok(Math.abs(reliability.rates(sign).bad - 0.5) < 0.02)
})

const COIN: SignalRates = { good: 0.4, bad: 0.6 }
function simulated(truth: readonly number[], answers: number, seed: number, share = 0.65): SignalReliability {
  const random = seededRandom(seed)
  const reliability = new SignalReliability({ priors: truth.map(() => COIN) })
  for (let at = 0; at < answers; at++) {
    const good = random() < share
    let found = 0
    truth.forEach((right, sign) => {
      if ((random() < right) !== good) found |= 1 << sign
    })
    reliability.add({ sought: 2 ** truth.length - 1, found }, null)
  }
  reliability.learn()
  return reliability
}
const recovered = (reliability: SignalReliability, sign: number): number => (1 - reliability.rates(sign).good + reliability.rates(sign).bad) / 2

test('without any outcome, signs are told apart by their agreement: the good, the useless and the inverted', () => {
  const truth = [0.9, 0.8, 0.7, 0.6, 0.5, 0.3]
  for (let seed = 0; seed < 5; seed++) {
    const reliability = simulated(truth, 2000, seed)
    truth.forEach((right, sign) => assert.ok(Math.abs(recovered(reliability, sign) - right) < 0.08, `seed ${seed}, sign ${sign}: ${recovered(reliability, sign)}`))
  }
})

test('signs that say nothing about anything come to weigh next to nothing', () => {
  let worst = 0
  for (let seed = 0; seed < 5; seed++) worst = Math.max(worst, simulated([0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 4000, seed).verdict({ sought: 63, found: 0 }).informativeness)
  assert.ok(worst < 0.25, String(worst))
})

test('signs that agree for another reason than quality are found out by some outcomes', () => {
  const random = seededRandom(3)
  const reliability = new SignalReliability({ priors: [COIN, COIN, COIN, { good: 0.3, bad: 0.7 }] })
  for (let at = 0; at < 3000; at++) {
    const good = random() < 0.6
    const mood = random() < 0.5 // three signs are one, and it is the mood of the user
    const found = (mood ? 0b0111 : 0) | (random() < (good ? 0.2 : 0.8) ? 0b1000 : 0)
    reliability.add({ sought: 0b1111, found }, at % 10 === 0 ? (good ? 1 : 0) : null)
  }
  reliability.learn()
  const trust = (sign: number): number => reliability.rates(sign).bad - reliability.rates(sign).good
  for (const sign of [0, 1, 2]) assert.ok(trust(3) > trust(sign) + 0.2, `sign ${sign}: ${trust(sign)}, the honest one ${trust(3)}`)
})

test('a sign that changed is trusted anew: old answers fade', () => {
  const reliability = shipped()
  const sign = SIGNALS.indexOf('refusal')
  const teach = (good: number, bad: number, seed: number): void => {
    const random = seededRandom(seed)
    for (let at = 0; at < 9000; at++) {
      const right = random() < 0.5
      reliability.add(only('refusal', random() < (right ? good : bad)), right ? 1 : 0)
    }
    reliability.learn()
  }
  teach(0.05, 0.6, 1)
  assert.ok(reliability.rates(sign).bad > 0.5)
  teach(0.3, 0.3, 2)
  assert.ok(Math.abs(reliability.rates(sign).bad - reliability.rates(sign).good) < 0.1)
})

test('an outcome that comes later counts as if it had come at once', () => {
  const late = shipped()
  const prompt = shipped()
  for (let at = 0; at < 60; at++) late.add(only('complaint', true), null)
  for (let at = 0; at < 60; at++) {
    late.correct(only('complaint', true), 0)
    prompt.add(only('complaint', true), 0)
  }
  late.learn(50)
  prompt.learn(50)
  const sign = SIGNALS.indexOf('complaint')
  assert.ok(Math.abs(late.rates(sign).bad - prompt.rates(sign).bad) < 1e-6)
})

test('patterns are bounded, and what left is counted', () => {
  const reliability = shipped()
  for (let found = 0; found < ALL; found++) reliability.add({ sought: ALL, found }, null)
  assert.ok(reliability.patterns <= 512)
  assert.ok(reliability.evicted > 0)
})

test('what was learned survives its snapshot, and numbers that no snapshot holds are ignored', () => {
  const reliability = simulated([0.9, 0.8, 0.3], 1000, 1)
  const restored = new SignalReliability({ priors: [COIN, COIN, COIN] })
  restored.restore([...reliability.state(), [9, 0, 1, 0, 0], [1, 2, 1, 0, 0], [1, 1, -1, 0, 0], [1, 1, Number.NaN, 0, 0], [1]])
  for (const sign of [0, 1, 2]) assert.ok(Math.abs(recovered(reliability, sign) - recovered(restored, sign)) < 0.01)
})
