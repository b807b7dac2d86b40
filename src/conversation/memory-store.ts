import { createHash } from 'node:crypto'
import type { JsonObject } from '../model/json.ts'
import type { StoredItem } from '../model/item.ts'
import type { StoredConversation, StoredResponse } from '../model/response.ts'
import { packResponse, unpackResponse } from './response-record.ts'
import type { PackedResponse, ResponseParts } from './response-record.ts'
import { DEFAULT_RETENTION } from './response-store.ts'
import type {
  EvictionReason, ItemPage, PageRequest, Removed, ResponseSave, ResponseStore, Retention, StoreStats, Swept,
} from './response-store.ts'
import { checkState } from './saved-state.ts'
import { StorageError } from './storage-error.ts'

type ItemEntry = { readonly key: string; readonly id: string; readonly body: string; refs: number }
type TextEntry = { readonly key: string; readonly text: string; refs: number }
type ResponseEntry = {
  readonly key: string
  readonly parts: ResponseParts
  readonly packed: PackedResponse
  readonly held: readonly ItemEntry[]
  readonly texts: readonly TextEntry[]
}
type ConversationEntry = {
  readonly key: string
  readonly createdAtMs: number
  usedAtMs: number
  metadata: string
  readonly items: Set<ItemEntry>
}

/** Estimated cost of an entry beside its text: keys, map slots and the object. */
const ITEM_BYTES = 300
const RESPONSE_BYTES = 600
const HELD_BYTES = 8

export const DEFAULT_MEMORY_RETENTION: Retention = { ...DEFAULT_RETENTION, maxBytes: 256 * 2 ** 20 }

/**
 * `store: memory`: the same promises for the life of the process, within a byte bound that a write enforces at once:
 * the least recently used responses and conversations go, counted as `size`. A write that does not fit when all else is
 * gone is undone and rejects with `full`.
 *
 * Content is kept as JSON text, which is several times smaller than the objects and cannot be changed from outside.
 * The maps are in order of use, oldest first, so eviction is O(1) per entry plus the items it releases.
 */
export class MemoryStore implements ResponseStore {
  readonly #nowMs: () => number
  readonly #retention: Retention
  readonly #items = new Map<string, ItemEntry>()
  /** Items that nothing holds since their conversation was deleted. */
  readonly #unused = new Map<ItemEntry, number>()
  readonly #texts = new Map<string, TextEntry>()
  readonly #responses = new Map<string, ResponseEntry>()
  readonly #conversations = new Map<string, ConversationEntry>()
  readonly #states = new Map<string, Uint8Array>()
  readonly #evicted = { expired: none(), size: none() }
  #bytes = 0
  #closed = false

  constructor({ nowMs, retention = DEFAULT_MEMORY_RETENTION }: { nowMs: () => number; retention?: Retention }) {
    this.#nowMs = nowMs
    this.#retention = retention
  }

