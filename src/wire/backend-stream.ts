/**
 * What a backend's stream looks like to whoever dispatches a turn, and what the two protocols share.
 *
 * A stream that goes wrong before it gave any output sets `error` and leaves the assembly untouched: the turn can be
 * tried elsewhere. One that goes wrong later ends the response (`finished`, with `trouble`), since a client may have
 * seen part of it. Exactly one of the two is set once, and what is pushed afterwards is ignored.
 */
import type { ResponseEvent } from '../model/event.ts'
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'
import type { Usage } from '../model/usage.ts'
import type { ResponseAssembly } from './response-assembly.ts'

/** `trouble`: why it failed, for logs and receipts, free of the conversation's text; null where it did not. */
export type StreamEnd = { readonly terminal: ResponseEvent; readonly trouble: string | null }

/**
 * `status`: the HTTP status that the payload carried, null where it carried none. `kind`: the type and code that the
 * backend reported, left out where the error is what we found; the message of a backend may quote the conversation.
 */
export type StreamError = { readonly status: number | null; readonly message: string; readonly kind?: string }

/** For logs and receipts: free of the conversation's text. */
export const troubleOf = ({ message, kind }: StreamError): string =>
  kind === undefined ? message : `The backend reported an error in its stream (${kind}).`

export interface BackendStream {
  /** One SSE data payload. Throws nothing: a malformed one ends the stream. */
  push(data: string): void
  /** The body ended cleanly. */
  end(): void
  /** The connection broke or timed out. An answer whose finish was seen still counts as whole. */
  broken(why: string): void
  readonly finished: StreamEnd | null
  /** Some output (text, reasoning, a tool call) or a finish was seen. */
  readonly firstOutput: boolean
  /** Counted from the deltas until the engine reports its own figure. */
  readonly outputTokens: number
  /** As the engine reported it; null until it did. */
  readonly usage: Usage | null
  readonly error: StreamError | null
}

/** Error payloads may be long or hold a whole trace. */
const MAX_MESSAGE_CHARACTERS = 1000

export abstract class BackendStreamBase implements BackendStream {
  readonly assembly: ResponseAssembly
  finished: StreamEnd | null = null
  error: StreamError | null = null
  firstOutput = false
  usage: Usage | null = null
  protected counted = 0

  constructor(assembly: ResponseAssembly) {
    this.assembly = assembly
  }

  get outputTokens(): number {
    return this.usage?.outputTokens ?? this.counted
  }

  push(data: string): void {
    if (this.finished !== null || this.error !== null) return
    if (data === '[DONE]') {
      this.end()
      return
    }
    let payload: unknown
    try {
      payload = JSON.parse(data)
    } catch {
      // The parser's message quotes the text, so only the length is told.
      this.fail(`The backend sent an event that is not JSON (${data.length} characters).`)
      return
    }
    if (isObject(payload)) this.receive(payload, data)
    else this.fail('The backend sent an event that is not a JSON object.')
  }

  end(): void {
    if (this.finished === null && this.error === null)
      this.ended('The backend ended its stream before the answer was finished.')
  }

  broken(why: string): void {
    if (this.finished === null && this.error === null) this.ended(why)
  }

  /** `data` is the payload as it came. */
  protected abstract receive(payload: JsonObject, data: string): void
  /** No more will come; `why` is the trouble if the answer is not whole. */
  protected abstract ended(why: string): void

  /** `kind` where the backend said so itself. */
  protected fail(message: string, status: number | null = null, kind?: string): void {
    const error = { status, message, ...(kind === undefined ? {} : { kind }) }
    if (!this.firstOutput) {
      this.error = error
      return
    }
    this.reportUsage()
    this.finished = { terminal: this.assembly.fail({ code: 'server_error', message }), trouble: troubleOf(error) }
  }

  protected complete(): void {
    this.firstOutput = true
    this.reportUsage()
    this.#finish(this.assembly.complete())
  }

  protected incomplete(reason: 'max_output_tokens' | 'content_filter'): void {
    this.firstOutput = true
    this.reportUsage()
    this.#finish(this.assembly.incomplete(reason))
  }

  protected failFromPayload(payload: JsonValue | undefined): void {
    const { status, message, kind } = readErrorPayload(payload)
    this.fail(message, status, kind)
  }

  /** An engine that reports no usage: the deltas are counted, and the prompt's tokens are told as 0. */
  protected reportUsage(): void {
    this.assembly.usage(
      this.usage ?? { promptTokens: 0, cachedTokens: null, outputTokens: this.counted, reasoningTokens: null },
    )
  }

  #finish(terminal: ResponseEvent): void {
    const failed = terminal.type === 'response.failed'
    this.finished = { terminal, trouble: failed ? 'The backend sent a tool call without a name.' : null }
  }
}

/** `{error: {...}}`, `{error: "text"}`, `{object: "error", message, code}` and their insides. */
export function readErrorPayload(payload: JsonValue | undefined): StreamError & { readonly kind: string } {
  const outer: JsonObject = isObject(payload) ? payload : { message: payload }
  const inner: JsonObject = isObject(outer.error)
    ? outer.error
    : outer.error === undefined
      ? outer
      : { message: outer.error }
  const text =
    typeof inner.message === 'string' && inner.message !== '' ? inner.message : 'The backend reported an error.'
  const code = inner.code ?? inner.status ?? outer.code ?? outer.status
  const number = typeof code === 'string' && /^\d{3}$/.test(code) ? Number(code) : code
  const status = typeof number === 'number' && number >= 400 && number <= 599 ? number : null
  const kind = [inner.type, code]
    .filter((part) => (typeof part === 'string' && /^[\w.:-]{1,64}$/.test(part)) || typeof part === 'number')
    .join(' ')
  return { status, message: text.slice(0, MAX_MESSAGE_CHARACTERS), kind: kind === '' ? 'no code' : kind }
}
