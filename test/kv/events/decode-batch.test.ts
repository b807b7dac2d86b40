import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { BatchDecoder } from '../../../src/kv/events/decode-batch.ts'
import type { EventSink } from '../../../src/kv/events/kv-event.ts'
import { MalformedEvents } from '../../../src/kv/events/msgpack-cursor.ts'

type Seen = Record<string, unknown>

function decoded(payload: Uint8Array): { readonly events: Seen[]; readonly seconds: number; readonly decoder: BatchDecoder } {
  const events: Seen[] = []
  const hashesOf = (hashes: Uint32Array, blocks: number): bigint[] =>
    Array.from({ length: blocks }, (_, at) => (BigInt(hashes[2 * at + 1]!) << 32n) | BigInt(hashes[2 * at]!))
  const sink: EventSink = {
    stored: (event) => {
      events.push({
        type: 'stored',
        hashes: hashesOf(event.hashes, event.blocks),
        parent: event.hasParent ? (BigInt(event.parentHigh) << 32n) | BigInt(event.parentLow) : null,
        tokens: [...event.tokens.subarray(0, event.tokenCount)],
        blockTokens: event.blockTokens,
        tier: event.tier,
        group: event.group,
        attention: event.attention,
        extras: [...event.extras],
      })
    },
    removed: (event) => events.push({ type: 'removed', hashes: hashesOf(event.hashes, event.blocks), tier: event.tier, group: event.group }),
    cleared: () => events.push({ type: 'cleared' }),
  }
  const decoder = new BatchDecoder()
  const seconds = decoder.decode(Buffer.from(payload), sink)
  return { events, seconds, decoder }
}

const bytes = (base64: string): Buffer => Buffer.from(base64, 'base64')

