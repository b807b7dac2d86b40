import type { Backend } from './backend.ts'
import type { ConversationItem } from './item.ts'
import type { SemanticFingerprint } from './fingerprint.ts'
import type { JsonObject } from './json.ts'

/** The published interface's view of a session: what a turn of it would send next. */
export type SessionContext = {
  readonly tenant: string
  readonly model: string
  readonly sessionId?: string
  readonly previousResponseId?: string
  readonly conversation?: string
  readonly instructions?: string
  readonly tools?: readonly JsonObject[]
  readonly input: string | readonly ConversationItem[]
}

/** Scores are 0..1 over the candidates; sorting by `combinedScore` gives the order in which backends would be tried. */
export type AffinityScore = {
  readonly backendId: string
  /**
   * Expected quality of the candidate's model, where the session asks for a group of models; else likeness between the session
   * and what the backend served lately, which has no weight in the decision. Null where neither is known.
   */
  readonly semanticScore: number | null
  /** Share of the prompt expected to be cached. */
  readonly cacheScore: number
  /** Share of the latency budget left after the expected wait. */
  readonly loadScore: number
  readonly combinedScore: number
  readonly expectedTtftMs: number
  readonly expectedCachedTokens: number
  readonly expectedOutputTokens: number
  readonly reasons: readonly string[]
}

/** Where cached tokens lie: in the engine's own memory, or where it loads them from without computing them again. */
export const CACHE_TIERS = ['gpu', 'cpu', 'disk', 'shared'] as const
export type CacheTier = (typeof CACHE_TIERS)[number]

/** Who saw it, the most trusted first: of two observations of the same moment the earlier name in this list counts. */
export const CACHE_SOURCES = ['event', 'engine', 'operator', 'answer', 'record'] as const
export type CacheSource = (typeof CACHE_SOURCES)[number]

/** What somebody who knows better than the gateway says about one session's cache at one backend. */
export type CacheMetadata = {
  /** Tokens, from the start of the session's prompt, that the backend holds. */
  readonly cachedTokens: number
  /** Tokens that the backend's cache can hold in all. */
  readonly capacityTokens?: number
  readonly tier?: CacheTier
  /** Milliseconds since 1970. */
  readonly observedAt: number
  readonly source: CacheSource
}

export interface SemanticAffinityRouter {
  /** What the conversation is about; rejects (`invalid_value`, 400 over HTTP) where fingerprints are switched off. */
  getFingerprint(session: SessionContext): Promise<SemanticFingerprint>
  computeAffinity(
    session: SessionContext,
    backends: readonly Backend[],
    options?: { signal?: AbortSignal },
  ): Promise<AffinityScore[]>
  /**
   * Takes effect on the session's next turn, unless a later observation is known (docs/cache.md). `sessionId` is a
   * receipt's `session.id`, or the bare name that the client gave. Throws InvalidCacheState, and changes nothing, for bad
   * values, an unknown backend or an unknown session.
   */
  registerCacheState(backendId: string, sessionId: string, metadata: CacheMetadata): void
}