  async saveResponse({ response, items, conversationAppend }: ResponseSave): Promise<void> {
    this.#check()
    const { tenant, id, createdAtMs } = response
    const key = keyOf(tenant, id)
    if (this.#responses.has(key)) throw new StorageError('conflict', `A response with id '${id}' is stored already.`)
    const conversation = response.conversationId === null || conversationAppend === null
      ? undefined
      : this.#conversations.get(keyOf(tenant, response.conversationId))
    const appended = conversation === undefined ? [] : (conversationAppend ?? [])
    const ids = [...response.inputItemIds, ...response.outputItemIds]
    const given = new Map(items.map((item) => [item.id, item]))
    for (const itemId of [...ids, ...appended]) {
      if (this.#items.has(keyOf(tenant, itemId)) || given.has(itemId)) continue
      throw new StorageError('missing_item', `Item '${itemId}' is not stored.`)
    }

    const stored = new Map([...given].filter(([itemId]) => !this.#items.has(keyOf(tenant, itemId))))
    const packed = packResponse(response, stored)
    const held = ids.map((itemId) => this.#hold(tenant, itemId, given))
    const tools = packed.tools === null ? null : this.#holdText(tenant, packed.tools)
    const instructions = packed.instructions === null ? null : this.#holdText(tenant, packed.instructions)
    const cut = response.inputItemIds.length
    const entry: ResponseEntry = {
      key,
      parts: {
        id, tenant, createdAtMs,
        inputItemIds: held.slice(0, cut).map((item) => item.id),
        outputItemIds: held.slice(cut).map((item) => item.id),
      },
      // The shared strings, so that each is in memory once.
      packed: { record: packed.record, tools: tools?.text ?? null, instructions: instructions?.text ?? null },
      held,
      texts: [tools, instructions].filter((text) => text !== null),
    }
    this.#responses.set(key, entry)
    this.#bytes += responseBytes(entry)
    const joined = conversation === undefined ? [] : this.#join(tenant, conversation, appended, given, createdAtMs)
    this.#fit(new Set<object>([entry, ...(conversation === undefined ? [] : [conversation])]), () => {
      this.#removeResponse(entry)
      if (conversation !== undefined) this.#part(conversation, joined)
    })
  }

  async getResponse(tenant: string, id: string): Promise<StoredResponse | null> {
    this.#check()
    const entry = this.#responses.get(keyOf(tenant, id))
    return entry === undefined ? null : this.#unpack(entry)
  }

  async deleteResponse(tenant: string, id: string): Promise<boolean> {
    this.#check()
    const entry = this.#responses.get(keyOf(tenant, id))
    if (entry !== undefined) this.#removeResponse(entry)
    return entry !== undefined
  }

  async getItems(tenant: string, ids: readonly string[]): Promise<readonly (StoredItem | null)[]> {
    this.#check()
    return ids.map((id) => this.#item(tenant, id))
  }

  async createConversation(conversation: StoredConversation, items: readonly StoredItem[]): Promise<void> {
    this.#check()
    const { tenant, id, createdAtMs, metadata } = conversation
    const key = keyOf(tenant, id)
    if (this.#conversations.has(key)) {
      throw new StorageError('conflict', `A conversation with id '${id}' is stored already.`)
    }
    const entry = { key, createdAtMs, usedAtMs: createdAtMs, metadata: JSON.stringify(metadata), items: new Set<ItemEntry>() }
    this.#conversations.set(key, entry)
    this.#bytes += conversationBytes(entry)
    this.#join(tenant, entry, items.map((item) => item.id), byId(items), createdAtMs)
    this.#fit(new Set([entry]), () => this.#removeConversation(entry, (item) => this.#release(item)))
  }

  async getConversation(tenant: string, id: string): Promise<StoredConversation | null> {
    this.#check()
    const entry = this.#conversations.get(keyOf(tenant, id))
    if (entry === undefined) return null
    return { id, tenant, createdAtMs: entry.createdAtMs, metadata: JSON.parse(entry.metadata) as JsonObject }
  }

  async updateConversation(tenant: string, id: string, metadata: JsonObject): Promise<StoredConversation | null> {
    this.#check()
    const entry = this.#conversations.get(keyOf(tenant, id))
    if (entry === undefined) return null
    this.#bytes -= conversationBytes(entry)
    entry.metadata = JSON.stringify(metadata)
    this.#bytes += conversationBytes(entry)
    this.#use(entry, this.#nowMs())
    return { id, tenant, createdAtMs: entry.createdAtMs, metadata }
  }

  async deleteConversation(tenant: string, id: string): Promise<boolean> {
    this.#check()
    const entry = this.#conversations.get(keyOf(tenant, id))
    if (entry === undefined) return false
    const nowMs = this.#nowMs()
    this.#removeConversation(entry, (item) => {
      item.refs -= 1
      if (item.refs === 0) this.#unused.set(item, nowMs)
    })
    return true
  }

  async appendItems(tenant: string, conversationId: string, items: readonly StoredItem[]): Promise<boolean> {
    this.#check()
    const entry = this.#conversations.get(keyOf(tenant, conversationId))
    if (entry === undefined) return false
    const joined = this.#join(tenant, entry, items.map((item) => item.id), byId(items), this.#nowMs())
    this.#fit(new Set([entry]), () => this.#part(entry, joined))
    return true
  }

  async conversationItemIds(tenant: string, conversationId: string): Promise<readonly string[] | null> {
    this.#check()
    const entry = this.#conversations.get(keyOf(tenant, conversationId))
    return entry === undefined ? null : [...entry.items].map((item) => item.id)
  }

  async listConversationItems(
    tenant: string, conversationId: string, { after, limit, order }: PageRequest,
  ): Promise<ItemPage | 'unknown_after' | null> {
    this.#check()
    const entry = this.#conversations.get(keyOf(tenant, conversationId))
    if (entry === undefined) return null
    const ordered = order === 'asc' ? [...entry.items] : [...entry.items].reverse()
    const found = after === null ? -1 : ordered.findIndex((item) => item.id === after)
    if (after !== null && found < 0) return 'unknown_after'
    const items = ordered.slice(found + 1, found + 1 + limit).map((item) => JSON.parse(item.body) as StoredItem)
    return { items, hasMore: found + 1 + limit < ordered.length }
  }

  async getConversationItem(tenant: string, conversationId: string, itemId: string): Promise<StoredItem | null> {
    this.#check()
    const item = this.#items.get(keyOf(tenant, itemId))
    const held = item !== undefined && this.#conversations.get(keyOf(tenant, conversationId))?.items.has(item)
    return held === true ? this.#item(tenant, itemId) : null
  }

  async removeConversationItem(tenant: string, conversationId: string, itemId: string): Promise<boolean> {
    this.#check()
    const item = this.#items.get(keyOf(tenant, itemId))
    const conversation = this.#conversations.get(keyOf(tenant, conversationId))
    if (item === undefined || conversation === undefined || !conversation.items.has(item)) return false
    this.#part(conversation, [item])
    return true
  }

  async saveState(name: string, bytes: Uint8Array): Promise<void> {
    this.#check()
    checkState(name, bytes)
    const before = this.#states.get(name)
    this.#setState(name, bytes.slice())
    this.#fit(new Set(), () => this.#setState(name, before))
  }

  async loadState(name: string): Promise<Uint8Array | null> {
    this.#check()
    return this.#states.get(name)?.slice() ?? null
  }

  async recentResponses(limit: number): Promise<readonly StoredResponse[]> {
    this.#check()
    return [...this.#responses.values()].slice(-limit).reverse().map((entry) => this.#unpack(entry))
  }

  async sweep(nowMs: number): Promise<Swept> {
    this.#check()
    const limitMs = nowMs - this.#retention.maxAgeMs
    const before = { expired: { ...this.#evicted.expired }, size: { ...this.#evicted.size } }
    this.#evict('expired', () => {
      for (const entry of this.#responses.values()) if (entry.parts.createdAtMs < limitMs) this.#removeResponse(entry)
      for (const [item, sinceMs] of this.#unused) if (sinceMs < limitMs) this.#removeItem(item)
    })
    this.#evict('size', () => this.#shrink(new Set()))
    return {
      expired: difference(this.#evicted.expired, before.expired),
      size: difference(this.#evicted.size, before.size),
    }
  }

  stats(): StoreStats {
    const { expired, size } = this.#evicted
    return {
      responses: this.#responses.size,
      conversations: this.#conversations.size,
      items: this.#items.size,
      bytes: this.#bytes,
      evicted: { expired: { ...expired }, size: { ...size } },
    }
  }

  async close(): Promise<void> {
    this.#closed = true
  }

  #check(): void {
    if (this.#closed) throw new StorageError('closed', 'The store is closed.')
  }

  #setState(name: string, bytes: Uint8Array | undefined): void {
    this.#bytes += (bytes?.length ?? 0) - (this.#states.get(name)?.length ?? 0)
    if (bytes === undefined) this.#states.delete(name)
    else this.#states.set(name, bytes)
  }

  #item(tenant: string, id: string): StoredItem | null {
    const entry = this.#items.get(keyOf(tenant, id))
    return entry === undefined ? null : (JSON.parse(entry.body) as StoredItem)
  }

  #unpack({ parts, packed }: ResponseEntry): StoredResponse {
    return unpackResponse(parts, packed, (id) => this.#item(parts.tenant, id))
  }

  #hold(tenant: string, id: string, given: ReadonlyMap<string, StoredItem>): ItemEntry {
    const key = keyOf(tenant, id)
    let entry = this.#items.get(key)
    if (entry === undefined) {
      entry = { key, id, body: JSON.stringify(given.get(id)), refs: 0 }
      this.#items.set(key, entry)
      this.#bytes += itemBytes(entry)
    }
    entry.refs += 1
    this.#unused.delete(entry)
    return entry
  }

  #release(item: ItemEntry): void {
    item.refs -= 1
    if (item.refs === 0) this.#removeItem(item)
  }

  #removeItem(item: ItemEntry): void {
    this.#items.delete(item.key)
    this.#unused.delete(item)
    this.#bytes -= itemBytes(item)
  }

  #holdText(tenant: string, text: string): TextEntry {
    const key = keyOf(tenant, createHash('sha256').update(text).digest('base64'))
    let entry = this.#texts.get(key)
    if (entry === undefined) {
      entry = { key, text, refs: 0 }
      this.#texts.set(key, entry)
      this.#bytes += textBytes(text)
    }
    entry.refs += 1
    return entry
  }

  /** The items of `ids` that the conversation did not have yet, now at its end. */
  #join(
    tenant: string, conversation: ConversationEntry, ids: readonly string[],
    given: ReadonlyMap<string, StoredItem>, nowMs: number,
  ): ItemEntry[] {
    const joined: ItemEntry[] = []
    for (const id of ids) {
      const present = this.#items.get(keyOf(tenant, id))
      if (present !== undefined && conversation.items.has(present)) continue
      const item = this.#hold(tenant, id, given)
      conversation.items.add(item)
      joined.push(item)
    }
    this.#bytes += joined.length * HELD_BYTES
    this.#use(conversation, nowMs)
    return joined
  }

