/**
 * Relay of routes that have no conversation: /v1/completions and /v1/embeddings. Bytes go through as they come; only the
 * model's name is replaced. A stream is visible with its first byte, a JSON body when it is complete. Usage is read where
 * it goes by: in a stream only where the client asked for it, else output tokens are its events.
 */
import type { Backend, Protocol, ServedModel } from '../model/backend.ts'
import type { ConversationItem } from '../model/item.ts'
import { isObject, type JsonObject } from '../model/json.ts'
import type { Usage } from '../model/usage.ts'
import { SseReader } from '../wire/sse.ts'
import { usageFromChat } from '../wire/usage-shape.ts'
import type { ClientSink } from './client-sink.ts'
import type { BackendRequest, Relay, RelayEnd } from './relay.ts'

export class PassthroughRelay implements Relay {
  readonly #path: string
  readonly #body: JsonObject
  readonly #sink: ClientSink
  readonly #headers: () => Readonly<Record<string, string>>
  #whole: string | null = null
  #reader: SseReader | null = null
  readonly omitted: readonly string[] = []
  readonly output: readonly ConversationItem[] = []
  ended: RelayEnd | null = null
  usage: Usage | null = null
  outputTokens = 0
  visible = false
  clogged = false

  constructor(path: string, body: JsonObject, sink: ClientSink, headers: () => Readonly<Record<string, string>>) {
    this.#path = path
    this.#body = body
    this.#sink = sink
    this.#headers = headers
  }

  get outputBegan(): boolean {
    return this.visible || this.#whole !== null
  }

  begin(_backend: Backend, served: ServedModel, _protocol: Protocol): BackendRequest {
    this.#whole = null
    this.ended = null
    this.#reader = new SseReader((data) => this.#count(data))
    return { path: this.#path, body: JSON.stringify({ ...this.#body, model: served.served }) }
  }

  whole(body: string): void {
    this.#whole = body
    this.usage = usageOf(body)
    this.outputTokens = this.usage?.outputTokens ?? 0
    this.ended = { status: 'completed', trouble: null }
  }

  data(chunk: Buffer): void {
    if (!this.visible) {
      this.visible = true
      this.#sink.head(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-cache',
        ...this.#headers(),
      })
    }
    try {
      this.#reader?.push(chunk)
    } catch {
      this.#reader = null // an event that is too long to read still goes through; it is not counted
    }
    this.clogged = !this.#sink.write(chunk)
  }

  eof(): void {
    this.ended = this.visible
      ? { status: 'completed', trouble: null }
      : { status: 'failed', trouble: 'the stream was empty' }
  }

  broken(why: string): void {
    this.ended = { status: 'failed', trouble: why }
  }

  #count(data: string): void {
    if (data === '[DONE]') return
    const usage = data.includes('"usage"') ? usageOf(data) : null
    if (usage === null) this.outputTokens++
    else this.usage = usage
  }

  finish(): void {
    if (this.#whole !== null) {
      this.#sink.head(200, {
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(this.#whole)),
        ...this.#headers(),
      })
      return this.#sink.end(this.#whole)
    }
    if (this.ended?.status === 'failed') {
      const error = {
        message: `The backend failed while answering: ${this.ended.trouble ?? ''}.`,
        type: 'server_error',
        param: null,
        code: 'backend_error',
      }
      this.#sink.write(`data: ${JSON.stringify({ error })}\n\n`)
    }
    this.#sink.end()
  }
}

function usageOf(body: string): Usage | null {
  try {
    const parsed: unknown = JSON.parse(body)
    return isObject(parsed) ? usageFromChat(parsed['usage'], undefined) : null
  } catch {
    return null // not ours to judge: the bytes go through as they are
  }
}
