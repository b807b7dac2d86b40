import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { MemoryStore } from '../../src/conversation/memory-store.ts'
import type { ResponseStore } from '../../src/conversation/response-store.ts'
import { openSqliteStore } from '../../src/conversation/sqlite-store.ts'
import { conversation, item, response } from './store-contract.ts'

/**
 * Any sequence of calls leaves both stores as a trivial model says: maps of ids, and an item lives while something names
 * it (or, once its conversation was deleted, until it is as old as a response may get).
 */
type Step =
  | { readonly do: 'turn'; readonly parent: number; readonly skip: number; readonly reuse: number; readonly conversation: number }
  | { readonly do: 'delete'; readonly response: number }
  | { readonly do: 'create' | 'drop'; readonly conversation: number }
  | { readonly do: 'append' | 'part'; readonly conversation: number; readonly item: number }
  | { readonly do: 'expire' }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({
    do: fc.constant('turn' as const), parent: fc.nat(9), skip: fc.nat(9), reuse: fc.nat(9), conversation: fc.nat(5),
  }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('delete' as const), response: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('create' as const, 'drop' as const), conversation: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({
    do: fc.constantFrom('append' as const, 'part' as const), conversation: fc.nat(2), item: fc.nat(12),
  }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('expire' as const) }) },
)

type Kept = { readonly inputItemIds: readonly string[]; readonly outputItemIds: readonly string[]; readonly createdAtMs: number }

class Model {
  readonly responses = new Map<string, Kept>()
  readonly conversations = new Map<string, string[]>()
  /** Every id that was ever given out, the readable ones among them, and since when nothing names them. */
  readonly given = new Set<string>()
  readonly items = new Set<string>()
  readonly unused = new Map<string, number>()

  needed(): Set<string> {
    const contexts = [...this.responses.values()].flatMap((kept) => [...kept.inputItemIds, ...kept.outputItemIds])
    return new Set([...contexts, ...[...this.conversations.values()].flat()])
  }

  settle(): void {
    const needed = this.needed()
    for (const id of needed) this.unused.delete(id)
    for (const id of this.items) if (!needed.has(id) && !this.unused.has(id)) this.items.delete(id)
  }
}

const MAX_AGE_MS = 12

