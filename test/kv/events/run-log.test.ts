import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RunLog, statesOfRun } from '../../../src/kv/events/run-log.ts'
import { statesOf } from '../../../src/kv/events/token-hash.ts'
import { picture, storedEvent, tokensFrom } from './fixture.ts'

const SEEN = { ageMs: 1000, promptTokens: 100, cachedTokens: 32, outputTokens: 20 }

function logOf(...runs: readonly (readonly [from: number, to: number, parent: bigint | null, end: bigint, atMs?: number])[]): RunLog {
  const log = new RunLog()
  for (const [from, to, parent, end, atMs] of runs) log.add({ from, to, parent, end, atMs: atMs ?? 9500 })
  return log
}

describe('the blocks that a turn stored', () => {
  it('are those between its cached part and its answer, through all runs that continue each other', () => {
    const log = logOf([32, 64, 2n, 4n], [64, 96, 4n, 6n], [96, 112, 6n, 7n])
    assert.equal(log.endOf(SEEN, 10_000, 16)?.end, 7n)
  })

  it('are not another turn’s: with another cached part, too short, too long, or of an earlier time', () => {
    assert.equal(logOf([0, 112, null, 7n]).endOf(SEEN, 10_000, 16), null)
    assert.equal(logOf([32, 80, 2n, 5n]).endOf(SEEN, 10_000, 16), null)
    assert.equal(logOf([32, 128, 2n, 8n]).endOf(SEEN, 10_000, 16), null)
    assert.equal(logOf([32, 112, 2n, 7n, 8900]).endOf(SEEN, 10_000, 16), null)
    assert.equal(logOf([32, 112, 2n, 7n]).endOf(SEEN, 10_000, 0), null)
  })

  it('are not guessed where two fit', () => {
    assert.equal(logOf([32, 112, 2n, 7n], [32, 112, 2n, 17n]).endOf(SEEN, 10_000, 16), null)
    assert.equal(logOf([32, 112, 2n, 7n], [32, 112, 2n, 7n]).endOf(SEEN, 10_000, 16)?.end, 7n, 'told twice is one')
  })

  it('are found in the recent past only, however many there were', () => {
    const log = logOf()
    for (let at = 0; at < 10_000; at++) log.add({ from: 0, to: 16, parent: null, end: BigInt(at), atMs: at })
    log.add({ from: 32, to: 112, parent: 2n, end: 7n, atMs: 9500 })
    assert.equal(log.endOf(SEEN, 10_000, 16)?.end, 7n)
    log.clear()
    assert.equal(log.endOf(SEEN, 10_000, 16), null)
  })

  it('name their whole prefix, from the first token on, in blocks of any size', () => {
    for (const blockTokens of [1, 16, 32]) {
      const log = new RunLog()
      const { blocks } = picture({ onRun: (from, to, parent, end) => log.add({ from, to, parent, end, atMs: 0 }) })
      const tokens = tokensFrom(1, 128)
      const hashes = Array.from({ length: 128 / blockTokens }, (_, at) => at + 1)
      const half = hashes.length / 2
      blocks.stored(storedEvent({ hashes: hashes.slice(0, half), tokens: tokens.slice(0, 64), blockTokens }))
      blocks.stored(storedEvent({ hashes: hashes.slice(half), parent: half, tokens: tokens.slice(64), blockTokens }))
      const run = log.endOf({ ageMs: 10, promptTokens: 120, cachedTokens: 0, outputTokens: 8 }, 0, blockTokens)
      const states = statesOfRun(run!, blocks)!
      const whole = statesOf(tokens, null)
      assert.equal(states.length, whole.length)
      for (let end = Math.max(16, blockTokens); end <= 128; end += Math.max(16, blockTokens))
        assert.deepEqual([...states.subarray(end / 8 - 2, end / 8)], [...whole.subarray(end / 8 - 2, end / 8)])
      blocks.removed(storedEvent({ hashes: [1], tokens: [], blockTokens: 0 }))
      assert.equal(statesOfRun(run!, blocks), null, 'a block of it is unknown now')
    }
  })
})
