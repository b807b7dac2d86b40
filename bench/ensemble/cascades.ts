/**
 * What a cascade of two models is worth, when the small model's confidence tells so much about whether it is right.
 *
 * Right and wrong are real (outcome matrices); the confidence is simulated with a stated power: it is drawn so that a right
 * answer has more of it than a wrong one with probability AUROC, and is then made a calibrated probability. Reported beside
 * the small and the large model alone, and a coin that escalates the same share.
 */
import { standardNormal, type Random } from '../../sim/random.ts'
import { Escalations } from '../../src/learn/escalations.ts'
import { mean, type Matrix } from './matrix.ts'

/** Inverse of the normal distribution function, by bisection. */
function quantile(share: number): number {
  let [low, high] = [-8, 8]
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2
    if (distribution(middle) < share) low = middle
    else high = middle
  }
  return (low + high) / 2
}

/** Abramowitz and Stegun 7.1.26. */
function distribution(x: number): number {
  const t = 1 / (1 + (0.3275911 * Math.abs(x)) / Math.SQRT2)
  const tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * Math.exp((-x * x) / 2)
  return x >= 0 ? 1 - tail / 2 : tail / 2
}

export type Case = { readonly small: number; readonly large: number; readonly topic: string; readonly confidence: number }

/** The questions of a pair with a simulated, calibrated confidence of that power. */
export function casesOf(matrix: Matrix, small: number, large: number, auroc: number, random: Random): Case[] {
  const base = mean(matrix.questions.map(({ scores }) => scores[small]!))
  const apart = Math.SQRT2 * quantile(auroc)
  return matrix.questions.map(({ scores, topic }) => {
    const isRight = scores[small]! >= 0.5
    const seen = standardNormal(random) + (isRight ? apart : 0)
    const odds = (base / (1 - base)) * Math.exp(apart * seen - (apart * apart) / 2)
    return { small: scores[small]!, large: scores[large]!, topic, confidence: odds / (1 + odds) }
  })
}

/** Score where that share of the least confident answers goes on to the large model. */
export function atShare(cases: readonly Case[], share: number): number {
  const order = [...cases].sort((a, b) => a.confidence - b.confidence)
  const up = Math.round(share * order.length)
  return mean(order.map(({ small, large }, at) => (at < up ? large : small)))
}

/**
 * The gateway's own account on a stream of turns: what quality (at 100 s a whole point) minus the seconds of the large model
 * comes to per turn, beside never asking, always asking, and the best fixed threshold in hindsight.
 *
 * Whether two wrong answers differ is not in the data; half of them do here.
 */
export function playAccount(cases: readonly Case[], seconds: number, random: Random): Record<'never' | 'always' | 'account' | 'hindsight', number> & { readonly share: number } {
  const account = new Escalations(random)
  let value = 0
  let escalated = 0
  for (const { small, large, topic, confidence } of cases) {
    const step = { from: 'small', to: 'large', topic, why: 'low_confidence', confidence, secondsPerQuality: 100 } as const
    if (!account.pays(step)) {
      value += 100 * small
      continue
    }
    escalated++
    const changed = small >= 0.5 ? large < 0.5 : large >= 0.5 || random() < 0.5
    account.escalated(step, changed, seconds)
    value += 100 * large - seconds
  }
  const order = [...cases].sort((a, b) => a.confidence - b.confidence)
  let running = order.reduce((sum, { small }) => sum + 100 * small, 0)
  let hindsight = running
  for (const { small, large } of order) {
    running += 100 * (large - small) - seconds
    hindsight = Math.max(hindsight, running)
  }
  return {
    never: 100 * mean(cases.map(({ small }) => small)),
    always: 100 * mean(cases.map(({ large }) => large)) - seconds,
    account: value / cases.length,
    hindsight: hindsight / cases.length,
    share: escalated / cases.length,
  }
}

/** Of answers that differ, by how much more often the large model's is the right one; half of two wrong ones differ. */
export function gainPerChange(matrix: Matrix, small: number, large: number): number {
  let gain = 0
  let changes = 0
  for (const { scores } of matrix.questions) {
    const [before, after] = [scores[small]! >= 0.5, scores[large]! >= 0.5]
    if (before !== after) {
      changes++
      gain += after ? 1 : -1
    } else if (!before) changes += 0.5
  }
  return changes === 0 ? 0 : gain / changes
}
