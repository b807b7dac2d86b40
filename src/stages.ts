/** What the spine is made of: each stage as the spine calls it; `compose.ts` hands in the real ones. */
import type { AskingStages } from './asking-stages.ts'
import type { CacheEvidence } from './cache-account.ts'
import type { TokenCharge } from './http/tenant-limits.ts'
import type { Backend, Protocol } from './model/backend.ts'
import type { CancelSignal } from './model/cancellation.ts'
import type { Decision, InFlight, RankedBackend, SchedulingRequest } from './model/decision.ts'
import type { StoredItem } from './model/item.ts'
import type { JsonObject } from './model/json.ts'
import type { Outcome } from './model/outcome.ts'
import type { Receipt } from './model/receipt.ts'
import type { GrowingChain, PlacedTurn, ResolvedTurn, Turn } from './model/turn.ts'
import type { PrefillPiece } from './schedule/ports.ts'
import type { SaveTurn } from './turn-record.ts'
import type { DispatchPorts, DispatchResult } from './upstream/dispatch.ts'
import type { Prefilled } from './upstream/prefill.ts'
import type { IdPrefix } from './wire/response-assembly.ts'

/** What was answered: its items, empty where the client left, and why it was cut off, if it was. */
export type Answer = {
  readonly id: string
  readonly output: readonly StoredItem[]
  readonly cut: 'max_output_tokens' | 'content_filter' | null
}

export type Stages = {
  readonly resolve: (turn: Turn) => Promise<ResolvedTurn>
  /** Adds what the conversation is about. Degrades: the turn comes back as it was where that failed, which is counted. */
  readonly fingerprint: (turn: ResolvedTurn, shortOnly: boolean) => ResolvedTurn
  /** Runs it when the event loop has a moment; may never run it. */
  readonly whenIdle: (task: () => void) => void
  /** What the scheduler is asked; token lengths are estimated here. `look`: the turn will not be sent. */
  readonly schedulingRequest: (turn: ResolvedTurn, look?: boolean) => SchedulingRequest
  /** Takes what the turn is expected to need from its tenant's token budget. */
  readonly charge: (request: SchedulingRequest) => TokenCharge
  /** Waits for a backend where all suitable ones are busy. */
  readonly place: (request: SchedulingRequest, signal: CancelSignal, prefill: PrefillPiece | null) => Promise<Decision>
  /** Has a backend compute about `share` of the turn's prompt; null where it could not. */
  readonly prefill: (
    turn: ResolvedTurn,
    backend: Backend,
    protocol: Protocol,
    share: number,
    signal: CancelSignal | undefined,
  ) => Promise<Prefilled | null>
  /** The decision was not used: nothing was sent to the backend it chose. */
  readonly release: (decision: Decision) => void
  readonly begin: (
    decision: Decision,
    choice: RankedBackend,
    request: SchedulingRequest,
    turn: ResolvedTurn,
  ) => InFlight
  readonly dispatch: Omit<DispatchPorts, 'begin'>
  readonly newResource: (turn: Turn, tools: readonly JsonObject[], id: string, createdAtSeconds: number) => JsonObject
  readonly diagnose: (turn: ResolvedTurn, receipt: Receipt) => Promise<JsonObject | null>
  /** How the prompt relates to its session's last turn; asked before the turn is remembered. */
  readonly prefixChange: (turn: ResolvedTurn) => CacheEvidence['change']
  readonly save: (save: SaveTurn) => Promise<void>
  /** Returns the chain of prompt and answer as the caches of the model that answered know it. */
  readonly remember: (
    asked: ResolvedTurn,
    placed: PlacedTurn,
    output: readonly StoredItem[],
    storedId: string | null,
    backend: Backend,
  ) => GrowingChain
  /** What runs at a backend now, what of ours waits there, and the expected seconds of others' work. */
  readonly load: (backend: Backend) => {
    readonly running: number
    readonly queuedTokens: number
    readonly othersSeconds: number
  }
  /** Says whether the turn profited from what was computed ahead of it, and what the answer showed of the cache. */
  readonly learn: (
    outcome: Outcome,
    turn: ResolvedTurn,
    /** Null: one of several that nobody reads by itself, so no reaction to it will come. */
    answer: Answer | null,
  ) => { readonly prewarmed: boolean; readonly finding: CacheEvidence['finding'] }
  /** What an answer made of several ones needs beside the stages of each. */
  readonly asking: AskingStages
  /** From here on the answer is known by its id: before its last byte is sent. */
  readonly receipts: { put(turn: ResolvedTurn, receipt: Receipt): void }
  readonly observe: (turn: ResolvedTurn, receipt: Receipt, result: DispatchResult | null) => void
  /** What answers are called whose backends name them. */
  readonly answerIds: { claim(tenant: string, given: string | null): string; release(tenant: string, id: string): void }
  readonly newId: (prefix: IdPrefix | 'resp') => string
  readonly wallMs: () => number
  readonly nowMs: () => number
  readonly streamCommitAfterMs: number
}
