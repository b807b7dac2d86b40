/** What the gateway and its events process tell each other: plain data and typed arrays. */
import type { Observation } from './run-log.ts'
import type { Publisher } from './subscription.ts'

export type ToEvents =
  | { readonly kind: 'watch'; readonly backend: number; readonly publisher: Publisher }
  | { readonly kind: 'unwatch'; readonly backend: number }
  /** The engine is a new process, others say. */
  | { readonly kind: 'restarted'; readonly backend: number }
  /** One `changes` message was worked in. */
  | { readonly kind: 'taken' }
  | { readonly kind: 'tokenize'; readonly job: number; readonly request: TokenizeRequest }
  /** Which of the blocks stored lately are this turn's? */
  | { readonly kind: 'observe'; readonly job: number; readonly backend: number; readonly observation: Observation }

export type FromEvents =
  | { readonly kind: 'changes'; readonly backend: number; readonly blockTokens: number; readonly records: Uint32Array }
  | { readonly kind: 'status'; readonly backend: number; readonly status: StreamStatus }
  | {
      readonly kind: 'tokens'
      readonly job: number
      /** States of the token prefix at every grain; null when the engine did not answer with tokens. */
      readonly states: Uint32Array | null
      readonly tokens: number
      readonly why: string | null
    }
  /** Events cannot be had at all in this process. */
  | { readonly kind: 'unavailable'; readonly why: string }

/** POST to the engine; the answer's `tokens` is a list of ids. */
export type TokenizeRequest = {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly ca: string | null
  readonly body: string
  readonly salt: string | null
  readonly timeoutMs: number
}

/** A record of `changes`: low, high, and what happened, a `CHANGE` plus the tier. `allGone` has 1 as low where nothing is missing from then on. */
export const WORDS_A_RECORD = 3
export const CHANGE = { held: 0, gone: 4, allGone: 8 } as const

export type StreamStatus = {
  readonly connected: boolean
  readonly replaying: boolean
  /** Every block that the engine holds is known. */
  readonly complete: boolean
  readonly blocks: number
  /** Since the last message; null before the first. */
  readonly silentMs: number | null
  /** From the publisher's clock to the moment it was worked in, largest since the last status; null without a batch. */
  readonly lagMs: number | null
  readonly counts: Readonly<Record<StreamCount, number>>
}

export const STREAM_COUNTS = [
  'events', 'batches', 'stored', 'removed', 'cleared', 'gaps', 'replays', 'restarts', 'losses', 'duplicates',
  'malformed', 'unknown', 'bad_frames', 'orphans', 'unknown_removed', 'other_attention', 'full', 'held_back', 'disconnects',
] as const
export type StreamCount = (typeof STREAM_COUNTS)[number]