const run = async (store: ResponseStore, clock: { nowMs: number }, steps: readonly Step[]): Promise<Model> => {
  const model = new Model()
  const pick = <T>(list: readonly T[], index: number): T | undefined => (list.length === 0 ? undefined : list[index % list.length])
  for (const [n, now] of steps.entries()) {
    clock.nowMs += 1
    if (now.do === 'turn') {
      const thread = `c${now.conversation}`
      const held = model.conversations.get(thread)
      const parent = held === undefined && now.parent > 2 ? pick([...model.responses], now.parent) : undefined
      const history = held ?? (parent === undefined ? [] : [...parent[1].inputItemIds, ...parent[1].outputItemIds])
      // Now and then an entry is left out, so that the context is no continuation.
      const kept = now.skip === 0 ? history.slice(1) : history
      const again = now.reuse === 0 ? pick([...model.items], n) : undefined
      const [input, output] = [item(`i${n}`), item(`o${n}`)]
      const saved = response(`r${n}`, {
        createdAtMs: clock.nowMs,
        previousResponseId: parent?.[0] ?? null,
        conversationId: held === undefined ? null : thread,
        inputItemIds: [...kept, input.id, ...(again === undefined ? [] : [again])],
        outputItemIds: [output.id],
      })
      const joined = held === undefined ? null : [input.id, output.id]
      await store.saveResponse({ response: saved, items: [input, output], conversationAppend: joined })
      model.responses.set(saved.id, saved)
      if (held !== undefined) held.push(input.id, output.id)
      for (const { id } of [input, output]) model.items.add(id)
    } else if (now.do === 'delete') {
      const id = pick([...model.responses.keys()], now.response) ?? 'r-none'
      assert.equal(await store.deleteResponse('acme', id), model.responses.delete(id))
    } else if (now.do === 'create') {
      const id = `c${now.conversation}`
      if (model.conversations.has(id)) await assert.rejects(store.createConversation(conversation(id), []))
      else {
        await store.createConversation(conversation(id, { createdAtMs: clock.nowMs }), [])
        model.conversations.set(id, [])
      }
    } else if (now.do === 'drop') {
      const id = `c${now.conversation}`
      const held = model.conversations.get(id) ?? []
      assert.equal(await store.deleteConversation('acme', id), model.conversations.delete(id))
      const needed = model.needed()
      for (const own of held) if (!needed.has(own)) model.unused.set(own, clock.nowMs)
    } else if (now.do === 'append') {
      const held = model.conversations.get(`c${now.conversation}`)
      const added = pick([...model.items], now.item) ?? `n${n}`
      assert.equal(await store.appendItems('acme', `c${now.conversation}`, [item(added)]), held !== undefined)
      if (held !== undefined && !held.includes(added)) held.push(added)
      if (held !== undefined) model.items.add(added)
    } else if (now.do === 'part') {
      const held = model.conversations.get(`c${now.conversation}`)
      const removed = pick(held ?? [], now.item) ?? 'n-none'
      assert.equal(await store.removeConversationItem('acme', `c${now.conversation}`, removed), held?.includes(removed) ?? false)
      held?.splice(held.indexOf(removed) < 0 ? held.length : held.indexOf(removed), 1)
    } else {
      const limitMs = clock.nowMs - MAX_AGE_MS
      await store.sweep(clock.nowMs)
      for (const [id, kept] of model.responses) if (kept.createdAtMs < limitMs) model.responses.delete(id)
      for (const [id, sinceMs] of model.unused) if (sinceMs < limitMs) model.unused.delete(id)
    }
    model.settle()
    for (const id of model.items) model.given.add(id)
  }
  await agree(store, model)
  return model
}

const agree = async (store: ResponseStore, model: Model): Promise<void> => {
  for (const [id, kept] of model.responses) {
    const found = await store.getResponse('acme', id)
    assert.deepEqual([found?.inputItemIds, found?.outputItemIds], [kept.inputItemIds, kept.outputItemIds], id)
  }
  for (const [id, ids] of model.conversations) assert.deepEqual(await store.conversationItemIds('acme', id), ids, id)
  const given = [...model.given]
  const found = (await store.getItems('acme', given)).flatMap((read) => (read === null ? [] : [read.id]))
  assert.deepEqual(found, given.filter((id) => model.items.has(id)))
  const { responses, conversations, items } = store.stats()
  assert.deepEqual([responses, conversations, items], [model.responses.size, model.conversations.size, model.items.size])
}

const root = mkdtempSync(join(tmpdir(), 'homing-model-'))
after(() => rmSync(root, { recursive: true, force: true }))
const retention = { maxAgeMs: MAX_AGE_MS, maxBytes: 2 ** 30 }
const steps = fc.array(step, { minLength: 5, maxLength: 60 })

test('memory store: any sequence of calls leaves what the model says', async () => {
  await fc.assert(fc.asyncProperty(steps, async (list) => {
    const clock = { nowMs: 1_000 }
    await run(new MemoryStore({ nowMs: () => clock.nowMs, retention }), clock, list)
  }), { numRuns: 200, seed: 11 })
})

test('SQLite store: any sequence of calls leaves what the model says, also when it is opened again', async () => {
  let folders = 0
  await fc.assert(fc.asyncProperty(steps, async (list) => {
    const clock = { nowMs: 1_000 }
    const options = { directory: join(root, String((folders += 1))), nowMs: () => clock.nowMs, retention }
    const first = await openSqliteStore(options)
    const model = await run(first, clock, list).finally(() => first.close())
    const second = await openSqliteStore(options)
    await agree(second, model).finally(() => second.close())
  }), { numRuns: 60, seed: 12 })
})
