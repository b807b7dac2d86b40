/**
 * A backend's ceiling on tokens in flight (`max_inflight_tokens`): what its KV cache can hold before it preempts. A turn
 * counts with its prompt, cached or not, and its expected answer, from dispatch to end. A turn larger than the ceiling
 * runs alone.
 */
import type { Backend } from '../model/backend.ts'

export type InFlightTokens = {
  runningCount(backendIndex: number): number
  ownCount(backendIndex: number): number
  inFlightTokens(backendIndex: number): number
}

/** Tokens that would have to leave before the turn fits; 0: it fits, nothing of ours runs there, or there is no ceiling. */
export function tokensOverCeiling(backend: Backend, turnTokens: number, ledger: InFlightTokens): number {
  const { maxInFlightTokens } = backend.config
  if (maxInFlightTokens === null || ledger.ownCount(backend.index) === 0) return 0
  return Math.max(0, ledger.inFlightTokens(backend.index) + turnTokens - maxInFlightTokens)
}
