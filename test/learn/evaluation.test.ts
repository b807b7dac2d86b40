import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../sim/random.ts'
import { probabilitiesOfBest } from '../../src/learn/evaluation/best-of-normals.ts'
import type { GradedChoice } from '../../src/learn/evaluation/choice-lines.ts'
import { evaluate } from '../../src/learn/evaluation/off-policy.ts'
import { always, done, greedy, priced, tabled, type TargetPolicy } from '../../src/learn/evaluation/target-policies.ts'

const TOPICS = ['coding', 'math', 'writing']
const MODELS = ['coder', 'mathematician', 'generalist']
/** What each model truly scores on each topic: the truth that estimates are held against. */
const TRUTH = [[0.8, 0.4, 0.6], [0.3, 0.85, 0.6], [0.4, 0.45, 0.65]]
const SECONDS = [0.5, 2, 1]
const PRICE = 0.05

/**
 * A gateway that draws as Thompson sampling does, from expectations that are wrong by up to `error`, and logs the probabilities
 * with which it does. Scores are 0 or 1.
 */
function simulated(random: () => number, size: number, error: number, deviation: number): GradedChoice[] {
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const wrong = TRUTH.map((row) => row.map((value) => value + error * (2 * random() - 1)))
  return Array.from({ length: size }, () => {
    const topic = Math.floor(random() * TOPICS.length)
    const means = wrong[topic]!
    const drawn = means.map((mean) => mean + deviation * normal())
    const values = drawn.map((value, n) => value - SECONDS[n]! / (100 * PRICE))
    const chosen = values.indexOf(Math.max(...values))
    const propensities = probabilitiesOfBest(means.map((mean, n) => mean - SECONDS[n]! / (100 * PRICE)), means.map(() => deviation))
    const considered = MODELS.map((model, n) => ({ model, mean: means[n]!, deviation, drawn: drawn[n]!, seconds: SECONDS[n]!, propensity: propensities[n]! }))
    return { tenant: 'a', group: 'auto', topic: TOPICS[topic]!, drawn: true, considered, chosen, score: random() < TRUTH[topic]![chosen]! ? 1 : 0 }
  })
}

/** The true mean score of a policy on the topics and expectations of a log. */
const truthOf = (policy: TargetPolicy, choices: readonly GradedChoice[]): number =>
  choices.reduce((sum, choice) => {
    const probabilities = policy.probabilities(choice)!
    return sum + probabilities.reduce((value, probability, n) => value + probability * TRUTH[TOPICS.indexOf(choice.topic)]![n]!, 0)
  }, 0) / choices.length

const POLICIES = [
  done, ...MODELS.map(always), greedy, priced(0.5), priced(0.02),
  tabled('table', { coding: 'coder', math: 'mathematician', default: 'generalist' }),
]

test('estimates from a log are right: over many logs they average the truth, and their intervals hold it as often as they say', () => {
  const runs = 40
  const random = seededRandom(7)
  const apart = new Map<string, { ips: number[]; snips: number[]; dr: number[]; held: number }>(POLICIES.map(({ name }) => [name, { ips: [], snips: [], dr: [], held: 0 }]))
  for (let run = 0; run < runs; run++) {
    const choices = simulated(random, 400, 0.2, 0.3)
    for (const estimates of evaluate(choices, POLICIES, { resamples: 150, random, confidence: 0.95 })) {
      const truth = truthOf(POLICIES.find(({ name }) => name === estimates.name)!, choices)
      const kept = apart.get(estimates.name)!
      kept.ips.push(estimates.ips.value - truth)
      kept.snips.push(estimates.selfNormalised.value - truth)
      kept.dr.push(estimates.doublyRobust.value - truth)
      for (const { low, high } of [estimates.ips, estimates.selfNormalised, estimates.doublyRobust]) if (low <= truth && truth <= high) kept.held++
    }
  }
  for (const [name, { ips, snips, dr, held }] of apart) {
    for (const [how, errors] of [['IPS', ips], ['SNIPS', snips], ['DR', dr]] as const) {
      const mean = errors.reduce((sum, error) => sum + error, 0) / runs
      const error = Math.sqrt(errors.reduce((sum, each) => sum + (each - mean) ** 2, 0) / (runs - 1) / runs)
      assert.ok(Math.abs(mean) < 3.5 * error + 0.002, `${how} of ${name} is off by ${mean.toFixed(4)}, standard error ${error.toFixed(4)}`)
    }
    // 120 intervals of 95 %, three of each log alike: below 85 % is far beyond chance
    assert.ok(held / (3 * runs) > 0.85, `intervals of ${name} held the truth in ${held} of ${3 * runs}`)
  }
})

