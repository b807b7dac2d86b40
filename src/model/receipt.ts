import type { AskingNote } from './asking.ts'
import type { FingerprintNote } from './fingerprint.ts'
import type { SessionSource } from './turn.ts'
import type { ConsideredModel, DecisionReason } from './decision.ts'

/** What became of the cached prefix, and why: the values of `cache.why`. docs/api.md says each in a sentence. */
export type CacheVerdict =
  | 'hit' // as much as could be
  | 'new' // nothing of it was ever computed, as far as is known
  | 'model_changed'
  | 'tools_changed'
  | 'instructions_changed'
  | 'reasoning_dropped' // the engine's template, or the client, leaves earlier reasoning out
  | 'history_changed' // what the client sent does not begin with what was sent before
  | 'moved' // another backend was cheaper than the one that holds it
  | 'home_unavailable' // the one that holds it takes no turns now, or failed
  | 'evicted'
  | 'restarted'
  | 'rendered_differently' // the engine found a different text than ours, or keeps no answers
  | 'not_told' // the engine hides it, and its time to the first token did not tell
  | 'unanswered' // no backend answered

export type CacheAccount = {
  readonly why: CacheVerdict
  /** Prompt tokens that could have been cached: the most any backend was expected to hold, or what the last turn left. */
  readonly reusableTokens: number
  /** Of those, the ones that were computed again; null where the engine does not tell. */
  readonly missedTokens: number | null
  /** True where `missedTokens` was read off the time to the first token. */
  readonly inferred: boolean
}

/** Why an answer went where it went, and what came of it. Holds no text of the conversation. */
export type Receipt = {
  readonly id: string
  readonly requestId: string
  readonly createdAtMs: number
  readonly endpoint: string
  /** The model that answered. */
  readonly model: string
  /** The group that the client asked for, and what was expected of its models; left out where it named a model. */
  readonly group?: {
    readonly name: string
    /** The model that served the conversation so far and was preferred; null where it began. */
    readonly incumbent: string | null
    readonly considered: readonly ConsideredModel[]
  }
  readonly session: { readonly id: string; readonly source: SessionSource }
  readonly backendId: string
  readonly servedModel: string
  readonly protocol: string
  readonly reason: DecisionReason
  /** The policy that chose; left out for the cost model. */
  readonly policy?: string
  readonly promptTokens: { readonly expected: number; readonly actual: number | null }
  readonly cachedTokens: { readonly expected: number; readonly actual: number | null }
  /** Of the prompt, what was computed there in pieces before the turn was sent; left out where it was sent whole. */
  readonly prepared?: { readonly tokens: number; readonly pieces: number; readonly ms: number }
  /** True where the turn found cached what had been computed ahead for it; left out otherwise. */
  readonly prewarmed?: boolean
  readonly cache: CacheAccount
  readonly outputTokens: number | null
  /** What the conversation was taken to be about; left out where it was not fingerprinted. */
  readonly fingerprint?: FingerprintNote
  readonly ttftMs: number | null
  readonly totalMs: number | null
  readonly queuedMs: number
  /** The backend whose token ceiling made it wait; left out where none did. */
  readonly ceilingAt?: string
  readonly decideMicroseconds: number
  readonly candidates: readonly {
    readonly backendId: string
    /** The model that would have answered there; left out where the client named one. */
    readonly model?: string
    readonly expectedCachedTokens: number
    readonly waitSeconds: number
    readonly prefillSeconds: number
    readonly decodeSeconds: number
    readonly regretSeconds: number
    /** What its model is expected to answer worse than the best one; left out where that is nothing. */
    readonly qualitySeconds?: number
    readonly costSeconds: number
  }[]
  readonly filteredOut: readonly { readonly backendId: string; readonly by: string }[]
  /** Backends tried before this one, and why they failed. */
  readonly failovers: readonly { readonly backendId: string; readonly why: string }[]
  /** Hosted tools and fields that were offered but left out of what the engine sees. */
  readonly omitted: readonly string[]
  readonly outcome: 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled'
  readonly trouble: string | null
  /** Of an answer that was made of several: who was asked, and what decided; left out otherwise. */
  readonly asking?: AskingNote
  /** The answer that this one was asked for as a part; left out otherwise. */
  readonly memberOf?: string
}
