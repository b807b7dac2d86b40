import { createHash } from 'node:crypto'
import type { StoredItem } from '../model/item.ts'
import type { Database } from './sqlite-driver.ts'
import { StorageError } from './storage-error.ts'

/** What a transaction changed; the counters of the store follow when it commits. */
export type Tally = { responses: number; conversations: number; items: number }

/**
 * Items and shared texts: who holds them, and when they go. All of it runs inside a transaction of the caller.
 */
export class SqliteItems {
  readonly #tally: Tally
  readonly #find
  readonly #bodyOf
  readonly #idOf
  readonly #insert
  readonly #insertNew
  readonly #hold
  readonly #release
  readonly #remove
  readonly #unused
  readonly #findText
  readonly #insertText
  readonly #textOf
  readonly #removeText

  constructor(database: Database, tally: Tally) {
    this.#tally = tally
    this.#find = database.prepare('SELECT row FROM item WHERE tenant = ? AND id = ?')
    this.#bodyOf = database.prepare('SELECT body FROM item WHERE tenant = ? AND id = ?')
    this.#idOf = database.prepare('SELECT id FROM item WHERE row = ?')
    this.#insert = database.prepare('INSERT INTO item (refs, tenant, id, body) VALUES (?, ?, ?, ?)')
    this.#insertNew = database.prepare(`
      INSERT INTO item (refs, tenant, id, body) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`)
    this.#hold = database.prepare('UPDATE item SET refs = refs + ?, unused_since_ms = NULL WHERE row = ?')
    this.#release = database.prepare('UPDATE item SET refs = refs - 1, unused_since_ms = ? WHERE row = ? AND refs > ?')
    this.#remove = database.prepare('DELETE FROM item WHERE row = ?')
    this.#unused = database.prepare(
      'SELECT row, unused_since_ms AS atMs FROM item WHERE unused_since_ms < ? ORDER BY unused_since_ms LIMIT ?',
    )
    this.#findText = database.prepare('SELECT row FROM text WHERE tenant = ? AND hash = ?')
    this.#insertText = database.prepare('INSERT INTO text (tenant, hash, body) VALUES (?, ?, ?)')
    this.#textOf = database.prepare('SELECT body FROM text WHERE row = ?')
    this.#removeText = database.prepare(`
      DELETE FROM text WHERE row = ?1 AND NOT EXISTS (SELECT 1 FROM response WHERE tools = ?1)
        AND NOT EXISTS (SELECT 1 FROM response WHERE instructions = ?1)`)
  }

  rowOf(tenant: string, id: string): number | null {
    return (this.#find.get(tenant, id) as { row: number } | undefined)?.row ?? null
  }

  read(tenant: string, id: string): StoredItem | null {
    const found = this.#bodyOf.get(tenant, id) as { body: string } | undefined
    return found === undefined ? null : (JSON.parse(found.body) as StoredItem)
  }

  idOf(row: number): string {
    const found = this.#idOf.get(row) as { id: string } | undefined
    if (found === undefined) throw new StorageError('corrupt', `Item row ${row} is held but gone.`)
    return found.id
  }

  insert(tenant: string, item: StoredItem, holders: number): number {
    this.#tally.items += 1
    return Number(this.#insert.run(holders, tenant, item.id, JSON.stringify(item)).lastInsertRowid)
  }

  /** Null where the id is taken. One statement instead of a look-up and an insert. */
  insertNew(tenant: string, item: StoredItem, holders: number): number | null {
    const { changes, lastInsertRowid } = this.#insertNew.run(holders, tenant, item.id, JSON.stringify(item))
    if (Number(changes) === 0) return null
    this.#tally.items += 1
    return Number(lastInsertRowid)
  }

  hold(row: number, holders: number): void {
    this.#hold.run(holders, row)
  }

  /** One holder lets go; with the last one the item goes. */
  release(row: number): void {
    if (this.#release.run(null, row, 1).changes === 0) this.remove(row)
  }

  /** One holder lets go; with the last one the item becomes unused, for retention to take. */
  releaseUnused(row: number, nowMs: number): void {
    if (this.#release.run(null, row, 1).changes === 0) this.#release.run(nowMs, row, 0)
  }

  remove(row: number): void {
    this.#remove.run(row)
    this.#tally.items -= 1
  }

  unusedBefore(limitMs: number, count: number): readonly { readonly row: number; readonly atMs: number }[] {
    return this.#unused.all(limitMs, count) as { row: number; atMs: number }[]
  }

  /** The row of this text, stored now if it is new. */
  textRow(tenant: string, text: string): number {
    const hash = createHash('sha256').update(text).digest()
    const found = this.#findText.get(tenant, hash) as { row: number } | undefined
    return found?.row ?? Number(this.#insertText.run(tenant, hash, text).lastInsertRowid)
  }

  text(row: number): string {
    const found = this.#textOf.get(row) as { body: string } | undefined
    if (found === undefined) throw new StorageError('corrupt', `Text row ${row} is held but gone.`)
    return found.body
  }

  /** Goes unless a response still has it. */
  releaseText(row: number): void {
    this.#removeText.run(row)
  }
}
