/**
 * What another policy would have scored, from a log of what this one did with which probability.
 *
 *   w = pi(chosen) / p(chosen)                                       weight of a choice
 *   IPS    mean of w * score                                         unbiased, noisy (Horvitz and Thompson 1952)
 *   SNIPS  sum of w * score / sum of w                               a little biased, steadier (Swaminathan and Joachims 2015)
 *   DR     mean of sum over a of pi(a) q(a) + w * (score - q(chosen))   with the expectation q of that moment as the model of
 *          scores: unbiased however wrong q is, the steadier the better q (Dudik, Langford and Li 2011)
 *
 * Intervals: percentiles of a bootstrap over choices. Effective sample size:
 * (sum of w)^2 / sum of w^2 (Kong 1992). Weights average 1 where the log tried all that the policy would do; where it did not,
 * what was never tried is worth nothing to IPS and what was expected of it to DR.
 */
import type { GradedChoice } from './choice-lines.ts'
import type { TargetPolicy } from './target-policies.ts'

export type Estimate = { readonly value: number; readonly low: number; readonly high: number }

export type PolicyEstimates = {
  readonly name: string
  /** Choices at which it could be followed. */
  readonly choices: number
  readonly ips: Estimate
  readonly selfNormalised: Estimate
  readonly doublyRobust: Estimate
  /** Expected seconds without quality, mean over choices. */
  readonly seconds: number
  readonly effectiveSample: number
  readonly meanWeight: number
  /** Why its figures should not be believed; empty: nothing against them. */
  readonly warnings: readonly string[]
}

export type EvaluationOptions = { readonly resamples: number; readonly random: () => number; readonly confidence: number }

/** With a hundred choices a score of 0 or 1 is known to about 0.1 either way. */
const LEAST_SAMPLE = 100
/** So far from 1 the weights may average: what the log never tried is then no more than a fifth of what the policy would do. */
const WEIGHT_APART = 0.2

type Contributions = {
  readonly name: string
  readonly weights: Float64Array
  readonly weighted: Float64Array
  readonly robust: Float64Array
  readonly seconds: number
  readonly choices: number
}

/** Policies that can be followed nowhere are left out. */
export function evaluate(
  choices: readonly GradedChoice[],
  policies: readonly TargetPolicy[],
  options: EvaluationOptions,
): PolicyEstimates[] {
  return policies.flatMap((policy) => {
    const followed = contributionsOf(choices, policy)
    return followed.choices === 0 ? [] : [estimatesOf(followed, choices.length, options)]
  })
}

function contributionsOf(choices: readonly GradedChoice[], policy: TargetPolicy): Contributions {
  const weights: number[] = []
  const weighted: number[] = []
  const robust: number[] = []
  let seconds = 0
  for (const choice of choices) {
    const probabilities = policy.probabilities(choice)
    if (probabilities === null) continue
    const { considered, chosen, score } = choice
    const weight = probabilities[chosen]! / considered[chosen]!.propensity
    let expected = 0
    for (let n = 0; n < considered.length; n++) {
      expected += probabilities[n]! * considered[n]!.mean
      seconds += probabilities[n]! * considered[n]!.seconds
    }
    weights.push(weight)
    weighted.push(weight * score)
    robust.push(expected + weight * (score - considered[chosen]!.mean))
  }
  return {
    name: policy.name,
    weights: Float64Array.from(weights),
    weighted: Float64Array.from(weighted),
    robust: Float64Array.from(robust),
    seconds: weights.length === 0 ? 0 : seconds / weights.length,
    choices: weights.length,
  }
}

function estimatesOf(of: Contributions, logged: number, { resamples, random, confidence }: EvaluationOptions): PolicyEstimates {
  const { weights, weighted, robust, choices: n } = of
  const ips = new Float64Array(resamples)
  const selfNormalised = new Float64Array(resamples)
  const doublyRobust = new Float64Array(resamples)
  for (let run = 0; run < resamples; run++) {
    let weight = 0
    let score = 0
    let robustly = 0
    for (let drawn = 0; drawn < n; drawn++) {
      const at = Math.floor(random() * n)
      weight += weights[at]!
      score += weighted[at]!
      robustly += robust[at]!
    }
    ips[run] = score / n
    selfNormalised[run] = weight === 0 ? Number.NaN : score / weight
    doublyRobust[run] = robustly / n
  }
  const sum = total(weights)
  const squares = weights.reduce((result, weight) => result + weight * weight, 0)
  const effectiveSample = squares === 0 ? 0 : (sum * sum) / squares
  const meanWeight = sum / n
  const between = (value: number, runs: Float64Array): Estimate => interval(value, runs, confidence)
  return {
    name: of.name,
    choices: n,
    ips: between(total(weighted) / n, ips),
    selfNormalised: between(total(weighted) / sum, selfNormalised),
    doublyRobust: between(total(robust) / n, doublyRobust),
    seconds: of.seconds,
    effectiveSample,
    meanWeight,
    warnings: warningsOf(of.choices, logged, effectiveSample, meanWeight),
  }
}

function warningsOf(choices: number, logged: number, effectiveSample: number, meanWeight: number): string[] {
  const warnings: string[] = []
  if (effectiveSample < LEAST_SAMPLE) {
    warnings.push(`the overlap is too small: its figures rest on what ${effectiveSample.toFixed(0)} choices would tell`)
  }
  if (Math.abs(meanWeight - 1) > WEIGHT_APART) {
    const why = meanWeight < 1 ? 'the log hardly tried what it would do' : 'a few rare choices count too much'
    warnings.push(`weights average ${meanWeight.toFixed(2)} instead of 1: ${why}`)
  }
  if (choices < logged) warnings.push(`it could be followed at ${choices} of ${logged} choices, and is judged by these alone`)
  return warnings
}

function interval(value: number, runs: Float64Array, confidence: number): Estimate {
  const sorted = runs.filter((run) => !Number.isNaN(run)).sort()
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? value
  return { value, low: at((1 - confidence) / 2), high: at((1 + confidence) / 2) }
}

const total = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0)
