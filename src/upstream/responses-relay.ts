/**
 * Relay of POST /v1/responses: a backend's stream becomes our canonical events.
 *
 * Events of an attempt are collected until one carries output; then head, `response.created` and all of it leave at
 * once, and later events leave once per backend chunk (one write however many tokens it held). The terminal event is
 * kept back for the caller, who stores the response first and then calls `finish`.
 */
import type { Backend, Protocol, ServedModel } from '../model/backend.ts'
import { isObject, type JsonObject } from '../model/json.ts'
import type { ConversationItem } from '../model/item.ts'
import type { ResponseEvent } from '../model/event.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import type { Usage } from '../model/usage.ts'
import { troubleOf, type BackendStream } from '../wire/backend-stream.ts'
import { createChatStream } from '../wire/chat-stream.ts'
import { renderChat } from '../wire/render-chat.ts'
import { renderResponses } from '../wire/render-responses.ts'
import { ResponseAssembly, type IdPrefix } from '../wire/response-assembly.ts'
import { createResponsesStream } from '../wire/responses-stream.ts'
import { encodeEvent, encodeOpening, SseReader } from '../wire/sse.ts'
import type { ClientSink } from './client-sink.ts'
import type { BackendRequest, Relay, RelayEnd } from './relay.ts'

export type ResponsesRelayPorts = {
  readonly resource: JsonObject
  readonly newId: (prefix: IdPrefix) => string
  readonly nowSeconds: () => number
  /** Response headers of the stream; called once, when the first byte leaves. `pending`: no backend has answered yet. */
  readonly headers: (pending: boolean) => Readonly<Record<string, string>>
}

export class ResponsesRelay implements Relay {
  readonly #turn: ResolvedTurn
  readonly #sink: ClientSink
  readonly #ports: ResponsesRelayPorts
  #assembly!: ResponseAssembly
  #stream: BackendStream | null = null
  #reader: SseReader | null = null
  #pending = ''
  /** The response as it is at the beginning, with the model that answers once that is known; and its text. */
  #resource: JsonObject
  #resourceText: string | null = null
  #sequence = 0
  #flushedSequence = 0
  #headSent = false
  #createdSent = false
  #clogged = false
  #omitted: readonly string[] = []
  visible = false

  constructor(turn: ResolvedTurn, sink: ClientSink, ports: ResponsesRelayPorts) {
    this.#turn = turn
    this.#sink = sink
    this.#ports = ports
    this.#resource = ports.resource
    this.#reset()
  }

