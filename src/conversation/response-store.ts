import type { JsonObject } from '../model/json.ts'
import type { StoredItem } from '../model/item.ts'
import type { StoredConversation, StoredResponse } from '../model/response.ts'

/**
 * What conversations are made of, kept. Everything is scoped by tenant: another tenant's id is an unknown id.
 *
 * - A promise of a write resolves when the write survives the death of the process, and rejects (`StorageError`) when
 *   nothing of it was stored. A read sees every write that was asked for before it.
 * - An item is immutable: storing an id again keeps the first content. Whoever accepts an item from a client under an
 *   id that is taken, with other content, gives it a new id first.
 * - An item lives while a response or a conversation holds it. A response holds its whole context, so it stays
 *   complete when its parents are deleted or expire.
 */
export interface ResponseStore {
  /** Atomic. `conflict` when the id is taken, `missing_item` when an id is neither stored nor in `items`. */
  saveResponse(save: ResponseSave): Promise<void>
  getResponse(tenant: string, id: string): Promise<StoredResponse | null>
  /** Items that nothing else holds go with it. */
  deleteResponse(tenant: string, id: string): Promise<boolean>
  /** In the order of `ids`. */
  getItems(tenant: string, ids: readonly string[]): Promise<readonly (StoredItem | null)[]>

  createConversation(conversation: StoredConversation, items: readonly StoredItem[]): Promise<void>
  getConversation(tenant: string, id: string): Promise<StoredConversation | null>
  updateConversation(tenant: string, id: string, metadata: JsonObject): Promise<StoredConversation | null>
  /** Its items can still be read by id, until retention takes those that nothing else holds. */
  deleteConversation(tenant: string, id: string): Promise<boolean>
  /** False: no such conversation. An item that the conversation already has keeps its place. */
  appendItems(tenant: string, conversationId: string, items: readonly StoredItem[]): Promise<boolean>
  /** All of them, in order: what a turn is given. Null: no such conversation. */
  conversationItemIds(tenant: string, conversationId: string): Promise<readonly string[] | null>
  listConversationItems(
    tenant: string,
    conversationId: string,
    page: PageRequest,
  ): Promise<ItemPage | 'unknown_after' | null>
  getConversationItem(tenant: string, conversationId: string, itemId: string): Promise<StoredItem | null>
  removeConversationItem(tenant: string, conversationId: string, itemId: string): Promise<boolean>

  /**
   * What the gateway has learnt, under a name of its own: replaces what was saved there, whole or not at all. `too_large`
   * beyond 32 MiB. Retention and the size bound leave states alone; in memory they count towards the bound.
   */
  saveState(name: string, bytes: Uint8Array): Promise<void>
  /** An own copy; null when nothing was saved under the name. */
  loadState(name: string): Promise<Uint8Array | null>

  /** Newest first, over all tenants: the block index is rebuilt from these after a restart. */
  recentResponses(limit: number): Promise<readonly StoredResponse[]>
  /** Lets go of what is too old, then of the oldest until the size bound holds. Yields to other work between batches. */
  sweep(nowMs: number): Promise<Swept>
  stats(): StoreStats
  /** Writes asked for are finished first. */
  close(): Promise<void>
}

export type ResponseSave = {
  readonly response: StoredResponse
  /** Those of its input and output items that are not stored yet; others are ignored. */
  readonly items: readonly StoredItem[]
  /** Ids appended to `response.conversationId`, null when there is none. A conversation deleted meanwhile gets nothing. */
  readonly conversationAppend: readonly string[] | null
}

export type PageRequest = { readonly after: string | null; readonly limit: number; readonly order: 'asc' | 'desc' }
export type ItemPage = { readonly items: readonly StoredItem[]; readonly hasMore: boolean }

/** Expired: older than the retention. Size: the oldest, because the store was over its bound. */
export type EvictionReason = 'expired' | 'size'
export type Removed = { readonly responses: number; readonly conversations: number; readonly items: number }
export type Swept = Readonly<Record<EvictionReason, Removed>>

/** `evicted` counts since the store was opened. */
export type StoreStats = {
  readonly responses: number
  readonly conversations: number
  readonly items: number
  readonly bytes: number
  readonly evicted: Swept
}

/**
 * Responses expire by age (30 days is what OpenAI keeps them); conversations do not, but the size bound takes whatever
 * was used least recently, conversations included.
 */
export type Retention = { readonly maxAgeMs: number; readonly maxBytes: number }
export const DEFAULT_RETENTION: Retention = { maxAgeMs: 30 * 24 * 3_600_000, maxBytes: 10 * 2 ** 30 }
