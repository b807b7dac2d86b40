import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PrewarmAccount } from '../../src/upstream/prewarm-account.ts'
import { Prewarmer, type SendHandler, type Wish } from '../../src/upstream/prewarm.ts'
import { backendAt, chainOf, newFleet, requestFor, settled, words, type FakeBackend } from '../schedule/fixture.ts'

type Sent = { readonly key: string; readonly backend: string; readonly handler: SendHandler; cancelled: boolean }

function lab(options: { backends?: number; tokensPerMinute?: number | null; first?: Partial<FakeBackend> } = {}) {
  const backends = Array.from({ length: options.backends ?? 2 }, (_, index) => backendAt(index, index === 0 ? (options.first ?? {}) : {}))
  const fleet = newFleet(backends)
  const { index, ledger, latency, clock, scheduler, timers } = fleet
  const sent: Sent[] = []
  let waiting = 0
  const after = (ms: number, callback: () => void) => {
    const timer = { atMs: clock.nowMs + ms, callback }
    timers.add(timer)
    return () => void timers.delete(timer)
  }
  const account = new PrewarmAccount({ nowMs: () => clock.nowMs, seconds: (tokens) => tokens / 8000, onSwitch: () => undefined })
  const prewarmer = new Prewarmer<string>({
    rank: (request) => scheduler.rank(request), index, ledger, turnsWaiting: () => waiting,
    tokensPerMinute: () => (options.tokensPerMinute === undefined ? 1e6 : options.tokensPerMinute),
    prefillSeconds: (tokens, backend, model) => latency.prefillSeconds(tokens, backend, model),
    nowMs: () => clock.nowMs, after, learn: () => undefined,
    send: ({ key }, backend, handler) => {
      const one: Sent = { key, backend: backend.id, handler, cancelled: false }
      sent.push(one)
      return { cancel: () => { one.cancelled = true } }
    },
  }, account)
  /** 512 tokens a block. */
  const wish = (key: string, changes: Partial<Wish<string>> = {}, blocks = 20): void =>
    prewarmer.wish({
      rule: 'drain', key, request: requestFor(words(key, blocks)), prompt: key, at: null,
      expectedAtMs: clock.nowMs + 1000, untilMs: clock.nowMs + 60_000, ...changes,
    })
  return { ...fleet, backends, prewarmer, account, sent, wish, wait: (turns: number) => { waiting = turns } }
}

test('the most urgent wish goes to an idle backend; one at a backend, and done teaches the index', async () => {
  const { wish, sent, advance, index, clock } = lab()
  wish('late', { expectedAtMs: clock.nowMs + 9000 })
  wish('soon', { expectedAtMs: clock.nowMs + 100 })
  wish('later', { expectedAtMs: clock.nowMs + 10_000 })
  await advance(1)
  assert.deepEqual(sent.map(({ key }) => key), ['soon', 'late'])
  assert.notEqual(sent[0]!.backend, sent[1]!.backend)
  sent[0]!.handler.done({ promptTokens: 10_240, cachedTokens: 0, ttftMs: 1000 })
  assert.equal(index.cachedBlocks(chainOf(words('soon', 20)), 'ab'.indexOf(sent[0]!.backend)), 20)
  assert.deepEqual(sent.map(({ key }) => key), ['soon', 'late', 'later'])
})

test('nothing starts while turns wait, nor where a turn is before its first token', async () => {
  const { wish, sent, advance, wait, ledger, prewarmer } = lab()
  wait(1)
  wish('a')
  await advance(1000)
  assert.equal(sent.length, 0)
  wait(0)
  const busy = [0, 1].map((backend) => ledger.begin(backend, { uncachedTokens: 1000, expectedOutputTokens: 10 }))
  await advance(1000)
  assert.equal(sent.length, 0)
  busy[1]!.firstToken()
  prewarmer.turnMoved()
  assert.deepEqual(sent.map(({ backend }) => backend), ['b'])
})

