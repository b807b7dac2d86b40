/**
 * A chat answer that passes through, observed: what it says, what it cost, and the body it would have been unstreamed.
 *
 * Strings of a delta are appended (content, refusal, reasoning under either name, and names yet to come), lists are
 * joined, calls are folded by their index, anything else is replaced by the latest value; the same for the chunk's own
 * fields, so that an engine's extras (`timings`, `system_fingerprint`) reach the folded body. Cost per chunk: one
 * JSON.parse and O(its fields), or less where only the text differs (`repeated-chunk.ts`); kept: the answer itself.
 * `items()` goes through the same reading as a request's messages: the answer hashes alike when it is sent back.
 */
import type { ConversationItem } from '../model/item.ts'
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'
import type { Usage } from '../model/usage.ts'
import { readErrorPayload, type StreamError } from './backend-stream.ts'
import { itemsOfMessages } from './chat-messages.ts'
import { RepeatedChunk } from './repeated-chunk.ts'
import { ToolCallSlots } from './tool-call-slots.ts'
import { usageFromChat } from './usage-shape.ts'

type Fields = Record<string, JsonValue | undefined>

type Choice = {
  readonly message: Fields
  readonly calls: Fields[]
  readonly slots: ToolCallSlots
  readonly logprobs: Fields
  readonly fields: Fields
  finishReason: string | null
}

export class ChatCompletionFold {
  readonly #fields: Fields = {}
  readonly #choices = new Map<number, Choice>()
  readonly #repeated = new RepeatedChunk()
  #whole: JsonObject | null = null
  #counted = 0
  #began = false
  /** As reported; null until then. */
  usage: Usage | null = null
  /** An error payload, or a chunk that cannot be read. What follows is ignored. */
  error: StreamError | null = null

  /** The backend's id of the answer. */
  get id(): string | null {
    return this.#text('id')
  }

  /** What the backend calls the model that answers. */
  get model(): string | null {
    return this.#text('model')
  }

  /** Nothing was read that could name the answer. */
  get isEmpty(): boolean {
    return this.#whole === null && this.#choices.size === 0 && (this.id ?? '') === ''
  }

  /** Text, reasoning, a tool call or a finish was seen. */
  get outputBegan(): boolean {
    return this.#began
  }

  /** Chunks with output, until usage says better. */
  get outputTokens(): number {
    return this.usage?.outputTokens ?? this.#counted
  }