test('the doubly robust estimate scatters less than IPS where expectations are good', () => {
  const random = seededRandom(3)
  const spread = { ips: 0, dr: 0 }
  for (let run = 0; run < 40; run++) {
    const choices = simulated(random, 400, 0.02, 0.2)
    const [estimates] = evaluate(choices, [always('generalist')], { resamples: 1, random, confidence: 0.95 })
    const truth = truthOf(always('generalist'), choices)
    spread.ips += (estimates!.ips.value - truth) ** 2
    spread.dr += (estimates!.doublyRobust.value - truth) ** 2
  }
  assert.ok(spread.dr < 0.8 * spread.ips, JSON.stringify(spread))
})

test('what was done weighs every choice the same', () => {
  const choices = simulated(seededRandom(1), 500, 0.1, 0.2)
  const [estimates] = evaluate(choices, [done], { resamples: 100, random: seededRandom(2), confidence: 0.95 })
  const mean = choices.reduce((sum, { score }) => sum + score, 0) / 500
  for (const value of [estimates!.ips.value, estimates!.selfNormalised.value]) assert.ok(Math.abs(value - mean) < 1e-12)
  assert.ok(Math.abs(estimates!.effectiveSample - 500) < 1e-6)
  assert.deepEqual(estimates!.warnings, [])
})

test('the same seed gives the same figures', () => {
  const choices = simulated(seededRandom(1), 300, 0.1, 0.2)
  const once = (): unknown => evaluate(choices, POLICIES, { resamples: 50, random: seededRandom(9), confidence: 0.95 })
  assert.deepEqual(once(), once())
})

test('a policy that the log hardly tried is told as such', () => {
  const sure = simulated(seededRandom(5), 2000, 0, 0.02)
  const [never] = evaluate(sure, [always('generalist')], { resamples: 50, random: seededRandom(1), confidence: 0.95 })
  assert.ok(never!.warnings.some((warning) => warning.includes('overlap is too small')), never!.warnings.join())
  assert.ok(never!.warnings.some((warning) => warning.includes('instead of 1')), never!.warnings.join())
  const [other] = evaluate(sure, [tabled('t', { coding: 'coder' })], { resamples: 50, random: seededRandom(1), confidence: 0.95 })
  assert.match(other!.warnings.join(), /could be followed at \d+ of 2000 choices/)
  assert.deepEqual(evaluate(sure, [always('nobody')], { resamples: 50, random: seededRandom(1), confidence: 0.95 }), [])
})

test('the largest of some normals: equal ones share, a clear one wins, two follow the closed form', () => {
  for (const probability of probabilitiesOfBest([0.5, 0.5, 0.5], [0.1, 0.1, 0.1])) assert.ok(Math.abs(probability - 1 / 3) < 1e-6)
  assert.ok(probabilitiesOfBest([1, 0], [0.05, 0.05])[0]! > 0.999_999)
  // Phi(0.1 / sqrt(0.1^2 + 0.2^2)) = Phi(0.4472) = 0.67264
  assert.ok(Math.abs(probabilitiesOfBest([0.6, 0.5], [0.1, 0.2])[0]! - 0.672_64) < 1e-4)
  assert.ok(Math.abs(probabilitiesOfBest([0.55, 0.5], [0, 0.1])[0]! - 0.691_46) < 0.01)
  assert.deepEqual(probabilitiesOfBest([0.6, 0.5], [0, 0]), [1, 0])
})