  begin(backend: Backend, served: ServedModel, protocol: Protocol): BackendRequest {
    const rendered =
      protocol === 'chat'
        ? renderChat(this.#turn, served, backend.engine)
        : renderResponses(this.#turn, served, backend.engine)
    this.#omitted = rendered.omitted
    this.#nameModel(served.name)
    this.#reset()
    this.#assembly.useTools(rendered.toolNames)
    const stream =
      protocol === 'chat'
        ? createChatStream(this.#assembly)
        : createResponsesStream(this.#assembly, { maxOutputTokens: this.#turn.maxOutputTokens })
    this.#stream = stream
    this.#reader = new SseReader((data) => stream.push(data))
    return { path: protocol === 'chat' ? '/v1/chat/completions' : '/v1/responses', body: JSON.stringify(rendered.body) }
  }

  /** A client that asked for a group is told who answers. */
  #nameModel(name: string): void {
    if (this.#resource['model'] === name) return
    this.#resource = { ...this.#resource, model: name }
    this.#resourceText = null
  }

  /** Sends head, created and in_progress although no backend has answered: the client learns that we are at it. */
  commitEarly(): void {
    if (!this.#turn.stream || this.#createdSent || this.#sink.closed) return
    this.#assembly.open()
    this.#flush()
  }

  /** An SSE comment keeps proxies and clients from giving up. */
  keepAlive(): void {
    if (this.#headSent && !this.#sink.closed) this.#sink.write(': waiting\n\n')
  }

  whole(body: string): void {
    let parsed: unknown
    try {
      parsed = JSON.parse(body)
    } catch {
      return this.broken('the backend answered 200 with a body that is neither a stream nor JSON')
    }
    if (!isObject(parsed)) return this.broken('the backend answered 200 with a body that is not an object')
    for (const data of asStream(parsed)) this.#stream!.push(data)
    this.eof()
  }

  data(chunk: Buffer): void {
    this.#clogged = false
    try {
      this.#reader!.push(chunk)
    } catch (error) {
      return this.broken(error instanceof Error ? error.message : 'unreadable stream')
    }
    this.#afterPush()
  }

  eof(): void {
    try {
      this.#reader!.end()
    } catch (error) {
      return this.broken(error instanceof Error ? error.message : 'unreadable stream')
    }
    this.#stream!.end()
    this.#afterPush()
  }

  broken(why: string): void {
    if (this.ended !== null) return
    this.#stream!.broken(why)
    this.#afterPush()
  }

  get ended(): RelayEnd | null {
    if (this.#stream === null) return null
    const { finished, error } = this.#stream
    if (finished !== null) {
      const { type } = finished.terminal
      const { trouble } = finished
      if (type === 'response.incomplete') return { status: 'incomplete', trouble, cut: cutOf(finished.terminal) }
      return { status: type === 'response.completed' ? 'completed' : 'failed', trouble }
    }
    return error === null ? null : { status: 'failed', trouble: troubleOf(error), reported: error }
  }

  /** The last event, to be sent by `finish`; call it once, when the attempt has ended. */
  takeTerminal(): ResponseEvent {
    return (
      this.#stream?.finished?.terminal ??
      this.#assembly.fail({ code: 'server_error', message: 'The backend failed before it answered.' })
    )
  }

  get outputBegan(): boolean {
    return this.#stream?.firstOutput ?? false
  }

  get clogged(): boolean {
    return this.#clogged
  }

  get usage(): Usage | null {
    return this.#stream?.usage ?? null
  }

  get outputTokens(): number {
    return this.#stream?.outputTokens ?? 0
  }

  get output(): readonly ConversationItem[] {
    return this.#assembly.output
  }

  get omitted(): readonly string[] {
    return this.#omitted
  }

  /** True once a status line has left, so that errors can only be told as events. */
  get committed(): boolean {
    return this.#headSent
  }

  /** The last event of the stream and its end. */
  finish(terminal: ResponseEvent): void {
    if (!this.#createdSent) this.#assembly.open()
    this.#flush()
    this.#sink.end(`${encodeEvent(terminal, this.#sequence++)}data: [DONE]\n\n`)
  }

  /** Every attempt failed after the head had left: the stream still gets its terminal event. */
  failCommitted(code: string, message: string): ResponseEvent {
    return this.#assembly.fail({ code, message })
  }

  #reset(): void {
    this.#pending = ''
    this.#sequence = this.#flushedSequence
    this.#stream = null
    this.#reader = null
    const { newId, nowSeconds } = this.#ports
    const resource = this.#resource
    this.#assembly = new ResponseAssembly({
      resource,
      toolNames: new Map(),
      newId,
      nowSeconds,
      emit: (event) => this.#emit(event),
    })
  }

  #emit(event: ResponseEvent): void {
    if (!this.#turn.stream) return
    const opening = event.type === 'response.created' || event.type === 'response.in_progress'
    if (opening && this.#createdSent) return
    this.#pending += opening
      ? encodeOpening(event.type, (this.#resourceText ??= JSON.stringify(this.#resource)), this.#sequence++)
      : encodeEvent(event, this.#sequence++)
  }

  #afterPush(): void {
    if (!this.#turn.stream || !this.#assembly.visible) return
    // a stream that failed before any of it left is thrown away whole: another backend may answer
    if (!this.visible && this.ended?.status === 'failed') return
    this.visible = true
    this.#flush()
  }

  #flush(): void {
    if (this.#pending === '' || this.#sink.closed) return
    if (!this.#headSent) {
      this.#headSent = true
      this.#sink.head(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-cache',
        ...this.#ports.headers(!this.visible),
      })
    }
    this.#createdSent = true
    const text = this.#pending
    this.#pending = ''
    this.#flushedSequence = this.#sequence
    this.#clogged = !this.#sink.write(text)
  }
}

function cutOf({ response }: ResponseEvent): 'max_output_tokens' | 'content_filter' {
  const details = isObject(response) ? response['incomplete_details'] : undefined
  return isObject(details) && details['reason'] === 'content_filter' ? 'content_filter' : 'max_output_tokens'
}

/** A whole answer as the stream it would have been: one chunk that holds everything. */
function asStream(body: JsonObject): string[] {
  if (body['object'] === 'response') return [JSON.stringify({ type: 'response.completed', response: body })]
  const choices = Array.isArray(body['choices']) ? (body['choices'] as readonly JsonObject[]) : []
  const chunks = choices.map((choice) => ({
    index: choice['index'] ?? 0,
    delta: choice['message'] ?? {},
    finish_reason: choice['finish_reason'] ?? 'stop',
    logprobs: choice['logprobs'] ?? null,
  }))
  return [JSON.stringify({ ...body, object: 'chat.completion.chunk', choices: chunks }), '[DONE]']
}
