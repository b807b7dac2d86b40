/**
 * Where the answer of a member goes instead of to a client. A whole answer is kept; of a stream each event is handed on, and
 * whoever takes it says whether the client can take more.
 */
import { isObject, type JsonObject } from '../../model/json.ts'
import { SseReader } from '../../wire/sse.ts'
import type { ClientSink } from '../client-sink.ts'

export type LiveEvents = {
  /** False when the client reads more slowly than we write. */
  readonly take: (event: JsonObject) => boolean
  readonly onDrain: (listener: () => void) => void
  /** The client has read nothing for too long. */
  readonly cut: () => void
}

export class CollectingSink implements ClientSink {
  readonly #live: LiveEvents | null
  readonly #reader: SseReader
  #room = true
  closed = false
  headers: Readonly<Record<string, string>> = {}
  /** The answer, or the last event of its stream. */
  body: JsonObject | null = null

  constructor(live: LiveEvents | null) {
    this.#live = live
    this.#reader = new SseReader((data) => this.#event(data))
  }

  head(_status: number, headers: Readonly<Record<string, string>>): void {
    this.headers = headers
  }

  write(data: string | Uint8Array): boolean {
    this.#room = true
    if (!this.closed) this.#reader.push(typeof data === 'string' ? Buffer.from(data) : data)
    return this.#room
  }

  end(data?: string | Uint8Array): void {
    if (this.closed) return
    if (this.#live !== null) {
      if (data !== undefined) this.write(data)
    } else if (data !== undefined) this.#keep(typeof data === 'string' ? data : Buffer.from(data).toString('utf8'))
    this.closed = true
  }

  cut(): void {
    this.closed = true
    this.#live?.cut()
  }

  onDrain(listener: () => void): void {
    if (this.#live === null) listener()
    else this.#live.onDrain(listener)
  }

  /** A member is called off by its signal. */
  onClosed(): void {}

  #event(data: string): void {
    if (this.#live === null || data === '[DONE]') return
    const event = this.#keep(data)
    if (event !== null && !this.#live.take(event)) this.#room = false
  }

  #keep(data: string): JsonObject | null {
    let value: unknown
    try {
      value = JSON.parse(data)
    } catch {
      return null // the relay has judged it: what it cannot read ends the answer
    }
    if (!isObject(value)) return null
    this.body = value
    return value
  }
}
