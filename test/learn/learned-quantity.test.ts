import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../../sim/random.ts'
import { AdditiveModel } from '../../src/learn/additive-model.ts'
import { FEWEST_JUDGED, LearnedQuantity, type Reading } from '../../src/learn/learned-quantity.ts'
import { QUANTITIES } from '../../src/learn/quantities.ts'

const reading = (parts: Partial<Reading> = {}): Reading => ({ prior: 5, tenant: 'acme', topic: 'coding', also: [], embedding: null, ...parts })
const quantity = (): LearnedQuantity => new LearnedQuantity(QUANTITIES.outputTokens)
const teach = (learner: LearnedQuantity, of: Reading, y: number | (() => number), times: number): void => {
  for (let time = 0; time < times; time++) learner.observe(of, typeof y === 'number' ? y : y())
}
const noise = (seed: number): (() => number) => {
  const random = seededRandom(seed)
  return () => random() + random() + random() - 1.5
}

test('before anything was learned the prior is told', () => {
  assert.deepEqual(quantity().expect(reading()), { value: 5, learned: false })
  assert.equal(quantity().errors, null)
})

test('what was learned replaces the prior once it was right more often, and not before enough was judged', () => {
  const learner = quantity()
  teach(learner, reading(), 7, FEWEST_JUDGED - 1)
  assert.equal(learner.expect(reading()).learned, false)
  teach(learner, reading(), 7, 50)
  const { value, learned } = learner.expect(reading())
  assert.ok(learned && Math.abs(value - 7) < 0.2, `${value}`)
  const { prior, learned: error, mean } = learner.errors!
  assert.ok(error < 0.3 && Math.abs(prior - 2) < 1e-6 && mean < 0.3, JSON.stringify(learner.errors))
})

test('a prior that is right keeps its word although noise moved the effects', () => {
  const learner = quantity()
  const random = noise(1)
  let toldPrior = 0
  for (let time = 0; time < 500; time++) {
    const prior = 3 + 4 * Math.abs(random())
    if (!learner.expect(reading({ prior })).learned) toldPrior++
    learner.observe(reading({ prior }), prior)
  }
  assert.equal(toldPrior, 500)
})

test('a tenant and topic learn their own, others of the topic lean on them, and other topics on everyone', () => {
  const learner = quantity()
  const random = noise(2)
  for (let time = 0; time < 400; time++) {
    learner.observe(reading({ tenant: 'a', topic: 'coding' }), 7 + 0.3 * random())
    learner.observe(reading({ tenant: 'b', topic: 'coding' }), 6 + 0.3 * random())
    learner.observe(reading({ tenant: 'a', topic: 'law' }), 4 + 0.3 * random())
  }
  const told = (tenant: string, topic: string): number => learner.expect(reading({ tenant, topic })).value
  assert.ok(Math.abs(told('a', 'coding') - 7) < 0.2, `${told('a', 'coding')}`)
  assert.ok(Math.abs(told('b', 'coding') - 6) < 0.2, `${told('b', 'coding')}`)
  assert.ok(told('new', 'coding') > 5.8 && told('new', 'coding') < 7.2, `${told('new', 'coding')}`)
  assert.ok(told('a', 'law') < 4.3, `${told('a', 'law')}`)
  assert.ok(told('new', 'unheard') > 4.3 && told('new', 'unheard') < 7, `${told('new', 'unheard')}`)
})

test('the topic decides whether its prior or what was learned is told', () => {
  const learner = quantity()
  teach(learner, reading({ topic: 'wrong prior' }), 9, 200)
  for (let time = 0; time < 100; time++) {
    // here the prior is exact, and what was learned elsewhere misleads
    learner.observe(reading({ topic: 'right prior', prior: 3 + (time % 5) }), 3 + (time % 5))
  }
  assert.equal(learner.expect(reading({ topic: 'wrong prior' })).learned, true)
  assert.equal(learner.expect(reading({ topic: 'right prior' })).learned, false)
})

