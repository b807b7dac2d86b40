import type { Backend } from '../model/backend.ts'
import type { SchedulingRequest } from '../model/decision.ts'

/**
 * One turn before its candidates: what every scorer may read. Positions are indices into `candidates`; for a turn that asks
 * for a group a backend is there once for each model of it that it serves.
 */
export type Situation = {
  readonly request: SchedulingRequest
  readonly candidates: readonly Backend[]
  readonly modelAt: (position: number) => string
  /** Prompt tokens expected to be cached, by position. */
  readonly cachedTokens: Float64Array
  /** Tokens of the prefix that several sessions share, and by how many ways they go on from there. */
  readonly trunkTokens: number
  readonly trunkFanOut: number
  readonly tokensPerBlock: number
  readonly expectedOutputTokens: number
}

/**
 * One term of the cost, in seconds. `prepare` does the work of the turn once; what it returns is called once per
 * candidate and allocates nothing.
 */
export interface Scorer {
  readonly name: string
  prepare(situation: Situation): (backend: Backend, position: number) => number
}
