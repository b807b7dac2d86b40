/**
 * A backend's own Responses events -> one response, whatever they lack.
 *
 * Only what the model wrote is taken: which item a delta belongs to, and the text. Ids, indexes, part events and
 * sequence numbers are made anew, so llama.cpp (no indexes, no `function_call_arguments.done`), older vLLM (a
 * `content_index` per token) and SGLang (calls that appear only in `output_item.done`) all come out alike. Texts that
 * a `done` event or the final output holds beyond the deltas are added. Kept: per item, the text seen so far.
 *
 * llama.cpp calls an answer that its limit cut off `completed`, and its final resource has no `incomplete_details`: as
 * many tokens as `maxOutputTokens` allows then mean that the limit ended it.
 */
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'
import { BackendStreamBase, type BackendStream } from './backend-stream.ts'
import { logprobsFromResponses } from './logprobs.ts'
import type { ResponseAssembly } from './response-assembly.ts'
import { usageFromResponses } from './usage-shape.ts'

export type ResponsesStreamOptions = {
  /** What the engine was told; null for no limit. */
  readonly maxOutputTokens?: number | null
}

export function createResponsesStream(assembly: ResponseAssembly, options: ResponsesStreamOptions = {}): BackendStream {
  return new ResponsesStream(assembly, options.maxOutputTokens ?? null)
}

/** What was seen of one of the backend's items. */
type Seen = {
  kind: 'message' | 'reasoning' | 'call' | 'other'
  text: string
  refusal: string
  /** Which of the backend's reasoning streams is shown: raw text and its summary are not shown both. */
  source: 'text' | 'summary' | null
  summaryIndex: number
  /** For calls: what tells them apart in the assembly. */
  slot: number
}

class ResponsesStream extends BackendStreamBase {
  readonly #maxOutputTokens: number | null
  /** By the backend's item id, or its output index where events have no id. */
  readonly #seen = new Map<string, Seen>()
  #calls = 0
  /** The item that text or reasoning last belonged to. */
  #current: Seen | null = null

  constructor(assembly: ResponseAssembly, maxOutputTokens: number | null) {
    super(assembly)
    this.#maxOutputTokens = maxOutputTokens
  }

  protected receive(event: JsonObject): void {
    switch (event['type']) {
      case 'response.output_text.delta':
        this.#text(this.#of(event, 'message'), textOf(event['delta']), event['logprobs'])
        break
      case 'response.output_text.done':
        this.#restOfText(this.#of(event, 'message'), textOf(event['text']))
        break
      case 'response.refusal.delta':
        this.#refusal(this.#of(event, 'message'), textOf(event['delta']))
        break
      case 'response.refusal.done':
        this.#restOfRefusal(this.#of(event, 'message'), textOf(event['refusal']))
        break
      case 'response.reasoning_text.delta':
      case 'response.reasoning.delta':
        this.#reasoning(this.#of(event, 'reasoning'), 'text', textOf(event['delta']), 0)
        break
      case 'response.reasoning_text.done':
      case 'response.reasoning.done':
      case 'response.reasoning_summary_text.done': {
        const seen = this.#of(event, 'reasoning')
        if (seen.text === '') this.#reasoning(seen, 'text', textOf(event['text']), 0)
        break
      }
      case 'response.reasoning_summary_text.delta': {
        const index = typeof event['summary_index'] === 'number' ? event['summary_index'] : 0
        this.#reasoning(this.#of(event, 'reasoning'), 'summary', textOf(event['delta']), index)
        break
      }
      case 'response.function_call_arguments.delta':
        this.#arguments(this.#of(event, 'call'), textOf(event['delta']))
        break
      case 'response.function_call_arguments.done':
        this.#restOfArguments(this.#of(event, 'call'), textOf(event['arguments']))
        break
      case 'response.output_item.added':
        if (isObject(event['item'])) this.#added(event, event['item'])
        break
      case 'response.output_item.done':
        if (isObject(event['item'])) this.#done(event, event['item'])
        break
      case 'response.completed':
      case 'response.incomplete':
      case 'response.failed':
      case 'response.cancelled':
        this.#terminal(event['type'], isObject(event['response']) ? event['response'] : {}, event)
        break
      case 'error':
        this.failFromPayload(isObject(event['error']) ? event['error'] : withoutType(event))
        break
      case undefined:
        if (event['error'] !== undefined || event['object'] === 'error') this.failFromPayload(event)
        break
      default: // created, in_progress, part events, hosted tools: nothing the model wrote
    }
  }

