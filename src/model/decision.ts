import type { Backend } from './backend.ts'
import type { ExpectedQuality } from './quality.ts'
import type { BlockChain, GrowingChain } from './turn.ts'

/** One model of the group that a turn asks for. */
export type ModelOption = {
  readonly model: string
  /** The prompt as this model's caches know it. */
  readonly chain: GrowingChain
  readonly quality: ExpectedQuality
}

/** A turn that names a group of models: any of them may answer. */
export type ModelChoice = {
  readonly options: readonly ModelOption[]
  /** What one whole point of expected quality (0..1) is worth. */
  readonly secondsPerQuality: number
  /** The model that served the conversation so far; null for a new one. */
  readonly incumbent: string | null
}

/** What the scheduler needs to know of a turn. Lengths in tokens are estimates. */
export type SchedulingRequest = {
  readonly endpoint: 'responses' | 'chat' | 'completions' | 'embeddings'
  readonly tenant: string
  /** What the client asked for: a model, or a group (`choice`). */
  readonly model: string
  readonly chain: BlockChain
  /** The models that may answer; left out where the client named one. */
  readonly choice?: ModelChoice
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
  | 'quality' // another model of the group is warmer or sooner, this one is expected to answer better
  | 'policy' // an operator chose another policy than the cost model

/** One candidate, costs in seconds. */
export type RankedBackend = {
  readonly backend: Backend
  /** The model that would answer there. */
  readonly model: string
  readonly expectedCachedTokens: number
  readonly waitSeconds: number
  readonly prefillSeconds: number
  readonly decodeSeconds: number
  readonly regretSeconds: number
  /** What its model is expected to answer worse than the best one, in seconds; 0 where the client named the model. */
  readonly qualitySeconds: number
  readonly costSeconds: number
}

/** A model of the group that was asked for, as it was judged for this turn. */
export type ConsideredModel = ExpectedQuality & {
  /** The least cost of a backend that serves it, without quality; null where none does. */
  readonly seconds: number | null
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
  /** The models of the group; left out where the client named one. */
  readonly considered?: { readonly incumbent: string | null; readonly models: readonly ConsideredModel[] }
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