describe('a batch of KV events', () => {
  it('of vLLM 0.32 is read: everything cleared', () => {
    const { events, seconds } = decoded(bytes('k8tB2sEA5ctO5ZGBpHR5cGWwQWxsQmxvY2tzQ2xlYXJlZAA='))
    assert.deepEqual(events, [{ type: 'cleared' }])
    assert.ok(seconds > 1.79e9)
  })

  it('of vLLM 0.32 is read: a block stored behind its parent', () => {
    const payload =
      'k8tB2sEA5QhVO5GLpHR5cGWrQmxvY2tTdG9yZWSsYmxvY2tfaGFzaGVzkc92SkEoChnPXbFwYXJlbnRfYmxvY2tfaGFzaM+frXr9eG8ZrKl0b2tlbl9pZHPcACDNDcvNA8rNAr3NA8rNBB/NCPvNAsnNB0XNEnzNAurNCsLNBH/NA8rNBbbNBp3NDp/ND/PNBfXNIOvNBM7NB0cCzMYBzQ/9zMYxzQOAzQEczQQ7zQsgzQtiqmJsb2NrX3NpemUgp2xvcmFfaWTApm1lZGl1baNHUFWpbG9yYV9uYW1lwKpleHRyYV9rZXlzkcCpZ3JvdXBfaWR4ALJrdl9jYWNoZV9zcGVjX2tpbmSuZnVsbF9hdHRlbnRpb24A'
    const event = decoded(bytes(payload)).events[0]!
    assert.deepEqual(event['hashes'], [0x764a41280a19cf5dn])
    assert.equal(event['parent'], 0x9fad7afd786f19acn)
    assert.equal((event['tokens'] as number[]).length, 32)
    assert.deepEqual((event['tokens'] as number[]).slice(0, 3), [3531, 970, 701])
    assert.equal(event['blockTokens'], 32)
    assert.equal(event['attention'], 'full_attention')
    assert.deepEqual(event['extras'], [])
  })

  it('means the same as list or map, positional or named, with integers or bytes as hashes', () => {
    const stored = { block_hashes: [5n, 2n ** 64n - 1n], parent_block_hash: 7n, token_ids: [1, 2, 3, 4], block_size: 2 }
    const named = { type: 'BlockStored', ...stored, lora_id: null, medium: 'CPU', group_idx: 3, kv_cache_spec_kind: 'mla_attention' }
    const positional = ['BlockStored', [5n, -1n], 7n, [1, 2, 3, 4], 2, null, 'CPU', null, null, 3, 'mla_attention']
    const asBytes = { ...named, block_hashes: [Buffer.from('00000000000000000000000000000005', 'hex'), Buffer.alloc(32, 0xff)] }
    const removedNamed = { type: 'BlockRemoved', block_hashes: [5n], medium: 'GPU', group_idx: 0 }
    const removedPositional = ['BlockRemoved', [5n], 'GPU', 0]
    const options = { useBigInt64: true }
    const expected = decoded(encode([1.5, [named, removedNamed], 0], options))
    for (const batch of [
      [1.5, [positional, removedPositional]],
      { ts: 1.5, events: [named, removedPositional], data_parallel_rank: 0 },
      { data_parallel_rank: 0, events: [asBytes, removedNamed], ts: 1.5 },
    ]) {
      const seen = decoded(encode(batch, options))
      assert.deepEqual(seen.events, expected.events)
      assert.equal(seen.seconds, 1.5)
    }
    assert.deepEqual(expected.events[0]?.['hashes'], [5n, 2n ** 64n - 1n])
    assert.equal(expected.events[0]?.['tier'], 1)
  })

  it('of SGLang with EAGLE names a token by the first of its pair', () => {
    const { events } = decoded(encode([1, [
      { type: 'BlockStored', block_hashes: [-5n, 6n], parent_block_hash: null, token_ids: [[1, 70000], [70000, 300], [300, 4], [4, 5]], block_size: 2 },
    ]], { useBigInt64: true }))
    assert.deepEqual(events[0]?.['tokens'], [1, 70000, 300, 4])
    assert.deepEqual(events[0]?.['hashes'], [2n ** 64n - 5n, 6n])
  })

  it('passes over events and fields that nobody knows, and counts the events', () => {
    const { events, decoder } = decoded(encode([1, [
      { type: 'BlockMoved', block_hashes: [1], nested: [[{ a: [1] }]] },
      ['Other', 1, 2],
      { type: 'BlockRemoved', block_hashes: [9], tzpe: 'x', locality: 'LOCAL', ownership: null, session_id: 's' },
    ]]))
    assert.deepEqual(events, [{ type: 'removed', hashes: [9n], tier: 0, group: null }])
    assert.equal(decoder.unknown, 2)
    assert.equal(decoder.events, 3)
  })

  it('that is broken in any way throws MalformedEvents and nothing else', () => {
    const whole = Buffer.from(encode([1, [
      { type: 'BlockStored', block_hashes: [1, 2], parent_block_hash: null, token_ids: [1, 2, 3, 4], block_size: 2, extra_keys: [['salt'], null] },
      { type: 'BlockRemoved', block_hashes: [3], medium: 'GPU' },
    ]]))
    fc.assert(fc.property(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 }), fc.boolean(), (at, value, cut) => {
      const broken = cut ? whole.subarray(0, at) : Buffer.from(whole)
      if (!cut) broken[at] = value
      try {
        decoded(broken)
      } catch (error) {
        assert.ok(error instanceof MalformedEvents, String(error))
      }
    }), { numRuns: 3000 })
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      try {
        decoded(noise)
      } catch (error) {
        assert.ok(error instanceof MalformedEvents, String(error))
      }
    }), { numRuns: 3000 })
  })

  it('that claims a list longer than itself is refused before anything is allocated', () => {
    const absurd = Buffer.concat([Buffer.from([0x92, 0x01, 0x91, 0x92, 0xab]), Buffer.from('BlockStored'), Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff])])
    assert.throws(() => decoded(absurd), MalformedEvents)
    assert.throws(() => decoded(Buffer.alloc(100_000, 0x91)), MalformedEvents)
  })
})
