import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LatencyModel } from '../../src/learn/latency.ts'
import { OutputLength } from '../../src/learn/output-length.ts'
import { CharactersPerToken } from '../../src/learn/characters-per-token.ts'
import { RelativeRegression } from '../../src/learn/relative-regression.ts'
import { SpeedFactor } from '../../src/learn/speed-factor.ts'
import type { Outcome } from '../../src/model/outcome.ts'
import { backendAt, chainOf, seeded } from '../schedule/fixture.ts'

function outcome(index: number, promptTokens: number, ttftMs: number | null, changes: Partial<Outcome> = {}): Outcome {
  const chain = chainOf([])
  return {
    backend: backendAt(index), model: 'm', tenant: 't', sessionId: 's', status: 'completed', promptChain: chain, fullChain: chain,
    expectedCachedTokens: 0, expectedPromptTokens: promptTokens,
    usage: { promptTokens, cachedTokens: 0, outputTokens: 100, reasoningTokens: null },
    ttftMs, decodeMs: null, inFlightAtDispatch: 0, queuedTokensAtDispatch: 0, ...changes,
  }
}

const near = (got: number, wanted: number, share: number) =>
  assert.ok(Math.abs(got / wanted - 1) <= share, `${got} is not within ${100 * share} % of ${wanted}`)

describe('LatencyModel', () => {
  const engine = (tokens: number, rate = 3000) => 0.03 + tokens / rate + 2e-10 * tokens ** 2

  it('learns base, slope and bend of a noisy engine to within a tenth', () => {
    const [latency, random] = [new LatencyModel(), seeded(3)]
    for (let turn = 0; turn < 300; turn++) {
      const tokens = Math.round(200 + 30_000 * random() ** 3)
      latency.observe(outcome(0, tokens, 1000 * engine(tokens) * (0.9 + 0.2 * random())))
    }
    for (const tokens of [500, 2000, 10_000, 30_000]) near(latency.prefillSeconds(tokens, 0, 'm'), engine(tokens), 0.1)
    assert.ok(latency.error(0, 'm')!.median < 0.1)
    assert.ok(latency.uncertainty(0, 'm') < 0.2)
  })

  it('follows a backend that turns half as fast within 20 turns', () => {
    const [latency, random] = [new LatencyModel(), seeded(5)]
    const turn = (rate: number) => {
      const tokens = Math.round(500 + 5000 * random())
      latency.observe(outcome(0, tokens, 1000 * (tokens / rate) * (0.9 + 0.2 * random())))
    }
    for (let n = 0; n < 100; n++) turn(8000)
    near(latency.prefillSeconds(4000, 0, 'm'), 0.5, 0.1)
    for (let n = 0; n < 20; n++) turn(4000)
    near(latency.prefillSeconds(4000, 0, 'm'), 1, 0.15)
  })

  it('is not thrown off by a single answer that took fifty times as long', () => {
    const latency = new LatencyModel()
    for (let n = 0; n < 50; n++) latency.observe(outcome(0, 4000, 500))
    latency.observe(outcome(0, 4000, 25_000))
    near(latency.prefillSeconds(4000, 0, 'm'), 0.5, 0.1)
  })

  it('takes a fresh backend for as fast as the others of its model, and says that it does not know', () => {
    const latency = new LatencyModel()
    for (let n = 0; n < 30; n++) for (const index of [0, 1]) latency.observe(outcome(index, 4000, 2000))
    near(latency.prefillSeconds(4000, 7, 'm'), 2, 0.1)
    assert.ok(latency.uncertainty(7, 'm') > 3 * latency.uncertainty(0, 'm'))
    near(latency.prefillSeconds(4000, 7, 'another model'), 0.52, 0.2)
  })

  it('charges queued work like own work', () => {
    const [latency, random] = [new LatencyModel(), seeded(9)]
    for (let n = 0; n < 200; n++) {
      const [own, queued] = [500 + 4000 * random(), random() < 0.5 ? 0 : 8000 * random()]
      latency.observe(outcome(0, own, (own + queued) / 5, { queuedTokensAtDispatch: queued }))
    }
    near(latency.predictTtftSeconds({ uncachedTokens: 2000, queuedTokens: 6000 }, 0, 'm'), 1.6, 0.1)
  })

  it('learns how the time per output token grows with the batch', () => {
    const [latency, random] = [new LatencyModel(), seeded(2)]
    for (let n = 0; n < 400; n++) {
      const others = Math.floor(32 * random())
      latency.observe(outcome(0, 1000, 125, { decodeMs: 99 * (10 + 0.5 * others), inFlightAtDispatch: others }))
    }
    near(latency.stepSeconds(0, 0, 'm'), 0.01, 0.15)
    near(latency.stepSeconds(30, 0, 'm'), 0.025, 0.15)
  })

  it('learns nothing from failures', () => {
    const latency = new LatencyModel()
    const before = latency.prefillSeconds(1000, 0, 'm')
    latency.observe(outcome(0, 1000, 90_000, { status: 'failed' }))
    latency.observe(outcome(0, 1000, null))
    assert.equal(latency.prefillSeconds(1000, 0, 'm'), before)
  })
})

