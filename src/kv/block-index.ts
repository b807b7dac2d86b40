import type { BlockChain } from '../model/turn.ts'

/**
 * Which backend holds which prefix blocks: a set of (block, backend) pairs, each backend with its own LRU order.
 *
 *   table   Int32   [ . . 7 . 3 . . 0 . ]        open addressing, load <= 1/2, holds entry + 1
 *   entry   7: low, high    the chained hash; the backend is folded into `high`
 *              parent       entry of the block before it at the same backend, -1 for block 0
 *              link         >= 0: leaf, position in its backend's heap; < 0: minus the number of children
 *              lastUse      the backend's clock when it was last used
 *              flags        speculative, trunk, answer, doomed
 *   heap    one per backend: its leaves, least recently used first
 *
 * Cost of an entry: 4+4+4+4+4+1 bytes, 8 for its two table slots and 4 in the heap for leaves only: 29 to 33 bytes a
 * leaf, 29 a block inside a chain. The arrays double until `maxBytes`; then the backend with most blocks gives way.
 *
 * Prefix property: an entry exists only while its parent does, since appending goes on from a held block and only
 * leaves are removed. So "how much of this chain is held" is a binary search, and a turn touches only its deepest
 * block: a leaf that goes hands its last use up to its parent, which makes every ancestor as fresh as its freshest
 * descendant without visiting the history. A turn costs O(new blocks + log history).
 *
 * The clock of a backend advances by one for each block stored and each use, so `clock - lastUse` is the age of a
 * block counted in blocks stored since: the unit in which eviction happens.
 */
