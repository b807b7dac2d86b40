/**
 * How far each quantity may move from its prior, as variances of its effects. Chosen by `npm run bench:learned` on the development
 * data, among 0.02 to 0.1 for labels, 0.01 to 0.1 for the slope and 0 to 2 for the axes of the embedding: wide axes learn faster
 * where the prior is poor (turns still to come of agents: .350 with 1, .413 with 0.1) and learn noise where it is good (output
 * tokens of agents: .538 with 0.1, .561 with 2).
 */
import type { LearnedQuantityOptions } from './learned-quantity.ts'

const BOUNDS = { maxLabels: 4096, maxTopics: 256 }

export const QUANTITIES = {
  /** Of 0..1, what a grade would be. Graded answers are few and come without their embedding. */
  complexity: { ...BOUNDS, labelVariance: 0.02, slopeVariance: 0.05, axisVariance: 0, firstSpread: 0.5, squared: true },
  /** Of log(1 + tokens). */
  outputTokens: { ...BOUNDS, labelVariance: 0.03, slopeVariance: 0.05, axisVariance: 0.1, firstSpread: 1, squared: false },
  /** Of log(1 + turns). */
  remainingTurns: { ...BOUNDS, labelVariance: 0.1, slopeVariance: 0.1, axisVariance: 1, firstSpread: 1, squared: false },
  /** Of log(seconds). Gaps of one application are orders of magnitude from those of another, so effects may be wide. */
  returnGap: { ...BOUNDS, labelVariance: 2, slopeVariance: 0, axisVariance: 0, firstSpread: 2, squared: false },
} as const satisfies Record<string, LearnedQuantityOptions>
