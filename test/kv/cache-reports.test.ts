import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BlockIndex } from '../../src/kv/block-index.ts'
import { CacheReports } from '../../src/kv/cache-reports.ts'
import { CACHE_SOURCES, type CacheMetadata } from '../../src/model/affinity.ts'
import { InvalidCacheState } from '../../src/model/error.ts'
import { backendAt, chainOf, words } from '../schedule/fixture.ts'

const NOW = 1_800_000_000_000
/** 2,048 characters a block, 4 a token. */
const BLOCK_TOKENS = 512

function lab(maxEntries = 100) {
  const clock = { ms: NOW }
  const index = new BlockIndex({ maxBytes: 1 << 20, nowMs: () => clock.ms })
  const backends = [backendAt(0), backendAt(1)]
  const sessions = new Map([
    ['header:ada', [{ tenant: 't', sessionId: 'header:ada', model: 'm', chain: chainOf([...words('system', 4), ...words('ada', 6)]) }]],
    ['bob', [{ tenant: 't', sessionId: 'bob', model: 'm', chain: chainOf([...words('system', 4), ...words('bob', 6)]) }]],
    ['twice', ['x', 'y'].map((tenant) => ({ tenant, sessionId: 'twice', model: 'm', chain: chainOf(words(tenant, 4)) }))],
  ])
  const reports = new CacheReports({
    index, backend: (id) => backends.find((backend) => backend.id === id),
    sessions: (name, tenant) => (sessions.get(name) ?? sessions.get(`header:${name}`) ?? []).filter((one) => tenant === null || one.tenant === tenant),
    charactersPerToken: () => 4, wallMs: () => clock.ms,
  }, { maxEntries })
  const report = (changes: Partial<CacheMetadata> = {}, session = 'ada', backend = 'a') =>
    reports.apply(reports.check(backend, session, { cachedTokens: 0, observedAt: clock.ms, source: 'engine', ...changes }))
  const held = (session: string, backend = 0): number => index.cachedBlocks(sessions.get(session)![0]!.chain, backend)
  return { clock, index, reports, report, held, sessions }
}

test('a report says how much of a session a backend holds, more or less than was believed', () => {
  const { report, held, index } = lab()
  assert.equal(report({ cachedTokens: 7 * BLOCK_TOKENS }).cachedTokens, 7 * BLOCK_TOKENS)
  assert.equal(held('header:ada'), 7)
  assert.equal(held('header:ada', 1), 0, 'another backend is another cache')
  report({ cachedTokens: 5 * BLOCK_TOKENS + 3 })
  assert.equal(held('header:ada'), 5)
  assert.equal(report({ cachedTokens: 1_000_000 }).cachedTokens, 10 * BLOCK_TOKENS, 'what the gateway knows of the session bounds it')
  index.checkIntegrity()
})

test('a report about one session leaves what others share', () => {
  const { report, held } = lab()
  report({ cachedTokens: 10 * BLOCK_TOKENS })
  report({ cachedTokens: 10 * BLOCK_TOKENS }, 'bob')
  report({ cachedTokens: 0 })
  assert.equal(held('header:ada'), 4)
  assert.equal(held('bob'), 10)
})

test('the later observation counts whoever made it, and of two of one moment the more trusted one', () => {
  for (const [first, second, kept] of [
    [{ observedAt: NOW - 10, source: 'event', cachedTokens: 3 * BLOCK_TOKENS }, { observedAt: NOW, source: 'record', cachedTokens: 8 * BLOCK_TOKENS }, 8],
    [{ observedAt: NOW, source: 'record', cachedTokens: 8 * BLOCK_TOKENS }, { observedAt: NOW - 10, source: 'event', cachedTokens: 3 * BLOCK_TOKENS }, 8],
    [{ observedAt: NOW, source: 'engine', cachedTokens: 3 * BLOCK_TOKENS }, { observedAt: NOW, source: 'operator', cachedTokens: 8 * BLOCK_TOKENS }, 3],
    [{ observedAt: NOW, source: 'operator', cachedTokens: 8 * BLOCK_TOKENS }, { observedAt: NOW, source: 'event', cachedTokens: 3 * BLOCK_TOKENS }, 3],
  ] as const) {
    const { report, held } = lab()
    report(first)
    report(second)
    assert.equal(held('header:ada'), kept, JSON.stringify([first, second]))
  }
})

test('in whatever order reports arrive, the same one counts in the end', () => {
  const some = fc.record({
    cachedTokens: fc.integer({ min: 0, max: 10 }).map((blocks) => blocks * BLOCK_TOKENS),
    observedAt: fc.integer({ min: NOW - 3, max: NOW }), source: fc.constantFrom(...CACHE_SOURCES),
  })
  // two reports of one source about one moment cannot be ordered
  const distinct = fc.uniqueArray(some, { minLength: 1, maxLength: 8, selector: ({ observedAt, source }) => `${observedAt} ${source}` })
  fc.assert(fc.property(distinct, fc.integer(), (several, seed) => {
    const sorted = lab()
    const shuffled = lab()
    const inTurn = [...several].sort((a, b) => a.observedAt - b.observedAt || CACHE_SOURCES.indexOf(b.source) - CACHE_SOURCES.indexOf(a.source))
    for (const one of inTurn) sorted.report(one)
    for (const one of [...several].sort((a, b) => ((a.cachedTokens * 31 + seed) % 7) - ((b.cachedTokens * 31 + seed) % 7))) shuffled.report(one)
    assert.equal(shuffled.held('header:ada'), sorted.held('header:ada'))
    assert.equal(sorted.held('header:ada'), inTurn.at(-1)!.cachedTokens / BLOCK_TOKENS)
    shuffled.index.checkIntegrity()
  }))
})

