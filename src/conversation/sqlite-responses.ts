import type { StoredItem } from '../model/item.ts'
import type { StoredResponse } from '../model/response.ts'
import { ContextCache, extendContext } from './context-cache.ts'
import type { Context } from './context-cache.ts'
import { packResponse, unpackResponse } from './response-record.ts'
import type { ResponseSave } from './response-store.ts'
import { decodeRows } from './row-list.ts'
import type { SqliteConversations } from './sqlite-conversations.ts'
import type { Database } from './sqlite-driver.ts'
import type { SqliteItems, Tally } from './sqlite-items.ts'
import { StorageError } from './storage-error.ts'

type ResponseRow = {
  readonly row: number
  readonly id: string | null
  readonly tenant: string
  readonly created_at_ms: number
  readonly base: number | null
  readonly base_length: number
  readonly input_length: number
  readonly tools: number | null
  readonly instructions: number | null
  readonly context: Uint8Array
  readonly record: string | null
}

/** Responses and the tree in which one continues another. All of it runs inside a transaction of the caller. */
export class SqliteResponses {
  readonly #items: SqliteItems
  readonly #conversations: SqliteConversations
  readonly #tally: Tally
  readonly #find
  readonly #findRow
  readonly #rowOf
  readonly #contextOf
  readonly #insert
  readonly #continued
  readonly #empty
  readonly #remove
  readonly #recent
  readonly #before
  readonly #contexts = new ContextCache()

