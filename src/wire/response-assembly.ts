/**
 * One response being written: backend deltas in, the canonical event sequence and the final resource out.
 *
 *   created, in_progress, then per item: output_item.added, its parts and deltas, output_item.done, then one terminal.
 *
 * Ids and indexes are ours and the same in every event, whatever the backend sends. Text and reasoning close each other
 * and are closed by a tool call; tool calls stay open until the end, because engines may interleave their arguments.
 * A call is announced once its name is known: names may come late or in pieces, so it waits for its first argument.
 * `output_index` is given when an item is announced, so it counts without gaps. Ordering: Open Responses, and what the
 * openai client's accumulator enforces. Terminal events are returned, not emitted: the caller stores first.
 */
import type { ResponseEvent } from '../model/event.ts'
import type { StoredItem } from '../model/item.ts'
import type { JsonObject } from '../model/json.ts'
import type { Usage } from '../model/usage.ts'
import { OpenCall } from './open-call.ts'
import { OpenMessage, OpenReasoning, type Emit, type OpenItem } from './open-item.ts'
import type { ToolNames } from './tool-names.ts'
import { usageToResponses } from './usage-shape.ts'

export type IdPrefix = 'msg' | 'rs' | 'fc' | 'ctc' | 'call'

export type AssemblyOptions = {
  /** From `newResource`; it is read, never changed. */
  readonly resource: JsonObject
  readonly toolNames: ToolNames
  readonly newId: (prefix: IdPrefix) => string
  readonly nowSeconds: () => number
  readonly emit: Emit
}

export type ToolCallPart = {
  readonly id?: string | null
  readonly name?: string | null
  readonly arguments?: string | null
}

/** A call of which something is known; `open` once it is announced. */
type Call = { id: string; name: string; held: string; open: OpenCall | null }

