import type { Backend } from '../model/backend.ts'
import type { CancelSignal } from '../model/cancellation.ts'
import type { InFlight, SchedulingRequest } from '../model/decision.ts'
import type { Outcome } from '../model/outcome.ts'
import type { BlockChain } from '../model/turn.ts'

/** What the scheduler reads and tells; compose hands in the real objects, the laboratory its own. */

export interface FleetPort {
  list(): readonly Backend[]
}

export interface IndexPort {
  cachedBlocks(chain: BlockChain, backendIndex: number): number
  /** The part of the held prefix that several sessions share, and how many ways lead on from it. */
  trunk(chain: BlockChain, backendIndex: number): { readonly blocks: number; readonly fanOut: number }
  insert(chain: BlockChain, backendIndex: number, options?: { fromBlock?: number; speculativeUntilMs?: number }): void
  retract(chain: BlockChain, backendIndex: number): void
  blocks(backendIndex: number): number
  chains(backendIndex: number): number
  capacity(backendIndex: number): number
  /** Whole sequences that the engine keeps (llama.cpp); Infinity for engines that keep blocks. */
  slots(backendIndex: number): number
  /** How long the sequence that such an engine lets go next has not been used; 0 where one is free. */
  idleMs(backendIndex: number): number
  version(backendIndex: number): number
  neverForgot(backendIndex: number): boolean
}

/** What events of the engines say beside the index; `residentTokens` is negative where they cannot tell. */
export interface ResidencyPort {
  residentTokens(chain: BlockChain, backend: Backend): number
  version(backendIndex: number): number
}

export interface LedgerPort {
  begin(
    backendIndex: number,
    work: {
      readonly uncachedTokens: number
      readonly expectedOutputTokens: number
      readonly promptTokens?: number
      readonly prefillSeconds?: number
      readonly overheadSeconds?: number
    },
  ): InFlight
  queuedPrefillTokens(backendIndex: number): number
  waitSeconds(backendIndex: number): number
  /** Sequences that run there, others' included; and our own alone. */
  runningCount(backendIndex: number): number
  ownCount(backendIndex: number): number
  beforeFirstToken(backendIndex: number): number
  decodeTokens(backendIndex: number): number
  /** Seconds until the only turn before its first token should have been computed; Infinity where nobody knows. */
  headOverSeconds(backendIndex: number): number
  /** Prompt tokens that are still to be computed, by prediction. */
  remainingPrefillTokens(backendIndex: number): number
  /** Prompts and expected answers of all turns in flight. */
  inFlightTokens(backendIndex: number): number
  /** Changes when a turn begins, gets its first token or ends. */
  version(backendIndex: number): number
}

export interface LatencyPort {
  prefillSeconds(uncachedTokens: number, backendIndex: number, model: string): number
  stepSeconds(others: number, backendIndex: number, model: string): number
  observe(outcome: Outcome): void
}

export interface OutputLengthPort {
  expectedTokens(request: {
    readonly tenant: string
    readonly sessionId: string
    readonly maxOutputTokens: number | null
    readonly likelyOutputTokens?: number
  }): number
  observe(outcome: Outcome): void
}

/** Corrects the index by what answers report. */
export interface CalibrationPort {
  /** Called before the turn's blocks are inserted: afterwards they are fresh. */
  dispatched(request: Pick<SchedulingRequest, 'chain' | 'tenant' | 'sessionId'>, backendIndex: number): void
  /** `cachedTokens` as reported, or as the time to the first token tells them; null where nobody knows. */
  observe(outcome: Outcome): {
    readonly finding: string | null
    readonly cachedTokens: number | null
    readonly homeCleared: boolean
  }
}

/**
 * Computes the first `promptTokens` tokens of one turn's prompt at a backend, so that the next request finds them cached.
 * Resolves with what the backend told and how long it took; null where it could not be done. Never rejects.
 */
export type PrefillPiece = (
  backend: Backend,
  promptTokens: number,
  signal: CancelSignal | undefined,
  model: string,
) => Promise<{ readonly promptTokens: number; readonly cachedTokens: number | null; readonly ms: number } | null>
