import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { StoredItem } from '../../src/model/item.ts'
import type { StoredConversation, StoredResponse } from '../../src/model/response.ts'
import type { ResponseStore, Retention } from '../../src/conversation/response-store.ts'
import { StorageError } from '../../src/conversation/storage-error.ts'

/** The promises of `ResponseStore`, run by every implementation. */
export type OpenStore = (options: { nowMs: () => number; retention?: Retention }) => Promise<ResponseStore>

export const item = (id: string, text: string = `text of ${id}`): StoredItem => ({
  type: 'message', id, role: 'user', content: [{ type: 'input_text', text }],
})

export const response = (id: string, parts: Partial<StoredResponse> = {}): StoredResponse => ({
  id,
  tenant: 'acme',
  createdAtMs: 1_000,
  previousResponseId: null,
  conversationId: null,
  sessionId: 'session-1',
  model: 'qwen',
  resource: { id, object: 'response', status: 'completed', output: [], usage: { total_tokens: 3 } },
  inputItemIds: [],
  outputItemIds: [],
  tools: [],
  home: { backendId: 'a', servedModel: 'Qwen/Qwen3-32B', protocol: 'chat' },
  promptTokens: 12,
  receipt: null,
  ...parts,
})

export const conversation = (id: string, parts: Partial<StoredConversation> = {}): StoredConversation => ({
  id, tenant: 'acme', createdAtMs: 1_000, metadata: {}, ...parts,
})

/** Saves a turn that adds one input and one output item to its parent's context. */
export const saveTurn = async (
  store: ResponseStore, id: string, parent: StoredResponse | null, parts: Partial<StoredResponse> = {},
): Promise<StoredResponse> => {
  const input = item(`${id}-in`)
  const output: StoredItem = { type: 'message', id: `${id}-out`, role: 'assistant', content: [{ type: 'output_text', text: id }] }
  const saved = response(id, {
    previousResponseId: parent?.id ?? null,
    inputItemIds: [...(parent?.inputItemIds ?? []), ...(parent?.outputItemIds ?? []), input.id],
    outputItemIds: [output.id],
    ...parts,
    resource: { id, object: 'response', status: 'completed', output: [output], usage: null },
  })
  await store.saveResponse({ response: saved, items: [input, output], conversationAppend: null })
  return saved
}

const refusesWith = (code: string) => (error: unknown) => error instanceof StorageError && error.code === code