export class ResponseAssembly {
  readonly #resource: JsonObject
  readonly #newId: (prefix: IdPrefix) => string
  readonly #nowSeconds: () => number
  readonly #emitEvent: Emit
  #toolNames: ToolNames
  readonly #items: OpenItem[] = []
  /** By the backend's index. */
  readonly #calls = new Map<number, Call>()
  readonly #callIds = new Set<string>()
  #message: OpenMessage | null = null
  #reasoning: OpenReasoning | null = null
  #usage: Usage | null = null
  #opened = false
  #visible = false
  #terminal: ResponseEvent | null = null
  #finalOutput: readonly StoredItem[] | null = null
  readonly #emit: Emit = (event) => {
    this.#visible = true
    this.#emitEvent(event)
  }

  constructor(options: AssemblyOptions) {
    this.#resource = options.resource
    this.#toolNames = options.toolNames
    this.#newId = options.newId
    this.#nowSeconds = options.nowSeconds
    this.#emitEvent = options.emit
  }

  /** `response.created` and `response.in_progress` were emitted. */
  get opened(): boolean {
    return this.#opened
  }

  /** An event with the backend's output was emitted: from here on no other backend can take over. */
  get visible(): boolean {
    return this.#visible
  }

  /** The items so far, in order. At the end the list in the terminal event: whoever compares them finds the same objects. */
  get output(): readonly StoredItem[] {
    return this.#finalOutput ?? this.#items.map((entry) => entry.item)
  }

  open(): void {
    if (this.#opened || this.#terminal !== null) return
    this.#opened = true
    this.#emitEvent({ type: 'response.created', response: this.#resource })
    this.#emitEvent({ type: 'response.in_progress', response: this.#resource })
  }

  /** The next backend was given other tool names. Only before anything is visible. */
  useTools(toolNames: ToolNames): void {
    this.#toolNames = toolNames
  }

  reasoning(text: string): void {
    if (text === '' || this.#terminal !== null) return
    if (this.#reasoning === null) {
      this.#begin()
      this.#reasoning = new OpenReasoning(this.#newId('rs'), this.#items.length, this.#emit)
      this.#items.push(this.#reasoning)
    }
    this.#reasoning.text(text)
  }

  /** `logprobs` in the Responses shape, see `logprobs.ts`. */
  text(text: string, logprobs?: readonly JsonObject[]): void {
    if ((text === '' && !logprobs?.length) || this.#terminal !== null) return
    this.#openMessage().text(text, logprobs)
  }

  refusal(text: string): void {
    if (text === '' || this.#terminal !== null) return
    this.#openMessage().refusal(text)
  }

  /** `index` tells parallel calls apart; `arguments` is the next fragment. */
  toolCall(index: number, part: ToolCallPart): void {
    if (this.#terminal !== null) return
    let call = this.#calls.get(index)
    if (call === undefined) {
      this.#announceHeld()
      call = { id: '', name: '', held: '', open: null }
      this.#calls.set(index, call)
    }
    if (call.open === null) {
      if (part.id) call.id ||= part.id
      // Some engines repeat the whole name with every fragment.
      if (part.name && part.name !== call.name) call.name += part.name
    }
    if (!part.arguments) return
    if (call.open === null) {
      call.held += part.arguments
      if (call.name !== '') this.#announce(call)
    } else {
      call.open.append(part.arguments)
    }
  }

  /** What follows begins a new item, also if it is of the same kind. Tool calls are told apart by their index. */
  endItem(): void {
    this.#closeProse('completed')
  }

  usage(usage: Usage): void {
    this.#usage = usage
  }

  /** Closes all items. A call that never got a name makes it a failure: no client could run it. */
  complete(): ResponseEvent {
    if (this.#terminal !== null) return this.#terminal
    this.#announceHeld()
    for (const call of this.#calls.values()) {
      if (call.open === null)
        return this.fail({ code: 'server_error', message: 'The backend sent a tool call without a name.' })
    }
    this.open()
    // Agents repeat a turn whose output has neither a message nor a call, until their limit.
    if (this.#calls.size === 0 && !this.#items.some((entry) => entry instanceof OpenMessage))
      this.#openMessage().leaveEmpty()
    for (const entry of this.#items) if (!entry.closed) entry.close('completed')
    return this.#end('completed', { completed_at: Math.trunc(this.#nowSeconds()) })
  }

  /** The engine stopped early: the last item is the one that it was writing. */
  incomplete(reason: 'max_output_tokens' | 'content_filter'): ResponseEvent {
    if (this.#terminal !== null) return this.#terminal
    this.#announceHeld()
    this.open()
    const last = this.#items.at(-1)
    for (const entry of this.#items) if (!entry.closed) entry.close(entry === last ? 'incomplete' : 'completed')
    return this.#end('incomplete', { incomplete_details: { reason } })
  }

  fail(error: { readonly code: string; readonly message: string }): ResponseEvent {
    if (this.#terminal !== null) return this.#terminal
    this.open()
    for (const entry of this.#items) if (!entry.closed) entry.close('incomplete')
    return this.#end('failed', { error: { code: error.code, message: error.message } })
  }

  #end(status: 'completed' | 'incomplete' | 'failed', fields: JsonObject): ResponseEvent {
    const usage = this.#usage === null ? null : usageToResponses(this.#usage)
    const output = this.output
    this.#finalOutput = output
    const response = { ...this.#resource, status, output, usage, ...fields }
    this.#terminal = { type: `response.${status}`, response }
    return this.#terminal
  }

  /** Before an item is announced: the response exists, prose before it is closed, held calls come first. */
  #begin(): void {
    this.open()
    this.#closeProse('completed')
    this.#announceHeld()
  }

  #openMessage(): OpenMessage {
    if (this.#message === null) {
      this.#begin()
      this.#message = new OpenMessage(this.#newId('msg'), this.#items.length, this.#emit)
      this.#items.push(this.#message)
    }
    return this.#message
  }

  #closeProse(status: 'completed' | 'incomplete'): void {
    this.#message?.close(status)
    this.#reasoning?.close(status)
    this.#message = null
    this.#reasoning = null
  }

  /** Calls whose name is known and which still wait for an argument; the others wait on. */
  #announceHeld(): void {
    for (const call of this.#calls.values()) if (call.open === null && call.name !== '') this.#announce(call)
  }

  #announce(call: Call): void {
    this.open()
    this.#closeProse('completed')
    const callId = call.id === '' || this.#callIds.has(call.id) ? this.#newId('call') : call.id
    this.#callIds.add(callId)
    const tool = this.#toolNames.get(call.name) ?? { kind: 'function', name: call.name }
    const id = this.#newId(tool.kind === 'custom' ? 'ctc' : 'fc')
    call.open = new OpenCall(id, this.#items.length, callId, tool, this.#emit)
    this.#items.push(call.open)
    if (call.held !== '') call.open.append(call.held)
    call.held = ''
  }
}