  constructor(database: Database, items: SqliteItems, conversations: SqliteConversations, tally: Tally) {
    this.#items = items
    this.#conversations = conversations
    this.#tally = tally
    this.#find = database.prepare('SELECT * FROM response WHERE tenant = ? AND id = ?')
    this.#findRow = database.prepare('SELECT * FROM response WHERE row = ?')
    this.#rowOf = database.prepare('SELECT row FROM response WHERE tenant = ? AND id = ?')
    this.#contextOf = database.prepare('SELECT context FROM response WHERE row = ?')
    this.#insert = database.prepare(`
      INSERT INTO response (tenant, id, created_at_ms, base, base_length, input_length, tools, instructions, context, record)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
    this.#continued = database.prepare('SELECT 1 FROM response WHERE base = ? LIMIT 1')
    this.#empty = database.prepare(
      'UPDATE response SET id = NULL, record = NULL, tools = NULL, instructions = NULL WHERE row = ?',
    )
    this.#remove = database.prepare('DELETE FROM response WHERE row = ?')
    this.#recent = database.prepare('SELECT * FROM response WHERE id IS NOT NULL ORDER BY row DESC LIMIT ?')
    this.#before = database.prepare(`
      SELECT row, created_at_ms AS atMs FROM response WHERE id IS NOT NULL AND created_at_ms < ?
      ORDER BY created_at_ms, row LIMIT ?`)
  }

  save({ response, items, conversationAppend }: ResponseSave): void {
    const { tenant } = response
    if (this.rowOf(tenant, response.id) !== null) {
      throw new StorageError('conflict', `A response with id '${response.id}' is stored already.`)
    }
    const conversation = response.conversationId === null || conversationAppend === null
      ? null
      : this.#conversations.find(tenant, response.conversationId)
    const base = this.#base(response, conversation?.last_response ?? null)
    const ids = [...response.inputItemIds, ...response.outputItemIds]
    const own = ids.slice(base?.context.ids.length ?? 0)
    const appended = conversation === null ? [] : [...new Set(conversationAppend)]

    const given = new Map(items.map((item) => [item.id, item]))
    const rows = new Map<string, number | null>()
    for (const id of [...own, ...appended]) {
      // what comes with its content is inserted without a look-up, unless it may be in the conversation already
      if (rows.has(id) || (conversation === null && given.has(id))) continue
      const row = this.#items.rowOf(tenant, id)
      if (row === null && !given.has(id)) throw new StorageError('missing_item', `Item '${id}' is not stored.`)
      rows.set(id, row)
    }
    const joining = appended.filter((id) => {
      const row = rows.get(id) ?? null
      return conversation !== null && (row === null || !this.#conversations.has(conversation.row, row))
    })

    const held = new Map<string, number>()
    const stored = new Map<string, StoredItem>()
    for (const [id, holders] of countOf([...own, ...joining])) {
      const item = given.get(id)
      const known = rows.get(id) ?? null
      const fresh = known === null && item !== undefined ? this.#items.insertNew(tenant, item, holders) : null
      if (fresh !== null && item !== undefined) {
        held.set(id, fresh)
        stored.set(id, item)
      } else {
        const row = known ?? (this.#items.rowOf(tenant, id) as number)
        this.#items.hold(row, holders)
        held.set(id, row)
      }
    }

    const packed = packResponse(response, stored)
    const context = extendContext(base?.context ?? null, ids, own.map((id) => held.get(id) as number))
    const inserted = Number(this.#insert.run(
      tenant, response.id, response.createdAtMs, base?.row ?? null, ids.length - own.length, response.inputItemIds.length,
      packed.tools === null ? null : this.#items.textRow(tenant, packed.tools),
      packed.instructions === null ? null : this.#items.textRow(tenant, packed.instructions),
      context.bytes, packed.record,
    ).lastInsertRowid)
    this.#contexts.set(inserted, context)
    this.#tally.responses += 1
    if (conversation === null) return
    this.#conversations.append(conversation.row, joining.map((id) => held.get(id) as number))
    this.#conversations.use(conversation.row, response.createdAtMs, inserted)
  }

  read(tenant: string, id: string): StoredResponse | null {
    const row = this.#find.get(tenant, id) as ResponseRow | undefined
    return row === undefined ? null : this.#unpack(row, (item) => this.#items.idOf(item))
  }

  recent(limit: number): StoredResponse[] {
    // Responses of one conversation share most of their items.
    const ids = new Map<number, string>()
    const idOf = (row: number): string => {
      const id = ids.get(row) ?? this.#items.idOf(row)
      ids.set(row, id)
      return id
    }
    return (this.#recent.all(limit) as ResponseRow[]).map((row) => this.#unpack(row, idOf))
  }

  rowOf(tenant: string, id: string): number | null {
    return (this.#rowOf.get(tenant, id) as { row: number } | undefined)?.row ?? null
  }

  createdBefore(limitMs: number, count: number): readonly { readonly row: number; readonly atMs: number }[] {
    return this.#before.all(limitMs, count) as { row: number; atMs: number }[]
  }

  /** The response goes; what it holds goes too unless a continuation needs it, and then with the last of these. */
  remove(row: number): void {
    const removed = this.#findRow.get(row) as ResponseRow
    this.#contexts.delete(row)
    this.#empty.run(row)
    this.#tally.responses -= 1
    for (const text of [removed.tools, removed.instructions]) if (text !== null) this.#items.releaseText(text)

    let next: ResponseRow | undefined = removed
    while (next !== undefined && this.#continued.get(next.row) === undefined) {
      this.#contexts.delete(next.row)
      this.#remove.run(next.row)
      for (const item of decodeRows(next.context).slice(next.base_length)) this.#items.release(item)
      const base: ResponseRow | undefined =
        next.base === null ? undefined : (this.#findRow.get(next.base) as ResponseRow | undefined)
      next = base?.id === null ? base : undefined
    }
  }

  /** Memory of what a transaction wrote that was rolled back after all. */
  forget(): void {
    this.#contexts.clear()
  }

  /** The response whose whole context this one starts with, if its parent (or the conversation's last) is that. */
  #base(
    response: StoredResponse, lastOfConversation: number | null,
  ): { readonly row: number; readonly context: Context } | null {
    const { tenant, previousResponseId, inputItemIds } = response
    const row = previousResponseId === null ? lastOfConversation : this.rowOf(tenant, previousResponseId)
    const context = row === null ? null : this.#context(row)
    if (row === null || context === null || context.ids.length === 0) return null
    return context.ids.every((id, index) => id === inputItemIds[index]) ? { row, context } : null
  }

  #context(row: number): Context | null {
    const known = this.#contexts.get(row)
    if (known !== undefined) return known
    const found = this.#contextOf.get(row) as { context: Uint8Array } | undefined
    return found === undefined ? null : this.#load(row, found.context, (item) => this.#items.idOf(item))
  }

  #load(row: number, bytes: Uint8Array, idOf: (item: number) => string): Context {
    const rows = decodeRows(bytes)
    const context = { ids: rows.map(idOf), bytes, lastRow: rows.at(-1) ?? 0 }
    this.#contexts.set(row, context)
    return context
  }

  #unpack(row: ResponseRow, idOf: (item: number) => string): StoredResponse {
    const { ids } = this.#contexts.get(row.row) ?? this.#load(row.row, row.context, idOf)
    const text = (at: number | null): string | null => (at === null ? null : this.#items.text(at))
    return unpackResponse(
      {
        id: row.id as string,
        tenant: row.tenant,
        createdAtMs: row.created_at_ms,
        inputItemIds: ids.slice(0, row.input_length),
        outputItemIds: ids.slice(row.input_length),
      },
      { record: row.record as string, tools: text(row.tools), instructions: text(row.instructions) },
      (id) => this.#items.read(row.tenant, id),
    )
  }
}

const countOf = (ids: readonly string[]): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1)
  return counts
}
