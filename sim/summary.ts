/** From columns to figures: one summary per replay, means and confidence intervals over seeds. */
import type { Bound } from './bound.ts'
import type { Replay } from './replay.ts'
import type { Workload } from './workload/workload.ts'

export type Summary = {
  readonly meanTtftSeconds: number
  readonly p50TtftSeconds: number
  readonly p90TtftSeconds: number
  readonly p99TtftSeconds: number
  readonly maxTtftSeconds: number
  readonly meanTotalSeconds: number
  /** Cached share of all prompt tokens. */
  readonly hitRate: number
  /** Busiest backend's computed prompt tokens over the mean. */
  readonly workSkew: number
  /** Turns that ran elsewhere than the turn they continue, as a share of those that continue one. */
  readonly movedShare: number
  readonly maxHeldSeconds: number
  /** Prefill seconds that the caches saved, over the whole run. */
  readonly prefillSavedSeconds: number
  readonly retries: number
  readonly preemptions: number
}

const mean = (values: ArrayLike<number>): number => {
  let sum = 0
  for (let index = 0; index < values.length; index++) sum += values[index]!
  return values.length === 0 ? 0 : sum / values.length
}

/** Nearest rank. */
export const percentile = (sorted: ArrayLike<number>, share: number): number =>
  sorted.length === 0 ? 0 : sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))]!

const hitRate = (workload: Workload, cachedTokens: ArrayLike<number>): { rate: number; cached: number } => {
  let cached = 0
  let prompt = 0
  for (const { index, promptTokens } of workload.requests) {
    cached += cachedTokens[index] ?? 0
    prompt += promptTokens
  }
  return { rate: prompt === 0 ? 0 : cached / prompt, cached }
}

export const summarise = (run: Replay, prefillTokensPerSecond: number): Summary => {
  const { workload, ttftMs, totalMs, backendOf, cachedTokens, work, heldMs } = run
  const sorted = Float64Array.from(ttftMs).sort()
  const { rate, cached } = hitRate(workload, cachedTokens)
  let continued = 0
  let moved = 0
  for (const { index, parent } of workload.requests) {
    if (parent < 0) continue
    continued++
    if (backendOf[index] !== backendOf[parent]) moved++
  }
  const meanWork = mean(work)
  let maxHeldMs = 0
  for (const held of heldMs) maxHeldMs = Math.max(maxHeldMs, held)
  return {
    meanTtftSeconds: mean(ttftMs) / 1000,
    p50TtftSeconds: percentile(sorted, 0.5) / 1000,
    p90TtftSeconds: percentile(sorted, 0.9) / 1000,
    p99TtftSeconds: percentile(sorted, 0.99) / 1000,
    maxTtftSeconds: percentile(sorted, 1) / 1000,
    meanTotalSeconds: mean(totalMs) / 1000,
    hitRate: rate,
    workSkew: meanWork === 0 ? 1 : work.reduce((most, one) => Math.max(most, one), 0) / meanWork,
    movedShare: continued === 0 ? 0 : moved / continued,
    maxHeldSeconds: maxHeldMs / 1000,
    prefillSavedSeconds: cached / prefillTokensPerSecond,
    retries: run.retries,
    preemptions: run.preemptions,
  }
}

export type BoundSummary = Pick<
  Summary,
  'meanTtftSeconds' | 'p50TtftSeconds' | 'p90TtftSeconds' | 'p99TtftSeconds' | 'hitRate'
>

export const summariseBound = (workload: Workload, bound: Bound): BoundSummary => {
  const sorted = Float64Array.from(bound.ttftMs).sort()
  return {
    meanTtftSeconds: mean(bound.ttftMs) / 1000,
    p50TtftSeconds: percentile(sorted, 0.5) / 1000,
    p90TtftSeconds: percentile(sorted, 0.9) / 1000,
    p99TtftSeconds: percentile(sorted, 0.99) / 1000,
    hitRate: hitRate(workload, bound.cachedTokens).rate,
  }
}

/** Two-sided 95 % quantiles of Student's t by degrees of freedom; 1.96 beyond the table. */
const T95 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11,
  2.101, 2.093, 2.086,
]

export type Estimate = {
  readonly mean: number
  /** Half the width of the 95 % interval; 0 for one run. */ readonly half: number
}

export const estimate = (values: readonly number[]): Estimate => {
  const centre = mean(values)
  if (values.length < 2) return { mean: centre, half: 0 }
  const variance = values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1)
  return { mean: centre, half: (T95[values.length - 2] ?? 1.96) * Math.sqrt(variance / values.length) }
}
