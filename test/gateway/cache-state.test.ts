import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InvalidCacheState } from '../../src/model/error.ts'
import type { JsonObject } from '../../src/model/json.ts'
import { errorOf, harness } from './support/gateway.ts'
import { remembers } from './support/scripted-upstream.ts'

const LONG = 'Harbours, maps and tides. '.repeat(200)
const ask = (input: string): JsonObject => ({ model: 'm', input })

/** Expected cached tokens of the session's next turn, by backend. */
async function expected(json: Awaited<ReturnType<typeof harness>>['json'], parent: unknown): Promise<Map<string, number>> {
  const { body } = await json('/homing/v1/affinity', { model: 'm', previous_response_id: parent, input: 'And?', session_id: 'ada' })
  return new Map((body['data'] as readonly JsonObject[]).map((score) => [String(score['backend_id']), Number(score['expected_cached_tokens'])]))
}

test('what an operator says about a session changes the expectation and the placement of its next turn', { timeout: 30_000 }, async (t) => {
  const { json, gateway } = await harness(t, { usual: remembers('Yes.') })
  const first = await json('/v1/responses', ask(LONG), { 'x-homing-session': 'ada' })
  const home = first.headers.get('x-homing-backend')!
  const other = gateway.fleet.list().find(({ id }) => id !== home)!.id
  const before = await expected(json, first.body['id'])
  assert.ok(before.get(home)! > 500 && before.get(other) === 0, JSON.stringify([...before]))

  const moved = await json('/homing/v1/cache-state', [
    { backend_id: home, session_id: 'ada', cached_tokens: 0 },
    { backend_id: other, session_id: 'ada', cached_tokens: before.get(home)!, tier: 'cpu', source: 'engine' },
  ])
  assert.equal(moved.status, 200, JSON.stringify(moved.body))
  assert.deepEqual((moved.body['data'] as readonly JsonObject[]).map(({ applied, tier }) => [applied, tier]), [[true, 'gpu'], [true, 'cpu']])
  const after = await expected(json, first.body['id'])
  assert.ok(after.get(other)! > 500 && after.get(home) === 0, JSON.stringify([...after]))
  const next = await json('/v1/responses', { ...ask('And?'), previous_response_id: first.body['id'] }, { 'x-homing-session': 'ada' })
  assert.equal(next.headers.get('x-homing-backend'), other)
})

test('the library registers the same, and refuses with InvalidCacheState', { timeout: 30_000 }, async (t) => {
  const { json, gateway } = await harness(t, { usual: remembers('Yes.') })
  const first = await json('/v1/responses', ask(LONG), { 'x-homing-session': 'ada' })
  const home = first.headers.get('x-homing-backend')!
  const session = { tenant: 'default', model: 'm', sessionId: 'ada', previousResponseId: String(first.body['id']), input: 'And?' }
  const cachedAt = async () => (await gateway.affinity.computeAffinity(session, gateway.fleet.list())).find(({ backendId }) => backendId === home)!.expectedCachedTokens
  assert.ok((await cachedAt()) > 500)
  const metadata = { cachedTokens: 0, observedAt: Date.now() + 1000, source: 'engine' as const }
  assert.throws(() => gateway.affinity.registerCacheState(home, 'ada', { ...metadata, cachedTokens: -5 }), InvalidCacheState)
  assert.throws(() => gateway.affinity.registerCacheState('nowhere', 'ada', metadata), InvalidCacheState)
  assert.ok((await cachedAt()) > 500)
  gateway.affinity.registerCacheState(home, 'ada', metadata)
  assert.equal(await cachedAt(), 0)
})

test('over HTTP a bad report is a 400 with its field, an unknown id a 404, and of a list with one nothing counts', { timeout: 30_000 }, async (t) => {
  const { json } = await harness(t, { usual: remembers('Yes.') })
  const first = await json('/v1/responses', ask(LONG), { 'x-homing-session': 'ada' })
  const home = first.headers.get('x-homing-backend')!
  const good = { backend_id: home, session_id: 'ada', cached_tokens: 0 }
  const before = await expected(json, first.body['id'])
  for (const [body, status, param, code] of [
    [{ ...good, cached_tokens: -1 }, 400, 'cached_tokens', 'invalid_value'],
    [{ ...good, cached_tokens: '1' }, 400, 'cached_tokens', 'invalid_type'],
    [{ ...good, observed_at: 1_700_000_000 }, 400, 'observed_at', 'invalid_value'],
    [{ ...good, sessionid: 'x' }, 400, 'sessionid', 'invalid_value'],
    [{ ...good, session_id: 'nobody' }, 404, 'session_id', 'session_not_found'],
    [{ ...good, backend_id: 'nowhere' }, 404, 'backend_id', 'backend_not_found'],
    [[good, { ...good, cached_tokens: -1 }], 400, '[1].cached_tokens', 'invalid_value'],
    [[good, 3], 400, '[1]', 'invalid_type'],
    ['"x"', 400, 'body', 'invalid_type'],
  ] as const) {
    const answer = await json('/homing/v1/cache-state', body)
    assert.deepEqual([answer.status, errorOf(answer.body)['param'], errorOf(answer.body)['code']], [status, param, code], JSON.stringify(body))
  }
  assert.deepEqual(await expected(json, first.body['id']), before)
})

test('only operators may say what is cached', { timeout: 30_000 }, async (t) => {
  const { json } = await harness(t, { config: { tenants: [{ id: 'x', keys: ['key-x'] }], admin: { keys: ['key-admin'] } } })
  const body = { backend_id: 'a', session_id: 'ada', cached_tokens: 0 }
  assert.equal((await json('/homing/v1/cache-state', body, { authorization: 'Bearer key-x' })).status, 403)
  assert.equal((await json('/homing/v1/cache-state', body, { authorization: 'Bearer key-admin' })).status, 404)
})
