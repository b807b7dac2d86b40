/**
 * What the last turns looked like, so that continuing one costs its new items only.
 *
 * One entry a response (or conversation): the items the model saw, their ids, and the block chain behind them. Children
 * share their parent's items by reference, so an entry costs about 16 bytes an item plus its own new text. Bounded by
 * characters of own text and by entries; least recently used leaves first (`evictions.size`). Losing an entry costs one
 * read of the store and one pass over the text, nothing else.
 */
import type { ConversationItem } from '../model/item.ts'
import type { GrowingChain } from '../model/turn.ts'

export type Lineage = {
  /** Names what stands before the items: model, tools, instructions. A chain is only continued under the same head. */
  readonly headKey: number
  readonly items: readonly ConversationItem[]
  readonly itemIds: readonly string[]
  readonly chain: GrowingChain
  /** Characters this entry added over its parent. */
  readonly ownCharacters: number
}

export class LineageCache {
  readonly #entries = new Map<string, Lineage>()
  readonly #maxCharacters: number
  readonly #maxEntries: number
  #characters = 0
  readonly evictions = { size: 0 }

  constructor(options: { readonly maxCharacters: number; readonly maxEntries: number }) {
    this.#maxCharacters = options.maxCharacters
    this.#maxEntries = options.maxEntries
  }

  get(tenant: string, id: string): Lineage | null {
    const key = `${tenant}\u0000${id}`
    const found = this.#entries.get(key)
    if (found === undefined) return null
    this.#entries.delete(key)
    this.#entries.set(key, found)
    return found
  }

  set(tenant: string, id: string, lineage: Lineage): void {
    const key = `${tenant}\u0000${id}`
    this.delete(tenant, id)
    this.#entries.set(key, lineage)
    this.#characters += cost(lineage)
    for (const [oldest, entry] of this.#entries) {
      if (this.#characters <= this.#maxCharacters && this.#entries.size <= this.#maxEntries) break
      this.#entries.delete(oldest)
      this.#characters -= cost(entry)
      this.evictions.size++
    }
  }

  delete(tenant: string, id: string): void {
    const key = `${tenant}\u0000${id}`
    const found = this.#entries.get(key)
    if (found === undefined) return
    this.#entries.delete(key)
    this.#characters -= cost(found)
  }

  get size(): number {
    return this.#entries.size
  }

  get characters(): number {
    return this.#characters
  }
}

/** Pointers and ids of the shared items count as 16 characters each. */
const cost = (lineage: Lineage): number => lineage.ownCharacters + lineage.items.length * 16 + 64
