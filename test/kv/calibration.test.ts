import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { BlockIndex } from '../../src/kv/block-index.ts'
import { CacheCalibration } from '../../src/kv/calibration.ts'
import { Pressure } from '../../src/kv/pressure.ts'
import { LatencyModel } from '../../src/learn/latency.ts'
import type { Outcome } from '../../src/model/outcome.ts'
import { backendAt, chainOf, seeded, words } from '../schedule/fixture.ts'

const TOKENS = 512

/** An engine with an LRU of whole blocks that keeps prompts, and answers if told so. */
function newEngine(capacity: number, keepsAnswers = true) {
  const index = new BlockIndex({ maxBytes: 1 << 22, nowMs: () => 0 })
  const latency = new LatencyModel()
  const pressure = new Pressure({ index, nowMs: () => 0, maxConversations: 1000 })
  const calibration = new CacheCalibration(index, pressure, latency)
  const held = new Map<string, true>()
  const backend = backendAt(0)
  const key = (text: readonly string[], length: number) => text.slice(0, length).join(' ')
  const use = (text: readonly string[]) => {
    for (let length = text.length; length > 0; length--) {
      held.delete(key(text, length))
      held.set(key(text, length), true)
    }
    while (held.size > capacity) held.delete(held.keys().next().value!)
  }
  const turn = (prompt: readonly string[], answer: readonly string[] = [], reports = true): { expected: number; actual: number } => {
    const promptChain = chainOf(prompt)
    const expected = index.cachedBlocks(promptChain, 0)
    let actual = 0
    while (actual < prompt.length && held.has(key(prompt, actual + 1))) actual++
    calibration.dispatched({ chain: promptChain, tenant: 't', sessionId: prompt[0] ?? '' }, 0)
    index.insert(promptChain, 0, { speculativeUntilMs: 1 })
    use(prompt)
    if (keepsAnswers) use([...prompt, ...answer])
    const outcome: Outcome = {
      backend, model: 'm', tenant: 't', sessionId: prompt[0] ?? '', status: 'completed', promptChain, fullChain: chainOf([...prompt, ...answer]),
      expectedCachedTokens: expected * TOKENS, expectedPromptTokens: prompt.length * TOKENS, ttftMs: 20 + ((prompt.length - actual) * TOKENS) / 8, decodeMs: 1,
      usage: { promptTokens: prompt.length * TOKENS, cachedTokens: reports ? actual * TOKENS : null, outputTokens: answer.length * TOKENS, reasoningTokens: null },
      inFlightAtDispatch: 0, queuedTokensAtDispatch: 0,
    }
    const { cachedTokens } = calibration.observe(outcome)
    latency.observe(cachedTokens === null ? outcome : { ...outcome, expectedCachedTokens: cachedTokens })
    index.checkIntegrity()
    return { expected, actual }
  }
  return { index, calibration, pressure, turn, backend, restart: () => held.clear() }
}