test('a turn is an observation: a report that was on its way meanwhile undoes nothing', () => {
  const { clock, report, reports, held, index, sessions } = lab()
  index.insert(sessions.get('header:ada')![0]!.chain, 0)
  clock.ms += 100
  reports.observed(0, 't', 'header:ada', 'answer')
  assert.equal(report({ observedAt: NOW }).applied, false)
  assert.equal(held('header:ada'), 10)
  assert.equal(report({ observedAt: NOW + 100 }).applied, true, 'an engine about the same moment is trusted more')
  assert.equal(held('header:ada'), 0)
})

test('what was seen before a backend restarted says nothing any more', () => {
  const { clock, report, reports, held } = lab()
  clock.ms += 1000
  reports.emptied(0)
  assert.equal(report({ observedAt: NOW, cachedTokens: 4000 }).applied, false)
  assert.equal(held('header:ada'), 0)
})

test('a capacity that is told bounds the backend, and the later word counts', () => {
  const { clock, report, index } = lab()
  report({ cachedTokens: 0, capacityTokens: 8 * BLOCK_TOKENS })
  assert.equal(index.capacity(0), 8)
  report({ cachedTokens: 0, capacityTokens: 90 * BLOCK_TOKENS, observedAt: NOW - 5 }, 'bob')
  assert.equal(index.capacity(0), 8)
  clock.ms += 1
  report({ cachedTokens: 0, capacityTokens: 16 * BLOCK_TOKENS }, 'bob')
  assert.equal(index.capacity(0), 16)
})

test('bad values and unknown ids are refused by name and change nothing', () => {
  const { reports, held, index } = lab()
  const good = { cachedTokens: 512, observedAt: NOW, source: 'operator' }
  const cases: [unknown, unknown, unknown, string, number][] = [
    ['a', 'ada', { ...good, cachedTokens: -1 }, 'cachedTokens', 400],
    ['a', 'ada', { ...good, cachedTokens: Number.NaN }, 'cachedTokens', 400],
    ['a', 'ada', { ...good, cachedTokens: Infinity }, 'cachedTokens', 400],
    ['a', 'ada', { ...good, cachedTokens: 1.5 }, 'cachedTokens', 400],
    ['a', 'ada', { ...good, cachedTokens: 1e12 }, 'cachedTokens', 400],
    ['a', 'ada', { ...good, cachedTokens: '512' }, 'cachedTokens', 400],
    ['a', 'ada', { ...good, cachedTokens: 512, capacityTokens: 100 }, 'cachedTokens', 400],
    ['a', 'ada', { ...good, capacityTokens: 0 }, 'capacityTokens', 400],
    ['a', 'ada', { ...good, tier: 'tape' }, 'tier', 400],
    ['a', 'ada', { ...good, source: 'rumour' }, 'source', 400],
    ['a', 'ada', { ...good, source: undefined }, 'source', 400],
    ['a', 'ada', { ...good, observedAt: NOW / 1000 }, 'observedAt', 400],
    ['a', 'ada', { ...good, observedAt: NOW + 3_600_000 }, 'observedAt', 400],
    ['a', 'ada', { ...good, observedAt: Number.NaN }, 'observedAt', 400],
    ['a', 'ada', null, 'metadata', 400],
    ['a', 7, good, 'sessionId', 400],
    ['nowhere', 'ada', good, 'backendId', 404],
    ['a', 'nobody', good, 'sessionId', 404],
    ['a', 'twice', good, 'tenant', 400],
  ]
  for (const [backend, session, metadata, param, status] of cases) {
    assert.throws(() => reports.check(backend, session, metadata), (error) => {
      assert.ok(error instanceof InvalidCacheState, String(error))
      assert.deepEqual([error.param, error.status], [param, status])
      return true
    }, JSON.stringify(metadata))
  }
  assert.equal(reports.counts.refused, cases.length)
  assert.equal(held('header:ada') + index.blocks(0), 0)
  assert.equal(reports.check('a', 'twice', good, { tenant: 'y' }).session.tenant, 'y')
})

test('whatever is sent, it is applied or refused, and the index stays whole', () => {
  const { reports, index } = lab()
  const value = fc.oneof(fc.integer(), fc.double(), fc.string(), fc.constant(null), fc.constant(undefined), fc.constant(NOW), fc.constantFrom(...CACHE_SOURCES))
  const metadata = fc.record({ cachedTokens: value, capacityTokens: value, observedAt: value, source: value, tier: value }, { requiredKeys: [] })
  fc.assert(fc.property(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('ada', 'bob', 'zoe'), fc.oneof(metadata, value), (backend, session, given) => {
    try {
      reports.apply(reports.check(backend, session, given))
    } catch (error) {
      assert.ok(error instanceof InvalidCacheState, String(error))
    }
    index.checkIntegrity()
  }))
})

test('observations are bounded; a forgotten one lets any report count again', () => {
  const { reports, report } = lab(2)
  report({ observedAt: NOW })
  for (let i = 0; i < 3; i++) reports.observed(0, 't', `s${i}`, 'answer')
  assert.equal(reports.size, 2)
  assert.equal(reports.evicted, 2)
  assert.equal(report({ observedAt: NOW - 1000 }).applied, true)
})
