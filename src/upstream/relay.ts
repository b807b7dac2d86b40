/**
 * How backend bytes become client bytes. One relay lives for a whole turn, over all attempts; `dispatch` drives it.
 *
 *   begin(backend) -> [data]* -> eof | broken       per attempt
 *
 * Until `visible`, nothing of a backend's output has left: an attempt may be thrown away by the next `begin`.
 */
import type { Backend, Protocol, ServedModel } from '../model/backend.ts'
import type { ConversationItem } from '../model/item.ts'
import type { Usage } from '../model/usage.ts'

export type BackendRequest = {
  readonly path: string
  readonly body: string | Buffer
  readonly headers?: Readonly<Record<string, string>>
}

export type RelayEnd = {
  readonly status: 'completed' | 'incomplete' | 'failed'
  /** Why it failed, for logs and receipts; free of the conversation's text. */
  readonly trouble: string | null
  /** Why an incomplete answer is. */
  readonly cut?: 'max_output_tokens' | 'content_filter'
  /** What the backend itself reported in its stream, for the client. */
  readonly reported?: { readonly status: number | null; readonly message: string }
}

export interface Relay {
  /** Renders the turn for this backend and forgets what an earlier attempt brought. Throws HomingError for what it cannot say. */
  begin(backend: Backend, served: ServedModel, protocol: Protocol): BackendRequest
  /** The answer is one JSON body, not a stream. */
  whole(body: string): void
  data(chunk: Buffer): void
  /** Clean end of the backend's stream. */
  eof(): void
  /** It broke: what was begun ends as failed. */
  broken(why: string): void
  /** Set once the attempt has come to its end. */
  readonly ended: RelayEnd | null
  /** The backend sent output (or finished): prefill is over. */
  readonly outputBegan: boolean
  /** Output of a backend has been handed to the client. */
  readonly visible: boolean
  /** The last write filled the client's buffer. */
  readonly clogged: boolean
  readonly usage: Usage | null
  readonly outputTokens: number
  /** The answer as items, for lineage. */
  readonly output: readonly ConversationItem[]
  readonly omitted: readonly string[]
}