describe('SpeedFactor', () => {
  it('starts from the mean of its peers and moves to its own level with its first answers', () => {
    const level = { sum: 0, count: 0 }
    const shape = new RelativeRegression([{ value: 1, deviation: 0 }])
    const one = Float64Array.of(1)
    const factor = () => new SpeedFactor(shape, level)
    const peer = factor()
    for (let n = 0; n < 50; n++) peer.observe(one, 4)
    const fresh = factor()
    near(fresh.factor, 4, 0.01)
    fresh.observe(one, 1)
    assert.ok(fresh.factor > 1.2 && fresh.factor < 4)
    for (let n = 0; n < 30; n++) fresh.observe(one, 1)
    near(fresh.factor, 1, 0.1)
  })
})

describe('RelativeRegression', () => {
  it('never lets a coefficient fall below zero', () => {
    const fit = new RelativeRegression([{ value: 1, deviation: 1 }, { value: 1, deviation: 1 }])
    for (let n = 1; n < 50; n++) fit.observe(Float64Array.of(1, n), Math.max(0.01, 5 - n))
    for (const coefficient of fit.coefficients) assert.ok(coefficient >= 0)
  })
})

describe('OutputLength', () => {
  const answered = (tenant: string, sessionId: string, outputTokens: number) =>
    outcome(0, 10, 1, { tenant, sessionId, usage: { promptTokens: 10, cachedTokens: null, outputTokens, reasoningTokens: null } })

  it('goes from everyone to the tenant to the session as answers come in', () => {
    const lengths = new OutputLength()
    for (let n = 0; n < 20; n++) lengths.observe(answered('t', 'terse', 10))
    for (let n = 0; n < 20; n++) lengths.observe(answered('t', 'wordy', 1000))
    const ask = (tenant: string, sessionId: string, maxOutputTokens: number | null = null) =>
      lengths.expectedTokens({ tenant, sessionId, maxOutputTokens })
    assert.ok(ask('t', 'terse') < 150)
    assert.ok(ask('t', 'wordy') > 850)
    assert.ok(ask('t', 'new') > ask('t', 'terse') && ask('t', 'new') < ask('t', 'wordy') + 1)
    assert.equal(ask('t', 'wordy', 50), 50)
  })

  it('keeps a bounded number of sessions', () => {
    const lengths = new OutputLength({ maxSessions: 10 })
    for (let n = 0; n < 100; n++) lengths.observe(answered('t', `s${n}`, 10))
    assert.equal(lengths.evicted, 90)
  })
})

describe('CharactersPerToken', () => {
  it('learns the ratio from reported prompt tokens', () => {
    const ratios = new CharactersPerToken()
    assert.equal(ratios.ratio('m'), 4)
    const chain = chainOf(Array.from({ length: 10 }, (_, i) => `w${i}`), 300)
    for (let n = 0; n < 60; n++) ratios.observe(outcome(0, 1000, 1, { promptChain: chain }))
    near(ratios.ratio('m'), 3, 0.05)
  })
})
