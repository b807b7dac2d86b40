/**
 * The client of POST /v1/chat/completions: one completion under the merged answer's id. Progress comes as SSE comments. The
 * last chunk of the answer carries the field `homing`; the usage of all members together comes where usage was asked for.
 */
import type { HomingError } from '../../model/error.ts'
import { isObject, type JsonObject } from '../../model/json.ts'
import { deltaOf } from '../chat-relay.ts'
import type { ClientSink } from '../client-sink.ts'
import type { MergedEnding, MergedVoice } from './merged-voice.ts'

export type ChatVoiceOptions = {
  readonly id: string
  readonly stream: boolean
  /** `stream_options.include_usage`. */
  readonly wantsUsage: boolean
  readonly headers: () => Readonly<Record<string, string>>
}

export class ChatVoice implements MergedVoice {
  readonly #sink: ClientSink
  readonly #options: ChatVoiceOptions
  /** Chunks that end the live answer wait for what only its end can tell. */
  #last: JsonObject | null = null
  committed = false
  visible = false

  constructor(sink: ClientSink, options: ChatVoiceOptions) {
    this.#sink = sink
    this.#options = options
  }

  commitEarly(): void {
    if (!this.#options.stream || this.committed || this.#sink.closed) return
    this.#open(this.#options.headers())
    this.keepAlive()
  }

  keepAlive(): void {
    if (this.committed && !this.#sink.closed) this.#sink.write(': waiting\n\n')
  }

  progress(told: string): void {
    if (!this.#options.stream || this.#sink.closed) return
    if (!this.committed) this.#open(this.#options.headers())
    this.#sink.write(`: ${told}\n\n`)
  }

  live(chunk: JsonObject): boolean {
    const choices = Array.isArray(chunk['choices']) ? (chunk['choices'] as readonly JsonObject[]) : []
    if (choices.length === 0 || this.#sink.closed) return true
    const { usage: _usage, ...rest } = chunk
    const own = { ...rest, id: this.#options.id }
    if (choices.some((choice) => (choice['finish_reason'] ?? null) !== null)) {
      this.#last = own
      return true
    }
    if (!this.committed) this.#open(this.#options.headers())
    this.visible = true
    return this.#sink.write(frame(own))
  }

  finish({ body, headers }: MergedEnding): void {
    const { stream, wantsUsage } = this.#options
    if (!stream) {
      const text = JSON.stringify(body)
      this.#sink.head(200, { ...headers, 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) })
      return this.#sink.end(text)
    }
    if (!this.committed) this.#open(headers)
    const { choices, usage, homing, ...rest } = body
    const head = { ...rest, object: 'chat.completion.chunk' }
    let text = ''
    if (!this.visible) {
      const whole = Array.isArray(choices) ? (choices as readonly JsonObject[]) : []
      for (const choice of whole) {
        const { message, finish_reason: reason, ...fields } = choice
        text += frame({ ...head, choices: [{ ...fields, delta: deltaOf(message), finish_reason: null }] })
        this.#last = { ...head, choices: [{ index: choice['index'] ?? 0, delta: {}, finish_reason: reason ?? 'stop' }] }
      }
    }
    if (this.#last !== null) text += frame({ ...this.#last, homing })
    if (wantsUsage && isObject(usage)) text += frame({ ...head, choices: [], usage })
    this.#sink.end(`${text}data: [DONE]\n\n`)
  }

  fail(error: HomingError): void {
    this.#sink.end(`${frame(error.toBody())}data: [DONE]\n\n`)
  }

  #open(headers: Readonly<Record<string, string>>): void {
    this.committed = true
    this.#sink.head(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
  }
}

const frame = (value: JsonObject): string => `data: ${JSON.stringify(value)}\n\n`
