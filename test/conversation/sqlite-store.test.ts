import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { StoredResponse } from '../../src/model/response.ts'
import type { ResponseStore } from '../../src/conversation/response-store.ts'
import { closeDatabase, openDatabase } from '../../src/conversation/sqlite-driver.ts'
import { openSqliteStore } from '../../src/conversation/sqlite-store.ts'
import type { SqliteStoreOptions } from '../../src/conversation/sqlite-store.ts'
import { StorageError } from '../../src/conversation/storage-error.ts'
import { conversation, item, response, saveTurn, storeContract } from './store-contract.ts'

const root = mkdtempSync(join(tmpdir(), 'homing-store-'))
after(() => rmSync(root, { recursive: true, force: true }))
let folders = 0
const folder = (): string => join(root, String((folders += 1)))
const open = (directory: string, options: Partial<SqliteStoreOptions> = {}): Promise<ResponseStore> =>
  openSqliteStore({ directory, nowMs: () => 1_000, ...options })
const refusesWith = (code: string, words: RegExp) => (error: unknown): boolean => {
  assert.ok(error instanceof StorageError, String(error))
  assert.equal(error.code, code)
  assert.match(error.message, words)
  return true
}

storeContract('SQLite store', (options) => openSqliteStore({ ...options, directory: folder() }))

test('what was stored is there after the store is closed and opened again, counts included', async () => {
  const directory = folder()
  const first = await open(directory)
  const one = await saveTurn(first, 'r1', null, { tools: [{ type: 'function', name: 'look' }] })
  await first.createConversation(conversation('c1'), [item('a'), item('b')])
  const before = first.stats()
  await first.close()
  const second = await open(directory)
  assert.deepEqual(await second.getResponse('acme', 'r1'), one)
  assert.deepEqual(await second.conversationItemIds('acme', 'c1'), ['a', 'b'])
  assert.deepEqual({ ...second.stats(), bytes: 0 }, { ...before, bytes: 0 })
  const two = await saveTurn(second, 'r2', one)
  await second.deleteResponse('acme', 'r1')
  assert.deepEqual(await second.getResponse('acme', 'r2'), two)
  await second.close()
})

test('a store of the version before states is carried over, and a state is there after the store is opened again', async () => {
  const directory = folder()
  const first = await open(directory)
  const one = await saveTurn(first, 'r1', null)
  await first.close()
  const raw = await openDatabase({ directory, synchronous: 'normal', maxPages: null })
  raw.exec('DROP TABLE state; DELETE FROM schema_version WHERE version > 1')
  closeDatabase(raw)
  const second = await open(directory)
  assert.deepEqual(await second.getResponse('acme', 'r1'), one)
  await second.saveState('lengths', Uint8Array.of(1, 2, 3))
  await second.close()
  const third = await open(directory)
  assert.deepEqual([...((await third.loadState('lengths')) ?? [])], [1, 2, 3])
  await third.close()
})

test('conversations are not let go for the room that states take on disk', async () => {
  const store = await open(folder(), { retention: { maxAgeMs: 1e9, maxBytes: 200_000 } })
  await store.saveState('lengths', new Uint8Array(1_000_000))
  await saveTurn(store, 'r1', null)
  await store.sweep(2_000)
  assert.equal((await store.getResponse('acme', 'r1'))?.id, 'r1')
  await store.close()
})

test('writes wait for their group and are committed together', async () => {
  const planned: (() => void)[] = []
  const store = await open(folder(), { schedule: (flush) => void planned.push(flush) })
  let done = 0
  const writes = ['r1', 'r2', 'r3'].map(async (id) => {
    await saveTurn(store, id, null)
    done += 1
  })
  await Promise.resolve()
  assert.equal(planned.length, 1)
  assert.equal(done, 0)
  planned.shift()?.()
  await Promise.all(writes)
  assert.equal(planned.length, 0)
  assert.equal(store.stats().responses, 3)
  await store.close()
})

