import type { Backend } from './backend.ts'
import type { BlockChain } from './turn.ts'

/** What the scheduler needs to know of a turn. Lengths in tokens are estimates. */
export type SchedulingRequest = {
  readonly endpoint: 'responses' | 'chat' | 'completions' | 'embeddings'
  readonly tenant: string
  readonly model: string
  readonly chain: BlockChain
  readonly promptTokens: number
  /** Upper bound set by the client, null when it set none. */
  readonly maxOutputTokens: number | null
  readonly sessionId: string
  /** Where the parent response ran, null when there is none or it is unknown. */
  readonly homeBackendId: string | null
  /** Prompt and answer tokens of the parent response: what its home held when it ended. Left out where there is none. */
  readonly homeTokens?: number
  /** Tools, instructions or model are not the parent's: its home holds nothing of this prompt by that. */
  readonly headChanged?: boolean
  /** Tokens of the answer as the content lets expect; left out where nothing read it. */
  readonly likelyOutputTokens?: number
  /** The protocol that this conversation has been rendered in so far; kept when possible. */
  readonly protocol: 'chat' | 'responses' | null
  readonly needsVision: boolean
  /** Where a client finds the first picture, and what it is called there; left out where there is none. */
  readonly picture?: { readonly at: string; readonly type: string }
  /** Higher goes first where turns wait (`service_tier`, `priority`); 0 unless given. */
  readonly priority?: number
  /** Backends already tried for this turn. */
  readonly exclude: ReadonlySet<string>
}

/** Why the first choice was chosen; the values of `x-homing-reason`. */
export type DecisionReason =
  | 'only-candidate' // one backend passed the filters
  | 'home' // it holds most of the prefix, and that is cheapest
  | 'shared-prefix' // another session's prefix is warm there
  | 'load' // the home (or warmest) was more expensive because of its load
  | 'least-cost' // nothing is warm anywhere; least expected seconds
  | 'policy' // an operator chose another policy than the cost model

/** One candidate, costs in seconds. */
export type RankedBackend = {
  readonly backend: Backend
  readonly expectedCachedTokens: number
  readonly waitSeconds: number
  readonly prefillSeconds: number
  readonly decodeSeconds: number
  readonly regretSeconds: number
  readonly costSeconds: number
}

/** The part of a prompt that was computed for this turn before it was sent. `ms`: how long the pieces took. */
export type Prepared = {
  readonly tokens: number
  /** Expected to be cached there before the first piece, and what was: what the turn would have found. */
  readonly expectedTokens: number
  readonly foundTokens: number
  readonly pieces: number
  readonly ms: number
}

export type Decision = {
  /** In the order in which they are tried; never empty. */
  readonly ranked: readonly RankedBackend[]
  readonly reason: DecisionReason
  /** The policy that chose; left out for the cost model. */
  readonly policy?: string
  readonly promptTokens: number
  readonly expectedOutputTokens: number
  readonly filteredOut: readonly { readonly backendId: string; readonly by: string }[]
  /** Time the turn waited for a free backend, milliseconds; what was prepared meanwhile is not waiting. */
  readonly queuedMs: number
  /** What the first choice computed of this prompt before, in pieces; left out where the turn is sent whole. */
  readonly prepared?: Prepared
  /** The backend whose token ceiling made it wait; left out where none did. */
  readonly ceilingAt?: string
  readonly decideMicroseconds: number
}

/** Work in flight at one backend; every dispatch opens one and ends it exactly once. */
export interface InFlight {
  /** The first output arrived: prefill is over. */
  firstToken(): void
  /** `n` more output tokens. */
  tokens(n: number): void
  end(outcome: 'completed' | 'failed' | 'cancelled'): void
}
