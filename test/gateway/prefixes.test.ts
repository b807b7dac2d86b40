import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JsonObject } from '../../src/model/json.ts'
import { harness } from './support/gateway.ts'
import { remembers } from './support/scripted-upstream.ts'

const AGENT = 'You read old maps of harbours and write down what each of them says. '.repeat(80)

test('a prefix that sessions share is listed by hash, size and holders, never by its text', { timeout: 30_000 }, async (t) => {
  const { json, url } = await harness(t, { usual: remembers('Yes.') })
  for (const who of ['Ada', 'Bob', 'Cleo']) await json('/v1/responses', { model: 'm', instructions: AGENT, input: `I am ${who}. ${who.repeat(60)}` })
  const { body } = await json('/homing/v1/prefixes')
  const [group, ...others] = body['data'] as readonly JsonObject[]
  assert.deepEqual(others, [])
  assert.match(String(group!['hash']), /^[0-9a-f]{12}$/)
  assert.equal(group!['sessions'], 3)
  assert.ok(Number(group!['tokens']) > 1000)
  assert.ok((group!['backends'] as readonly string[]).length >= 1)
  assert.ok(Math.abs(Number(group!['last_use']) - Date.now() / 1000) < 60)
  const shown = JSON.stringify(body) + (await (await fetch(`${url}/metrics`)).text())
  assert.doesNotMatch(shown, /harbours|Cleo/)
})

test('a hot prefix is computed where the next session would go and where it is missing', { timeout: 30_000 }, async (t) => {
  const { json, upstreams } = await harness(t, { usual: remembers('Yes.'), contextTokens: 65_536, config: { chunked_prefill: false } })
  const other = upstreams[1]!
  const drain = (on: boolean) => json(`/homing/v1/backends/${other.id}/drain`, { drain: on })
  const says = (who: string, times: number) => `I am ${who}. ${`${who} asks. `.repeat(times)}`
  const ask = (input: string) => json('/v1/responses', { model: 'm', instructions: AGENT, input })
  await drain(true)
  for (const who of ['Ada', 'Bob', 'Cleo']) await ask(says(who, 10))
  await ask(says('Map', 2000) + says('Dora', 50))
  await drain(false)
  assert.equal(other.asked.length, 0)
  // the holder is kept busy by new sessions that read what Dora read, and more: whoever comes next would go elsewhere
  const ahead = () => other.asked.find(({ body }) => body['max_tokens'] === 1)
  for (let session = 0; session < 8 && ahead() === undefined; session++) await ask(says('Map', 2000) + says(`Emil ${session}`, 4000))
  const [system, question, ...more] = ahead()!.body['messages'] as readonly JsonObject[]
  assert.deepEqual([system!['role'], question!['role'], more], ['system', 'user', []])
  // the prompt of all sessions, or the longer one that enough newcomers share by then
  const asked = String(question!['content'])
  assert.ok(asked === '.' || (says('Map', 2000) + says('Emil', 1)).startsWith(asked.slice(0, 20_000)), `${asked.length} characters`)
  assert.ok(AGENT.startsWith(String(system!['content'])) && String(system!['content']).length > 0.95 * AGENT.length)
})

test('only operators see which prefixes there are', { timeout: 30_000 }, async (t) => {
  const { json } = await harness(t, { config: { tenants: [{ id: 'x', keys: ['key-x'] }], admin: { keys: ['key-admin'] } } })
  for (const path of ['prefixes', 'prewarm']) {
    assert.equal((await json(`/homing/v1/${path}`, undefined, { authorization: 'Bearer key-x' })).status, 403)
    assert.equal((await json(`/homing/v1/${path}`, undefined, { authorization: 'Bearer key-admin' })).status, 200)
  }
})
