import type { Backend } from './backend.ts'
import type { BlockChain } from './turn.ts'
import type { Usage } from './usage.ts'

/** What happened to a dispatched turn; everything that learns reads this and nothing else. */
export type Outcome = {
  readonly backend: Backend
  /** The model that answered. */
  readonly model: string
  readonly tenant: string
  readonly sessionId: string
  readonly status: 'completed' | 'incomplete' | 'failed' | 'cancelled'
  /** The prompt's chain, and the chain with the answer appended (equal when nothing was generated). */
  readonly promptChain: BlockChain
  readonly fullChain: BlockChain
  readonly expectedCachedTokens: number
  readonly expectedPromptTokens: number
  /** Of the expected cached tokens, those that were computed there for this very turn just before. */
  readonly preparedTokens?: number
  /** Only a piece of the turn's prompt was computed; the turn itself follows. */
  readonly partial?: boolean
  readonly usage: Usage | null
  /** What the conversation waits for now: a tool's result, or a person. Left out where unknown. */
  readonly awaits?: 'tool' | 'person'
  /** From dispatch to the first output, null when there was none. Milliseconds. */
  readonly ttftMs: number | null
  /** From the first to the last output. */
  readonly decodeMs: number | null
  /** Other requests this process had in flight at the backend when this one was dispatched. */
  readonly inFlightAtDispatch: number
  readonly queuedTokensAtDispatch: number
  /** Expected seconds of others' work in front of it, as far as the engine's metrics told; left out: none. */
  readonly othersSecondsAtDispatch?: number
}
