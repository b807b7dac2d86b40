/**
 * Receipts of the last answers, by (tenant, answer id), newest wins. Stored responses keep theirs in the store as well;
 * Chat answers have it here only. Bounded by entries (about 2 KB each), the oldest leaves first.
 */
import type { Receipt } from './model/receipt.ts'

export class ReceiptBook {
  readonly #receipts = new Map<string, Receipt>()
  readonly #maxEntries: number
  readonly evictions = { size: 0 }

  constructor(maxEntries: number) {
    this.#maxEntries = maxEntries
  }

  put(tenant: string, receipt: Receipt): void {
    const key = `${tenant}\u0000${receipt.id}`
    this.#receipts.delete(key)
    this.#receipts.set(key, receipt)
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

  get size(): number {
    return this.#receipts.size
  }
}