  #part(conversation: ConversationEntry, items: readonly ItemEntry[]): void {
    for (const item of items) {
      if (!conversation.items.delete(item)) continue
      this.#bytes -= HELD_BYTES
      this.#release(item)
    }
  }

  #use(conversation: ConversationEntry, nowMs: number): void {
    conversation.usedAtMs = nowMs
    this.#conversations.delete(conversation.key)
    this.#conversations.set(conversation.key, conversation)
  }

  #removeResponse(entry: ResponseEntry): void {
    this.#responses.delete(entry.key)
    this.#bytes -= responseBytes(entry)
    for (const item of entry.held) this.#release(item)
    for (const text of entry.texts) {
      text.refs -= 1
      if (text.refs > 0) continue
      this.#texts.delete(text.key)
      this.#bytes -= textBytes(text.text)
    }
  }

  #removeConversation(entry: ConversationEntry, release: (item: ItemEntry) => void): void {
    this.#conversations.delete(entry.key)
    this.#bytes -= conversationBytes(entry)
    for (const item of entry.items) release(item)
  }

  /** Makes room around what was just written, or takes it back. */
  #fit(written: ReadonlySet<object>, undo: () => void): void {
    this.#evict('size', () => this.#shrink(written))
    if (this.#bytes <= this.#retention.maxBytes) return
    undo()
    throw new StorageError('full', `The write does not fit in the ${this.#retention.maxBytes} bytes of the memory store.`)
  }

  #shrink(keep: ReadonlySet<object>): void {
    while (this.#bytes > this.#retention.maxBytes) {
      const response = firstOf(this.#responses.values(), keep)
      const conversation = firstOf(this.#conversations.values(), keep)
      const unused = firstOf(this.#unused.entries(), keep)
      const never = Number.POSITIVE_INFINITY
      const [responseMs, conversationMs] = [response?.parts.createdAtMs ?? never, conversation?.usedAtMs ?? never]
      const unusedMs = unused?.[1] ?? never
      if (response !== undefined && responseMs <= conversationMs && responseMs <= unusedMs) this.#removeResponse(response)
      else if (conversation !== undefined && conversationMs <= unusedMs) {
        this.#removeConversation(conversation, (item) => this.#release(item))
      } else if (unused !== undefined) this.#removeItem(unused[0])
      else return
    }
  }

  #evict(reason: EvictionReason, remove: () => void): void {
    const before = this.#sizes()
    remove()
    const removed = difference(before, this.#sizes())
    this.#evicted[reason].responses += removed.responses
    this.#evicted[reason].conversations += removed.conversations
    this.#evicted[reason].items += removed.items
  }

  #sizes(): Removed {
    return { responses: this.#responses.size, conversations: this.#conversations.size, items: this.#items.size }
  }
}

function none(): { -readonly [key in keyof Removed]: number } {
  return { responses: 0, conversations: 0, items: 0 }
}

const difference = (more: Removed, less: Removed): Removed => ({
  responses: more.responses - less.responses,
  conversations: more.conversations - less.conversations,
  items: more.items - less.items,
})

const keyOf = (tenant: string, id: string): string => `${tenant}\u0000${id}`
const byId = (items: readonly StoredItem[]): ReadonlyMap<string, StoredItem> =>
  new Map([...items].reverse().map((item) => [item.id, item]))

const firstOf = <T extends object>(entries: Iterable<T>, keep: ReadonlySet<object>): T | undefined => {
  for (const entry of entries) if (!keep.has(entry)) return entry
  return undefined
}

const itemBytes = (item: ItemEntry): number => Buffer.byteLength(item.body) + ITEM_BYTES
const textBytes = (text: string): number => Buffer.byteLength(text) + ITEM_BYTES
const conversationBytes = (entry: ConversationEntry): number => entry.metadata.length + ITEM_BYTES + entry.items.size * HELD_BYTES
const responseBytes = ({ packed, held }: ResponseEntry): number =>
  Buffer.byteLength(packed.record) + RESPONSE_BYTES + held.length * HELD_BYTES
