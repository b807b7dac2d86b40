import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Outcome } from '../../src/model/outcome.ts'
import { PrewarmAccount, type PrewarmRule } from '../../src/upstream/prewarm-account.ts'
import { backendAt, chainOf, words } from '../schedule/fixture.ts'

const backends = [backendAt(0), backendAt(1)]

function lab() {
  const clock = { ms: 0 }
  const switches: string[] = []
  const account = new PrewarmAccount({
    nowMs: () => clock.ms, seconds: (tokens) => tokens / 1000,
    onSwitch: (rule, on, why) => switches.push(`${rule} ${on ? 'on' : 'off'}: ${why}`),
  })
  const warm = (name: string, computedTokens = 1000, backend = 0, rule: PrewarmRule = 'drain') =>
    account.warmed({ rule, key: name, backendIndex: backend, model: 'm', chain: chainOf(words(name, 10)), promptTokens: 1200, computedTokens })
  /** A turn that goes on from the prefix of that name, and finds so much cached. */
  const turn = (name: string, cachedTokens: number | null, backend = 0, changes: Partial<Outcome> = {}): boolean => {
    const chain = chainOf([...words(name, 10), ...words(`${name} more`, 3)])
    account.dispatched(chain, backend)
    return account.settle({
      backend: backends[backend]!, model: 'm', tenant: 't', sessionId: name, status: 'completed', promptChain: chain, fullChain: chain,
      expectedCachedTokens: 1200, expectedPromptTokens: 1500, ttftMs: 100, decodeMs: 10, inFlightAtDispatch: 0, queuedTokensAtDispatch: 0,
      usage: { promptTokens: 1500, cachedTokens, outputTokens: 5, reasoningTokens: null }, ...changes,
    })
  }
  return { clock, switches, account, warm, turn }
}

test('a turn profits where the engine took what was computed for it from the cache, once', () => {
  const { account, warm, turn } = lab()
  warm('a')
  assert.equal(turn('a', 1200), true)
  assert.equal(turn('a', 1200), false)
  const { hits, savedTokens, savedSeconds, spentSeconds, wasted } = account.rules.drain
  assert.deepEqual([hits, savedTokens, savedSeconds, spentSeconds, wasted], [1, 1000, 1, 1, 0])
})

test('what was there before is no merit, nor is what was computed in pieces for the turn itself', () => {
  const { account, warm, turn } = lab()
  warm('a')
  assert.equal(turn('a', 200), false, '200 of 1,200 tokens were there anyway')
  warm('b')
  assert.equal(turn('b', 1200, 0, { preparedTokens: 900 }), false)
  assert.equal(account.rules.drain.wasted, 2)
})

test('a turn elsewhere, or of another conversation, does not use it; nobody in time is waste', () => {
  const { clock, account, warm, turn } = lab()
  warm('a')
  assert.equal(turn('a', 1200, 1), false)
  assert.equal(turn('b', 1200), false)
  clock.ms += 600_001
  account.expire()
  assert.deepEqual([account.rules.drain.hits, account.rules.drain.wasted], [0, 1])
})

test('a turn that was never read leaves it for the next', () => {
  const { warm, turn } = lab()
  warm('a')
  assert.equal(turn('a', null, 0, { ttftMs: null, status: 'cancelled', usage: null }), false)
  assert.equal(turn('a', 1200), true)
})

test('what a turn left unread expires with its own age, though others came after it', () => {
  const { clock, account, warm, turn } = lab()
  warm('a')
  clock.ms = 300_000
  warm('b')
  turn('a', null, 0, { ttftMs: null, status: 'cancelled', usage: null })
  clock.ms = 600_001
  account.expire()
  assert.equal(account.rules.drain.wasted, 1)
  assert.equal(turn('b', 1200), true)
})

test('a turn that fails over leaves what it found first to the next one, and every trial is judged', () => {
  const { clock, account, warm } = lab()
  const chain = chainOf([...words('a', 10), ...words('a more', 3)])
  warm('a', 1000, 0)
  warm('a', 1000, 1)
  const outcome = (backend: number): Outcome => ({
    backend: backends[backend]!, model: 'm', tenant: 't', sessionId: 'a', status: 'completed', promptChain: chain, fullChain: chain,
    expectedCachedTokens: 1200, expectedPromptTokens: 1500, ttftMs: 100, decodeMs: 10, inFlightAtDispatch: 0, queuedTokensAtDispatch: 0,
    usage: { promptTokens: 1500, cachedTokens: 1200, outputTokens: 5, reasoningTokens: null },
  })
  assert.deepEqual([account.dispatched(chain, 0), account.dispatched(chain, 1)], [true, true])
  assert.equal(account.settle(outcome(1)), true)
  assert.deepEqual([account.rules.drain.hits, account.rules.drain.wasted], [1, 0])
  clock.ms = 600_001
  account.expire()
  assert.deepEqual([account.rules.drain.trials, account.rules.drain.hits, account.rules.drain.wasted], [2, 1, 1])
})

test('parts of one prefix are one trial, and count together', () => {
  const { account, warm, turn } = lab()
  warm('a', 400)
  warm('a', 600)
  assert.equal(turn('a', 1200), true)
  assert.deepEqual([account.rules.drain.trials, account.rules.drain.savedTokens], [1, 1000])
})

test('a rule that does not pay is switched off with its figures, others stay on, and it is tried again later', () => {
  const { clock, switches, account, warm, turn } = lab()
  for (let trial = 0; trial < 8; trial++) {
    assert.equal(account.isOn('drain'), true)
    warm(`a${trial}`)
    turn(`a${trial}`, trial < 2 ? 1200 : 0)
  }
  assert.equal(account.isOn('drain'), false)
  assert.equal(account.rules.drain.on, false)
  assert.equal(account.isOn('tool'), true)
  assert.match(switches[0]!, /^drain off: \d\.\d\d s saved for \d\.\d\d s spent/)
  clock.ms += 600_001
  assert.equal(account.isOn('drain'), true)
  assert.match(switches[1]!, /^drain on/)
})

test('a rule that hits most of the time stays on', () => {
  const { account, warm, turn } = lab()
  for (let trial = 0; trial < 60; trial++) {
    warm(`a${trial}`)
    turn(`a${trial}`, trial % 3 === 0 ? 0 : 1200)
  }
  assert.equal(account.isOn('drain'), true)
})

test('whatever happens, nothing is saved that was not computed, and every trial ends once', () => {
  const step = fc.record({ name: fc.constantFrom('a', 'b', 'c'), backend: fc.nat(1), cached: fc.nat(2000), what: fc.constantFrom('warm', 'turn', 'wait', 'empty') })
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const { clock, account, warm, turn } = lab()
    for (const { name, backend, cached, what } of steps) {
      if (what === 'warm') warm(name, cached, backend)
      else if (what === 'turn') turn(name, cached, backend)
      else if (what === 'wait') clock.ms += 200_000
      else account.emptied(backend)
    }
    const { trials, hits, wasted, savedTokens, spentTokens } = account.rules.drain
    assert.ok(savedTokens <= spentTokens && hits + wasted <= trials)
    clock.ms += 600_001
    account.expire()
    assert.equal(account.rules.drain.hits + account.rules.drain.wasted, trials)
  }))
})
