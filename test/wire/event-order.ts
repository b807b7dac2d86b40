/**
 * The ordering rules of a Responses stream, as a checker that other tests can use: the MUSTs of Open Responses and what
 * the official clients' accumulators throw on. Returns every violation in words; an empty list means that all hold.
 */
import type { ResponseEvent } from '../../src/model/event.ts'
import { isObject, type JsonObject, type JsonValue } from '../../src/model/json.ts'

const TERMINALS = new Set(['response.completed', 'response.incomplete', 'response.failed'])
/** What one part consists of: delta and done events, the field with the whole, the event family of its part. */
const DELTAS: Readonly<Record<string, { readonly of: string; readonly field: string; readonly index: string | null }>> = {
  'response.output_text': { of: 'output_text', field: 'text', index: 'content_index' },
  'response.refusal': { of: 'refusal', field: 'refusal', index: 'content_index' },
  'response.reasoning_summary_text': { of: 'summary_text', field: 'text', index: 'summary_index' },
  'response.function_call_arguments': { of: 'function_call', field: 'arguments', index: null },
  'response.custom_tool_call_input': { of: 'custom_tool_call', field: 'input', index: null },
}

type Part = { readonly type: string; text: string; done: boolean; closed: boolean }
type Item = { readonly id: string; readonly type: string; readonly parts: Part[]; own: Part; final: JsonObject | null }

export type OrderOptions = { readonly numbered?: boolean }

