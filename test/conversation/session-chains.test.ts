import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SessionChains } from '../../src/conversation/session-chains.ts'
import { chainOf, words } from '../schedule/fixture.ts'

const session = (tenant: string, sessionId: string, blocks = 3) => ({ tenant, sessionId, model: 'm', chain: chainOf(words(sessionId, blocks)) })

test('a session is found by its id and by the bare name that its client gave', () => {
  const chains = new SessionChains({ maxEntries: 10, maxBytes: 1e6 })
  for (const id of ['header:ada', 'agent:bot', 'conv_1']) chains.remember(session('t', id))
  assert.deepEqual(['ada', 'header:ada', 'bot', 'conv_1', 'nobody'].map((name) => chains.find(name, null)[0]?.sessionId), ['header:ada', 'header:ada', 'agent:bot', 'conv_1', undefined])
})

test('two tenants with one name are two sessions', () => {
  const chains = new SessionChains({ maxEntries: 10, maxBytes: 1e6 })
  for (const tenant of ['x', 'y']) chains.remember(session(tenant, 'header:ada'))
  assert.equal(chains.find('ada', null).length, 2)
  assert.deepEqual(chains.find('ada', 'y').map(({ tenant }) => tenant), ['y'])
  assert.deepEqual(chains.find('ada', 'z'), [])
})

test('entries and bytes are bounded, the least recently answered leaves first', () => {
  const chains = new SessionChains({ maxEntries: 3, maxBytes: 8 * 10 })
  for (const id of ['a', 'b', 'c']) chains.remember(session('t', id))
  chains.remember(session('t', 'a', 3))
  chains.remember(session('t', 'd', 3))
  assert.deepEqual(['a', 'b', 'c', 'd'].map((id) => chains.find(id, null).length), [1, 0, 1, 1])
  chains.remember(session('t', 'd', 6))
  assert.deepEqual(['a', 'b', 'c', 'd'].map((id) => chains.find(id, null).length), [1, 0, 0, 1])
  assert.equal(chains.evictions.size, 2)
  assert.equal(chains.bytes, 8 * 9)
})
