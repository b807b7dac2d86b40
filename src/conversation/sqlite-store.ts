import type { JsonObject } from '../model/json.ts'
import type { StoredItem } from '../model/item.ts'
import type { StoredConversation, StoredResponse } from '../model/response.ts'
import { GroupCommit } from './group-commit.ts'
import { DEFAULT_RETENTION } from './response-store.ts'
import { checkState } from './saved-state.ts'
import type {
  EvictionReason, ItemPage, PageRequest, Removed, ResponseSave, ResponseStore, Retention, StoreStats, Swept,
} from './response-store.ts'
import { SqliteConversations } from './sqlite-conversations.ts'
import type { Database } from './sqlite-driver.ts'
import { closeDatabase, openDatabase, storageErrorOf } from './sqlite-driver.ts'
import { SqliteItems } from './sqlite-items.ts'
import type { Tally } from './sqlite-items.ts'
import { SqliteResponses } from './sqlite-responses.ts'
import { migrate } from './sqlite-schema.ts'
import { StorageError } from './storage-error.ts'

export type SqliteStoreOptions = {
  /** Made when it is missing; belongs to one process at a time. */
  readonly directory: string
  readonly nowMs: () => number
  readonly retention?: Retention
  /** `full`: commits survive a power failure too, for an fsync each group. */
  readonly synchronous?: 'normal' | 'full'
  /** When the writes of one turn of the event loop are committed. */
  readonly schedule?: (flush: () => void) => void
  readonly maxPages?: number
}

/** Rejects with a `StorageError` that says what is wrong with the data folder. */
export const openSqliteStore = async (options: SqliteStoreOptions): Promise<ResponseStore> => {
  const { directory, synchronous = 'normal', maxPages = null } = options
  const database = await openDatabase({ directory, synchronous, maxPages })
  try {
    migrate(database, options.nowMs())
    return new SqliteStore(database, options)
  } catch (error) {
    closeDatabase(database)
    const { code, message } = storageErrorOf(error)
    throw new StorageError(code, `The store in ${directory} cannot be opened: ${message}`, error)
  }
}

/** Rows that one transaction of a sweep removes: about 10 ms of work. */
const SWEEP_BATCH = 64
const none = (): { -readonly [key in keyof Removed]: number } => ({ responses: 0, conversations: 0, items: 0 })

/**
 * The embedded store. The calls of SQLite are synchronous and short (tens of microseconds), so they run on the event
 * loop; writes are grouped (group-commit.ts). A read commits the writes that wait before it looks.
 */
class SqliteStore implements ResponseStore {
  readonly #database: Database
  readonly #nowMs: () => number
  readonly #retention: Retention
  readonly #commits: GroupCommit
  readonly #items: SqliteItems
  readonly #conversations: SqliteConversations
  readonly #responses: SqliteResponses
  readonly #pageCount
  readonly #freePages
  readonly #saveState
  readonly #loadState
  readonly #bytesOfStates
  /** What the open transaction has changed, and what is committed. */
  readonly #tally: Tally = none()
  readonly #count: Tally
  readonly #evicted = { expired: none(), size: none() }
  #closed = false
  #bytesAtClose = 0

