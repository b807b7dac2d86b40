import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { BatchDecoder } from '../../../src/kv/events/decode-batch.ts'
import { EventStream } from '../../../src/kv/events/event-stream.ts'

/** A publisher that keeps its last batches, and what reached us of it: the hashes of the batches, in order. */
function setup(options: { readonly buffer?: number; readonly replay?: boolean } = {}) {
  let seen: number[] = []
  let complete: boolean | null = null
  let buffer: { seq: number; payload: Buffer }[] = []
  const asked: number[] = []
  let nowMs = 0
  let next = 0
  let epoch = 0
  const stream = new EventStream({
    decoder: new BatchDecoder(),
    blocks: {
      stored: () => undefined,
      removed: (event) => void seen.push(event.hashes[0]!),
      cleared: () => {
        seen = []
      },
      clear: (whole) => {
        seen = []
        complete = whole
      },
    },
    requestReplay: options.replay === false ? null : (seq) => void asked.push(seq),
    nowMs: () => nowMs,
  })
  const publish = (): { seq: number; payload: Buffer } => {
    const batch = { seq: next, payload: Buffer.from(encode([epoch + next / 1000, [{ type: 'BlockRemoved', block_hashes: [1000 * epoch + next] }]])) }
    next++
    buffer.push(batch)
    buffer = buffer.slice(-(options.buffer ?? 1000))
    return batch
  }
  return {
    stream,
    asked,
    publish,
    live: ({ seq, payload }: { seq: number; payload: Buffer }) => stream.live(seq, payload),
    answerReplay: () => {
      const requests = asked.length
      const from = asked.at(-1)!
      // Each request has a socket of its own, so nothing more comes once another was made.
      for (const { seq, payload } of buffer) if (seq >= from && asked.length === requests) stream.replayed(seq, payload)
      if (asked.length === requests) stream.replayEnded()
    },
    restart: () => {
      stream.disconnected()
      buffer = []
      next = 0
      epoch++
    },
    advance: (ms: number) => {
      nowMs += ms
    },
    seen: () => seen,
    complete: () => complete,
  }
}

