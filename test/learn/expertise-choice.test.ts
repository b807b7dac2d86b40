import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../../sim/random.ts'
import { Expertise } from '../../src/learn/expertise.ts'
import { choiceProbabilities, drawnSpread } from '../../src/learn/expertise-choice.ts'
import type { Subject } from '../../src/model/quality.ts'

const normal = (random: () => number): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
const most = (values: readonly number[]): number => values.indexOf(Math.max(...values))
const belief = fc.record({ mean: fc.double({ min: 0, max: 1, noNaN: true }), deviation: fc.double({ min: 0, max: 0.3, noNaN: true }) })

describe('probabilities of choices', () => {
  test('add up to one, none is negative, and a model that costs more is not chosen more often', () => {
    fc.assert(
      fc.property(fc.array(belief, { minLength: 1, maxLength: 8 }), fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 0.5, noNaN: true }), (beliefs, explores, cost) => {
        const free = choiceProbabilities(beliefs, [], explores)
        const dearer = choiceProbabilities(beliefs, [cost], explores)
        for (const each of [free, dearer]) {
          assert.ok(Math.abs(each.reduce((sum, one) => sum + one, 0) - 1) < 1e-9)
          assert.ok(each.every((one) => one >= 0 && one <= 1 + 1e-9))
        }
        assert.ok(dearer[0]! <= free[0]! + 0.01)
      }),
      { numRuns: 300 },
    )
  })

  test('agree with a simulation of the draws to within a hundredth, narrow beliefs beside wide ones included', () => {
    const random = seededRandom(2)
    for (let round = 0; round < 12; round++) {
      const beliefs = Array.from({ length: 2 + (round % 7) }, () => ({ mean: 0.5 + 0.1 * normal(random), deviation: random() < 0.3 ? 0.001 : 0.15 * random() }))
      const costs = beliefs.map(() => 0.1 * random())
      const explores = round % 3 === 0 ? 0.3 : 1
      const times = beliefs.map(() => 0)
      for (let n = 0; n < 40_000; n++) {
        const draws = random() < explores
        times[most(beliefs.map(({ mean, deviation }, at) => mean - costs[at]! + (draws ? deviation * normal(random) : 0)))]! += 1 / 40_000
      }
      choiceProbabilities(beliefs, costs, explores).forEach((probability, at) => {
        assert.ok(Math.abs(probability - times[at]!) < 0.012, `round ${round}: ${probability} instead of ${times[at]}`)
      })
    }
  })
})

test('among more than three models draws are narrower, so that weak ones do not win by number', () => {
  assert.deepEqual([1, 2, 3].map(drawnSpread), [1, 1, 1])
  assert.ok(drawnSpread(4) < 1 && drawnSpread(8) < drawnSpread(4) && drawnSpread(100) > 0.4)
  const random = seededRandom(1)
  const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
  const subject: Subject = { topics: [['law', 1]], intent: ['ask', 1], inScope: 1, complexity: 0.5 }
  let square = 0
  for (let n = 0; n < 2000; n++) {
    // a new one each time: draws fade where nobody grades
    const expertise = new Expertise({ halfLifeMs: null, exploration: null, shareBetweenTenants: false, priors: {}, random, wallMs: () => 0 })
    for (const { mean, deviation, drawn } of expertise.expect('t', names, subject)) square += ((drawn - mean) / deviation) ** 2 / (2000 * names.length)
  }
  assert.ok(Math.abs(Math.sqrt(square) - drawnSpread(8)) < 0.02, String(Math.sqrt(square)))
})

describe('complementary models', () => {
  let questions = 0
/** No two questions are the same one. */
const another = (): number => (++questions % 16_000) / 16_000
const about = (topic: string, probability: number): Subject => ({ topics: [[topic, probability], ['other', 1 - probability]], intent: ['ask', 1], inScope: 1, complexity: another() })

  test('the best comes first, and beside it one with other strengths rather than its twin that is a little better', () => {
    const expertise = new Expertise({ halfLifeMs: null, exploration: null, shareBetweenTenants: false, priors: {}, random: seededRandom(1), wallMs: () => 0 })
    const random = seededRandom(5)
    const truth: Record<string, Record<string, number>> = {
      coder: { coding: 0.85, math: 0.5, law: 0.3 },
      twin: { coding: 0.8, math: 0.5, law: 0.3 },
      jurist: { coding: 0.7, math: 0.3, law: 0.85 },
      weak: { coding: 0.1, math: 0.1, law: 0.1 },
    }
    for (let n = 0; n < 400; n++) {
      for (const [model, topics] of Object.entries(truth)) {
        for (const [topic, quality] of Object.entries(topics)) {
          expertise.observe({ tenant: 'a', model, subject: about(topic, 1), score: random() < quality ? 1 : 0, weight: 1, atMs: 0 })
        }
      }
    }
    const models = Object.keys(truth)
    assert.deepEqual(expertise.complementary('a', models, about('coding', 1), 2), ['coder', 'jurist'])
    assert.equal(expertise.complementary('a', models, about('coding', 1), 9).at(-1), 'weak')
    assert.deepEqual(expertise.complementary('a', [], about('coding', 1), 2), [])
  })
})
