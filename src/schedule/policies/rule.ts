import type { Backend } from '../../model/backend.ts'
import type { ScoreBoard } from '../policy.ts'

/**
 * A published rule as the gateway and the laboratory both run it: it places on arrival and returns the position of its
 * choice. It sees of a turn only what its type says, and of a backend its name and number.
 */
export interface Rule<Turn> {
  choose(turn: Turn, candidates: readonly Place[], board: RuleBoard): number
}

export type Place = Pick<Backend, 'id' | 'index'>
export type RuleBoard = Pick<ScoreBoard, 'cachedTokens' | 'waitSeconds' | 'prefillSeconds'>

/** What this router has in flight, by backend. */
export interface LoadPort {
  runningCount(backendIndex: number): number
  queuedPrefillTokens(backendIndex: number): number
  /** Prompt tokens of all turns in flight, until they end. */
  contextTokens(backendIndex: number): number
}

export type RulePorts = { readonly ledger: LoadPort; readonly random: () => number }

/** Position of the least cost; equal ones are drawn by lot (reservoir of one). Infinity everywhere still gives one. */
export function leastOf(count: number, random: () => number, cost: (position: number) => number): number {
  let best = -1
  let bestCost = Infinity
  let equal = 0
  for (let position = 0; position < count; position++) {
    const value = cost(position)
    if (best >= 0 && value > bestCost) continue
    if (best < 0 || value < bestCost) {
      best = position
      bestCost = value
      equal = 1
    } else if (random() * ++equal < 1) best = position
  }
  return best
}
