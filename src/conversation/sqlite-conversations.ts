import type { JsonObject } from '../model/json.ts'
import type { StoredItem } from '../model/item.ts'
import type { StoredConversation } from '../model/response.ts'
import type { ItemPage, PageRequest } from './response-store.ts'
import type { Database, SqlValue } from './sqlite-driver.ts'
import type { SqliteItems, Tally } from './sqlite-items.ts'
import { StorageError } from './storage-error.ts'

export type ConversationRow = {
  readonly row: number
  readonly tenant: string
  readonly id: string
  readonly created_at_ms: number
  readonly last_response: number | null
  readonly metadata: string
}

/** Conversations and the order of their items. All of it runs inside a transaction of the caller. */
export class SqliteConversations {
  readonly #items: SqliteItems
  readonly #tally: Tally
  readonly #find
  readonly #insert
  readonly #setMetadata
  readonly #use
  readonly #remove
  readonly #append
  readonly #positionOf
  readonly #idsOf
  readonly #rowsOf
  readonly #removeItem
  readonly #removeItems
  readonly #unusedSince
  readonly #ascending
  readonly #descending

  constructor(database: Database, items: SqliteItems, tally: Tally) {
    this.#items = items
    this.#tally = tally
    this.#find = database.prepare('SELECT * FROM conversation WHERE tenant = ? AND id = ?')
    this.#insert = database.prepare(
      'INSERT INTO conversation (tenant, id, created_at_ms, used_at_ms, metadata) VALUES (?, ?, ?, ?, ?)',
    )
    this.#setMetadata = database.prepare('UPDATE conversation SET metadata = ?, used_at_ms = ? WHERE row = ?')
    this.#use = database.prepare(
      'UPDATE conversation SET used_at_ms = ?, last_response = coalesce(?, last_response) WHERE row = ?',
    )
    this.#remove = database.prepare('DELETE FROM conversation WHERE row = ?')
    this.#append = database.prepare(`
      INSERT INTO conversation_item (conversation, position, item)
      SELECT ?1, coalesce(max(position), 0) + 1, ?2 FROM conversation_item WHERE conversation = ?1`)
    this.#positionOf = database.prepare('SELECT position FROM conversation_item WHERE conversation = ? AND item = ?')
    this.#idsOf = database.prepare(`
      SELECT item.id AS id FROM conversation_item JOIN item ON item.row = conversation_item.item
      WHERE conversation = ? ORDER BY position`)
    this.#rowsOf = database.prepare('SELECT item FROM conversation_item WHERE conversation = ?')
    this.#removeItem = database.prepare('DELETE FROM conversation_item WHERE conversation = ? AND item = ?')
    this.#removeItems = database.prepare('DELETE FROM conversation_item WHERE conversation = ?')
    this.#unusedSince = database.prepare(
      'SELECT row, used_at_ms AS atMs FROM conversation WHERE used_at_ms < ? ORDER BY used_at_ms, row LIMIT ?',
    )
    const page = (comparison: string, order: string): string => `
      SELECT item.body AS body FROM conversation_item JOIN item ON item.row = conversation_item.item
      WHERE conversation = ? AND position ${comparison} ? ORDER BY position ${order} LIMIT ?`
    this.#ascending = database.prepare(page('>', 'ASC'))
    this.#descending = database.prepare(page('<', 'DESC'))
  }

  find(tenant: string, id: string): ConversationRow | null {
    return (this.#find.get(tenant, id) as ConversationRow | undefined) ?? null
  }

  read(tenant: string, id: string): StoredConversation | null {
    const row = this.find(tenant, id)
    if (row === null) return null
    return { id, tenant, createdAtMs: row.created_at_ms, metadata: JSON.parse(row.metadata) as JsonObject }
  }

  create(conversation: StoredConversation, items: readonly StoredItem[]): void {
    const { tenant, id, createdAtMs, metadata } = conversation
    if (this.find(tenant, id) !== null) {
      throw new StorageError('conflict', `A conversation with id '${id}' is stored already.`)
    }
    const { lastInsertRowid } = this.#insert.run(tenant, id, createdAtMs, createdAtMs, JSON.stringify(metadata))
    this.#tally.conversations += 1
    this.add(tenant, Number(lastInsertRowid), items)
  }

  update(tenant: string, id: string, metadata: JsonObject, nowMs: number): StoredConversation | null {
    const row = this.find(tenant, id)
    if (row === null) return null
    this.#setMetadata.run(JSON.stringify(metadata), nowMs, row.row)
    return { id, tenant, createdAtMs: row.created_at_ms, metadata }
  }

  /** Items that come from outside a response: stored when new, then appended. */
  add(tenant: string, conversation: number, items: readonly StoredItem[]): void {
    for (const item of items) {
      let row = this.#items.rowOf(tenant, item.id)
      if (row === null) row = this.#items.insert(tenant, item, 1)
      else if (this.has(conversation, row)) continue
      else this.#items.hold(row, 1)
      this.#append.run(conversation, row)
    }
  }

  /** Items that the caller has made this conversation a holder of. */
  append(conversation: number, rows: readonly number[]): void {
    for (const row of rows) this.#append.run(conversation, row)
  }

  use(conversation: number, nowMs: number, lastResponse: number | null): void {
    this.#use.run(nowMs, lastResponse, conversation)
  }

  has(conversation: number, item: number): boolean {
    return this.#positionOf.get(conversation, item) !== undefined
  }

  itemIds(conversation: number): string[] {
    return (this.#idsOf.all(conversation) as { id: string }[]).map(({ id }) => id)
  }

  page(conversation: ConversationRow, { after, limit, order }: PageRequest): ItemPage | 'unknown_after' {
    let start: SqlValue = order === 'asc' ? 0 : Number.MAX_SAFE_INTEGER
    if (after !== null) {
      const item = this.#items.rowOf(conversation.tenant, after)
      const found = item === null ? undefined : (this.#positionOf.get(conversation.row, item) as { position: number } | undefined)
      if (found === undefined) return 'unknown_after'
      start = found.position
    }
    const select = order === 'asc' ? this.#ascending : this.#descending
    const found = select.all(conversation.row, start, limit + 1) as { body: string }[]
    const items = found.slice(0, limit).map(({ body }) => JSON.parse(body) as StoredItem)
    return { items, hasMore: found.length > limit }
  }

  removeItem(conversation: number, item: number): boolean {
    if (this.#removeItem.run(conversation, item).changes === 0) return false
    this.#items.release(item)
    return true
  }

  usedBefore(limitMs: number, count: number): readonly { readonly row: number; readonly atMs: number }[] {
    return this.#unusedSince.all(limitMs, count) as { row: number; atMs: number }[]
  }

  /** `release` says what becomes of an item that nothing else holds. */
  remove(conversation: number, release: (item: number) => void): void {
    const rows = this.#rowsOf.all(conversation) as { item: number }[]
    this.#removeItems.run(conversation)
    this.#remove.run(conversation)
    this.#tally.conversations -= 1
    for (const { item } of rows) release(item)
  }
}
