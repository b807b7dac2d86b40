/** A ClientSink over node:http. Header objects are written once; a closed socket swallows what still comes. */
import type { ServerResponse } from 'node:http'
import type { ClientSink } from '../upstream/client-sink.ts'

export class SocketSink implements ClientSink {
  readonly #response: ServerResponse
  readonly #requestId: string
  #ended = false
  /** Headers of every answer to this request, read when its head is sent. */
  standing: (() => Readonly<Record<string, string>>) | null = null

  constructor(response: ServerResponse, requestId: string) {
    this.#response = response
    this.#requestId = requestId
  }

  get closed(): boolean {
    return this.#ended || this.#response.destroyed
  }

  get headSent(): boolean {
    return this.#response.headersSent
  }

  head(status: number, headers: Readonly<Record<string, string>>): void {
    if (this.closed || this.#response.headersSent) return
    this.#response.writeHead(status, { 'x-request-id': this.#requestId, ...this.standing?.(), ...headers })
  }

  write(data: string | Uint8Array): boolean {
    if (this.closed) return true
    return this.#response.write(data)
  }

  end(data?: string | Uint8Array): void {
    if (this.closed) return
    this.#ended = true
    if (data === undefined) this.#response.end()
    else this.#response.end(data)
  }

  json(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): void {
    const text = JSON.stringify(body)
    this.head(status, {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(text)),
      ...headers,
    })
    this.end(text)
  }

  cut(): void {
    this.#ended = true
    this.#response.destroy()
  }

  onDrain(listener: () => void): void {
    this.#response.once('drain', listener)
  }

  onClosed(listener: () => void): void {
    if (this.#response.destroyed) return listener() // it left while its body was being unpacked
    this.#response.once('close', () => {
      if (!this.#ended) listener()
    })
  }
}