  /** Of choice 0; null while any choice is unfinished. */
  get finishReason(): string | null {
    for (const choice of this.#choices.values()) if (choice.finishReason === null) return null
    return this.#choices.get(0)?.finishReason ?? null
  }

  /** One SSE data payload. Throws nothing. */
  push(data: string): void {
    if (this.error !== null || data === '[DONE]') return
    const text = this.#repeated.read(data)
    if (text !== null && text !== '') {
      // The rest of the chunk was folded when its frame was learned, so choice 0 and its text exist.
      const { message } = this.#choices.get(0)!
      message['content'] = `${message['content'] as string}${text}`
      this.#counted += 1
      return
    }
    let chunk: unknown
    try {
      chunk = JSON.parse(data)
    } catch {
      this.error = { status: null, message: `The backend sent a chunk that is not JSON (${data.length} characters).` }
      return
    }
    if (isObject(chunk)) {
      this.#fold(chunk)
      this.#repeated.learn(data, chunk)
    } else this.error = { status: null, message: 'The backend sent a chunk that is not a JSON object.' }
  }

  /** A body that came whole, although a stream was asked for. */
  accept(body: JsonObject): void {
    this.#fold(body)
    if (this.error === null) this.#whole = body
  }

  /** The body of an unstreamed answer. */
  completion(): JsonObject {
    if (this.#whole !== null) return this.#whole
    const choices = [...this.#choices].sort(([first], [second]) => first - second)
    return {
      ...this.#fields,
      object: 'chat.completion',
      choices: choices.map(([index, choice]) => ({
        ...choice.fields,
        index,
        message: messageOf(choice),
        logprobs: Object.keys(choice.logprobs).length === 0 ? null : choice.logprobs,
        finish_reason: choice.finishReason,
      })),
    }
  }

  /** Choice 0 as conversation items, as it will look when the client sends it back. */
  items(): ConversationItem[] {
    const choice = this.#choices.get(0)
    return choice === undefined ? [] : [...itemsOfMessages([messageOf(choice)])]
  }

  #text(name: 'id' | 'model'): string | null {
    const value = (this.#whole ?? this.#fields)[name]
    return typeof value === 'string' ? value : null
  }

  #fold(chunk: JsonObject): void {
    if ((chunk['error'] !== undefined && chunk['error'] !== null) || chunk['object'] === 'error') {
      this.error = readErrorPayload(chunk)
      return
    }
    for (const name in chunk) {
      if (name !== 'choices' && chunk[name] !== null) this.#fields[name] = chunk[name]
      else if (name !== 'choices') this.#fields[name] ??= null
    }
    if (isObject(chunk['usage']) || isObject(chunk['timings'])) {
      this.usage = usageFromChat(chunk['usage'], chunk['timings']) ?? this.usage
    }
    if (!Array.isArray(chunk['choices'])) return
    for (const choice of chunk['choices'] as readonly JsonValue[]) if (isObject(choice)) this.#choice(choice)
  }

  #choice(part: JsonObject): void {
    const index = typeof part['index'] === 'number' ? part['index'] : 0
    let choice = this.#choices.get(index)
    if (choice === undefined) {
      choice = { message: {}, calls: [], slots: new ToolCallSlots(), logprobs: {}, fields: {}, finishReason: null }
      this.#choices.set(index, choice)
    }
    const delta = isObject(part['delta']) ? part['delta'] : part['message']
    if (isObject(delta) && foldDelta(choice, delta)) {
      this.#counted += 1
      this.#began = true
    }
    for (const name in part) {
      const value = part[name]
      if (name === 'finish_reason') {
        if (typeof value === 'string' && value !== '') choice.finishReason = value
      } else if (name === 'logprobs') {
        if (isObject(value)) append(choice.logprobs, value)
      } else if (name !== 'index' && name !== 'delta' && name !== 'message' && value !== null) {
        choice.fields[name] = value
      }
    }
    if (choice.finishReason !== null) this.#began = true
  }
}

/** True where the delta holds output. */
function foldDelta(choice: Choice, delta: JsonObject): boolean {
  let output = false
  for (const name in delta) {
    const value = delta[name]
    if (value === null || value === undefined || name === 'role') continue
    if (name === 'tool_calls') {
      if (Array.isArray(value))
        for (const call of value as readonly JsonValue[]) output = foldCall(choice, call) || output
    } else if (name === 'function_call') {
      if (!isObject(value)) continue
      const call = (choice.message['function_call'] ??= { name: '', arguments: '' }) as Fields
      append(call, value)
      output = true
    } else {
      append(choice.message, { [name]: value })
      output = output || (value !== '' && (typeof value === 'string' || Array.isArray(value)))
    }
  }
  return output
}

function foldCall(choice: Choice, fragment: JsonValue): boolean {
  const part = choice.slots.read(fragment)
  if (part === null || !isObject(fragment)) return false
  const custom = isObject(fragment['custom'])
  const call = (choice.calls[part.slot] ??= {
    id: part.id,
    type: custom ? 'custom' : 'function',
    ...(custom ? { custom: { name: '', input: '' } } : { function: { name: '', arguments: '' } }),
  })
  call['id'] ??= part.id
  const body = (call['custom'] ?? call['function']) as Fields
  // Some engines repeat the whole name with every fragment.
  if (part.name !== null && part.name !== body['name']) body['name'] = `${body['name']}${part.name}`
  const written = custom ? 'input' : 'arguments'
  if (part.arguments !== null) body[written] = `${body[written]}${part.arguments}`
  return true
}

function append(target: Fields, part: JsonObject): void {
  for (const name in part) {
    const value = part[name]
    const before = target[name]
    if (value === null || value === undefined) continue
    if (typeof value === 'string' && typeof before === 'string') target[name] = before + value
    else if (Array.isArray(value)) {
      // Joined in place: a long answer has a list of log probabilities per token.
      if (Array.isArray(before)) (before as JsonValue[]).push(...value)
      else target[name] = [...value]
    } else target[name] = value
  }
}

function messageOf(choice: Choice): JsonObject {
  const { content, refusal, ...others } = choice.message
  const calls = choice.calls.map((call, at) => ({ ...call, id: call['id'] ?? `call_${at}` }))
  const called = calls.length > 0 || others['function_call'] !== undefined
  return {
    role: 'assistant',
    content: content === undefined || (content === '' && called) ? (called ? null : '') : content,
    refusal: refusal ?? null,
    ...others,
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
  }
}