export const storeContract = (name: string, open: OpenStore): void => {
  const it = (title: string, body: (store: ResponseStore, clock: { nowMs: number }) => Promise<void>, retention?: Retention): void => {
    test(`${name}: ${title}`, async () => {
      const clock = { nowMs: 1_000 }
      const store = await open({ nowMs: () => clock.nowMs, ...(retention === undefined ? {} : { retention }) })
      try {
        await body(store, clock)
      } finally {
        await store.close()
      }
    })
  }

  it('a saved response comes back as it was given, its output included', async (store) => {
    const tools = [{ type: 'function', name: 'look', parameters: { type: 'object', properties: {} } }]
    const output: StoredItem = { type: 'message', id: 'o1', role: 'assistant', content: [{ type: 'output_text', text: 'ж 🚀' }] }
    const saved = response('r1', {
      inputItemIds: ['i1'],
      outputItemIds: ['o1'],
      tools,
      resource: {
        id: 'r1', instructions: 'be brief. '.repeat(100), output: [output], tools, usage: { input_tokens: 7 }, metadata: { a: 'b' },
      },
    })
    await store.saveResponse({ response: saved, items: [item('i1'), output], conversationAppend: null })
    const read = await store.getResponse('acme', 'r1')
    assert.deepEqual(read, saved)
    assert.deepEqual(Object.keys(read?.resource ?? {}), Object.keys(saved.resource))
  })

  it('a resource whose output or tools differ from what is stored elsewhere is kept as it was sent', async (store) => {
    const saved = response('r1', {
      inputItemIds: ['i1'],
      outputItemIds: ['o1'],
      tools: [{ type: 'function', name: 'inherited' }],
      resource: { id: 'r1', output: [{ type: 'message', id: 'o1', extra: true }], tools: [] },
    })
    await store.saveResponse({ response: saved, items: [item('i1'), item('o1')], conversationAppend: null })
    assert.deepEqual(await store.getResponse('acme', 'r1'), saved)
  })

  it('a read sees writes that were asked for before it, without waiting for them', async (store) => {
    const writes = ['r1', 'r2'].map((id) => saveTurn(store, id, null))
    assert.equal((await store.getResponse('acme', 'r2'))?.id, 'r2')
    await Promise.all(writes)
  })

  it('what a caller changes after saving, or in what it read, does not change what is stored', async (store) => {
    const content = [{ type: 'input_text', text: 'before' }]
    const own = { type: 'message', id: 'i1', role: 'user', content }
    await store.createConversation(conversation('c1'), [own])
    content[0] = { type: 'input_text', text: 'after' }
    const [read] = await store.getItems('acme', ['i1'])
    assert.deepEqual(read?.['content'], [{ type: 'input_text', text: 'before' }])
  })

  it('everything is scoped by tenant', async (store) => {
    await saveTurn(store, 'r1', null)
    await store.createConversation(conversation('c1'), [item('i9')])
    const other = 'globex'
    assert.equal(await store.getResponse(other, 'r1'), null)
    assert.equal(await store.deleteResponse(other, 'r1'), false)
    assert.deepEqual(await store.getItems(other, ['r1-in', 'i9']), [null, null])
    assert.equal(await store.getConversation(other, 'c1'), null)
    assert.equal(await store.updateConversation(other, 'c1', { a: 'b' }), null)
    assert.equal(await store.appendItems(other, 'c1', [item('i10')]), false)
    assert.equal(await store.conversationItemIds(other, 'c1'), null)
    assert.equal(await store.listConversationItems(other, 'c1', { after: null, limit: 5, order: 'asc' }), null)
    assert.equal(await store.getConversationItem(other, 'c1', 'i9'), null)
    assert.equal(await store.removeConversationItem(other, 'c1', 'i9'), false)
    assert.equal(await store.deleteConversation(other, 'c1'), false)
    // The same ids mean something else there.
    await saveTurn(store, 'r1', null, { tenant: other, model: 'llama' })
    assert.equal((await store.getResponse('acme', 'r1'))?.model, 'qwen')
    assert.equal((await store.getResponse(other, 'r1'))?.model, 'llama')
    assert.equal(await store.deleteResponse(other, 'r1'), true)
    assert.equal((await store.getItems('acme', ['r1-in']))[0]?.id, 'r1-in')
  })

  it('items come in the order that was asked for, null where there is none', async (store) => {
    await store.createConversation(conversation('c1'), [item('a'), item('b'), item('c')])
    const ids = (await store.getItems('acme', ['c', 'x', 'a', 'c'])).map((found) => found?.id ?? null)
    assert.deepEqual(ids, ['c', null, 'a', 'c'])
  })

  it('an item keeps its first content when its id is stored again', async (store) => {
    await store.createConversation(conversation('c1'), [item('a', 'first')])
    await store.appendItems('acme', 'c1', [item('a', 'second'), item('b')])
    await store.saveResponse({ response: response('r1', { inputItemIds: ['a'] }), items: [item('a', 'third')], conversationAppend: null })
    assert.deepEqual(await store.getItems('acme', ['a']), [item('a', 'first')])
    assert.deepEqual(await store.conversationItemIds('acme', 'c1'), ['a', 'b'])
  })

  it('a response with a taken id, or with an item that is not stored, is refused whole', async (store) => {
    await saveTurn(store, 'r1', null)
    const again = store.saveResponse({ response: response('r1', { inputItemIds: ['n1'] }), items: [item('n1')], conversationAppend: null })
    await assert.rejects(again, refusesWith('conflict'))
    const half = store.saveResponse({ response: response('r2', { inputItemIds: ['n2', 'gone'] }), items: [item('n2')], conversationAppend: null })
    await assert.rejects(half, refusesWith('missing_item'))
    assert.deepEqual(await store.getItems('acme', ['n1', 'n2']), [null, null])
    assert.equal(await store.getResponse('acme', 'r2'), null)
    assert.equal(store.stats().responses, 1)
    assert.equal(store.stats().items, 2)
  })

  it('one failing write does not fail its neighbours', async (store) => {
    const results = await Promise.allSettled([
      saveTurn(store, 'r1', null),
      store.saveResponse({ response: response('r2', { inputItemIds: ['gone'] }), items: [], conversationAppend: null }),
      saveTurn(store, 'r3', null),
      store.createConversation(conversation('c1'), []),
    ])
    assert.deepEqual(results.map((result) => result.status), ['fulfilled', 'rejected', 'fulfilled', 'fulfilled'])
    assert.deepEqual({ ...store.stats(), bytes: 0 }, {
      responses: 2, conversations: 1, items: 4, bytes: 0,
      evicted: { expired: { responses: 0, conversations: 0, items: 0 }, size: { responses: 0, conversations: 0, items: 0 } },
    })
  })

  it('a response keeps its whole context when its parents are deleted, and the last one takes the items with it', async (store) => {
    const first = await saveTurn(store, 'r1', null)
    const second = await saveTurn(store, 'r2', first)
    const left = await saveTurn(store, 'left', second)
    const right = await saveTurn(store, 'right', second)
    for (const id of ['r1', 'r2', 'left']) assert.equal(await store.deleteResponse('acme', id), true)
    assert.equal(await store.deleteResponse('acme', 'r1'), false)
    assert.equal(await store.getResponse('acme', 'r2'), null)
    assert.deepEqual(await store.getResponse('acme', 'right'), right)
    assert.ok((await store.getItems('acme', right.inputItemIds)).every((found) => found !== null))
    assert.deepEqual(await store.getItems('acme', left.outputItemIds), [null])
    const third = await saveTurn(store, 'r3', right)
    await store.deleteResponse('acme', 'right')
    assert.deepEqual(await store.getResponse('acme', 'r3'), third)
    await store.deleteResponse('acme', 'r3')
    assert.equal(store.stats().items, 0)
    assert.equal(store.stats().responses, 0)
  })

  it('a response whose context is not a continuation of its parent keeps what it names', async (store) => {
    const first = await saveTurn(store, 'r1', null)
    const second = await saveTurn(store, 'r2', first)
    // Leaves out an item of the parent, and names one twice.
    const input = [...first.inputItemIds, 'r2-out', 'r2-out', 'n1']
    const odd = response('r3', { previousResponseId: 'r2', inputItemIds: input })
    await store.saveResponse({ response: odd, items: [item('n1')], conversationAppend: null })
    await store.deleteResponse('acme', first.id)
    await store.deleteResponse('acme', second.id)
    assert.deepEqual((await store.getResponse('acme', 'r3'))?.inputItemIds, input)
    assert.ok((await store.getItems('acme', input)).every((found) => found !== null))
    assert.equal(store.stats().items, 3)
    await store.deleteResponse('acme', 'r3')
    assert.equal(store.stats().items, 0)
  })

  it('a turn of a conversation appends its items, atomically with the response', async (store) => {
    await store.createConversation(conversation('c1'), [item('a')])
    const one = response('r1', { conversationId: 'c1', inputItemIds: ['a', 'b'], outputItemIds: ['o'] })
    await store.saveResponse({ response: one, items: [item('b'), item('o')], conversationAppend: ['b', 'o'] })
    assert.deepEqual(await store.conversationItemIds('acme', 'c1'), ['a', 'b', 'o'])
    const two = response('r2', { conversationId: 'c1', inputItemIds: ['a', 'b', 'o', 'd', 'gone'] })
    await assert.rejects(store.saveResponse({ response: two, items: [item('d')], conversationAppend: ['d'] }))
    assert.deepEqual(await store.conversationItemIds('acme', 'c1'), ['a', 'b', 'o'])
    // An item that the conversation has keeps its place.
    const three = response('r3', { conversationId: 'c1', inputItemIds: ['a', 'b', 'o', 'e', 'a'] })
    await store.saveResponse({ response: three, items: [item('e')], conversationAppend: ['e', 'a'] })
    assert.deepEqual(await store.conversationItemIds('acme', 'c1'), ['a', 'b', 'o', 'e'])
    await store.deleteResponse('acme', 'r1')
    await store.deleteResponse('acme', 'r3')
    assert.deepEqual(await store.conversationItemIds('acme', 'c1'), ['a', 'b', 'o', 'e'])
    assert.ok((await store.getItems('acme', ['a', 'b', 'o', 'e'])).every((found) => found !== null))
  })

  it('a turn whose conversation was deleted meanwhile is stored without it', async (store) => {
    await store.createConversation(conversation('c1'), [])
    await store.deleteConversation('acme', 'c1')
    const late = response('r1', { conversationId: 'c1', inputItemIds: ['a'] })
    await store.saveResponse({ response: late, items: [item('a')], conversationAppend: ['a'] })
    assert.deepEqual(await store.getResponse('acme', 'r1'), late)
    assert.equal(await store.getConversation('acme', 'c1'), null)
  })

  it('a conversation is made once, read, updated and deleted; its items stay readable until retention takes them', async (store, clock) => {
    await store.createConversation(conversation('c1', { metadata: { topic: 'x' } }), [item('a'), item('b')])
    await assert.rejects(store.createConversation(conversation('c1'), [item('z')]), refusesWith('conflict'))
    assert.deepEqual(await store.getConversation('acme', 'c1'), conversation('c1', { metadata: { topic: 'x' } }))
    assert.deepEqual(await store.updateConversation('acme', 'c1', { topic: 'y' }), conversation('c1', { metadata: { topic: 'y' } }))
    assert.deepEqual((await store.getConversation('acme', 'c1'))?.metadata, { topic: 'y' })
    await store.saveResponse({ response: response('r1', { inputItemIds: ['b'], createdAtMs: 50_000 }), items: [], conversationAppend: null })
    clock.nowMs = 2_000
    assert.equal(await store.deleteConversation('acme', 'c1'), true)
    assert.equal(await store.deleteConversation('acme', 'c1'), false)
    assert.deepEqual((await store.getItems('acme', ['a', 'b', 'z'])).map((found) => found?.id), ['a', 'b', undefined])
    assert.deepEqual((await store.sweep(11_000)).expired.items, 0)
    assert.deepEqual(await store.sweep(12_001), {
      expired: { responses: 0, conversations: 0, items: 1 }, size: { responses: 0, conversations: 0, items: 0 },
    })
    assert.deepEqual((await store.getItems('acme', ['a', 'b'])).map((found) => found?.id), [undefined, 'b'])
  }, { maxAgeMs: 10_000, maxBytes: 2 ** 30 })

  it('an item that is used again after its conversation was deleted is not taken', async (store) => {
    await store.createConversation(conversation('c1'), [item('a')])
    await store.deleteConversation('acme', 'c1')
    await store.createConversation(conversation('c2'), [item('a')])
    await store.sweep(1_000_000)
    assert.deepEqual(await store.getItems('acme', ['a']), [item('a')])
    assert.equal(await store.removeConversationItem('acme', 'c2', 'a'), true)
    assert.equal(store.stats().items, 0)
  }, { maxAgeMs: 10_000, maxBytes: 2 ** 30 })

  it('the items of a conversation are listed in pages in both directions, and an unknown `after` is told apart', async (store) => {
    const ids = ['a', 'b', 'c', 'd', 'e']
    await store.createConversation(conversation('c1'), ids.map((id) => item(id)))
    await store.createConversation(conversation('c2'), [item('other')])
    const page = async (after: string | null, limit: number, order: 'asc' | 'desc'): Promise<unknown> => {
      const found = await store.listConversationItems('acme', 'c1', { after, limit, order })
      return typeof found === 'object' && found !== null ? [found.items.map(({ id }) => id).join(''), found.hasMore] : found
    }
    assert.deepEqual(await page(null, 2, 'asc'), ['ab', true])
    assert.deepEqual(await page('b', 3, 'asc'), ['cde', false])
    assert.deepEqual(await page(null, 2, 'desc'), ['ed', true])
    assert.deepEqual(await page('d', 5, 'desc'), ['cba', false])
    assert.deepEqual(await page('e', 5, 'asc'), ['', false])
    assert.equal(await page('nothing', 5, 'asc'), 'unknown_after')
    assert.equal(await page('other', 5, 'asc'), 'unknown_after')
    assert.equal(await store.listConversationItems('acme', 'c9', { after: null, limit: 5, order: 'asc' }), null)
  })

  it('an item removed from a conversation stays where a response holds it, and goes otherwise', async (store) => {
    await store.createConversation(conversation('c1'), [item('a'), item('b')])
    await store.saveResponse({ response: response('r1', { inputItemIds: ['a'] }), items: [], conversationAppend: null })
    assert.deepEqual(await store.getConversationItem('acme', 'c1', 'a'), item('a'))
    assert.equal(await store.removeConversationItem('acme', 'c1', 'a'), true)
    assert.equal(await store.removeConversationItem('acme', 'c1', 'b'), true)
    assert.equal(await store.removeConversationItem('acme', 'c1', 'b'), false)
    assert.equal(await store.getConversationItem('acme', 'c1', 'a'), null)
    assert.deepEqual(await store.getItems('acme', ['a', 'b']), [item('a'), null])
    assert.deepEqual(await store.conversationItemIds('acme', 'c1'), [])
  })

  it('recent responses come newest first, over all tenants', async (store) => {
    const first = await saveTurn(store, 'r1', null)
    const second = await saveTurn(store, 'r2', first)
    const third = await saveTurn(store, 'r3', null, { tenant: 'globex' })
    assert.deepEqual(await store.recentResponses(2), [third, second])
    await store.deleteResponse('acme', 'r2')
    assert.deepEqual(await store.recentResponses(5), [third, first])
  })

  it('a sweep removes responses past their age and says so; those that continue them stay whole', async (store) => {
    const first = await saveTurn(store, 'r1', null, { createdAtMs: 1_000 })
    const second = await saveTurn(store, 'r2', first, { createdAtMs: 5_000 })
    await saveTurn(store, 'r3', null, { createdAtMs: 1_500 })
    const swept = await store.sweep(12_000)
    assert.deepEqual(swept.expired, { responses: 2, conversations: 0, items: 2 })
    assert.equal(await store.getResponse('acme', 'r1'), null)
    assert.deepEqual(await store.getResponse('acme', 'r2'), second)
    assert.ok((await store.getItems('acme', second.inputItemIds)).every((found) => found !== null))
    assert.deepEqual((await store.sweep(16_000)).expired, { responses: 1, conversations: 0, items: 4 })
    assert.deepEqual(store.stats().evicted.expired, { responses: 3, conversations: 0, items: 6 })
    assert.equal(store.stats().items, 0)
  }, { maxAgeMs: 10_000, maxBytes: 2 ** 30 })

  it('the size bound takes the least recently used, and never leaves a response without its items', async (store, clock) => {
    const text = 'x'.repeat(10_000)
    await store.createConversation(conversation('old', { createdAtMs: 500 }), [item('old-1', text)])
    for (let turn = 0; turn < 200; turn += 1) {
      clock.nowMs = 1_000 + turn
      const own = item(`i${turn}`, text)
      const saved = response(`r${turn}`, { createdAtMs: clock.nowMs, inputItemIds: [own.id] })
      await store.saveResponse({ response: saved, items: [own], conversationAppend: null })
    }
    await store.sweep(2_000)
    const { responses, bytes, items, evicted } = store.stats()
    assert.ok(bytes <= 1_000_000, `${bytes} bytes`)
    assert.ok(responses > 20 && responses < 100, `${responses} responses`)
    assert.equal(items, responses)
    assert.deepEqual(evicted.size, { responses: 200 - responses, conversations: 1, items: 200 - responses + 1 })
    assert.equal(await store.getConversation('acme', 'old'), null)
    assert.equal(await store.getResponse('acme', 'r0'), null)
    for (const { inputItemIds } of await store.recentResponses(1_000)) {
      assert.ok((await store.getItems('acme', inputItemIds)).every((found) => found !== null))
    }
    assert.equal((await store.getResponse('acme', 'r199'))?.id, 'r199')
  }, { maxAgeMs: 1_000_000, maxBytes: 1_000_000 })

  it('a state comes back as it was saved under its name, and the newer one replaces the older whole', async (store) => {
    assert.equal(await store.loadState('lengths'), null)
    const bytes = Uint8Array.from({ length: 100_000 }, (_, at) => at % 251)
    const saved = store.saveState('lengths', bytes)
    bytes.fill(7)
    await saved
    const read = await store.loadState('lengths')
    assert.equal(read?.length, 100_000)
    assert.ok(read.every((value, at) => value === at % 251), 'what the caller changed after saving is not stored')
    read.fill(9)
    assert.equal((await store.loadState('lengths'))?.[1], 1, 'nor what it changed in what it read')
    await Promise.all([store.saveState('lengths', Uint8Array.of(1, 2)), store.saveState('lengths', Uint8Array.of(3))])
    assert.deepEqual([...((await store.loadState('lengths')) ?? [])], [3])
    await store.saveState('other', new Uint8Array(0))
    assert.equal((await store.loadState('other'))?.length, 0)
    assert.deepEqual([...((await store.loadState('lengths')) ?? [])], [3])
  })

  it('a state of more than 32 MiB, or under a name that is none, is refused in words and leaves what was there', async (store) => {
    await store.saveState('lengths', Uint8Array.of(1))
    await assert.rejects(store.saveState('lengths', new Uint8Array(32 * 2 ** 20 + 1)), (error: unknown) => {
      assert.ok(refusesWith('too_large')(error))
      assert.match((error as Error).message, /'lengths' has 33554433 bytes; at most 33554432/)
      return true
    })
    assert.deepEqual([...((await store.loadState('lengths')) ?? [])], [1])
    for (const name of ['', 'Ä', '../x', 'a'.repeat(65)]) await assert.rejects(store.saveState(name, Uint8Array.of(1)), refusesWith('failed'))
  })

  it('a sweep leaves states alone, and does not let conversations pay for them', async (store) => {
    await store.saveState('lengths', new Uint8Array(300_000))
    await saveTurn(store, 'r1', null)
    const { expired, size } = await store.sweep(1_000)
    assert.deepEqual([expired.responses, size.responses], [0, 0])
    assert.equal((await store.loadState('lengths'))?.length, 300_000)
    assert.equal((await store.sweep(1e12)).expired.responses, 1)
    assert.equal((await store.loadState('lengths'))?.length, 300_000)
  }, { maxAgeMs: 10_000, maxBytes: 500_000 })

  it('after close every call is refused and the counts stay readable', async (store) => {
    await saveTurn(store, 'r1', null)
    await store.close()
    await store.close()
    await assert.rejects(store.getResponse('acme', 'r1'), refusesWith('closed'))
    await assert.rejects(saveTurn(store, 'r2', null), refusesWith('closed'))
    await assert.rejects(store.saveState('lengths', Uint8Array.of(1)), refusesWith('closed'))
    await assert.rejects(store.loadState('lengths'), refusesWith('closed'))
    assert.equal(store.stats().responses, 1)
  })
}