describe('a stream of batches', () => {
  it('that is followed from its first batch knows everything', () => {
    const { stream, live, publish, answerReplay, seen, complete, asked } = setup()
    stream.connected()
    assert.deepEqual(asked, [0])
    answerReplay()
    for (let at = 0; at < 3; at++) live(publish())
    assert.deepEqual(seen(), [0, 1, 2])
    assert.equal(complete(), true)
  })

  it('that began before us is replayed from its start', () => {
    const { stream, live, publish, answerReplay, seen, complete } = setup()
    for (let at = 0; at < 5; at++) publish()
    stream.connected()
    live(publish())
    assert.deepEqual(seen(), [])
    answerReplay()
    assert.deepEqual(seen(), [0, 1, 2, 3, 4, 5])
    assert.equal(complete(), true)
  })

  it('whose start is no longer kept is a lower bound', () => {
    const { stream, publish, answerReplay, seen, complete } = setup({ buffer: 3 })
    for (let at = 0; at < 5; at++) publish()
    stream.connected()
    answerReplay()
    assert.deepEqual(seen(), [2, 3, 4])
    assert.equal(complete(), false)
  })

  it('with a gap loses nothing when the publisher replays it', () => {
    const { stream, live, publish, answerReplay, seen, complete, asked } = setup()
    stream.connected()
    answerReplay()
    live(publish())
    publish()
    publish()
    live(publish())
    assert.deepEqual(asked, [0, 1])
    live(publish())
    answerReplay()
    assert.deepEqual(seen(), [0, 1, 2, 3, 4])
    live(publish())
    assert.deepEqual(seen(), [0, 1, 2, 3, 4, 5])
    assert.equal(complete(), true)
    assert.equal(stream.counts.losses, 0)
  })

  it('with a gap that cannot be replayed gives its picture up', () => {
    const { stream, live, publish, seen, complete } = setup({ replay: false })
    live(publish())
    publish()
    live(publish())
    assert.deepEqual(seen(), [2])
    assert.equal(complete(), false)
    assert.equal(stream.counts.losses, 1)
  })

  it('whose replay is not answered is asked three times, then given up, and left alone for a while', () => {
    const { stream, live, publish, answerReplay, asked, seen, advance } = setup()
    stream.connected()
    answerReplay()
    live(publish())
    publish()
    live(publish())
    for (let patience = 0; patience < 3; patience++) stream.replayTimedOut()
    assert.deepEqual(asked, [0, 1, 1, 1])
    assert.equal(stream.replaying, false)
    assert.deepEqual(seen(), [2])
    publish()
    live(publish())
    assert.equal(asked.length, 4)
    advance(31_000)
    publish()
    live(publish())
    assert.equal(asked.length, 5)
  })

  it('that begins anew is another process: everything before is forgotten', () => {
    const { live, publish, restart, seen, complete, stream, answerReplay, asked } = setup()
    live(publish())
    live(publish())
    restart()
    stream.connected()
    live(publish())
    answerReplay()
    answerReplay()
    assert.deepEqual(seen(), [1000])
    assert.equal(complete(), true)
    restart()
    publish()
    live(publish())
    stream.connected()
    assert.deepEqual(seen(), [1000], 'what came before the break is known waits')
    answerReplay()
    assert.equal(asked.at(-1), 0)
    answerReplay()
    assert.deepEqual(seen(), [2000, 2001])
    assert.equal(stream.counts.restarts, 2)
  })

  it('that breaks off and cannot be replayed begins anew as a lower bound', () => {
    const { stream, live, publish, restart, seen, complete } = setup({ replay: false })
    live(publish())
    live(publish())
    stream.disconnected()
    live(publish())
    stream.connected()
    assert.deepEqual(seen(), [2])
    assert.equal(complete(), false)
    restart()
    stream.connected()
    live(publish())
    assert.deepEqual(seen(), [1000])
    assert.equal(complete(), true)
  })

  it('that broke off and goes on with the next number may be another process: the last batch is compared', () => {
    const { stream, live, publish, restart, seen, asked, answerReplay } = setup()
    live(publish())
    live(publish())
    stream.connected()
    assert.equal(asked.at(-1), 1)
    answerReplay()
    assert.deepEqual(seen(), [0, 1], 'the same process: nothing is lost')
    restart()
    for (let at = 0; at < 4; at++) publish()
    stream.connected()
    answerReplay()
    assert.equal(asked.at(-1), 0)
    answerReplay()
    assert.deepEqual(seen(), [1000, 1001, 1002, 1003])
  })

  it('with a batch that cannot be read gives its picture up and goes on', () => {
    const { stream, live, publish, seen, complete } = setup()
    live(publish())
    const broken = publish()
    stream.live(broken.seq, Buffer.from('nonsense'))
    assert.deepEqual(seen(), [])
    assert.equal(complete(), false)
    live(publish())
    assert.deepEqual(seen(), [2])
    assert.equal(stream.counts.malformed, 1)
  })

  it('delivers every batch once and in order, whatever is dropped, restarted or late', () => {
    const step = fc.constantFrom('live', 'live', 'live', 'drop', 'replay', 'restart', 'reconnect')
    fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { stream, live, publish, restart, answerReplay, seen, complete } = setup()
      let published = 0
      let epoch = 0
      stream.connected()
      for (const each of steps) {
        if (each === 'live') {
          live(publish())
          published++
        } else if (each === 'drop') {
          publish()
          published++
        } else if (each === 'replay') {
          if (stream.replaying) answerReplay()
        } else {
          // A restart is always seen as a broken connection too.
          if (each === 'restart') {
            restart()
            published = 0
            epoch++
          }
          stream.connected()
        }
      }
      for (let round = 0; round < 5 && stream.replaying; round++) answerReplay()
      live(publish())
      published++
      for (let round = 0; round < 5 && stream.replaying; round++) answerReplay()
      assert.deepEqual(seen(), Array.from({ length: published }, (_, at) => 1000 * epoch + at))
      assert.equal(complete(), true)
    }), { numRuns: 500 })
  })
})
