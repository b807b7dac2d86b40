import type { Backend } from './backend.ts'
import type { ConversationItem } from './item.ts'
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
  /** Null until something is known about which model is good at what. */
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

export interface SemanticAffinityRouter {
  computeAffinity(
    session: SessionContext,
    backends: readonly Backend[],
    options?: { signal?: AbortSignal },
  ): Promise<AffinityScore[]>
}