export class BlockIndex {
  readonly #maxEntries: number
  readonly #nowMs: () => number
  #table = new Int32Array(2 * FIRST_ENTRIES)
  #mask = 2 * FIRST_ENTRIES - 1
  #low = new Uint32Array(FIRST_ENTRIES)
  #high = new Uint32Array(FIRST_ENTRIES)
  #parent = new Int32Array(FIRST_ENTRIES)
  #link = new Int32Array(FIRST_ENTRIES)
  #lastUse = new Uint32Array(FIRST_ENTRIES)
  #flags = new Uint8Array(FIRST_ENTRIES)
  /** Entries below this were handed out at least once; freed ones are chained through `parent`. */
  #used = 0
  #freeHead = -1
  #live = 0
  readonly #backends: BackendBlocks[] = []
  readonly #speculative: Speculation[] = []
  #speculativeHead = 0
  readonly #removed: Record<RemovalReason, number> = {
    capacity: 0,
    slots: 0,
    memory: 0,
    contradicted: 0,
    cleared: 0,
    expired: 0,
  }

  constructor(options: { readonly maxBytes: number; readonly nowMs: () => number }) {
    this.#maxEntries = Math.max(64, Math.floor(options.maxBytes / BYTES_PER_ENTRY))
    this.#nowMs = options.nowMs
  }

  /** Blocks of the chain, from its start, that the backend is thought to hold. */
  cachedBlocks(chain: BlockChain, backendIndex: number): number {
    const backend = this.#backends[backendIndex]
    if (backend === undefined || backend.count === 0) return 0
    return this.#held(chain, backendIndex, 0)
  }

  /**
   * How many ways lead on from the deepest held block of this chain where sessions part, and how deep that is: the
   * trunk that several sessions share. `blocks` is 0 where the chain shares nothing here.
   */
  trunk(chain: BlockChain, backendIndex: number): { readonly blocks: number; readonly fanOut: number } {
    let low = 0
    let high = this.cachedBlocks(chain, backendIndex)
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      const entry = this.#find(chain, middle - 1, backendIndex)
      if (entry >= 0 && (this.#flags[entry]! & TRUNK) !== 0) low = middle
      else high = middle - 1
    }
    if (low === 0) return NO_TRUNK
    const link = this.#link[this.#find(chain, low - 1, backendIndex)]!
    return { blocks: low, fanOut: link < 0 ? -link : 1 }
  }

  /** The backend holds the whole chain, and used it just now. */
  insert(chain: BlockChain, backendIndex: number, options: InsertOptions = NO_OPTIONS): void {
    this.expire()
    const backend = this.#backend(backendIndex)
    const length = Math.min(chain.length, backend.capacity)
    if (length === 0) return
    const known = Math.min(length, this.#held(chain, backendIndex, Math.min(options.fromBlock ?? 0, length)))
    const speculative = options.speculativeUntilMs !== undefined
    let tip = known === 0 ? -1 : this.#find(chain, known - 1, backendIndex)
    if (tip >= 0) {
      this.#touch(backend, tip)
      if (!speculative) this.#confirm(tip, options.answerFromBlock === undefined)
    }
    for (let block = known; block < length; block++) {
      const flags = (speculative ? SPECULATIVE : 0) | (block >= (options.answerFromBlock ?? length) ? ANSWER : 0)
      const entry = this.#append(chain, block, backendIndex, backend, tip, flags)
      if (entry < 0) break
      tip = entry
    }
    if (backend.slots < Infinity) this.#noteTime(backend)
    if (backend.leaves > backend.slots) this.#evict(backend, () => backend.leaves > backend.slots, 'slots')
    if (speculative && known < length) {
      this.#speculative.push({ chain, backendIndex, untilMs: options.speculativeUntilMs })
    }
  }

  /** Takes back blocks that were stored as speculative for this chain and confirmed by nobody since. */
  retract(chain: BlockChain, backendIndex: number): void {
    const backend = this.#backends[backendIndex]
    if (backend === undefined) return
    let entry = this.#tip(chain, backendIndex)
    while (entry >= 0 && this.#link[entry]! >= 0 && (this.#flags[entry]! & SPECULATIVE) !== 0) {
      const parent = this.#parent[entry]!
      this.#removeLeaf(backend, entry, 'expired')
      entry = parent
    }
  }

  /**
   * An answer contradicted us: of this chain only `keepBlocks` are held. What hangs below the first missing block goes
   * too, other sessions' blocks included: an engine cannot hold a block without its prefix. Costs O(blocks removed),
   * and where sessions fork below it one walk over the backend's leaves.
   */
  truncate(chain: BlockChain, backendIndex: number, keepBlocks: number): void {
    const backend = this.#backends[backendIndex]
    if (backend === undefined || backend.count === 0) return
    const held = this.#held(chain, backendIndex, 0)
    if (held <= keepBlocks) return
    backend.forgot = true
    const top = this.#find(chain, keepBlocks, backendIndex)
    let entry = this.#find(chain, held - 1, backendIndex)
    while (this.#link[entry]! >= 0) {
      const parent = this.#parent[entry]!
      this.#removeLeaf(backend, entry, 'contradicted')
      if (entry === top) return
      entry = parent
    }
    this.#flags[top]! |= DOOMED
    // Leaves are gathered first: removal moves the heap under the walk.
    for (const leaf of backend.heap.slice(0, backend.leaves)) {
      let above = leaf
      while (above >= 0 && (this.#flags[above]! & DOOMED) === 0) above = this.#parent[above]!
      if (above < 0) continue
      let doomed = leaf
      for (;;) {
        if (this.#link[doomed]! < 0) break // another leaf still hangs there; its own walk comes by
        const parent = this.#parent[doomed]!
        const last = doomed === top
        this.#removeLeaf(backend, doomed, 'contradicted')
        if (last) return
        doomed = parent
      }
    }
  }

  /**
   * Held blocks of this chain up to the first that only an answer brought. An engine computed those before it while
   * reading a prompt; whether it keeps generated tokens, and renders them the same way again, is its own affair.
   */
  promptBlocks(chain: BlockChain, backendIndex: number): number {
    let held = this.cachedBlocks(chain, backendIndex)
    while (held > 0 && (this.#flags[this.#find(chain, held - 1, backendIndex)]! & ANSWER) !== 0) held--
    return held
  }

  /** The backend's clock when it last used the deepest held block of this chain; -1 where it holds none. */
  lastUse(chain: BlockChain, backendIndex: number): number {
    const tip = this.#backends[backendIndex] === undefined ? -1 : this.#tip(chain, backendIndex)
    return tip < 0 ? -1 : this.#lastUse[tip]!
  }

  /** Blocks stored at the backend since this process knows it, plus uses: the unit of `lastUse`. */
  clock(backendIndex: number): number {
    return this.#backends[backendIndex]?.clock ?? 0
  }

  /** The backend let go of a block last used at `lastUse`, so of everything used no later than that (LRU). */
  evictUsedUpTo(backendIndex: number, lastUse: number): void {
    const backend = this.#backends[backendIndex]
    if (backend === undefined) return
    this.#evict(backend, () => this.#lastUse[backend.heap[0]!]! <= lastUse, 'contradicted')
  }

  setCapacity(backendIndex: number, blocks: number): void {
    const backend = this.#backend(backendIndex)
    backend.capacity = Math.max(1, Math.floor(blocks))
    this.#evict(backend, () => backend.count > backend.capacity, 'capacity')
  }

  /** For engines that keep whole sequences and drop whole sequences (llama.cpp slots): at most this many chains. */
  setSlots(backendIndex: number, slots: number): void {
    const backend = this.#backend(backendIndex)
    backend.slots = Math.max(1, slots)
    if (backend.slots < Infinity && backend.times === NO_TIMES) backend.times = new Float64Array(2 * TIMES)
    this.#evict(backend, () => backend.leaves > backend.slots, 'slots')
  }

  clearBackend(backendIndex: number): void {
    const backend = this.#backends[backendIndex]
    if (backend === undefined) return
    this.#evict(backend, () => true, 'cleared')
    backend.forgot = true
  }

  /** Drops speculative blocks whose time is over. */
  expire(): void {
    if (this.#speculativeHead === this.#speculative.length) return
    const now = this.#nowMs()
    while (this.#speculativeHead < this.#speculative.length) {
      const next = this.#speculative[this.#speculativeHead]!
      if (next.untilMs > now) break
      this.#speculativeHead++
      this.retract(next.chain, next.backendIndex)
    }
    if (this.#speculativeHead > 64 && this.#speculativeHead * 2 > this.#speculative.length) {
      this.#speculative.splice(0, this.#speculativeHead)
      this.#speculativeHead = 0
    }
  }

  blocks(backendIndex: number): number {
    return this.#backends[backendIndex]?.count ?? 0
  }

  /** Chains that end at the backend: about its resident conversations. */
  chains(backendIndex: number): number {
    return this.#backends[backendIndex]?.leaves ?? 0
  }

  /** How long the chain that an engine of slots would let go next has not been used; 0 where a slot is free. */
  idleMs(backendIndex: number): number {
    const backend = this.#backends[backendIndex]
    if (backend === undefined || backend.leaves < backend.slots) return 0
    const lastUse = this.#lastUse[backend.heap[0]!]!
    const { times } = backend
    const kept = Math.min(backend.timesNoted, TIMES)
    // From the oldest on; what is older than all of them was used before the first.
    for (let at = backend.timesNoted - kept; at < backend.timesNoted; at++) {
      const place = 2 * (at % TIMES)
      if (times[place]! >= lastUse) return this.#nowMs() - times[place + 1]!
    }
    return 0
  }

  /** Infinity while unknown. */
  capacity(backendIndex: number): number {
    return this.#backends[backendIndex]?.capacity ?? Infinity
  }

  slots(backendIndex: number): number {
    return this.#backends[backendIndex]?.slots ?? Infinity
  }

  /** Changes whenever the blocks of the backend may have changed; callers keep look-ups while it stands. */
  version(backendIndex: number): number {
    return this.#backends[backendIndex]?.version ?? 0
  }

  /**
   * While the index is put back from a store it lacks what has not been put back yet: nothing counts as forgotten then.
   */
  rebuilding = false

  /** True while nothing was ever forgotten for this backend, so that a block it lacks was never seen here at all. */
  neverForgot(backendIndex: number): boolean {
    return this.rebuilding || !(this.#backends[backendIndex]?.forgot ?? false)
  }

  get stats(): BlockIndexStats {
    const heaps = this.#backends.reduce((sum, backend) => sum + backend.heap.byteLength, 0)
    const bytes = this.#table.byteLength + this.#low.length * (5 * 4 + 1) + heaps
    return { blocks: this.#live, bytes, maxBlocks: this.#maxEntries, removed: { ...this.#removed } }
  }

  /** Walks everything and throws at the first broken invariant. For tests. */
  checkIntegrity(): void {
    const children = new Map<number, number>()
    const live: number[] = []
    for (const slot of this.#table) if (slot !== 0) live.push(slot - 1)
    assertThat(live.length === this.#live, `${live.length} entries in the table, ${this.#live} counted`)
    const isLive = new Set(live)
    for (const entry of live) {
      const parent = this.#parent[entry]!
      assertThat(parent === -1 || isLive.has(parent), `entry ${entry} outlives its parent ${parent}`)
      if (parent >= 0) children.set(parent, (children.get(parent) ?? 0) + 1)
      let at = this.#slotOf(this.#low[entry]!, this.#high[entry]!)
      while (this.#table[at]! !== entry + 1) {
        assertThat(this.#table[at]! !== 0, `entry ${entry} cannot be found`)
        at = (at + 1) & this.#mask
      }
    }
    let leaves = 0
    let counted = 0
    for (const backend of this.#backends) {
      counted += backend.count
      leaves += backend.leaves
      assertThat(backend.count <= backend.capacity, 'a backend holds more than its capacity')
      assertThat(backend.leaves <= backend.slots, 'a backend holds more chains than slots')
      for (let at = 0; at < backend.leaves; at++) {
        const leaf = backend.heap[at]!
        assertThat(isLive.has(leaf) && this.#link[leaf]! === at, `heap position ${at} does not match its leaf`)
        const above = backend.heap[(at - 1) >> 1]!
        assertThat(at === 0 || this.#lastUse[above]! <= this.#lastUse[leaf]!, 'the heap is out of order')
      }
    }
    assertThat(counted === this.#live, 'backends do not add up')
    for (const entry of live) {
      const expected = children.get(entry) ?? 0
      const link = this.#link[entry]!
      assertThat(
        expected === 0 ? link >= 0 : link === -expected,
        `entry ${entry} counts ${-link} of ${expected} children`,
      )
    }
    assertThat(live.length - children.size === leaves, 'leaves do not add up')
  }

  #backend(backendIndex: number): BackendBlocks {
    for (let next = this.#backends.length; next <= backendIndex; next++) {
      this.#backends.push({
        heap: new Int32Array(16),
        leaves: 0,
        count: 0,
        clock: 1,
        version: 0,
        capacity: Infinity,
        slots: Infinity,
        forgot: false,
        times: NO_TIMES,
        timesNoted: 0,
      })
    }
    return this.#backends[backendIndex]!
  }

  #noteTime(backend: BackendBlocks): void {
    const place = 2 * (backend.timesNoted++ % TIMES)
    backend.times[place] = backend.clock
    backend.times[place + 1] = this.#nowMs()
  }

  /** Length of the held prefix; `from` blocks are likely held already. Gallops, then halves: most backends hold little. */
  #held(chain: BlockChain, backendIndex: number, from: number): number {
    let low = 0
    if (from > 0 && this.#find(chain, from - 1, backendIndex) >= 0) low = from
    let step = 1
    let high = chain.length
    while (low + step <= chain.length) {
      if (this.#find(chain, low + step - 1, backendIndex) < 0) {
        high = low + step - 1
        break
      }
      low += step
      step *= 2
    }
    // Held: the first `low` blocks. Not held: block `high`, where there is one.
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (this.#find(chain, middle - 1, backendIndex) >= 0) low = middle
      else high = middle - 1
    }
    return low
  }

  #tip(chain: BlockChain, backendIndex: number): number {
    const held = this.#held(chain, backendIndex, 0)
    return held === 0 ? -1 : this.#find(chain, held - 1, backendIndex)
  }

  #slotOf(low: number, high: number): number {
    let mixed = Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1)
    mixed ^= mixed >>> 15
    return mixed & this.#mask
  }

  #find(chain: BlockChain, block: number, backendIndex: number): number {
    const low = chain.hashes[2 * block]!
    const high = (chain.hashes[2 * block + 1]! ^ Math.imul(backendIndex + 1, 0xc2b2ae35)) >>> 0
    let at = this.#slotOf(low, high)
    for (;;) {
      const entry = this.#table[at]! - 1
      if (entry < 0) return -1
      if (this.#low[entry] === low && this.#high[entry] === high) return entry
      at = (at + 1) & this.#mask
    }
  }

  #append(
    chain: BlockChain,
    block: number,
    backendIndex: number,
    backend: BackendBlocks,
    parent: number,
    flags: number,
  ): number {
    if (backend.count >= backend.capacity) {
      if (backend.heap[0] === parent) return -1
      this.#evict(backend, () => backend.count >= backend.capacity, 'capacity')
    }
    if (this.#live >= this.#low.length && !this.#grow() && !this.#makeRoom(parent)) return -1
    let entry = this.#freeHead
    if (entry >= 0) this.#freeHead = this.#parent[entry]!
    else entry = this.#used++
    const low = chain.hashes[2 * block]!
    const high = (chain.hashes[2 * block + 1]! ^ Math.imul(backendIndex + 1, 0xc2b2ae35)) >>> 0
    this.#low[entry] = low
    this.#high[entry] = high
    this.#parent[entry] = parent
    this.#flags[entry] = flags
    this.#lastUse[entry] = this.#tick(backend)
    let at = this.#slotOf(low, high)
    while (this.#table[at] !== 0) at = (at + 1) & this.#mask
    this.#table[at] = entry + 1
    this.#live++
    backend.count++
    const parentLink = parent < 0 ? -1 : this.#link[parent]!
    if (parentLink >= 0) {
      // The parent was a leaf: the new block takes its place in the heap.
      this.#link[parent] = -1
      this.#place(backend, parentLink, entry)
      this.#siftDown(backend, parentLink)
      return entry
    }
    if (parent >= 0) {
      this.#link[parent] = parentLink - 1
      for (let above = parent; above >= 0 && (this.#flags[above]! & TRUNK) === 0; above = this.#parent[above]!) {
        this.#flags[above]! |= TRUNK
      }
    }
    if (backend.leaves === backend.heap.length) backend.heap = doubled(backend.heap)
    this.#place(backend, backend.leaves, entry)
    backend.leaves++
    this.#siftUp(backend, backend.leaves - 1)
    return entry
  }

  #touch(backend: BackendBlocks, entry: number): void {
    this.#lastUse[entry] = this.#tick(backend)
    if (this.#link[entry]! >= 0) this.#siftDown(backend, this.#link[entry]!)
  }

  /** Blocks that were sent as a prompt are no longer a guess, nor only an answer's. */
  #confirm(tip: number, asPrompt: boolean): void {
    const settled = asPrompt ? SPECULATIVE | ANSWER : SPECULATIVE
    for (let entry = tip; entry >= 0 && (this.#flags[entry]! & settled) !== 0; entry = this.#parent[entry]!) {
      this.#flags[entry]! &= ~settled
    }
  }

  /** 2^32 uses last a backend for weeks at 1,000 blocks a second; then all ages are halved, which keeps their order. */
  #tick(backend: BackendBlocks): number {
    backend.version++
    if (backend.clock >= 0xffff_fffe) {
      for (let entry = 0; entry < this.#used; entry++) this.#lastUse[entry]! >>>= 1
      for (const each of this.#backends) each.clock >>>= 1
    }
    return ++backend.clock
  }

  #evict(backend: BackendBlocks, over: () => boolean, reason: RemovalReason): void {
    while (backend.leaves > 0 && over()) {
      this.#removeLeaf(backend, backend.heap[0]!, reason)
      backend.forgot = true
    }
  }

  /** Memory is full: the backend with most blocks lets go of 64. */
  #makeRoom(keep: number): boolean {
    let largest = this.#backends[0]!
    for (const backend of this.#backends) if (backend.count > largest.count) largest = backend
    const target = Math.max(0, largest.count - 64)
    this.#evict(largest, () => largest.count > target && largest.heap[0] !== keep, 'memory')
    return this.#live < this.#low.length
  }

  #removeLeaf(backend: BackendBlocks, entry: number, reason: RemovalReason): void {
    const at = this.#link[entry]!
    const parent = this.#parent[entry]!
    this.#unlist(entry)
    this.#removed[reason]++
    this.#live--
    backend.count--
    backend.version++
    this.#parent[entry] = this.#freeHead
    this.#freeHead = entry
    if (parent >= 0) {
      const used = this.#lastUse[entry]!
      if (used > this.#lastUse[parent]!) this.#lastUse[parent] = used
      if (this.#link[parent] === -1) {
        // The parent becomes a leaf in the place of its last child; it may be fresher, never older.
        this.#place(backend, at, parent)
        this.#siftDown(backend, at)
        return
      }
      this.#link[parent]!++
    }
    backend.leaves--
    if (at < backend.leaves) {
      this.#place(backend, at, backend.heap[backend.leaves]!)
      this.#siftDown(backend, at)
      this.#siftUp(backend, at)
    }
  }

  /** Takes an entry out of the table and moves later ones of its run back, so that no tombstones are needed. */
  #unlist(entry: number): void {
    let hole = this.#slotOf(this.#low[entry]!, this.#high[entry]!)
    while (this.#table[hole] !== entry + 1) hole = (hole + 1) & this.#mask
    let at = hole
    for (;;) {
      at = (at + 1) & this.#mask
      const other = this.#table[at]! - 1
      if (other < 0) break
      const ideal = this.#slotOf(this.#low[other]!, this.#high[other]!)
      // It may move only if the hole lies on its way from its ideal slot.
      if (((at - ideal) & this.#mask) >= ((at - hole) & this.#mask)) {
        this.#table[hole] = other + 1
        hole = at
      }
    }
    this.#table[hole] = 0
  }

  #grow(): boolean {
    const entries = this.#low.length * 2
    if (entries > this.#maxEntries) return false
    this.#low = doubled(this.#low)
    this.#high = doubled(this.#high)
    this.#parent = doubled(this.#parent)
    this.#link = doubled(this.#link)
    this.#lastUse = doubled(this.#lastUse)
    this.#flags = doubled(this.#flags)
    this.#table = new Int32Array(2 * entries)
    this.#mask = 2 * entries - 1
    // Growth happens only when every entry is live.
    for (let entry = 0; entry < this.#used; entry++) {
      let at = this.#slotOf(this.#low[entry]!, this.#high[entry]!)
      while (this.#table[at] !== 0) at = (at + 1) & this.#mask
      this.#table[at] = entry + 1
    }
    return true
  }

  #place(backend: BackendBlocks, at: number, entry: number): void {
    backend.heap[at] = entry
    this.#link[entry] = at
  }

  #siftUp(backend: BackendBlocks, start: number): void {
    const { heap } = backend
    const entry = heap[start]!
    let at = start
    while (at > 0) {
      const above = (at - 1) >> 1
      if (this.#lastUse[heap[above]!]! <= this.#lastUse[entry]!) break
      this.#place(backend, at, heap[above]!)
      at = above
    }
    this.#place(backend, at, entry)
  }

  #siftDown(backend: BackendBlocks, start: number): void {
    const { heap, leaves } = backend
    const entry = heap[start]!
    let at = start
    for (;;) {
      let below = 2 * at + 1
      if (below >= leaves) break
      if (below + 1 < leaves && this.#lastUse[heap[below + 1]!]! < this.#lastUse[heap[below]!]!) below++
      if (this.#lastUse[heap[below]!]! >= this.#lastUse[entry]!) break
      this.#place(backend, at, heap[below]!)
      at = below
    }
    this.#place(backend, at, entry)
  }
}

export type InsertOptions = {
  /** So many blocks are likely held already. */
  readonly fromBlock?: number
  /** A guess: taken back after this unless confirmed. */
  readonly speculativeUntilMs?: number
  /** From here on the blocks are generated tokens. */
  readonly answerFromBlock?: number
}

export type RemovalReason = 'capacity' | 'slots' | 'memory' | 'contradicted' | 'cleared' | 'expired'

export type BlockIndexStats = {
  readonly blocks: number
  readonly bytes: number
  readonly maxBlocks: number
  readonly removed: Readonly<Record<RemovalReason, number>>
}

type BackendBlocks = {
  heap: Int32Array<ArrayBuffer>
  leaves: number
  count: number
  clock: number
  version: number
  capacity: number
  slots: number
  forgot: boolean
  /** Engines of slots: at which time the clock stood where, for the last `TIMES` uses. */
  times: Float64Array
  timesNoted: number
}

type Speculation = { readonly chain: BlockChain; readonly backendIndex: number; readonly untilMs: number }

/** A conversation is used three times a turn: the last of some ten slots is told apart. */
const TIMES = 64
const NO_TIMES = new Float64Array(0)
const FIRST_ENTRIES = 1024
const BYTES_PER_ENTRY = 33
const SPECULATIVE = 1
const TRUNK = 2
const DOOMED = 4
const ANSWER = 8
const NO_TRUNK = { blocks: 0, fanOut: 1 } as const
const NO_OPTIONS = {} as const

type Numbers = Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>

function doubled<T extends Numbers>(array: T): T {
  const larger = new (array.constructor as new (length: number) => T)(array.length * 2)
  larger.set(array)
  return larger
}

function assertThat(condition: boolean, message: string): void {
  if (!condition) throw new Error(`block index: ${message}`)
}