describe('CacheCalibration', () => {
  it('learns the capacity of a cache from evictions, and then predicts them', () => {
    const { index, turn } = newEngine(400)
    const random = seeded(4)
    const lengths = Array.from({ length: 40 }, () => 5)
    let wrong = 0
    let blocks = 0
    for (let round = 0; round < 1500; round++) {
      const session = Math.floor(40 * random() ** 2)
      lengths[session] = lengths[session]! > 40 ? 5 : lengths[session]! + 2
      const { expected, actual } = turn(words(`s${session}r`, lengths[session]!))
      if (round < 500) continue
      wrong += Math.abs(expected - actual)
      blocks += lengths[session]!
    }
    assert.ok(Math.abs(index.capacity(0) / 400 - 1) < 0.25, `${index.capacity(0)}`)
    assert.ok(wrong / blocks <= 0.05, `${(100 * wrong) / blocks} % of prompt blocks mispredicted`)
  })

  it('does not take a lost answer for an eviction, and stops expecting answers that are never kept', () => {
    const { index, calibration, turn } = newEngine(100_000, false)
    const text = words('x', 10)
    for (let round = 0; round < 40; round++) {
      const answer = words(`answer${round}.`, 3)
      turn(text, answer)
      text.push(...answer, `next${round}`)
    }
    assert.equal(calibration.counts.evicted + calibration.counts.restarted, 0)
    assert.equal(index.capacity(0), Infinity)
    assert.ok(calibration.counts.answerLost > 5 && calibration.counts.answerLost < 25, `${calibration.counts.answerLost}`)
  })

  it('drops everything of a backend at the first answer that shows a restart', () => {
    const { index, calibration, turn, restart } = newEngine(100_000)
    for (let round = 0; round < 3; round++) for (const name of ['x', 'y', 'z']) turn(words(name, 30 + round))
    restart()
    turn(words('z', 34))
    assert.equal(calibration.counts.restarted, 1)
    assert.equal(index.cachedBlocks(chainOf(words('x', 30)), 0), 0)
    assert.equal(index.cachedBlocks(chainOf(words('z', 34)), 0), 34)
  })

  it('believes the capacity that an engine tells', () => {
    const { index, turn, backend } = newEngine(100_000)
    backend.cacheCapacityTokens = 50 * TOKENS
    for (const name of ['x', 'y', 'z']) turn(words(name, 30))
    assert.equal(index.capacity(0), 50)
    assert.ok(index.blocks(0) <= 50)
  })

  it('leaves the index alone where an engine hides what was cached', () => {
    const { index, turn, restart } = newEngine(100_000)
    turn(words('x', 30))
    restart()
    turn(words('x', 31), [], false)
    assert.equal(index.cachedBlocks(chainOf(words('x', 31)), 0), 31)
  })

  it('learns the slots of an engine that keeps whole sequences, and that a cache in RAM lies behind them', () => {
    const { index, turn } = newEngine(100_000)
    index.setSlots(0, 2)
    for (const name of ['x', 'y', 'z']) turn(words(name, 30))
    assert.equal(index.chains(0), 2)
    assert.equal(index.cachedBlocks(chainOf(words('x', 30)), 0), 0)
    const { expected, actual } = turn(words('x', 31))
    assert.deepEqual([expected, actual], [0, 30])
    assert.equal(index.slots(0), 3)
    assert.equal(index.capacity(0), Infinity)
  })

  it('clears a backend that hides what it caches only at the second restart in a row that its times show', () => {
    const { index, calibration, turn, restart } = newEngine(100_000)
    turn(words('w', 30))
    for (let round = 0; round < 12; round++) turn(words(`filler${round}-`, 60))
    turn(words('w', 31)) // proves that what is 700 blocks old is still there
    for (const name of ['x', 'y', 'z']) turn(words(name, 60))
    restart()
    turn(words('z', 61), [], false)
    assert.equal(calibration.counts.restarted, 0)
    assert.equal(index.cachedBlocks(chainOf(words('x', 60)), 0), 60)
    turn(words('y', 61), [], false)
    assert.equal(calibration.counts.restarted, 1)
    assert.equal(index.cachedBlocks(chainOf(words('x', 60)), 0), 0)
  })

  it('takes back what a turn without an answer was expected to bring', () => {
    const { index, calibration } = newEngine(1000)
    const promptChain = chainOf(words('x', 5))
    calibration.dispatched({ chain: promptChain, tenant: 't', sessionId: 's' }, 0)
    index.insert(promptChain, 0, { speculativeUntilMs: 1 })
    calibration.observe({
      backend: backendAt(0), model: 'm', tenant: 't', sessionId: 's', status: 'failed', promptChain, fullChain: promptChain,
      expectedCachedTokens: 0, expectedPromptTokens: 100, usage: null, ttftMs: null, decodeMs: null,
      inFlightAtDispatch: 0, queuedTokensAtDispatch: 0,
    })
    assert.equal(index.cachedBlocks(promptChain, 0), 0)
  })
})
