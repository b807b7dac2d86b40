/**
 * What a router without KV events remembers: which backend it sent a block to. Two published forms: a tree that knows
 * the last backend of each node (SGLang, vllm-router), and an LRU of blocks per backend (llm-d's approximate producer).
 */
import { BlockCache } from '../engine/block-cache.ts'

/** The last backend that each block went to; the oldest blocks are forgotten first. */
export class LastHolder {
  readonly #holders = new Map<number, number>()
  readonly #maxBlocks: number

  constructor(maxBlocks: number) {
    this.#maxBlocks = maxBlocks
  }

  /** Blocks known from the start of the chain, and who got the deepest of them last. */
  match(blocks: ArrayLike<number>): { readonly count: number; readonly holder: number } {
    let count = 0
    let holder = -1
    for (; count < blocks.length; count++) {
      const known = this.#holders.get(blocks[count]!)
      if (known === undefined) break
      holder = known
    }
    return { count, holder }
  }

  insert(blocks: ArrayLike<number>, backend: number): void {
    for (let index = 0; index < blocks.length; index++) {
      const id = blocks[index]!
      this.#holders.delete(id)
      this.#holders.set(id, backend)
    }
    while (this.#holders.size > this.#maxBlocks) this.#holders.delete(this.#holders.keys().next().value!)
  }
}

/** One LRU of blocks per backend. */
export class HolderLru {
  readonly #caches: BlockCache[]

  constructor(backends: number, blocksPerBackend: number) {
    this.#caches = Array.from({ length: backends }, () => new BlockCache(blocksPerBackend))
  }

  matched(blocks: ArrayLike<number>, backend: number): number {
    return this.#caches[backend]!.matched(blocks)
  }

  insert(blocks: ArrayLike<number>, backend: number): void {
    this.#caches[backend]!.use(blocks)
  }
}
