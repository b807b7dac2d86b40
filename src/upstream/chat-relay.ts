/**
 * Relay of POST /v1/chat/completions: the backend's bytes pass as they are, unless its answer has to have another name.
 *
 * We always ask for a stream with usage (an engine notices a vanished client only while it streams, and usage teaches
 * the cache registry). Where the client asked for neither, the stream is folded into one body, or the usage chunk is
 * taken out again. Whole events only are passed on, so that a stream that dies mid-event never leaves half a line.
 */
import type { Backend, Protocol, ServedModel } from '../model/backend.ts'
import type { HomingError } from '../model/error.ts'
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'
import type { ConversationItem } from '../model/item.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import type { Usage } from '../model/usage.ts'
import { ChatCompletionFold } from '../wire/chat-completion.ts'
import { troubleOf, type StreamError } from '../wire/backend-stream.ts'
import { SseReader } from '../wire/sse.ts'
import { cachedAtMost } from '../wire/usage-shape.ts'
import type { ClientSink } from './client-sink.ts'
import type { BackendRequest, Relay, RelayEnd } from './relay.ts'

const USAGE = Buffer.from('"usage"')
const EMPTY = Buffer.alloc(0)
/** Finish reasons with which engines say that the answer is not whole. */
const BROKEN_OFF: ReadonlySet<string> = new Set(['abort', 'error'])
const DONE = Buffer.from('data: [DONE]\n\n')

/** What the client is to read instead of what the backend says of its answer. */
export type AnswerNames = { readonly id: string; readonly model?: string }

export class ChatRelay implements Relay {
  readonly #turn: ResolvedTurn
  readonly #sink: ClientSink
  readonly #headers: (pending: boolean) => Readonly<Record<string, string>>
  readonly #wantsUsage: boolean
  readonly #foundTokens: () => number
  readonly #nameFor: (given: string | null) => AnswerNames
  /** Null until the backend has named its answer. */
  #names: AnswerNames | null = null
  #fold = new ChatCompletionFold()
  #reader = this.#newReader()
  #held: Buffer[] = []
  #carry: Buffer = EMPTY
  #clogged = false
  #end: RelayEnd | null = null
  #done = false
  #headSent = false
  visible = false

  /**
   * `headers`: of the answer, read once; `pending`: no backend has answered yet. `foundTokens`: what this backend
   * had cached before it computed pieces of the prompt for this turn; Infinity where there were none. `nameFor`: what the
   * answer is called, asked once for each backend that begins one, with that backend's id of it.
   */
  constructor(
    turn: ResolvedTurn,
    sink: ClientSink,
    headers: (pending: boolean) => Readonly<Record<string, string>>,
    foundTokens: () => number,
    nameFor: (given: string | null) => AnswerNames,
  ) {
    this.#nameFor = nameFor
    this.#foundTokens = foundTokens
    this.#turn = turn
    this.#sink = sink
    this.#headers = headers
    const options = turn.body['stream_options']
    this.#wantsUsage = isObject(options) && options['include_usage'] === true
  }

