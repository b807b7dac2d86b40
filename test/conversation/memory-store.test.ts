import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryStore } from '../../src/conversation/memory-store.ts'
import { StorageError } from '../../src/conversation/storage-error.ts'
import { conversation, item, response, saveTurn, storeContract } from './store-contract.ts'

storeContract('memory store', async (options) => new MemoryStore(options))

test('memory store: a write that does not fit when all else is gone is refused and leaves nothing', async () => {
  const store = new MemoryStore({ nowMs: () => 0, retention: { maxAgeMs: 1e9, maxBytes: 20_000 } })
  await store.createConversation(conversation('c1'), [item('a')])
  const before = store.stats()
  const large = item('large', 'x'.repeat(30_000))
  const full = (error: unknown): boolean => error instanceof StorageError && error.code === 'full'
  await assert.rejects(store.appendItems('acme', 'c1', [large]), full)
  assert.deepEqual(await store.conversationItemIds('acme', 'c1'), ['a'])
  const turn = response('r1', { conversationId: 'c1', inputItemIds: ['a', 'large'] })
  await assert.rejects(store.saveResponse({ response: turn, items: [large], conversationAppend: ['large'] }), full)
  assert.deepEqual(store.stats(), before)
  await assert.rejects(store.createConversation(conversation('c2'), [large]), full)
  assert.deepEqual(await store.getItems('acme', ['large']), [null])
})

test('memory store: the byte count returns to zero when everything is deleted', async () => {
  const store = new MemoryStore({ nowMs: () => 0 })
  const tools = [{ type: 'function', name: 'look' }]
  const first = await saveTurn(store, 'r1', null, { tools })
  await saveTurn(store, 'r2', first, { tools })
  await store.createConversation(conversation('c1', { metadata: { a: 'b' } }), [item('a'), item('r1-in')])
  await store.updateConversation('acme', 'c1', { longer: 'metadata' })
  for (const id of ['r1', 'r2']) await store.deleteResponse('acme', id)
  await store.deleteConversation('acme', 'c1')
  await store.sweep(Number.MAX_SAFE_INTEGER)
  assert.equal(store.stats().bytes, 0)
})

test('memory store: a state that does not fit is refused, and the one before it stays', async () => {
  const store = new MemoryStore({ nowMs: () => 0, retention: { maxAgeMs: 1e9, maxBytes: 20_000 } })
  await store.saveState('lengths', new Uint8Array(5_000))
  await assert.rejects(store.saveState('lengths', new Uint8Array(21_000)), (error: unknown) => error instanceof StorageError && error.code === 'full')
  assert.equal((await store.loadState('lengths'))?.length, 5_000)
  assert.equal(store.stats().bytes, 5_000)
})
