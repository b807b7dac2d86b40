/**
 * Server-sent events, both directions.
 *
 * Reading works on bytes up to the last line end of a chunk: a line end never lies inside a UTF-8 sequence, so what
 * precedes it can be decoded at once and only the unfinished line is kept as bytes. The common chunk, one whole event,
 * costs one decode and one scan. Cost: O(bytes), also when a line arrives one byte at a time. Limit: an event (or a
 * line) longer than `maxEventBytes` throws `SseOverflow`; nothing else throws. Line ends are \n, \r\n and \r, as in the
 * WHATWG HTML standard, section 9.2.6; unlike it, an event that the stream's end leaves without its blank line counts.
 */
import type { ResponseEvent } from '../model/event.ts'

export const MAX_EVENT_BYTES = 16 * 1024 * 1024

export class SseOverflow extends Error {
  readonly limitBytes: number

  constructor(limitBytes: number) {
    super(`An event of the stream is larger than ${limitBytes} bytes.`)
    this.name = 'SseOverflow'
    this.limitBytes = limitBytes
  }
}

const LINE_FEED = 10
const CARRIAGE_RETURN = 13

export class SseReader {
  readonly #onData: (data: string, event: string | null) => void
  readonly #maxEventBytes: number
  /** Bytes of the unfinished line. */
  #rest: Buffer[] = []
  #restBytes = 0
  /** The last line ended with \r at the end of a chunk: a \n that follows belongs to it. */
  #skipLineFeed = false
  #started = false
  #data: string | null = null
  #event: string | null = null

  constructor(onData: (data: string, event: string | null) => void, maxEventBytes = MAX_EVENT_BYTES) {
    this.#onData = onData
    this.#maxEventBytes = maxEventBytes
  }

  push(chunk: Uint8Array): void {
    let bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    if (bytes.length === 0) return
    if (this.#skipLineFeed) {
      this.#skipLineFeed = false
      if (bytes[0] === LINE_FEED) bytes = bytes.subarray(1)
    }
    const end = Math.max(bytes.lastIndexOf(LINE_FEED), bytes.lastIndexOf(CARRIAGE_RETURN)) + 1
    if (end === 0) {
      this.#keep(bytes)
      return
    }
    this.#skipLineFeed = bytes[end - 1] === CARRIAGE_RETURN
    if (this.#restBytes === 0) {
      this.#lines(bytes.toString('utf8', 0, end))
    } else {
      this.#keep(bytes.subarray(0, end))
      this.#lines(this.#takeRest())
    }
    if (end < bytes.length) this.#keep(bytes.subarray(end))
  }

  /** The stream ended: an unfinished line and an event without its blank line are complete now. */
  end(): void {
    if (this.#restBytes > 0) this.#lines(this.#takeRest() + '\n')
    this.#dispatch()
  }

  #keep(bytes: Buffer): void {
    this.#restBytes += bytes.length
    if (this.#restBytes > this.#maxEventBytes) throw new SseOverflow(this.#maxEventBytes)
    this.#rest.push(bytes)
  }

  #takeRest(): string {
    const text = this.#rest.length === 1 ? this.#rest[0]!.toString('utf8') : Buffer.concat(this.#rest).toString('utf8')
    this.#rest = []
    this.#restBytes = 0
    return text
  }

  /** `text` is whole lines, the last one ended. */
  #lines(text: string): void {
    if (!this.#started) {
      this.#started = true
      if (text.charCodeAt(0) === 0xfeff) text = text.slice(1)
    }
    if (text.includes('\r')) text = text.replace(/\r\n?/g, '\n')
    let start = 0
    for (;;) {
      const end = text.indexOf('\n', start)
      if (end === -1) return
      if (end === start) this.#dispatch()
      else this.#line(text, start, end)
      start = end + 1
    }
  }

  #line(text: string, start: number, end: number): void {
    let colon = text.indexOf(':', start)
    if (colon === -1 || colon > end) colon = end
    if (colon === start) return
    const length = colon - start
    // A field value begins after the colon and one optional space.
    const from = colon === end ? end : text.charCodeAt(colon + 1) === 32 ? colon + 2 : colon + 1
    if (length === 4 && text.startsWith('data', start)) {
      const value = text.slice(from, end)
      if (this.#data === null) this.#data = value
      else this.#data += '\n' + value
      if (this.#data.length > this.#maxEventBytes) throw new SseOverflow(this.#maxEventBytes)
    } else if (length === 5 && text.startsWith('event', start)) {
      this.#event = text.slice(from, end)
    }
  }

  #dispatch(): void {
    const data = this.#data
    const event = this.#event
    this.#data = null
    this.#event = null
    if (data !== null) this.#onData(data, event)
  }
}

/** The frame of one event; `sequence_number` comes last. JSON text has no raw line end, so one data line is enough. */
export function encodeEvent(event: ResponseEvent, sequenceNumber: number): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event).slice(0, -1)},"sequence_number":${sequenceNumber}}\n\n`
}

/**
 * `response.created` and `response.in_progress` carry the same resource: its JSON text is made once for both (4 us with
 * 1 KB of instructions, 90 us with an agent's 30 KB of tools).
 */
export function encodeOpening(type: string, responseText: string, sequenceNumber: number): string {
  return `event: ${type}\ndata: {"type":"${type}","response":${responseText},"sequence_number":${sequenceNumber}}\n\n`
}

/** What ends every stream, after the terminal event. */
export const DONE_FRAME = 'data: [DONE]\n\n'