  protected ended(why: string): void {
    this.fail(why)
  }

  #terminal(type: string, response: JsonObject, event: JsonObject): void {
    const timings = isObject(event['timings']) ? event['timings'] : response['timings']
    this.usage = usageFromResponses(response['usage'], timings) ?? this.usage
    const status = type === 'response.completed' ? response['status'] : type.slice('response.'.length)
    if (status === 'failed') {
      this.failFromPayload(isObject(response['error']) ? response['error'] : undefined)
      return
    }
    if (status === 'cancelled') {
      this.fail('The backend cancelled the answer.')
      return
    }
    this.#restOfOutput(response['output'])
    if (status === 'incomplete') this.incomplete(incompleteReason(response))
    else if (this.#cutByLimit(response)) this.incomplete('max_output_tokens')
    else this.complete()
  }

  /** A backend may say only at its end what it never streamed: everything, or its calls. */
  #restOfOutput(output: JsonValue | undefined): void {
    if (!Array.isArray(output)) return
    const kinds = new Set([...this.#seen.values()].map((seen) => seen.kind))
    for (const [index, item] of (output as readonly JsonValue[]).entries()) {
      if (!isObject(item)) continue
      const kind = kindOf(item)
      // Reasoning that was not streamed cannot be put in front of what was.
      if (kinds.has(kind) || (kind === 'reasoning' && kinds.size > 0)) continue
      this.#done({ output_index: index }, item)
    }
  }

  #cutByLimit(response: JsonObject): boolean {
    const limit = this.#maxOutputTokens
    return (
      limit !== null && !('incomplete_details' in response) && this.usage !== null && this.usage.outputTokens >= limit
    )
  }

