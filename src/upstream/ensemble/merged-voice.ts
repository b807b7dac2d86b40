/** How the client of an answer made of several hears of it; one implementation for each API. */
import type { HomingError } from '../../model/error.ts'
import type { ConversationItem } from '../../model/item.ts'
import type { JsonObject } from '../../model/json.ts'

export interface MergedVoice {
  /** A status line has left: errors can only be told as events. */
  readonly committed: boolean
  /** Output has left: another answer cannot be given any more. */
  readonly visible: boolean
  /** Opens the stream although there is no answer yet. */
  commitEarly(): void
  /** A comment keeps proxies and clients from giving up. */
  keepAlive(): void
  /** Opens the stream, since an answer is certain, and tells in a comment how far it is. */
  progress(told: string): void
  /** An event of the answer that the client gets, as it comes. False when the client reads more slowly than we write. */
  live(event: JsonObject): boolean
  /** Ends the answer. */
  finish(ending: MergedEnding): void
  /** The error in a stream that is open. */
  fail(error: HomingError): void
}

export type MergedEnding = {
  /** The response, or the completion. */
  readonly body: JsonObject
  /** In Responses: items with ids. */
  readonly output: readonly ConversationItem[]
  readonly headers: Readonly<Record<string, string>>
}
