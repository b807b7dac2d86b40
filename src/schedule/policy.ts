import type { Backend } from '../model/backend.ts'
import type { SchedulingRequest } from '../model/decision.ts'

/** What the cost model found for each candidate, by position; a policy may use it or not. */
export type ScoreBoard = {
  readonly cachedTokens: Float64Array
  readonly waitSeconds: Float64Array
  readonly prefillSeconds: Float64Array
  readonly decodeSeconds: Float64Array
  readonly regretSeconds: Float64Array
  /** Of turns that ask for a group of models; zeros otherwise. */
  readonly qualitySeconds: Float64Array
  readonly costSeconds: Float64Array
}

/** Another way to choose, named in the configuration. The rest of the order, for failover, is that of the cost. */
export interface Policy {
  readonly name: string
  /** Position of the chosen candidate. */
  choose(request: SchedulingRequest, candidates: readonly Backend[], board: ScoreBoard): number
  /** The turn went to this backend; policies with a memory of their own note it here. */
  placed?(request: SchedulingRequest, backend: Backend): void
}

export const newBoard = (size: number): ScoreBoard => ({
  cachedTokens: new Float64Array(size),
  waitSeconds: new Float64Array(size),
  prefillSeconds: new Float64Array(size),
  decodeSeconds: new Float64Array(size),
  regretSeconds: new Float64Array(size),
  qualitySeconds: new Float64Array(size),
  costSeconds: new Float64Array(size),
})
