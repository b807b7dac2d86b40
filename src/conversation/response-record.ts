import { isDeepStrictEqual } from 'node:util'
import type { JsonObject } from '../model/json.ts'
import type { StoredItem } from '../model/item.ts'
import type { Home, StoredResponse } from '../model/response.ts'
import type { Receipt } from '../model/receipt.ts'

/**
 * A response as text: everything but its ids and times, with what is stored elsewhere left out of the resource. Output
 * (stored as items), tools and long instructions (stored once as shared texts) leave a null where they were, so the
 * resource is put together again with its fields in the order in which it was sent.
 */
export type PackedResponse = {
  readonly record: string
  /** JSON text; null when there are none. */
  readonly tools: string | null
  readonly instructions: string | null
}

type ResponseRecord = {
  readonly previousResponseId: string | null
  readonly conversationId: string | null
  readonly sessionId: string
  readonly model: string
  readonly resource: JsonObject
  readonly home: Home | null
  readonly promptTokens: number | null
  readonly receipt: Receipt | null
  readonly elided: readonly ('output' | 'tools' | 'instructions')[]
}

/** Shorter instructions stay in the record: a row and an index entry cost about as much. */
const SHARED_TEXT_LENGTH = 256

/** `stored`: the items whose content is what this save gave them (an id that was taken keeps its first content). */
export const packResponse = (response: StoredResponse, stored: ReadonlyMap<string, StoredItem>): PackedResponse => {
  const { resource } = response
  const elided: ResponseRecord['elided'][number][] = []
  const kept: { [key: string]: JsonObject[string] } = { ...resource }

  const output = resource['output']
  const same = Array.isArray(output) && output.length === response.outputItemIds.length &&
    response.outputItemIds.every((id, index) => stored.has(id) && isDeepStrictEqual(stored.get(id), output[index]))
  if (same) elided.push('output')

  const tools = response.tools.length === 0 ? null : JSON.stringify(response.tools)
  if (tools !== null && (resource['tools'] === response.tools || JSON.stringify(resource['tools']) === tools)) {
    elided.push('tools')
  }
  const given = resource['instructions']
  const instructions = typeof given === 'string' && given.length >= SHARED_TEXT_LENGTH ? given : null
  if (instructions !== null) elided.push('instructions')

  for (const name of elided) kept[name] = null
  const { previousResponseId, conversationId, sessionId, model, home, promptTokens, receipt } = response
  const record: ResponseRecord = {
    previousResponseId, conversationId, sessionId, model, home, promptTokens, receipt, elided, resource: kept,
  }
  return { record: JSON.stringify(record), tools, instructions }
}

export type ResponseParts = {
  readonly id: string
  readonly tenant: string
  readonly createdAtMs: number
  readonly inputItemIds: readonly string[]
  readonly outputItemIds: readonly string[]
}

export const unpackResponse = (
  parts: ResponseParts,
  packed: PackedResponse,
  readItem: (id: string) => StoredItem | null,
): StoredResponse => {
  const { elided, ...record } = JSON.parse(packed.record) as ResponseRecord
  const tools = packed.tools === null ? [] : (JSON.parse(packed.tools) as JsonObject[])
  const resource: { [key: string]: JsonObject[string] } = { ...record.resource }
  for (const name of elided) {
    if (name === 'output') resource[name] = parts.outputItemIds.map(readItem).filter((item) => item !== null)
    if (name === 'tools') resource[name] = tools
    if (name === 'instructions') resource[name] = packed.instructions
  }
  return { ...parts, ...record, resource, tools }
}
