/** A cache as its KV events show it, `delayMs` after the fact. One set entry per block. */
import type { BlockCache } from './engine/block-cache.ts'
import type { Timeline } from './timeline.ts'

export class DelayedCacheView {
  readonly #known = new Set<number>()

  constructor(cache: BlockCache, timeline: Timeline, delayMs: number) {
    const later = (action: () => void): void => timeline.schedule(timeline.nowMs() + delayMs, action)
    cache.listener = {
      stored: (id) => later(() => this.#known.add(id)),
      evicted: (id) => later(() => this.#known.delete(id)),
      cleared: () => later(() => this.#known.clear()),
    }
  }

  has(id: number): boolean {
    return this.#known.has(id)
  }

  matched(blocks: ArrayLike<number>): number {
    let count = 0
    while (count < blocks.length && this.#known.has(blocks[count]!)) count++
    return count
  }
}