test('closing commits the writes that wait', async () => {
  const directory = folder()
  const store = await open(directory, { schedule: () => undefined })
  const write = saveTurn(store, 'r1', null)
  await store.close()
  await write
  const again = await open(directory)
  assert.equal((await again.getResponse('acme', 'r1'))?.id, 'r1')
  await again.close()
})

test('a data folder in use is refused, and the message names the process that has it', async () => {
  const directory = folder()
  const store = await open(directory)
  await assert.rejects(open(directory), refusesWith('in_use', new RegExp(`in use by the process with pid ${process.pid}`)))
  await saveTurn(store, 'r1', null)
  await store.close()
  await (await open(directory)).close()
})

test('a file that is no database, one of another program and a newer one are each refused in words', async () => {
  const garbage = folder()
  mkdirSync(garbage)
  writeFileSync(join(garbage, 'homing.sqlite'), 'not a database '.repeat(1_000))
  await assert.rejects(open(garbage), refusesWith('corrupt', /homing\.sqlite is damaged, or is not a store/))

  const foreign = folder()
  const other = await openDatabase({ directory: foreign, synchronous: 'normal', maxPages: null })
  other.exec('CREATE TABLE notes (text)')
  other.exec('PRAGMA application_id = 7')
  closeDatabase(other)
  await assert.rejects(open(foreign), refusesWith('corrupt', /another program/))

  const newer = folder()
  await (await open(newer)).close()
  const raw = await openDatabase({ directory: newer, synchronous: 'normal', maxPages: null })
  raw.exec('INSERT INTO schema_version VALUES (99, 0)')
  closeDatabase(raw)
  await assert.rejects(open(newer), refusesWith('newer_schema', /schema version 99/))
})

test('a damaged file is refused at the start, and nothing read from one is passed on', async () => {
  const directory = folder()
  const store = await open(directory)
  for (let turn = 0; turn < 50; turn += 1) await saveTurn(store, `r${turn}`, null)
  await store.close()
  const path = join(directory, 'homing.sqlite')
  const file = openSync(path, 'r+')
  for (let page = 12; page < statSync(path).size / 4096; page += 1) writeSync(file, Buffer.alloc(4096, 0xa5), 0, 4096, page * 4096)
  await assert.rejects(open(directory), refusesWith('corrupt', /damaged/))
})

test('a folder that cannot be made or written is refused in words', async () => {
  const blocked = folder()
  writeFileSync(blocked, 'a file')
  await assert.rejects(open(join(blocked, 'data')), refusesWith('not_writable', /cannot be written/))
})

test('a read-only folder is refused in words', { skip: process.getuid?.() === 0 ? 'root may write anywhere' : false }, async () => {
  const directory = folder()
  mkdirSync(directory)
  chmodSync(directory, 0o500)
  await assert.rejects(open(directory), refusesWith('not_writable', /cannot be written/))
})

test('the folder and its files are closed to other users', async () => {
  const directory = folder()
  const store = await open(directory)
  await saveTurn(store, 'r1', null)
  assert.equal(statSync(directory).mode & 0o077, 0)
  for (const name of readdirSync(directory).filter((file) => file.startsWith('homing.sqlite'))) {
    assert.equal(statSync(join(directory, name)).mode & 0o077, 0, name)
  }
  await store.close()
})

