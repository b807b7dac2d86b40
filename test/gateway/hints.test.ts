import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import type { JsonObject } from '../../src/model/json.ts'
import { harness } from './support/gateway.ts'

const TENANTS = [{ id: 'x', keys: ['key-x'] }, { id: 'y', keys: ['key-y'] }]
const as = (key: string) => ({ authorization: `Bearer ${key}` })
const salt = (tenant: string) => createHmac('sha256', 'secret').update(tenant).digest('base64url')

test('each tenant has its own cache salt, whatever it says itself, on every route', { timeout: 30_000 }, async (t) => {
  const { json, post, upstreams } = await harness(t, { backends: 1, declared: { hints: { cache_salt: 'secret' } }, config: { tenants: TENANTS } })
  const messages = [{ role: 'user', content: 'Hello' }]
  await json('/v1/responses', { model: 'm', input: 'Hello' }, as('key-x'))
  await json('/v1/responses', { model: 'm', input: 'Hello' }, as('key-y'))
  await json('/v1/chat/completions', { model: 'm', messages, cache_salt: salt('x') }, as('key-y'))
  await (await post('/v1/chat/completions', { model: 'm', messages, stream: true }, as('key-x'))).text()
  await (await post('/v1/completions', { model: 'm', prompt: 'Hello' }, as('key-y'))).text()
  const [backend] = upstreams
  assert.deepEqual(backend!.asked.map(({ body }) => body['cache_salt']), ['x', 'y', 'y', 'x', 'y'].map(salt))
  assert.ok(backend!.asked.every(({ body }) => body['model'] === 'm'), 'the rest of the body is as it was')
})

test('a priority is sent where the engine takes one and the turn has one, a session as a hash', { timeout: 30_000 }, async (t) => {
  const { json, upstreams } = await harness(t, { backends: 1, declared: { hints: { priority: true, session_header: 'x-session-id' } } })
  for (const more of [{}, { service_tier: 'priority' }, { service_tier: 'flex' }]) {
    await json('/v1/responses', { model: 'm', input: 'Hello', ...more }, { 'x-homing-session': 'Ada Lovelace' })
  }
  const { asked } = upstreams[0]!
  assert.deepEqual(asked.map(({ body }) => body['priority']), [undefined, -1, 1])
  const sessions = new Set(asked.map(({ headers }) => String(headers['x-session-id'])))
  assert.equal(sessions.size, 1)
  assert.match([...sessions][0]!, /^[0-9a-f]{32}$/)
})

test('without configuration nothing is added, and the list of backends says what is sent and what is not taken', { timeout: 30_000 }, async (t) => {
  const plain = await harness(t, { backends: 1 })
  await plain.json('/v1/responses', { model: 'm', input: 'Hello' })
  assert.deepEqual(Object.keys(plain.upstreams[0]!.asked[0]!.body).filter((name) => ['priority', 'cache_salt'].includes(name)), [])
  const shown = async (house: typeof plain) => ((await house.json('/homing/v1/backends')).body['data'] as readonly JsonObject[])[0]!['hints']
  assert.deepEqual(await shown(plain), { priority: 'off', cache_salt: 'off', session_header: 'off' })
  const hinted = await harness(t, { backends: 1, declared: { hints: { priority: true, cache_salt: 'secret' } } })
  assert.deepEqual(await shown(hinted), { priority: 'sent', cache_salt: 'sent', session_header: 'off' })
})
