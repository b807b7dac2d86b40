import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { BatchDecoder } from '../../../src/kv/events/decode-batch.ts'
import { MalformedEvents } from '../../../src/kv/events/msgpack-cursor.ts'
import { picture, storedEvent, tokensFrom } from './fixture.ts'

const removedEvent = (hashes: readonly number[], group: number | null = null, tier: 0 | 1 | 2 = 0) => storedEvent({ hashes, tokens: [], blockTokens: 0, group, tier })

describe('blocks of an engine', () => {
  it('stored under a salt or by an adapter are not those of the same tokens without it, in the form of vLLM and of SGLang', () => {
    const tokens = tokensFrom(1, 64)
    const salts = ['tenantA', 'a salt that is longer than 31 bytes, as a digest is', 's'.repeat(300)]
    for (const salt of salts) {
      const vllm = { extra_keys: [[salt], null] }
      for (const told of [vllm, { cache_salt: salt }]) {
        const { blocks, resident } = picture()
        const stored = (hashes: readonly number[], parent: number | null, from: number, more: object) =>
          new BatchDecoder().decode(
            Buffer.from(encode([1, [{ type: 'BlockStored', block_hashes: hashes, parent_block_hash: parent, token_ids: tokens.slice(from, from + 32), block_size: 16, ...more }]])),
            blocks,
          )
        stored([1, 2], null, 0, told)
        // vLLM has it in the first block's keys only, SGLang in every event.
        stored([3, 4], 2, 32, told === vllm ? {} : told)
        assert.equal(resident(tokens, 16, salt), 64)
        assert.equal(resident(tokens, 16, 'another'), 0)
        assert.equal(resident(tokens, 16), 0)
      }
    }
    const { blocks, resident } = picture()
    new BatchDecoder().decode(
      Buffer.from(encode([1, [{ type: 'BlockStored', block_hashes: [1], parent_block_hash: null, token_ids: tokens, block_size: 64, lora_name: 'legal' }]])),
      blocks,
    )
    assert.equal(blocks.size, 1)
    assert.equal(resident(tokens, 64), 0)
  })

  it('of any size name the same token prefixes', () => {
    const tokens = tokensFrom(1, 256)
    for (const blockTokens of [1, 8, 16, 32, 64, 128]) {
      const { blocks, resident } = picture()
      const hashes = Array.from({ length: tokens.length / blockTokens }, (_, at) => at + 1)
      const half = hashes.length / 2
      blocks.stored(storedEvent({ hashes: hashes.slice(0, half), tokens: tokens.slice(0, 128), blockTokens }))
      blocks.stored(storedEvent({ hashes: hashes.slice(half), parent: half, tokens: tokens.slice(128), blockTokens }))
      assert.equal(resident(tokens, Math.max(16, blockTokens)), 256, `blocks of ${blockTokens}`)
      assert.equal(resident([...tokens.slice(0, 200), ...tokensFrom(2, 56)], Math.max(16, blockTokens)), 200 - (200 % Math.max(16, blockTokens)))
      blocks.checkIntegrity()
    }
  })

  it('are gone when as many copies were removed as were stored', () => {
    const { blocks, resident } = picture()
    const tokens = tokensFrom(1, 32)
    const event = storedEvent({ hashes: [1, 2], tokens, blockTokens: 16 })
    blocks.stored(event)
    blocks.stored(event)
    blocks.removed(removedEvent([2, 1]))
    assert.equal(resident(tokens, 16), 32)
    blocks.removed(removedEvent([2]))
    assert.equal(resident(tokens, 16), 16)
    blocks.removed(removedEvent([2, 77]))
    assert.equal(blocks.counts.unknownRemoved, 2)
    blocks.checkIntegrity()
  })

  it('stay known while a lower tier holds them, also when that tier tells no tokens', () => {
    const { blocks, resident } = picture()
    const tokens = tokensFrom(1, 32)
    blocks.stored(storedEvent({ hashes: [1, 2], tokens, blockTokens: 16 }))
    blocks.stored(storedEvent({ hashes: [1], tokens: [], blockTokens: 0, tier: 1 }))
    blocks.removed(removedEvent([2, 1]))
    assert.equal(resident(tokens, 16), 16)
    assert.equal(resident(tokens, 16, null, 1), 0, 'nothing of it is left on the accelerator')
    blocks.removed(removedEvent([1], null, 1))
    assert.equal(blocks.size, 0)
  })

  it('of layers without full attention say nothing about a prefix', () => {
    const { blocks, resident } = picture()
    const tokens = tokensFrom(1, 32)
    blocks.stored(storedEvent({ hashes: [1, 2], tokens, blockTokens: 16, group: 1, attention: 'sliding_window' }))
    assert.equal(resident(tokens, 16), 0)
    blocks.stored(storedEvent({ hashes: [1, 2], tokens, blockTokens: 16, group: 0, attention: 'full_attention' }))
    blocks.removed(removedEvent([1, 2], 1))
    assert.equal(resident(tokens, 16), 32, 'the window let go of its copy, not the full layers')
    blocks.removed(removedEvent([2], 0))
    assert.equal(resident(tokens, 16), 16)
  })

  it('whose parent nobody knows are dropped, unless another engine knows it', () => {
    const tokens = tokensFrom(1, 32)
    const other = picture()
    other.blocks.stored(storedEvent({ hashes: [1], tokens: tokens.slice(0, 16), blockTokens: 16 }))
    const alone = picture()
    const informed = picture({ parentElsewhere: (low, high) => other.blocks.named(low, high) })
    const child = storedEvent({ hashes: [2], parent: 1, tokens: tokens.slice(16), blockTokens: 16 })
    for (const { blocks } of [alone, informed]) blocks.stored(child)
    assert.equal(alone.blocks.counts.orphans, 1)
    assert.equal(informed.blocks.counts.orphans, 0)
    informed.blocks.stored(storedEvent({ hashes: [1], tokens: tokens.slice(0, 16), blockTokens: 16 }))
    assert.equal(informed.resident(tokens, 16), 32)
  })

  it('with other numbers of tokens than they say are malformed', () => {
    const { blocks } = picture()
    assert.throws(() => blocks.stored(storedEvent({ hashes: [1, 2], tokens: tokensFrom(1, 31), blockTokens: 16 })), MalformedEvents)
    assert.throws(() => blocks.stored(storedEvent({ hashes: [1], tokens: tokensFrom(1, 16), blockTokens: 0 })), MalformedEvents)
    blocks.checkIntegrity()
  })

  it('beyond the bound are refused and counted', () => {
    const { blocks } = picture({ maxBlocks: 1024 })
    for (let at = 0; at < 2000; at++) blocks.stored(storedEvent({ hashes: [at + 1], tokens: tokensFrom(at, 16), blockTokens: 16 }))
    assert.equal(blocks.size, 1024)
    assert.equal(blocks.counts.full, 2000 - 1024)
    blocks.checkIntegrity()
  })

  it('agree with a plain model after any sequence of events, and both tables stay whole', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('stored' as const), session: fc.nat(5), from: fc.nat(6), count: fc.integer({ min: 1, max: 4 }), tier: fc.constantFrom(0 as const, 1 as const) }),
      fc.record({ kind: fc.constant('removed' as const), session: fc.nat(5), at: fc.nat(9), tier: fc.constantFrom(0 as const, 1 as const) }),
      fc.record({ kind: fc.constant('cleared' as const) }),
    )
    fc.assert(fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const { blocks, held, resident } = picture()
      const sessions = Array.from({ length: 6 }, (_, seed) => tokensFrom(seed, 160))
      const hash = (session: number, at: number) => 1000 * session + at + 1
      const copies = new Map<string, number>()
      for (const each of steps) {
        if (each.kind === 'cleared') {
          blocks.cleared()
          copies.clear()
        } else if (each.kind === 'removed') {
          blocks.removed(removedEvent([hash(each.session, each.at)], null, each.tier))
          const key = `${each.session} ${each.at} ${each.tier}`
          copies.set(key, Math.max(0, (copies.get(key) ?? 0) - 1))
        } else {
          const last = Math.min(10, each.from + each.count)
          const knowsParent = each.from === 0 || [0, 1].some((tier) => (copies.get(`${each.session} ${each.from - 1} ${tier}`) ?? 0) > 0)
          const hashes = Array.from({ length: last - each.from }, (_, at) => hash(each.session, each.from + at))
          const tokens = sessions[each.session]!.slice(16 * each.from, 16 * last)
          blocks.stored(storedEvent({ hashes, parent: each.from === 0 ? null : hash(each.session, each.from - 1), tokens, blockTokens: 16, tier: each.tier }))
          if (knowsParent) for (let at = each.from; at < last; at++) copies.set(`${each.session} ${at} ${each.tier}`, (copies.get(`${each.session} ${at} ${each.tier}`) ?? 0) + 1)
        }
        blocks.checkIntegrity()
        held.checkIntegrity()
      }
      for (let session = 0; session < 6; session++) {
        let expected = 0
        while (expected < 10 && [0, 1].some((tier) => (copies.get(`${session} ${expected} ${tier}`) ?? 0) > 0)) expected++
        assert.equal(resident(sessions[session]!, 16), 16 * expected)
      }
    }), { numRuns: 150 })
  })
})
