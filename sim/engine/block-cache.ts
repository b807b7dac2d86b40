/**
 * The KV cache of one engine: pages that hold named blocks. A block that a running job uses is referenced and stays;
 * the others wait in order of last use and the oldest gives way when a page is wanted.
 *
 *   slots:   [ id, references, previous, next ]   one per page, struct of arrays
 *   idle:    oldest <-> ... <-> newest            only blocks with no reference
 *
 * A chain is released tail first, so its tail is evicted before its head, as vLLM does: a head without its tail is
 * still a usable prefix, a tail without its head is waste. Pages being filled have no name yet and are only counted.
 * O(1) per block, about 100 bytes per page.
 */
export interface BlockListener {
  stored(id: number): void
  evicted(id: number): void
  cleared(): void
}

const NONE = -1

export class BlockCache {
  readonly capacity: number
  listener: BlockListener | null = null
  readonly #slotOf = new Map<number, number>()
  readonly #ids: Float64Array
  readonly #references: Int32Array
  readonly #previous: Int32Array
  readonly #next: Int32Array
  readonly #free: Int32Array
  #freeCount: number
  #oldest = NONE
  #newest = NONE
  #idle = 0
  #unnamed = 0
  evictions = 0

  constructor(capacityBlocks: number) {
    this.capacity = capacityBlocks
    this.#ids = new Float64Array(capacityBlocks)
    this.#references = new Int32Array(capacityBlocks)
    this.#previous = new Int32Array(capacityBlocks).fill(NONE)
    this.#next = new Int32Array(capacityBlocks).fill(NONE)
    this.#free = Int32Array.from({ length: capacityBlocks }, (_, index) => capacityBlocks - 1 - index)
    this.#freeCount = capacityBlocks
  }

  /** Named blocks. */
  get size(): number {
    return this.#slotOf.size
  }

  /** Pages that jobs hold, named or not. */
  get inUse(): number {
    return this.#slotOf.size - this.#idle + this.#unnamed
  }

  has(id: number): boolean {
    return this.#slotOf.has(id)
  }

  /** How many blocks of the chain are here from its start without a gap. Changes nothing. */
  matched(blocks: ArrayLike<number>): number {
    let count = 0
    while (count < blocks.length && this.#slotOf.has(blocks[count]!)) count++
    return count
  }

  /** References a block that is here; false where it is not. */
  acquire(id: number): boolean {
    const slot = this.#slotOf.get(id)
    if (slot === undefined) return false
    if (this.#references[slot]! === 0) this.#unlink(slot)
    this.#references[slot]!++
    return true
  }

  release(id: number): void {
    const slot = this.#slotOf.get(id)
    if (slot === undefined || this.#references[slot]! === 0) throw new Error(`block ${id} is not referenced`)
    if (--this.#references[slot]! === 0) this.#append(slot)
  }

  /** Takes a page to fill. False when every page is in use. */
  reserve(): boolean {
    if (this.#slotOf.size + this.#unnamed >= this.capacity && !this.#evictOldest()) return false
    this.#unnamed++
    return true
  }

  /** The reserved page is full and is called `id`, and its job still refers to it. */
  name(id: number): void {
    this.#unnamed--
    if (this.acquire(id)) return // another job filled the same block meanwhile; one page serves both
    const slot = this.#free[--this.#freeCount]!
    this.#ids[slot] = id
    this.#references[slot] = 1
    this.#slotOf.set(id, slot)
    this.listener?.stored(id)
  }

  /** Gives back reserved pages that never got a name. */
  discard(pages: number): void {
    this.#unnamed -= pages
  }

  /** Stores or refreshes a whole chain at once (plain LRU, no references held). Its head becomes the newest. */
  use(blocks: ArrayLike<number>): void {
    for (let index = blocks.length - 1; index >= 0; index--) {
      const id = blocks[index]!
      const slot = this.#slotOf.get(id)
      if (slot !== undefined) {
        if (this.#references[slot]! > 0) continue
        this.#unlink(slot)
        this.#append(slot)
      } else if (this.reserve()) {
        this.name(id)
        this.release(id)
      }
    }
  }

  /** A restart: everything is gone, references included. */
  clear(): void {
    this.#slotOf.clear()
    for (let slot = 0; slot < this.capacity; slot++) this.#free[slot] = this.capacity - 1 - slot
    this.#references.fill(0)
    this.#freeCount = this.capacity
    this.#oldest = NONE
    this.#newest = NONE
    this.#idle = 0
    this.#unnamed = 0
    this.listener?.cleared()
  }

  /** Idle blocks from the oldest to the newest, for tests. */
  idleIds(): number[] {
    const ids: number[] = []
    for (let slot = this.#oldest; slot !== NONE; slot = this.#next[slot]!) ids.push(this.#ids[slot]!)
    return ids
  }

  #evictOldest(): boolean {
    const slot = this.#oldest
    if (slot === NONE) return false
    const id = this.#ids[slot]!
    this.#unlink(slot)
    this.#slotOf.delete(id)
    this.#free[this.#freeCount++] = slot
    this.evictions++
    this.listener?.evicted(id)
    return true
  }

  #append(slot: number): void {
    this.#previous[slot] = this.#newest
    this.#next[slot] = NONE
    if (this.#newest === NONE) this.#oldest = slot
    else this.#next[this.#newest] = slot
    this.#newest = slot
    this.#idle++
  }

  #unlink(slot: number): void {
    const previous = this.#previous[slot]!
    const next = this.#next[slot]!
    if (previous === NONE) this.#oldest = next
    else this.#next[previous] = next
    if (next === NONE) this.#newest = previous
    else this.#previous[next] = previous
    this.#idle--
  }
}
