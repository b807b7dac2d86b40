import { encodeRows } from './row-list.ts'

/** The whole context of a stored response, in both of its forms. */
export type Context = {
  readonly ids: readonly string[]
  readonly bytes: Uint8Array
  /** Row of the last item. */
  readonly lastRow: number
}

/** About 6 MB of arrays, and strings that neighbours share. */
const MAX_IDS = 500_000

/**
 * Contexts of the responses last written or read, by row: a turn that continues one of them looks up its new items only.
 * The least recently used go when `MAX_IDS` ids are held; a missing one costs two index look-ups an item.
 */
export class ContextCache {
  readonly #contexts = new Map<number, Context>()
  #ids = 0

  get(row: number): Context | undefined {
    const found = this.#contexts.get(row)
    if (found !== undefined) {
      this.#contexts.delete(row)
      this.#contexts.set(row, found)
    }
    return found
  }

  set(row: number, context: Context): void {
    this.delete(row)
    this.#contexts.set(row, context)
    this.#ids += context.ids.length
    for (const oldest of this.#contexts.keys()) {
      if (this.#ids <= MAX_IDS) break
      this.delete(oldest)
    }
  }

  delete(row: number): void {
    this.#ids -= this.#contexts.get(row)?.ids.length ?? 0
    this.#contexts.delete(row)
  }

  clear(): void {
    this.#contexts.clear()
    this.#ids = 0
  }
}

/** `base` and after it `rows`; only the new entries are encoded. */
export const extendContext = (base: Context | null, ids: readonly string[], rows: readonly number[]): Context => {
  const tail = encodeRows(rows, base?.lastRow ?? 0)
  const bytes = base === null ? tail : Buffer.concat([base.bytes, tail])
  return { ids, bytes, lastRow: rows.at(-1) ?? base?.lastRow ?? 0 }
}
