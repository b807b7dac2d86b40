/**
 * An output item while the model writes it. Each kind emits its own events, in the order the API demands:
 * `output_item.added`, per part `added`, deltas, `<type>.done`, `part.done`, and on `close` `output_item.done`.
 * A delta costs one small object and one string concatenation, whatever the length of the text so far.
 */
import type { ResponseEvent } from '../model/event.ts'
import type { StoredItem } from '../model/item.ts'
import type { JsonObject } from '../model/json.ts'

export type Emit = (event: ResponseEvent) => void
export type ItemStatus = 'in_progress' | 'completed' | 'incomplete'

export interface OpenItem {
  /** The item as far as it is written; final once closed. */
  readonly item: StoredItem
  readonly closed: boolean
  close(status: 'completed' | 'incomplete'): void
}

const NO_LOGPROBS: readonly JsonObject[] = Object.freeze([])

type Part = { readonly type: 'output_text' | 'refusal'; text: string; logprobs: JsonObject[] | null }

/** `message` of the assistant: text and refusal parts, in the order in which they came. */
export class OpenMessage implements OpenItem {
  readonly #id: string
  readonly #outputIndex: number
  readonly #emit: Emit
  readonly #done: JsonObject[] = []
  #part: Part | null = null
  #status: ItemStatus = 'in_progress'

  constructor(id: string, outputIndex: number, emit: Emit) {
    this.#id = id
    this.#outputIndex = outputIndex
    this.#emit = emit
    emit({ type: 'response.output_item.added', output_index: outputIndex, item: this.item })
  }

  get closed(): boolean {
    return this.#status !== 'in_progress'
  }

  get item(): StoredItem {
    const content = this.#part === null ? this.#done : [...this.#done, partShape(this.#part)]
    return { id: this.#id, type: 'message', status: this.#status, role: 'assistant', content: [...content] }
  }

  text(delta: string, logprobs: readonly JsonObject[] = NO_LOGPROBS): void {
    const part = this.#partOf('output_text')
    part.text += delta
    if (logprobs.length > 0) (part.logprobs ??= []).push(...logprobs)
    this.#emit({
      type: 'response.output_text.delta',
      item_id: this.#id,
      output_index: this.#outputIndex,
      content_index: this.#done.length,
      delta,
      logprobs,
    })
  }

  refusal(delta: string): void {
    this.#partOf('refusal').text += delta
    this.#emit({
      type: 'response.refusal.delta',
      item_id: this.#id,
      output_index: this.#outputIndex,
      content_index: this.#done.length,
      delta,
    })
  }

  /** A text part without text, for an answer in which the model said nothing. */
  leaveEmpty(): void {
    this.#partOf('output_text')
  }

  close(status: 'completed' | 'incomplete'): void {
    this.#closePart()
    this.#status = status
    this.#emit({ type: 'response.output_item.done', output_index: this.#outputIndex, item: this.item })
  }

  #partOf(type: Part['type']): Part {
    if (this.#part?.type === type) return this.#part
    this.#closePart()
    const part: Part = { type, text: '', logprobs: null }
    this.#part = part
    this.#emit({ type: 'response.content_part.added', ...this.#place(), part: partShape(part) })
    return part
  }

  #closePart(): void {
    const part = this.#part
    if (part === null) return
    const place = this.#place()
    if (part.type === 'output_text') {
      const logprobs = part.logprobs ?? NO_LOGPROBS
      this.#emit({ type: 'response.output_text.done', ...place, text: part.text, logprobs })
    } else {
      this.#emit({ type: 'response.refusal.done', ...place, refusal: part.text })
    }
    const shape = partShape(part)
    this.#emit({ type: 'response.content_part.done', ...place, part: shape })
    this.#done.push(shape)
    this.#part = null
  }

  #place(): JsonObject {
    return { item_id: this.#id, output_index: this.#outputIndex, content_index: this.#done.length }
  }
}

const partShape = (part: Part): JsonObject =>
  part.type === 'output_text'
    ? {
        type: 'output_text',
        text: part.text,
        annotations: [],
        logprobs: part.logprobs === null ? [] : [...part.logprobs],
      }
    : { type: 'refusal', refusal: part.text }

/** `reasoning`, shown as one summary part: the only form that all clients and the specification accept. */
export class OpenReasoning implements OpenItem {
  readonly #id: string
  readonly #outputIndex: number
  readonly #emit: Emit
  #text = ''
  #status: ItemStatus = 'in_progress'

  constructor(id: string, outputIndex: number, emit: Emit) {
    this.#id = id
    this.#outputIndex = outputIndex
    this.#emit = emit
    emit({
      type: 'response.output_item.added',
      output_index: outputIndex,
      item: { id, type: 'reasoning', status: 'in_progress', summary: [] },
    })
    emit({ type: 'response.reasoning_summary_part.added', ...this.#place(), part: { type: 'summary_text', text: '' } })
  }

  get closed(): boolean {
    return this.#status !== 'in_progress'
  }

  get item(): StoredItem {
    const summary = [{ type: 'summary_text', text: this.#text }]
    return { id: this.#id, type: 'reasoning', status: this.#status, summary }
  }

  text(delta: string): void {
    this.#text += delta
    this.#emit({
      type: 'response.reasoning_summary_text.delta',
      item_id: this.#id,
      output_index: this.#outputIndex,
      summary_index: 0,
      delta,
    })
  }

  close(status: 'completed' | 'incomplete'): void {
    const place = this.#place()
    const text = this.#text
    this.#emit({ type: 'response.reasoning_summary_text.done', ...place, text })
    this.#emit({ type: 'response.reasoning_summary_part.done', ...place, part: { type: 'summary_text', text } })
    this.#status = status
    this.#emit({ type: 'response.output_item.done', output_index: this.#outputIndex, item: this.item })
  }

  #place(): JsonObject {
    return { item_id: this.#id, output_index: this.#outputIndex, summary_index: 0 }
  }
}
