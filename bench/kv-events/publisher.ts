/**
 * A publisher for the bench, as a process of its own: a ring of cached conversations, each step stores blocks and evicts as
 * many, at the rate it is told over its channel. Batches are encoded before, so that its own cost is sending.
 */
import { encode } from '@msgpack/msgpack'
import { Publisher, Router } from 'zeromq'

/** Blocks that one engine holds. */
const HELD = 60_000
const BLOCK_TOKENS = 16
const EVENTS_A_BATCH = 100
const BATCHES = 1200

let next = 1
/** One block an event, as decoding engines publish them; every second one evicts. */
function batch(): Uint8Array {
  const events: unknown[] = []
  for (let at = 0; at < EVENTS_A_BATCH; at++) {
    const hash = 0x1_0000_0000 * (1 + (next % 1000)) + next
    const parent = next % 100 === 1 ? null : 0x1_0000_0000 * (1 + ((next - 1) % 1000)) + next - 1
    events.push({
      type: 'BlockStored', block_hashes: [hash], parent_block_hash: parent,
      token_ids: Array.from({ length: BLOCK_TOKENS }, (_, token) => (next * 31 + token * 7) % 150_000),
      block_size: BLOCK_TOKENS, lora_id: null, medium: 'GPU', lora_name: null, extra_keys: [null], group_idx: 0,
      kv_cache_spec_kind: 'full_attention',
    })
    const old = next - HELD
    if (old > 0) events.push({ type: 'BlockRemoved', block_hashes: [0x1_0000_0000 * (1 + (old % 1000)) + old], medium: 'GPU', group_idx: 0 })
    next++
  }
  return encode([Date.now() / 1000, events, 0])
}

export const batches = (): Uint8Array[] => Array.from({ length: BATCHES }, batch)
export const EVENTS_IN_A_BATCH = EVENTS_A_BATCH

if (process.send !== undefined && process.argv[2] === 'publish') {
  const payloads = batches()
  const publisher = new Publisher({ sendHighWaterMark: 1_000_000, linger: 0 })
  const router = new Router({ sendHighWaterMark: 0, linger: 0 })
  await publisher.bind('tcp://127.0.0.1:*')
  await router.bind('tcp://127.0.0.1:*')
  let sent = 0
  const buffer: { seq: Buffer; payload: Uint8Array }[] = []
  void (async () => {
    for await (const [identity, , start] of router) {
      const from = Number(start!.readBigUInt64BE())
      for (const { seq, payload } of buffer.slice())
        if (Number(seq.readBigUInt64BE()) >= from) await router.send([identity!, '', 'kv', seq, payload])
      await router.send([identity!, '', '', Buffer.alloc(8, 0xff), ''])
    }
  })()
  process.on('disconnect', () => process.exit(0))
  process.on('message', (message: { readonly eventsPerSecond: number; readonly seconds: number }) => {
    const startedMs = performance.now()
    const batchesPerMs = message.eventsPerSecond / EVENTS_A_BATCH / 1000
    const first = sent
    void (async () => {
      for (;;) {
        const elapsedMs = performance.now() - startedMs
        const due = first + Math.floor(Math.min(elapsedMs, 1000 * message.seconds) * batchesPerMs)
        while (sent < due) {
          const seq = Buffer.alloc(8)
          seq.writeBigUInt64BE(BigInt(sent))
          const payload = payloads[sent % payloads.length]!
          buffer.push({ seq, payload })
          if (buffer.length > 10_000) buffer.shift()
          await publisher.send(['kv', seq, payload])
          sent++
        }
        if (elapsedMs >= 1000 * message.seconds) break
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      process.send?.({ sent })
    })()
  })
  process.send({ endpoint: publisher.lastEndpoint, replay: router.lastEndpoint })
}
