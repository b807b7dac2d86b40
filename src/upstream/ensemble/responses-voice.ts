/**
 * The client of POST /v1/responses: one response under the merged answer's id. A stream opens when it is certain that there
 * will be an answer (or when silence has lasted too long) with `response.created` and `response.in_progress`; progress comes
 * as SSE comments, since official clients throw at events that they do not know. The answer follows as the events with which
 * it would have come, live where one model's answer is known to be the one.
 */
import type { HomingError } from '../../model/error.ts'
import type { ResponseEvent } from '../../model/event.ts'
import type { StoredItem } from '../../model/item.ts'
import type { JsonObject } from '../../model/json.ts'
import { replayItems } from '../../wire/replay-items.ts'
import { encodeEvent, encodeOpening } from '../../wire/sse.ts'
import type { ClientSink } from '../client-sink.ts'
import type { MergedEnding, MergedVoice } from './merged-voice.ts'

/** Said already, by the opening, or at the end under the merged answer's id. */
const NOT_PASSED: ReadonlySet<string> = new Set([
  'response.created',
  'response.in_progress',
  'response.completed',
  'response.incomplete',
  'response.failed',
])

export class ResponsesVoice implements MergedVoice {
  readonly #sink: ClientSink
  readonly #stream: boolean
  readonly #resource: JsonObject
  readonly #headers: () => Readonly<Record<string, string>>
  #sequence = 0
  committed = false
  visible = false

  constructor(sink: ClientSink, stream: boolean, resource: JsonObject, headers: () => Readonly<Record<string, string>>) {
    this.#sink = sink
    this.#stream = stream
    this.#resource = resource
    this.#headers = headers
  }

  commitEarly(): void {
    if (!this.#stream || this.committed || this.#sink.closed) return
    this.#open(this.#headers())
  }

  keepAlive(): void {
    if (this.committed && !this.#sink.closed) this.#sink.write(': waiting\n\n')
  }

  progress(told: string): void {
    if (!this.#stream || this.#sink.closed) return
    this.commitEarly()
    this.#sink.write(`: ${told}\n\n`)
  }

  live(event: JsonObject): boolean {
    const type = String(event['type'])
    if (NOT_PASSED.has(type) || this.#sink.closed) return true
    this.commitEarly()
    this.visible = true
    const { sequence_number: _sequence, ...rest } = event
    return this.#sink.write(encodeEvent({ ...rest, type }, this.#sequence++))
  }

  finish({ body, output, headers }: MergedEnding): void {
    if (!this.#stream) {
      const text = JSON.stringify(body)
      this.#sink.head(200, { ...headers, 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) })
      return this.#sink.end(text)
    }
    if (!this.committed) this.#open(headers)
    let text = ''
    const write = (event: ResponseEvent): void => {
      text += encodeEvent(event, this.#sequence++)
    }
    if (!this.visible && body['status'] !== 'failed') replayItems(output as readonly StoredItem[], write)
    write({ type: `response.${String(body['status'])}`, response: body })
    this.#sink.end(`${text}data: [DONE]\n\n`)
  }

  fail({ code, message }: HomingError): void {
    const response = { ...this.#resource, status: 'failed', error: { code, message } }
    this.#sink.end(`${encodeEvent({ type: 'response.failed', response }, this.#sequence++)}data: [DONE]\n\n`)
  }

  #open(headers: Readonly<Record<string, string>>): void {
    this.committed = true
    this.#sink.head(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
    const resource = JSON.stringify(this.#resource)
    this.#sink.write(
      encodeOpening('response.created', resource, this.#sequence++) +
        encodeOpening('response.in_progress', resource, this.#sequence++),
    )
  }
}