export function orderViolations(events: readonly ResponseEvent[], options: OrderOptions = {}): string[] {
  const found: string[] = []
  const items: Item[] = []
  let responseId: JsonValue | undefined
  let terminal: ResponseEvent | null = null
  const say = (at: number, what: string): void => {
    found.push(`event ${at} (${events[at]?.type}): ${what}`)
  }
  const str = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '')

  events.forEach((event, at) => {
    if (options.numbered === true && event['sequence_number'] !== at) say(at, `sequence_number ${event['sequence_number']}`)
    if (terminal !== null) say(at, 'comes after the terminal event')
    if (at === 0 && event.type !== 'response.created') say(at, 'is first instead of response.created')
    if (at === 1 && event.type !== 'response.in_progress') say(at, 'is second instead of response.in_progress')
    if (isObject(event['response'])) {
      responseId ??= event['response']['id']
      if (event['response']['id'] !== responseId) say(at, 'has another response id')
    }
    if (event.type === 'response.created' || event.type === 'response.in_progress') {
      if (at > 1) say(at, 'comes too late')
      if (!isObject(event['response']) || event['response']['status'] !== 'in_progress') say(at, 'is not in_progress')
      return
    }
    if (TERMINALS.has(event.type)) {
      terminal = event
      return
    }
    const outputIndex = event['output_index']
    if (typeof outputIndex !== 'number') return say(at, 'has no output_index')
    if (event.type === 'response.output_item.added') {
      if (outputIndex !== items.length) say(at, `output_index ${outputIndex}, expected ${items.length}`)
      const item = event['item']
      if (!isObject(item)) return say(at, 'has no item')
      if (item['status'] !== 'in_progress') say(at, 'adds an item that is not in_progress')
      for (const field of ['content', 'summary']) {
        const parts = item[field]
        if (Array.isArray(parts) && parts.length > 0) say(at, `adds an item with ${field}`)
      }
      for (const field of ['arguments', 'input']) if ((item[field] ?? '') !== '') say(at, `adds an item with ${field}`)
      const type = str(item['type'])
      if (items.some((other) => other.id === item['id'])) say(at, 'reuses an item id')
      items.push({ id: str(item['id']), type, parts: [], own: { type, text: '', done: false, closed: false }, final: null })
      return
    }
    const item = items[outputIndex]
    if (item === undefined) return say(at, 'is about an item that was not added')
    if (item.final !== null) say(at, 'is about an item that is done')
    if (event.type === 'response.output_item.done') {
      const final = event['item']
      if (!isObject(final)) return say(at, 'has no item')
      item.final = final
      if (final['id'] !== item.id || final['type'] !== item.type) say(at, 'is another item than was added')
      if (final['status'] !== 'completed' && final['status'] !== 'incomplete') say(at, `status ${final['status']}`)
      for (const part of item.parts) if (!part.closed) say(at, 'has an open part')
      if (item.type === 'message' || item.type === 'reasoning') {
        const parts = final[item.type === 'message' ? 'content' : 'summary']
        const texts = Array.isArray(parts) ? (parts as readonly JsonObject[]).map((part) => part['text'] ?? part['refusal']) : []
        const seen = item.parts.map((part) => part.text)
        if (JSON.stringify(texts) !== JSON.stringify(seen)) say(at, 'its parts differ from the deltas')
        if (item.parts.length === 0) say(at, 'has no part')
      } else if (!item.own.done) say(at, 'its arguments were not done')
      else if ((final['arguments'] ?? final['input']) !== item.own.text) say(at, 'its arguments differ from the deltas')
      return
    }
    if (event['item_id'] !== item.id) say(at, `item_id ${event['item_id']}, expected ${item.id}`)
    const summary = event.type.startsWith('response.reasoning_summary_part')
    if (summary || event.type.startsWith('response.content_part')) {
      const index = event[summary ? 'summary_index' : 'content_index']
      const shape = event['part']
      if (typeof index !== 'number' || !isObject(shape)) return say(at, 'has no index or no part')
      if (event.type.endsWith('.added')) {
        if (index !== item.parts.length) say(at, `index ${index}, expected ${item.parts.length}`)
        if (item.parts.some((part) => !part.closed)) say(at, 'opens a part while another is open')
        if ((shape['text'] ?? shape['refusal']) !== '') say(at, 'adds a part that is not empty')
        item.parts.push({ type: str(shape['type']), text: '', done: false, closed: false })
        return
      }
      const part = item.parts[index]
      if (part === undefined) return say(at, 'closes a part that was not added')
      if (part.closed) say(at, 'closes a part twice')
      if (!part.done) say(at, 'closes a part whose text is not done')
      if ((shape['text'] ?? shape['refusal']) !== part.text) say(at, 'its text differs from the deltas')
      part.closed = true
      return
    }
    const dot = event.type.lastIndexOf('.')
    const rule = DELTAS[event.type.slice(0, dot)]
    if (rule === undefined) return say(at, 'is not an event that clients know')
    const index = rule.index === null ? null : event[rule.index]
    const part = typeof index === 'number' ? item.parts[index] : rule.index === null ? item.own : undefined
    if (part === undefined) return say(at, 'is about a part that was not added')
    if (part.type !== rule.of) say(at, `writes ${rule.of} into ${part.type}`)
    if (part.done) say(at, 'is about a part that is done')
    if (event.type.endsWith('.delta')) {
      part.text += str(event['delta'])
      if (rule.of === 'output_text' && !Array.isArray(event['logprobs'])) say(at, 'has no logprobs')
      return
    }
    if (event[rule.field] !== part.text) say(at, 'its whole differs from the deltas')
    part.done = true
  })

  const last = events.length - 1
  if (terminal === null) found.push('there is no terminal event')
  else checkTerminal(terminal, items, (what) => say(last, what))
  return found
}

function checkTerminal(terminal: ResponseEvent, items: readonly Item[], say: (what: string) => void): void {
  const response = terminal['response']
  if (!isObject(response)) return say('has no response')
  const status = terminal.type.slice('response.'.length)
  if (response['status'] !== status) say(`status ${response['status']}`)
  for (const item of items) if (item.final === null) say(`item ${item.id} is not done`)
  const finals = items.map((item) => item.final)
  if (JSON.stringify(response['output']) !== JSON.stringify(finals)) say('its output differs from the items')
  const incomplete = finals.findIndex((item) => item?.['status'] === 'incomplete')
  if (status === 'completed' && incomplete !== -1) say('is completed with an incomplete item')
  if (status === 'incomplete' && incomplete !== -1 && incomplete !== finals.length - 1) say('an incomplete item is not last')
  if (status === 'completed' && items.length === 0) say('is completed without output')
  if ((status === 'failed') !== isObject(response['error'])) say('has an error, or none, against its status')
  if ((status === 'incomplete') !== isObject(response['incomplete_details'])) say('incomplete_details against its status')
  if ((status === 'completed') !== (typeof response['completed_at'] === 'number')) say('completed_at against its status')
}