  #added(event: JsonObject, item: JsonObject): void {
    const seen = this.#new(kindOf(item), textOf(item['id']), indexKey(event))
    if (seen.kind === 'call') this.#call(seen, item)
  }

  /** A whole item: what its deltas left out is added. */
  #done(event: JsonObject, item: JsonObject): void {
    const seen = this.#of(event, kindOf(item), item)
    if (seen.kind === 'call') {
      this.#call(seen, item)
      this.#restOfArguments(seen, textOf(item['arguments']))
    } else if (seen.kind === 'message') {
      this.#restOfText(seen, partsText(item['content'], 'text'))
      this.#restOfRefusal(seen, partsText(item['content'], 'refusal'))
    } else if (seen.kind === 'reasoning' && seen.text === '') {
      const raw = partsText(item['content'], 'text')
      this.#reasoning(seen, 'text', raw === '' ? partsText(item['summary'], 'text') : raw, 0)
    }
    if (seen === this.#current) {
      this.assembly.endItem()
      this.#current = null
    }
  }

  #text(seen: Seen, delta: string, logprobs?: JsonValue): void {
    if (delta === '') return
    this.#turnTo(seen)
    seen.text += delta
    this.#output()
    this.assembly.text(delta, logprobsFromResponses(logprobs))
  }

  #restOfText(seen: Seen, whole: string): void {
    if (whole.length > seen.text.length && whole.startsWith(seen.text)) this.#text(seen, whole.slice(seen.text.length))
  }

  #refusal(seen: Seen, delta: string): void {
    if (delta === '') return
    this.#turnTo(seen)
    seen.refusal += delta
    this.#output()
    this.assembly.refusal(delta)
  }

  #restOfRefusal(seen: Seen, whole: string): void {
    const known = seen.refusal
    if (whole.length > known.length && whole.startsWith(known)) this.#refusal(seen, whole.slice(known.length))
  }

  #reasoning(seen: Seen, source: 'text' | 'summary', delta: string, summaryIndex: number): void {
    seen.source ??= source
    if (delta === '' || seen.source !== source) return
    this.#turnTo(seen)
    const nextPart = summaryIndex > seen.summaryIndex && seen.text !== ''
    seen.summaryIndex = summaryIndex
    seen.text += delta
    this.#output()
    this.assembly.reasoning(nextPart ? `\n\n${delta}` : delta)
  }

  #call(seen: Seen, item: JsonObject): void {
    this.firstOutput = true
    this.assembly.toolCall(seen.slot, { id: textOf(item['call_id']), name: textOf(item['name']) })
  }

  #arguments(seen: Seen, delta: string): void {
    if (delta === '') return
    seen.text += delta
    this.#output()
    this.assembly.toolCall(seen.slot, { arguments: delta })
  }

  #restOfArguments(seen: Seen, whole: string): void {
    const known = seen.text
    if (whole.length > known.length && whole.startsWith(known)) this.#arguments(seen, whole.slice(known.length))
  }

  /** Two messages in a row are two items, although nothing of another kind lies between them. */
  #turnTo(seen: Seen): void {
    if (this.#current !== null && this.#current !== seen) this.assembly.endItem()
    this.#current = seen
  }

  #output(): void {
    this.firstOutput = true
    this.counted += 1
  }

  /**
   * The item that an event is about. An id is trusted first. Deltas that carry another id than their item (seen in
   * older vLLM) are found by `output_index`; without either they belong to the latest item of their kind.
   */
  #of(event: JsonObject, kind: Seen['kind'], item?: JsonObject): Seen {
    const id = textOf(item === undefined ? event['item_id'] : item['id'])
    const byId = id === '' ? undefined : this.#seen.get(id)
    if (byId?.kind === kind) return byId
    const index = indexKey(event)
    const byIndex = index === '' ? undefined : this.#seen.get(index)
    if (byIndex?.kind === kind) return byIndex
    return (item === undefined && index === '' ? this.#latest(kind) : undefined) ?? this.#new(kind, id, index)
  }

  #new(kind: Seen['kind'], id: string, index: string): Seen {
    const slot = kind === 'call' ? this.#calls++ : -1
    const seen: Seen = { kind, text: '', refusal: '', source: null, summaryIndex: 0, slot }
    if (id !== '') this.#seen.set(id, seen)
    if (index !== '') this.#seen.set(index, seen)
    if (id === '' && index === '') this.#seen.set(`@${this.#seen.size}`, seen)
    return seen
  }

  #latest(kind: Seen['kind']): Seen | undefined {
    let latest: Seen | undefined
    for (const seen of this.#seen.values()) if (seen.kind === kind) latest = seen
    return latest
  }
}

/** The key of an event's `output_index`; empty where it has none. */
const indexKey = (event: JsonObject): string =>
  typeof event['output_index'] === 'number' ? `#${event['output_index']}` : ''

const textOf = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '')

function kindOf(item: JsonObject): Seen['kind'] {
  const { type } = item
  if (type === 'function_call') return 'call'
  return type === 'message' || type === 'reasoning' ? type : 'other'
}

function partsText(parts: JsonValue | undefined, field: 'text' | 'refusal'): string {
  if (!Array.isArray(parts)) return ''
  let text = ''
  for (const part of parts as readonly JsonValue[]) if (isObject(part)) text += textOf(part[field])
  return text
}

const incompleteReason = (response: JsonObject): 'max_output_tokens' | 'content_filter' => {
  const details = response['incomplete_details']
  return isObject(details) && details['reason'] === 'content_filter' ? 'content_filter' : 'max_output_tokens'
}

/** A flat error event: its `type` is the event's, not the error's. */
const withoutType = ({ type: _type, ...rest }: JsonObject): JsonObject => rest