  constructor(database: Database, { nowMs, retention = DEFAULT_RETENTION, schedule = setImmediate }: SqliteStoreOptions) {
    this.#database = database
    this.#nowMs = nowMs
    this.#retention = retention
    this.#items = new SqliteItems(database, this.#tally)
    this.#conversations = new SqliteConversations(database, this.#items, this.#tally)
    this.#responses = new SqliteResponses(database, this.#items, this.#conversations, this.#tally)
    this.#pageCount = database.prepare('PRAGMA page_count')
    this.#freePages = database.prepare('PRAGMA freelist_count')
    this.#saveState = database.prepare(`INSERT INTO state (name, saved_at_ms, body) VALUES (?, ?, ?)
      ON CONFLICT (name) DO UPDATE SET saved_at_ms = excluded.saved_at_ms, body = excluded.body`)
    this.#loadState = database.prepare('SELECT body FROM state WHERE name = ?')
    this.#bytesOfStates = database.prepare('SELECT coalesce(sum(length(body)), 0) AS bytes FROM state')
    this.#count = database.prepare(`SELECT (SELECT count(*) FROM response WHERE id IS NOT NULL) AS responses,
      (SELECT count(*) FROM conversation) AS conversations, (SELECT count(*) FROM item) AS items`).get() as Tally
    this.#commits = new GroupCommit(database, schedule, {
      committed: () => {
        this.#count.responses += this.#tally.responses
        this.#count.conversations += this.#tally.conversations
        this.#count.items += this.#tally.items
        Object.assign(this.#tally, none())
      },
      rolledBack: () => {
        Object.assign(this.#tally, none())
        this.#responses.forget()
      },
    })
  }

  saveResponse(save: ResponseSave): Promise<void> {
    return this.#commits.write(() => this.#responses.save(save))
  }

  getResponse(tenant: string, id: string): Promise<StoredResponse | null> {
    return this.#read(() => this.#responses.read(tenant, id))
  }

  deleteResponse(tenant: string, id: string): Promise<boolean> {
    return this.#commits.write(() => {
      const row = this.#responses.rowOf(tenant, id)
      if (row !== null) this.#responses.remove(row)
      return row !== null
    })
  }

  getItems(tenant: string, ids: readonly string[]): Promise<readonly (StoredItem | null)[]> {
    return this.#read(() => ids.map((id) => this.#items.read(tenant, id)))
  }

  createConversation(conversation: StoredConversation, items: readonly StoredItem[]): Promise<void> {
    return this.#commits.write(() => this.#conversations.create(conversation, items))
  }

  getConversation(tenant: string, id: string): Promise<StoredConversation | null> {
    return this.#read(() => this.#conversations.read(tenant, id))
  }

  updateConversation(tenant: string, id: string, metadata: JsonObject): Promise<StoredConversation | null> {
    return this.#commits.write(() => this.#conversations.update(tenant, id, metadata, this.#nowMs()))
  }

  deleteConversation(tenant: string, id: string): Promise<boolean> {
    return this.#commits.write(() => {
      const found = this.#conversations.find(tenant, id)
      if (found === null) return false
      const nowMs = this.#nowMs()
      this.#conversations.remove(found.row, (item) => this.#items.releaseUnused(item, nowMs))
      return true
    })
  }

  appendItems(tenant: string, conversationId: string, items: readonly StoredItem[]): Promise<boolean> {
    return this.#commits.write(() => {
      const found = this.#conversations.find(tenant, conversationId)
      if (found === null) return false
      this.#conversations.add(tenant, found.row, items)
      this.#conversations.use(found.row, this.#nowMs(), null)
      return true
    })
  }

  conversationItemIds(tenant: string, conversationId: string): Promise<readonly string[] | null> {
    return this.#read(() => {
      const found = this.#conversations.find(tenant, conversationId)
      return found === null ? null : this.#conversations.itemIds(found.row)
    })
  }

  listConversationItems(
    tenant: string, conversationId: string, page: PageRequest,
  ): Promise<ItemPage | 'unknown_after' | null> {
    return this.#read(() => {
      const found = this.#conversations.find(tenant, conversationId)
      return found === null ? null : this.#conversations.page(found, page)
    })
  }

  getConversationItem(tenant: string, conversationId: string, itemId: string): Promise<StoredItem | null> {
    return this.#read(() => {
      const found = this.#conversations.find(tenant, conversationId)
      const item = this.#items.rowOf(tenant, itemId)
      if (found === null || item === null || !this.#conversations.has(found.row, item)) return null
      return this.#items.read(tenant, itemId)
    })
  }

  removeConversationItem(tenant: string, conversationId: string, itemId: string): Promise<boolean> {
    return this.#commits.write(() => {
      const found = this.#conversations.find(tenant, conversationId)
      const item = this.#items.rowOf(tenant, itemId)
      return found !== null && item !== null && this.#conversations.removeItem(found.row, item)
    })
  }

  async saveState(name: string, bytes: Uint8Array): Promise<void> {
    checkState(name, bytes)
    const body = bytes.slice()
    await this.#commits.write(() => this.#saveState.run(name, Math.floor(this.#nowMs()), body))
  }

  loadState(name: string): Promise<Uint8Array | null> {
    return this.#read(() => (this.#loadState.get(name) as { body: Uint8Array } | undefined)?.body ?? null)
  }

  recentResponses(limit: number): Promise<readonly StoredResponse[]> {
    return this.#read(() => this.#responses.recent(limit))
  }

  async sweep(nowMs: number): Promise<Swept> {
    const swept = { expired: none(), size: none() }
    const batch = async (reason: EvictionReason, step: () => boolean): Promise<void> => {
      let more = true
      while (more) {
        const removed = none()
        more = await this.#commits.write(() => {
          const before = { ...this.#tally }
          const left = step()
          removed.responses = before.responses - this.#tally.responses
          removed.conversations = before.conversations - this.#tally.conversations
          removed.items = before.items - this.#tally.items
          return left
        })
        for (const total of [swept[reason], this.#evicted[reason]]) {
          total.responses += removed.responses
          total.conversations += removed.conversations
          total.items += removed.items
        }
      }
    }
    await batch('expired', () => this.#removeExpired(nowMs - this.#retention.maxAgeMs))
    await batch('size', () => this.#removeOldest())
    await this.#commits.write(() => this.#database.exec(`PRAGMA incremental_vacuum(${VACUUM_PAGES})`))
    return swept
  }

  stats(): StoreStats {
    const { expired, size } = this.#evicted
    return { ...this.#count, bytes: this.#closed ? this.#bytesAtClose : this.#usedBytes(), evicted: { expired: { ...expired }, size: { ...size } } }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#commits.close()
    this.#bytesAtClose = this.#usedBytes()
    this.#closed = true
    closeDatabase(this.#database)
  }

  /** Rejects instead of throwing, as every other failure does. */
  async #read<T>(look: () => T): Promise<T> {
    if (this.#closed) throw new StorageError('closed', 'The store is closed.')
    this.#commits.flush()
    try {
      return look()
    } catch (error) {
      throw storageErrorOf(error)
    }
  }

  #removeExpired(limitMs: number): boolean {
    const responses = this.#responses.createdBefore(limitMs, SWEEP_BATCH)
    for (const { row } of responses) this.#responses.remove(row)
    const items = this.#items.unusedBefore(limitMs, SWEEP_BATCH)
    for (const { row } of items) this.#items.remove(row)
    return responses.length === SWEEP_BATCH || items.length === SWEEP_BATCH
  }

  /** Whatever was used least recently: a response, a conversation or an unused item. States do not count: they stay. */
  #removeOldest(): boolean {
    const { bytes: ofStates } = this.#bytesOfStates.get() as { bytes: number }
    for (let removed = 0; removed < SWEEP_BATCH; removed += 1) {
      if (this.#usedBytes() - ofStates <= this.#retention.maxBytes) return false
      const ever = Number.MAX_SAFE_INTEGER
      const oldest = [
        ...this.#responses.createdBefore(ever, 1).map((found) => ({ ...found, remove: this.#removeResponse })),
        ...this.#conversations.usedBefore(ever, 1).map((found) => ({ ...found, remove: this.#removeConversation })),
        ...this.#items.unusedBefore(ever, 1).map((found) => ({ ...found, remove: this.#removeItem })),
      ].sort((a, b) => a.atMs - b.atMs)[0]
      if (oldest === undefined) return false
      oldest.remove(oldest.row)
    }
    return true
  }

  readonly #removeResponse = (row: number): void => this.#responses.remove(row)
  readonly #removeItem = (row: number): void => this.#items.remove(row)
  readonly #removeConversation = (row: number): void =>
    this.#conversations.remove(row, (item) => this.#items.release(item))

  /** Pages in use; the file itself is larger by its free pages and the log of the last commits. */
  #usedBytes(): number {
    const { page_count: pages } = this.#pageCount.get() as { page_count: number }
    const { freelist_count: free } = this.#freePages.get() as { freelist_count: number }
    return (pages - free) * PAGE_BYTES
  }
}

const PAGE_BYTES = 4096
/** Free pages that a sweep gives back to the file system: 16 MiB. */
const VACUUM_PAGES = 4096
