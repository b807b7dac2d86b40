import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BlockCache } from '../../sim/engine/block-cache.ts'

/** The obvious LRU: a list from the oldest to the newest. */
class NaiveLru {
  ids: number[] = []
  readonly #capacity: number
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  use(blocks: readonly number[]): void {
    for (const id of [...blocks].reverse()) {
      this.ids = [...this.ids.filter((known) => known !== id), id]
      if (this.ids.length > this.#capacity) this.ids.shift()
    }
  }

  matched(blocks: readonly number[]): number {
    const missing = blocks.findIndex((id) => !this.ids.includes(id))
    return missing < 0 ? blocks.length : missing
  }
}

const chains = fc.uniqueArray(fc.integer({ min: 0, max: 25 }), { minLength: 1, maxLength: 8 })

test('used as a plain LRU the cache holds and evicts exactly what a naive list does', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.array(chains, { maxLength: 60 }), (capacity, uses) => {
      const cache = new BlockCache(capacity)
      const naive = new NaiveLru(capacity)
      for (const blocks of uses) {
        assert.equal(cache.matched(blocks), naive.matched(blocks))
        cache.use(blocks)
        naive.use(blocks)
        assert.deepEqual(cache.idleIds(), naive.ids)
        assert.equal(cache.inUse, 0)
      }
    }),
  )
})

test('the tail of a chain is evicted before its head', () => {
  const cache = new BlockCache(4)
  cache.use([1, 2, 3, 4])
  cache.use([9])
  assert.equal(cache.matched([1, 2, 3, 4]), 3)
})

test('a referenced block is never evicted, and a page is refused when all are referenced', () => {
  const cache = new BlockCache(2)
  for (const id of [1, 2]) {
    assert.equal(cache.reserve(), true)
    cache.name(id)
  }
  assert.equal(cache.reserve(), false)
  cache.release(2)
  assert.equal(cache.reserve(), true)
  assert.equal(cache.has(1), true)
  assert.equal(cache.has(2), false)
})

test('a block that two jobs compute at once takes one page when both are done', () => {
  const cache = new BlockCache(4)
  cache.reserve()
  cache.reserve()
  cache.name(7)
  cache.name(7)
  assert.equal(cache.inUse, 1)
  cache.release(7)
  cache.release(7)
  assert.deepEqual(cache.idleIds(), [7])
  assert.throws(() => cache.release(7), /not referenced/)
})

test('events tell of every block that comes and goes', () => {
  const cache = new BlockCache(2)
  const events: string[] = []
  cache.listener = {
    stored: (id) => events.push(`+${id}`),
    evicted: (id) => events.push(`-${id}`),
    cleared: () => events.push('clear'),
  }
  cache.use([1])
  cache.use([2])
  cache.use([3])
  cache.clear()
  assert.deepEqual(events, ['+1', '+2', '-1', '+3', 'clear'])
  assert.equal(cache.matched([3]), 0)
})
