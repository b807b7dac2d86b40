import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { HiddenHits } from '../../src/kv/hidden-hits.ts'
import type { Outcome } from '../../src/model/outcome.ts'
import { backendAt, chainOf, words } from '../schedule/fixture.ts'

/** 20 ms and 8,000 tokens a second, known to `uncertainty`. */
const engine = (uncertainty: number) => new HiddenHits({
  predictTtftSeconds: ({ uncachedTokens, queuedTokens }) => 0.02 + (uncachedTokens + queuedTokens) / 8000,
  uncertainty: () => uncertainty,
})

const answerAfter = (ttftMs: number, promptTokens = 8000): Outcome => ({
  backend: backendAt(0), model: 'm', tenant: 't', sessionId: 's', status: 'completed', promptChain: chainOf(words('x', 4)), fullChain: chainOf(words('x', 4)),
  expectedCachedTokens: 7000, expectedPromptTokens: promptTokens, usage: { promptTokens, cachedTokens: null, outputTokens: 5, reasoningTokens: null },
  ttftMs, decodeMs: 1, inFlightAtDispatch: 0, queuedTokensAtDispatch: 0,
})

describe('HiddenHits', () => {
  it('tells a hit from a miss by the time to the first token', () => {
    const hidden = engine(0.05)
    assert.equal(hidden.read(answerAfter(145), 7000), 7000)
    const missed = hidden.read(answerAfter(1020), 7000)!
    assert.ok(missed < 1200, `${missed}`)
    assert.deepEqual(hidden.counts, { hit: 1, miss: 1, untold: 0 })
  })

  it('says nothing where hit and miss are too near, the model too unsure, or the backend stalled', () => {
    const hidden = engine(0.05)
    assert.equal(hidden.read(answerAfter(1010), 60), null)
    assert.equal(engine(1).read(answerAfter(145), 7000), null)
    assert.equal(hidden.read(answerAfter(4000), 7000), null)
    assert.equal(hidden.read(answerAfter(1020), 0), null)
  })
})