test('a turn that is sent there ends it; what was done by then is believed in part, and it is gone on with there', async () => {
  const { wish, sent, advance, prewarmer, index, account, latency } = lab({ backends: 3 })
  wish('a')
  await advance(1)
  const at = 'abc'.indexOf(sent[0]!.backend)
  await advance(500 * latency.prefillSeconds(10_240, at, 'm'))
  prewarmer.turnBegins('other', at)
  assert.equal(sent[0]!.cancelled, true)
  const held = index.cachedBlocks(chainOf(words('a', 20)), at)
  assert.ok(held >= 6 && held <= 10, `${held} of 20 blocks after half of the time`)
  assert.ok(account.rules.drain.spentTokens > 3000 && account.rules.drain.spentTokens < 5200)
  await advance(300)
  assert.deepEqual(sent.map(({ backend }) => backend), [sent[0]!.backend, sent[0]!.backend])
})

test('the turn itself ends it for good, wherever it goes', async () => {
  const { wish, sent, advance, prewarmer } = lab()
  wish('a')
  await advance(1)
  prewarmer.turnBegins('a', 1 - 'ab'.indexOf(sent[0]!.backend))
  assert.equal(sent[0]!.cancelled, true)
  await advance(5000)
  assert.equal(sent.length, 1)
  assert.equal(prewarmer.wishes, 0)
})

test('the budget of a backend is hard, and fills within a minute', async () => {
  const { wish, sent, advance, prewarmer } = lab({ backends: 1, tokensPerMinute: 12_000 })
  const done = () => sent.at(-1)!.handler.done({ promptTokens: 10_240, cachedTokens: 0, ttftMs: 1000 })
  wish('a')
  await advance(1)
  done()
  wish('b', { untilMs: Infinity })
  await advance(20_000)
  assert.deepEqual(sent.map(({ key }) => key), ['a'])
  assert.ok(prewarmer.counts.get('drain')!.over_budget > 0)
  await advance(40_000)
  assert.deepEqual(sent.map(({ key }) => key), ['a', 'b'])
})

test('where it may not, is there already, comes too late or takes no time, nothing is sent', async () => {
  const off = lab({ tokensPerMinute: null })
  off.wish('a')
  await off.advance(2000)
  assert.equal(off.sent.length, 0)
  const { wish, sent, advance, index, prewarmer } = lab({ backends: 1 })
  index.insert(chainOf(words('there', 20)), 0)
  wish('there')
  wish('late', { untilMs: -1 })
  wish('short', {}, 0)
  await advance(1)
  assert.equal(sent.length, 0)
  const { needless, expired } = prewarmer.counts.get('drain')!
  assert.deepEqual([needless, expired], [2, 1])
})

test('a backend that refuses one is left alone for a minute', async () => {
  const { wish, sent, advance } = lab({ backends: 1 })
  wish('a')
  await advance(1)
  sent[0]!.handler.failed()
  wish('b')
  await advance(30_000)
  assert.equal(sent.length, 1)
  wish('c')
  await advance(31_000)
  assert.ok(sent.length > 1)
})

test('the last free slot of an engine is kept for a turn', async () => {
  const { wish, sent, advance, ledger } = lab({ backends: 1, first: { slots: 2 } })
  const running = ledger.begin(0, { uncachedTokens: 10, expectedOutputTokens: 100 })
  running.firstToken()
  wish('a')
  await advance(500)
  assert.equal(sent.length, 0)
  running.end('completed')
  await advance(500)
  assert.equal(sent.length, 1)
})

test('wishes are bounded: whoever is expected last gives way', async () => {
  const { wish, prewarmer, wait, clock } = lab()
  wait(1)
  for (let key = 0; key < 300; key++) wish(`k${key}`, { expectedAtMs: clock.nowMs + 1000 + ((key * 7) % 300) })
  assert.equal(prewarmer.wishes, 256)
  assert.equal(prewarmer.counts.get('drain')!.crowded_out, 44)
  prewarmer.close()
  await settled()
  assert.equal(prewarmer.wishes, 0)
})