test('a full disk fails the writes that do not fit, whole, and the store works on when there is room', async () => {
  const store = await open(folder(), { maxPages: 200 })
  const saved: StoredResponse[] = []
  const large = 'x'.repeat(20_000)
  const save = async (n: number): Promise<StoredResponse> => {
    const turn = response(`r${n}`, { inputItemIds: [`i${n}`] })
    await store.saveResponse({ response: turn, items: [item(`i${n}`, large)], conversationAppend: null })
    return turn
  }
  const results = await Promise.allSettled(Array.from({ length: 60 }, (_, n) => save(n)))
  for (const result of results) {
    if (result.status === 'fulfilled') saved.push(result.value)
    else refusesWith('full', /full/)(result.reason)
  }
  assert.ok(saved.length > 10 && saved.length < 60, `${saved.length} fitted`)
  assert.equal(store.stats().responses, saved.length)
  assert.equal(store.stats().items, saved.length)
  for (const turn of saved) {
    assert.deepEqual(await store.getResponse('acme', turn.id), turn)
    assert.equal((await store.getItems('acme', turn.inputItemIds))[0]?.id, turn.inputItemIds[0])
  }
  const failed = results.findIndex((result) => result.status === 'rejected')
  assert.deepEqual(await store.getItems('acme', [`i${failed}`]), [null])
  for (const turn of saved.slice(0, 5)) await store.deleteResponse('acme', turn.id)
  await save(failed)
  assert.equal((await store.getResponse('acme', `r${failed}`))?.id, `r${failed}`)
  await store.close()
})

test('a sweep gives the space back to the file system', async () => {
  const directory = folder()
  const store = await open(directory, { retention: { maxAgeMs: 10, maxBytes: 2 ** 30 } })
  for (let turn = 0; turn < 40; turn += 1) {
    const own = response(`r${turn}`, { inputItemIds: [`i${turn}`] })
    await store.saveResponse({ response: own, items: [item(`i${turn}`, 'x'.repeat(20_000))], conversationAppend: null })
  }
  const before = store.stats().bytes
  await store.sweep(5_000)
  assert.ok(store.stats().bytes < before / 4)
  await store.close()
  assert.ok(statSync(join(directory, 'homing.sqlite')).size < before / 4)
})

test('tools and instructions that agents resend each turn are stored once', async () => {
  const directory = folder()
  const store = await open(directory)
  const tools = [{ type: 'function', name: 'look', description: 'd'.repeat(30_000) }]
  let parent: StoredResponse | null = null
  for (let turn = 0; turn < 30; turn += 1) parent = await saveTurn(store, `r${turn}`, parent, { tools })
  assert.ok(store.stats().bytes < 300_000, `${store.stats().bytes} bytes`)
  for (let turn = 0; turn < 30; turn += 1) await store.deleteResponse('acme', `r${turn}`)
  await store.close()
  assert.ok(!readFileSync(join(directory, 'homing.sqlite')).includes('ddddddddddddddddd'), 'deleted text is overwritten')
})

test('killed at any moment: every acknowledged response and state is there, whole, and can be continued', { timeout: 60_000 }, async () => {
  const directory = folder()
  const acknowledged: string[] = []
  const script = fileURLToPath(new URL('crash-writer.js', import.meta.url))
  for (const [round, kills] of [150, 733, 41].entries()) {
    const child = spawn(process.execPath, [script, directory, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = new Promise((resolve) => child.once('close', resolve))
    let seen = 0
    let lastState = -1
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.startsWith('state ')) lastState = Number(line.slice(6))
      else acknowledged.push(line)
      if ((seen += 1) === kills) child.kill('SIGKILL')
    }
    await ended
    const store = await open(directory)
    for (const id of acknowledged) assert.ok((await store.getResponse('acme', id)) !== null, `${id} is lost`)
    const all = await store.recentResponses(1e9)
    assert.equal(all.length, store.stats().responses)
    for (const { id, inputItemIds, outputItemIds } of all) {
      const items = await store.getItems('acme', [...inputItemIds, ...outputItemIds])
      assert.ok(items.every((found) => found !== null), `${id} is half written`)
    }
    const state = new Uint32Array((await store.loadState('counted'))!.slice().buffer)
    assert.ok(state[0]! >= lastState && state.every((value) => value === state[0]), `state ${lastState} is lost or half written`)
    await saveTurn(store, `after-${round}`, all[0] ?? null)
    await store.close()
  }
  assert.ok(acknowledged.length >= 700)
})
