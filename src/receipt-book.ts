/**
 * Receipts of the last answers, by (tenant, answer id), newest wins. Stored responses keep theirs in the store as well;
 * Chat answers have it here only. Bounded by entries (about 2 KB each), the oldest leaves first.
 *
 * The very last of each tenant, and of all, are kept in their order too, for a look at what goes on: a few references a tenant, and
 * tenants are those of the configuration. A receipt may stay there a little after it has left the book.
 */
import type { Receipt } from './model/receipt.ts'

/** As many as a list route gives at once, and a screen or two of a dashboard. */
export const MOST_RECENT = 100

export type RecentReceipt = { readonly tenant: string; readonly receipt: Receipt }

export class ReceiptBook {
  readonly #receipts = new Map<string, Receipt>()
  readonly #maxEntries: number
  /** Oldest first. */
  readonly #recent: RecentReceipt[] = []
  readonly #recentOf = new Map<string, RecentReceipt[]>()
  readonly evictions = { size: 0 }

  constructor(maxEntries: number) {
    this.#maxEntries = maxEntries
  }

  put(tenant: string, receipt: Receipt): void {
    const key = `${tenant}\u0000${receipt.id}`
    this.#receipts.delete(key)
    this.#receipts.set(key, receipt)
    this.#remember({ tenant, receipt })
    if (this.#receipts.size <= this.#maxEntries) return
    for (const oldest of this.#receipts.keys()) {
      this.#receipts.delete(oldest)
      this.evictions.size++
      break
    }
  }

  get(tenant: string, id: string): Receipt | null {
    return this.#receipts.get(`${tenant}\u0000${id}`) ?? null
  }

  /** Newest first; null: of all tenants. An answer whose receipt was written twice is there once, as it was last. */
  recent(tenant: string | null, limit: number): readonly RecentReceipt[] {
    const kept = (tenant === null ? this.#recent : this.#recentOf.get(tenant)) ?? []
    const seen = new Set<string>()
    const found: RecentReceipt[] = []
    for (let at = kept.length - 1; at >= 0 && found.length < limit; at--) {
      const each = kept[at]!
      const key = `${each.tenant}\u0000${each.receipt.id}`
      if (seen.has(key)) continue
      seen.add(key)
      found.push(each)
    }
    return found
  }

  get size(): number {
    return this.#receipts.size
  }

  #remember(entry: RecentReceipt): void {
    let own = this.#recentOf.get(entry.tenant)
    if (own === undefined) this.#recentOf.set(entry.tenant, (own = []))
    for (const list of [this.#recent, own]) {
      list.push(entry)
      if (list.length > MOST_RECENT) list.shift()
    }
  }
}