  begin(_backend: Backend, served: ServedModel, _protocol: Protocol): BackendRequest {
    this.#fold = new ChatCompletionFold()
    this.#names = null
    this.#reader = this.#newReader()
    this.#held = []
    this.#carry = EMPTY
    this.#end = null
    this.#done = false
    return { path: '/v1/chat/completions', body: this.#bodyFor(served.served) }
  }

  /** The client's own bytes where only a stream with usage has to be asked for: writing 4 KB of JSON anew costs 14 us. */
  #bodyFor(model: string): string | Buffer {
    const { body, bodyBytes } = this.#turn
    const options = body['stream_options']
    const plain =
      body['model'] === model && (body['stream'] ?? true) === true && (options === undefined || this.#wantsUsage)
    if (plain && bodyBytes !== undefined) {
      const stream = body['stream'] === true ? '' : ',"stream":true'
      const usage = this.#wantsUsage ? '' : ',"stream_options":{"include_usage":true}'
      if (stream === '' && usage === '') return bodyBytes
      return Buffer.concat([bodyBytes.subarray(0, bodyBytes.lastIndexOf('}')), Buffer.from(`${stream}${usage}}`)])
    }
    return JSON.stringify({
      ...body,
      model,
      stream: true,
      stream_options: { ...(isObject(options) ? options : {}), include_usage: true },
    })
  }

  whole(body: string): void {
    let parsed: unknown
    try {
      parsed = JSON.parse(body)
    } catch {
      return this.broken('the backend answered 200 with a body that is neither a stream nor JSON')
    }
    if (!isObject(parsed)) return this.broken('the backend answered 200 with a body that is not an object')
    this.#fold.accept(parsed)
    if (this.#fold.error !== null) return this.#fail(this.#fold.error)
    this.#names = this.#nameFor(this.#fold.id)
    if (this.#turn.stream) this.#held.push(...asStream({ ...parsed, ...this.#renaming }, this.#wantsUsage))
    this.#finish()
  }

  data(chunk: Buffer): void {
    this.#clogged = false
    const bytes = this.#carry.length === 0 ? chunk : Buffer.concat([this.#carry, chunk])
    const cut = lastEventEnd(bytes)
    if (cut === 0) {
      this.#carry = bytes
      if (bytes.length > 16_777_216) this.broken('an event is larger than 16 MiB')
      return
    }
    let events = cut === bytes.length ? bytes : bytes.subarray(0, cut)
    this.#carry = cut === bytes.length ? EMPTY : bytes.subarray(cut)
    try {
      this.#reader.push(events)
    } catch (error) {
      return this.#fail({ status: null, message: error instanceof Error ? error.message : 'unreadable stream' })
    }
    if (this.#fold.error !== null && !this.visible) return this.#fail(this.#fold.error)
    if (this.#names === null && !this.#fold.isEmpty) this.#names = this.#nameFor(this.#fold.id)
    if (!this.#turn.stream) {
      if (this.#done) this.#finish()
      return
    }
    if (this.#done) events = withoutDone(events)
    const renaming = this.#renaming
    if (renaming !== null) events = renamed(events, renaming)
    const found = this.#foundTokens()
    if ((!this.#wantsUsage || found < Infinity) && events.indexOf(USAGE) !== -1) {
      this.#held.push(withUsage(events, this.#wantsUsage ? (usage) => cachedAtMost(usage, found) : null))
    }
    else this.#held.push(events)
    if (this.#fold.error !== null) {
      // the client sees the backend's own error event, and nothing of one that cannot be read
      if (this.#fold.error.kind === undefined) this.#held.pop()
      else this.#flush()
      return this.#fail(this.#fold.error)
    }
    if (this.#done) return this.#finish()
    // what follows the finish_reason (usage, [DONE]) comes at once and leaves in one write with it
    if (this.#fold.outputBegan && this.#fold.finishReason === null) this.#flush()
  }

  eof(): void {
    if (this.#carry.length > 0) this.data(Buffer.from('\n\n'))
    if (this.#end === null) this.#finish()
  }

  broken(why: string): void {
    if (this.#end !== null) return
    // behind the finish nothing was missing but the usage
    if (this.#fold.error === null && this.#fold.finishReason !== null) return this.#finish()
    this.#end = { status: 'failed', trouble: why }
  }

  #fail(error: StreamError): void {
    this.#end ??= { status: 'failed', trouble: troubleOf(error), reported: error }
  }

  get ended(): RelayEnd | null {
    return this.#end
  }

  get outputBegan(): boolean {
    return this.#fold.outputBegan
  }

  get clogged(): boolean {
    return this.#clogged
  }

  get usage(): Usage | null {
    return this.#fold.usage
  }

  get outputTokens(): number {
    return this.#fold.outputTokens
  }

  get output(): readonly ConversationItem[] {
    return this.#fold.items()
  }

  get omitted(): readonly string[] {
    return []
  }

  /** The name under which the answer's receipt is found: the backend's id as a rule. Null: nothing was answered. */
  get answerId(): string | null {
    return this.#names?.id ?? null
  }

  /** True once a status line has left, so that errors can only be told as events. */
  get committed(): boolean {
    return this.#headSent
  }

  /** Opens the stream although no backend has answered: the client learns that we are at it. */
  commitEarly(): void {
    if (!this.#turn.stream || this.#headSent || this.#sink.closed) return
    this.#sendHead(true)
    this.keepAlive()
  }

  /** An SSE comment keeps proxies and clients from giving up. */
  keepAlive(): void {
    if (this.#headSent && !this.#sink.closed) this.#sink.write(': waiting\n\n')
  }

  /** Nobody could answer after the head had left: the stream ends as one that failed. */
  failCommitted(error: HomingError): void {
    this.#sink.end(`data: ${JSON.stringify(error.toBody())}\n\ndata: [DONE]\n\n`)
  }

  /** Call when the turn's records are written: sends what was kept back and ends the answer. */
  finish(): void {
    if (this.#turn.stream) {
      if (this.#end?.status === 'failed' && this.#fold.error?.kind === undefined) {
        const error = {
          message: `The backend failed while answering: ${this.#end.trouble ?? ''}.`,
          type: 'server_error',
          param: null,
          code: 'backend_error',
        }
        this.#held.push(Buffer.from(`data: ${JSON.stringify({ error })}\n\n`))
      }
      this.#held.push(DONE)
      this.visible = true
      this.#sendHead(false)
      this.#sink.end(this.#held.length === 1 ? DONE : Buffer.concat(this.#held))
      this.#held = []
      return
    }
    const completion: JsonObject = { ...this.#fold.completion(), ...this.#renaming }
    const { usage } = completion
    const body = JSON.stringify(
      isObject(usage) ? { ...completion, usage: cachedAtMost(usage, this.#foundTokens()) } : completion,
    )
    this.#sink.head(200, {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
      ...this.#headers(false),
    })
    this.#sink.end(body)
  }

  #finish(): void {
    if (this.#end !== null) return
    const reason = this.#fold.finishReason
    if (reason === null || BROKEN_OFF.has(reason)) {
      this.#end = {
        status: 'failed',
        trouble:
          reason === null ? 'the stream ended without a finish_reason' : `the backend stopped the answer (${reason})`,
      }
      return
    }
    if (reason === 'length') this.#end = { status: 'incomplete', trouble: null, cut: 'max_output_tokens' }
    else if (reason === 'content_filter') this.#end = { status: 'incomplete', trouble: null, cut: reason }
    else this.#end = { status: 'completed', trouble: null }
  }

  /** Null as a rule: the answer is called what its backend calls it. */
  get #renaming(): AnswerNames | null {
    const names = this.#names
    if (names === null) return null
    const { id, model } = this.#fold
    return names.id === id && (names.model ?? model) === model ? null : names
  }

  #newReader(): SseReader {
    return new SseReader((data) => {
      if (data === '[DONE]') this.#done = true
      else this.#fold.push(data)
    })
  }

  #sendHead(pending: boolean): void {
    if (this.#headSent) return
    this.#headSent = true
    this.#sink.head(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      ...this.#headers(pending),
    })
  }

  #flush(): void {
    if (this.#held.length === 0 || this.#sink.closed) return
    this.visible = true
    this.#sendHead(false)
    const held = this.#held
    this.#held = []
    this.#clogged = !this.#sink.write(held.length === 1 ? held[0]! : Buffer.concat(held))
  }
}

/** Offset behind the last blank line, 0 when no event is complete. */
function lastEventEnd(bytes: Buffer): number {
  const length = bytes.length
  if (length >= 2 && bytes[length - 1] === 10 && bytes[length - 2] === 10) return length
  const unix = bytes.lastIndexOf('\n\n')
  const dos = bytes.lastIndexOf('\r\n\r\n')
  return Math.max(unix === -1 ? 0 : unix + 2, dos === -1 ? 0 : dos + 4)
}

/** `[DONE]` is sent by `finish`, once the turn's records are written. */
function withoutDone(events: Buffer): Buffer {
  const at = Math.max(events.lastIndexOf('data: [DONE]'), events.lastIndexOf('data:[DONE]'))
  return at === -1 ? events : events.subarray(0, at)
}

/** The same events under other names; what holds no answer (comments, errors) as it is. */
function renamed(events: Buffer, names: AnswerNames): Buffer {
  let told = ''
  for (const block of events.toString('utf8').split(/\r?\n\r?\n/)) {
    if (block === '') continue
    // some servers name their events: other lines stay as they are
    const lines = block.split(/\r?\n/)
    const at = lines.findIndex((line) => line.startsWith('data:'))
    try {
      const chunk: unknown = at === -1 ? null : JSON.parse(lines[at]!.slice(5))
      if (isObject(chunk) && Array.isArray(chunk['choices'])) lines[at] = `data: ${JSON.stringify({ ...chunk, ...names })}`
    } catch {
      // no JSON, or in several lines: the fold has judged it
    }
    told += `${lines.join('\n')}\n\n`
  }
  return Buffer.from(told)
}

/**
 * The same events with their usage changed, or (null) without the usage that only we asked for; a chunk that carries
 * nothing else goes then.
 */
function withUsage(events: Buffer, change: ((usage: JsonObject) => JsonObject) | null): Buffer {
  let kept = ''
  for (const block of events.toString('utf8').split(/\r?\n\r?\n/)) {
    if (block === '') continue
    const data = block.startsWith('data:') ? block.slice(5).trim() : null
    if (data === null || !data.includes('"usage"')) {
      kept += `${block}\n\n`
      continue
    }
    try {
      const chunk = JSON.parse(data) as JsonObject
      const { usage } = chunk
      if (usage === undefined) kept += `${block}\n\n`
      else if (change !== null) {
        kept += isObject(usage) ? `data: ${JSON.stringify({ ...chunk, usage: change(usage) })}\n\n` : `${block}\n\n`
      }
      else if (Array.isArray(chunk['choices']) && chunk['choices'].length > 0) {
        const { usage: _usage, ...rest } = chunk
        kept += `data: ${JSON.stringify(rest)}\n\n`
      }
    } catch {
      kept += `${block}\n\n`
    }
  }
  return Buffer.from(kept)
}

/** A whole completion as chunks, for a client that asked for a stream. */
function asStream(completion: JsonObject, wantsUsage: boolean): Buffer[] {
  const { choices, usage, ...rest } = completion
  const head = { ...rest, object: 'chat.completion.chunk' }
  const chunks: JsonObject[] = (Array.isArray(choices) ? (choices as readonly JsonObject[]) : []).flatMap((choice) => [
    { ...head, choices: [{ index: choice['index'] ?? 0, delta: deltaOf(choice['message']), finish_reason: null }] },
    {
      ...head,
      choices: [{ index: choice['index'] ?? 0, delta: {}, finish_reason: choice['finish_reason'] ?? 'stop' }],
    },
  ])
  if (wantsUsage) chunks.push({ ...head, choices: [], usage })
  return chunks.map((chunk) => Buffer.from(`data: ${JSON.stringify(chunk)}\n\n`))
}

/** In chunks, calls carry the place at which clients collect their parts. */
export function deltaOf(message: JsonValue | undefined): JsonObject {
  if (!isObject(message)) return {}
  const calls = message['tool_calls']
  if (!Array.isArray(calls)) return message
  return { ...message, tool_calls: (calls as readonly JsonObject[]).map((call, index) => ({ index, ...call })) }
}
