import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { BlockIndex } from '../../src/kv/block-index.ts'
import type { BlockChain } from '../../src/model/turn.ts'

/** A chain of one block per letter; chains that start alike share blocks. */
function chainOf(text: string): BlockChain {
  const hashes = new Uint32Array(2 * text.length)
  let [low, high] = [0x811c9dc5, 0x9747b28c]
  for (let i = 0; i < text.length; i++) {
    low = Math.imul(low ^ text.charCodeAt(i), 0x01000193) >>> 0
    high = (Math.imul(high ^ low, 0x85ebca6b) + i) >>> 0
    hashes.set([low, high], 2 * i)
  }
  return { hashes, length: text.length, blockCharacters: 1, totalCharacters: text.length }
}

function newIndex(maxBytes = 1 << 20) {
  const clock = { nowMs: 0 }
  return { index: new BlockIndex({ maxBytes, nowMs: () => clock.nowMs }), clock }
}

describe('BlockIndex', () => {
  it('finds the longest held prefix on each backend apart', () => {
    const { index } = newIndex()
    index.insert(chainOf('abcdef'), 0)
    index.insert(chainOf('abc'), 3)
    assert.equal(index.cachedBlocks(chainOf('abcdxy'), 0), 4)
    assert.equal(index.cachedBlocks(chainOf('abcdxy'), 3), 3)
    assert.equal(index.cachedBlocks(chainOf('abcdxy'), 1), 0)
    assert.equal(index.cachedBlocks(chainOf('zabc'), 0), 0)
    index.checkIntegrity()
  })

  it('lets go of the least recently used chain first, deepest block first', () => {
    const { index } = newIndex()
    index.setCapacity(0, 8)
    index.insert(chainOf('aaaa'), 0)
    index.insert(chainOf('bbbb'), 0)
    index.insert(chainOf('aaaa'), 0)
    index.insert(chainOf('cc'), 0)
    assert.equal(index.cachedBlocks(chainOf('aaaa'), 0), 4)
    assert.equal(index.cachedBlocks(chainOf('bbbb'), 0), 2)
    assert.equal(index.cachedBlocks(chainOf('cc'), 0), 2)
    assert.equal(index.stats.removed.capacity, 2)
    index.checkIntegrity()
  })

  it('keeps a shared prefix as fresh as its freshest user', () => {
    const { index } = newIndex()
    index.setCapacity(0, 9)
    index.insert(chainOf('sss111'), 0)
    index.insert(chainOf('xyz'), 0)
    index.insert(chainOf('sss111'), 0)
    index.insert(chainOf('sss222'), 0)
    assert.equal(index.cachedBlocks(chainOf('sss222'), 0), 6)
    assert.equal(index.cachedBlocks(chainOf('sss111'), 0), 6)
    assert.equal(index.cachedBlocks(chainOf('xyz'), 0), 0)
  })

  it('keeps at most as many chains as there are slots', () => {
    const { index } = newIndex()
    index.setSlots(0, 2)
    for (const text of ['aaa', 'bbb', 'aaab', 'ccc']) index.insert(chainOf(text), 0)
    assert.deepEqual(['aaab', 'bbb', 'ccc'].map((text) => index.cachedBlocks(chainOf(text), 0)), [4, 0, 3])
    assert.equal(index.chains(0), 2)
    index.checkIntegrity()
  })

  it('knows how long the chain has been idle that an engine of slots lets go next', () => {
    const { index, clock } = newIndex()
    index.setSlots(0, 2)
    index.insert(chainOf('aaa'), 0)
    assert.equal(index.idleMs(0), 0)
    clock.nowMs = 100
    index.insert(chainOf('bbb'), 0)
    clock.nowMs = 150
    assert.equal(index.idleMs(0), 150)
    index.insert(chainOf('aaab'), 0)
    clock.nowMs = 180
    assert.equal(index.idleMs(0), 80)
    index.setSlots(0, 3)
    assert.equal(index.idleMs(0), 0)
  })

  it('cuts what hangs below a block that an answer found missing, also of other sessions', () => {
    const { index } = newIndex()
    for (const text of ['abcdef', 'abcxyz', 'abq', 'zz']) index.insert(chainOf(text), 0)
    index.truncate(chainOf('abcdef'), 0, 2)
    assert.equal(index.cachedBlocks(chainOf('abcdef'), 0), 2)
    assert.equal(index.cachedBlocks(chainOf('abcxyz'), 0), 2)
    assert.equal(index.cachedBlocks(chainOf('abq'), 0), 3)
    assert.equal(index.cachedBlocks(chainOf('zz'), 0), 2)
    assert.equal(index.stats.removed.contradicted, 7)
    index.checkIntegrity()
  })

  it('drops speculative blocks when their time is over, unless they were confirmed', () => {
    const { index, clock } = newIndex()
    index.insert(chainOf('ab'), 0)
    index.insert(chainOf('abcd'), 0, { speculativeUntilMs: 100 })
    index.insert(chainOf('xy'), 0, { speculativeUntilMs: 100 })
    index.insert(chainOf('xy'), 0)
    assert.equal(index.cachedBlocks(chainOf('abcd'), 0), 4)
    clock.nowMs = 101
    index.expire()
    assert.equal(index.cachedBlocks(chainOf('abcd'), 0), 2)
    assert.equal(index.cachedBlocks(chainOf('xy'), 0), 2)
    index.checkIntegrity()
  })

  it('does not take back a block that a sibling extended', () => {
    const { index } = newIndex()
    index.insert(chainOf('abcd'), 0, { speculativeUntilMs: 100 })
    index.insert(chainOf('abcdxy'), 0, { speculativeUntilMs: 100 })
    index.retract(chainOf('abcd'), 0)
    assert.equal(index.cachedBlocks(chainOf('abcdxy'), 0), 6)
    index.insert(chainOf('abcdxy'), 0)
    index.retract(chainOf('abcd'), 0)
    assert.equal(index.cachedBlocks(chainOf('abcdxy'), 0), 6)
  })

  it('knows the part that several sessions share', () => {
    const { index } = newIndex()
    for (const text of ['sys1aaa', 'sys1bbb', 'sys1ccc']) index.insert(chainOf(text), 0)
    assert.deepEqual(index.trunk(chainOf('sys1ddd'), 0), { blocks: 4, fanOut: 3 })
    assert.deepEqual(index.trunk(chainOf('sys1aaab'), 0), { blocks: 4, fanOut: 3 })
    assert.deepEqual(index.trunk(chainOf('other'), 0), { blocks: 0, fanOut: 1 })
  })

  it('stays within its bytes and says why it let go', () => {
    const { index } = newIndex(1024 * 33)
    for (let i = 0; i < 400; i++) index.insert(chainOf(`session ${i} ${'x'.repeat(i % 17)}`), i % 3)
    const { blocks, bytes, maxBlocks, removed } = index.stats
    assert.ok(blocks <= maxBlocks)
    assert.ok(bytes / maxBlocks <= 34, `${bytes / maxBlocks} bytes a block`)
    assert.ok(removed.memory > 0)
    index.checkIntegrity()
  })

  it('is empty for a backend that was cleared, and for that one only', () => {
    const { index } = newIndex()
    index.insert(chainOf('abc'), 0)
    index.insert(chainOf('abc'), 1)
    index.clearBackend(0)
    assert.equal(index.cachedBlocks(chainOf('abc'), 0), 0)
    assert.equal(index.cachedBlocks(chainOf('abc'), 1), 3)
    assert.equal(index.neverForgot(0), false)
    assert.equal(index.neverForgot(1), true)
    index.checkIntegrity()
  })

  it('keeps its invariants under any sequence of operations', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 12 })
    const backend = fc.integer({ min: 0, max: 2 })
    const operation = fc.oneof(
      { weight: 8, arbitrary: fc.record({ kind: fc.constant('insert' as const), text, backend }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('guess' as const), text, backend }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('retract' as const), text, backend }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('truncate' as const), text, backend, keep: fc.nat(6) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('capacity' as const), backend, blocks: fc.integer({ min: 1, max: 40 }) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('slots' as const), backend, slots: fc.integer({ min: 1, max: 5 }) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const), backend }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('later' as const), ms: fc.nat(50) }) },
    )
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 80 }), (operations) => {
        const { index, clock } = newIndex()
        for (const step of operations) {
          if (step.kind === 'insert') {
            index.insert(chainOf(step.text), step.backend)
            const held = Math.min(step.text.length, index.capacity(step.backend))
            assert.equal(index.cachedBlocks(chainOf(step.text), step.backend), held)
          } else if (step.kind === 'guess') {
            index.insert(chainOf(step.text), step.backend, { speculativeUntilMs: clock.nowMs + 20 })
          } else if (step.kind === 'retract') index.retract(chainOf(step.text), step.backend)
          else if (step.kind === 'truncate') {
            index.truncate(chainOf(step.text), step.backend, step.keep)
            assert.ok(index.cachedBlocks(chainOf(step.text), step.backend) <= step.keep)
          } else if (step.kind === 'capacity') index.setCapacity(step.backend, step.blocks)
          else if (step.kind === 'slots') index.setSlots(step.backend, step.slots)
          else if (step.kind === 'clear') index.clearBackend(step.backend)
          else clock.nowMs += step.ms
          index.checkIntegrity()
        }
      }),
      { numRuns: 300, seed: 7 },
    )
  })

  it('agrees with a plain LRU of blocks that refreshes every ancestor', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 10 })
    fc.assert(
      fc.property(fc.array(text, { maxLength: 60 }), fc.integer({ min: 10, max: 25 }), (texts, capacity) => {
        const { index } = newIndex()
        index.setCapacity(0, capacity)
        // Prefixes in order of last use; a use refreshes a chain deepest block first, so the deepest is the oldest.
        const plain = new Map<string, true>()
        for (const each of texts) {
          const held = index.cachedBlocks(chainOf(each), 0)
          let expected = 0
          while (expected < each.length && plain.has(each.slice(0, expected + 1))) expected++
          assert.equal(held, expected)
          index.insert(chainOf(each), 0)
          for (let length = each.length; length > 0; length--) {
            plain.delete(each.slice(0, length))
            plain.set(each.slice(0, length), true)
          }
          while (plain.size > capacity) plain.delete(plain.keys().next().value!)
        }
      }),
      { numRuns: 300, seed: 11 },
    )
  })
})