test('nine of ten outcomes stay below the 90th percentile, whatever they are spread like', () => {
  const random = seededRandom(3)
  const learner = quantity()
  let below = 0
  for (let time = 0; time < 3000; time++) {
    const y = 5 - 0.7 * Math.log(1 - random())
    if (time >= 1000 && y <= learner.expect(reading()).value + learner.spread) below++
    learner.observe(reading(), y)
  }
  assert.ok(Math.abs(below / 2000 - 0.9) < 0.02, `${below / 2000}`)
  assert.ok(Math.abs(learner.errors!.belowP90 - 0.9) < 0.08)
})

test('what changed is followed: old outcomes fade', () => {
  const learner = quantity()
  teach(learner, reading(), 7, 2000)
  teach(learner, reading(), 3, 300)
  assert.ok(Math.abs(learner.expect(reading()).value - 3) < 0.3, `${learner.expect(reading()).value}`)
})

test('an embedding is learned from: alike asks have alike outcomes', () => {
  const random = seededRandom(4)
  const learner = quantity()
  const unit = (): Float32Array => {
    const vector = Float32Array.from({ length: 32 }, () => random() - 0.5)
    const length = Math.hypot(...vector)
    return vector.map((value) => value / length)
  }
  let [error, prior] = [0, 0]
  for (let time = 0; time < 1500; time++) {
    const embedding = unit()
    const y = 5 + 3 * embedding[0]! - 2 * embedding[7]!
    const of = reading({ embedding })
    if (time >= 1000) {
      error += Math.abs(y - learner.expect(of).value)
      prior += Math.abs(y - 5)
    }
    learner.observe(of, y)
  }
  assert.ok(error < prior / 3, `${error} against ${prior}`)
})

test('a snapshot goes on exactly where it was', () => {
  const learner = quantity()
  const random = noise(5)
  const embedding = Float32Array.from({ length: 16 }, (_, at) => (at === 0 ? 1 : 0))
  for (let time = 0; time < 100; time++) learner.observe(reading({ also: ['model m'], embedding }), 6 + random())
  const restored = quantity()
  restored.restore(JSON.parse(JSON.stringify(learner.toJson())))
  const of = reading({ also: ['model m'], embedding })
  for (let time = 0; time < 20; time++) {
    assert.deepEqual(restored.expect(of), learner.expect(of))
    learner.observe(of, 7)
    restored.observe(of, 7)
  }
  assert.deepEqual(restored.errors, learner.errors)
})

test('any outcomes leave finite numbers, and no more labels than allowed', () => {
  const outcome = fc.record({
    prior: fc.double({ min: 0, max: 10, noNaN: true }),
    tenant: fc.constantFrom('a', 'b', 'c'),
    topic: fc.string({ maxLength: 3 }),
    also: fc.array(fc.string({ maxLength: 3 }), { maxLength: 3 }),
    y: fc.double({ min: -20, max: 20, noNaN: true }),
    weight: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  fc.assert(
    fc.property(fc.array(outcome, { maxLength: 60 }), (outcomes) => {
      const learner = new LearnedQuantity({ ...QUANTITIES.remainingTurns, maxLabels: 10 })
      for (const { y, weight, ...rest } of outcomes) {
        const of = { ...rest, embedding: Float32Array.of(0.6, -0.8) }
        assert.ok(Number.isFinite(learner.expect(of).value))
        learner.observe(of, y, weight)
        assert.ok(Number.isFinite(learner.expect(of).value) && Number.isFinite(learner.spread))
      }
      assert.ok(learner.sizes.labels <= 10)
    }),
  )
})

test('the model with effects of labels alone agrees with the exact posterior of one label', () => {
  // one label, known noise: mean = n v y / (n v + noise)
  const model = new AdditiveModel({ maxLabels: 4, labelVariance: 1, slopeVariance: 0, axisVariance: 0 })
  const evidence = { labels: ['x'], number: 0, vector: null }
  model.observe(evidence, 2)
  assert.ok(Math.abs(model.predict(evidence) - 1) < 1e-9, 'after one outcome half of it is believed: the noise is 1 as the belief is')
})
