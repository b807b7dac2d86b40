import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openSqliteStore } from '../../src/conversation/sqlite-store.ts'
import type { JsonObject } from '../../src/model/json.ts'
import { harness } from './support/gateway.ts'

const LIMIT = { timeout: 30_000 }
const QUESTION = 'Why does my Python function raise a TypeError? Write to ann@example.com.'

test('a receipt tells what the conversation was taken to be about, in numbers and labels, and holds no text', LIMIT, async (t) => {
  const gateway = await harness(t, {})
  const answered = await gateway.json('/v1/responses', { model: 'm', input: QUESTION })
  assert.equal(answered.status, 200)
  const id = String(answered.body['id'])
  const receipt = (await (await fetch(`${gateway.url}/homing/v1/responses/${id}/decision`)).json()) as JsonObject
  const note = receipt['fingerprint'] as JsonObject
  assert.equal((note['topics'] as [string, number][])[0]![0], 'coding')
  assert.ok(['ask', 'code', 'debug'].includes((note['intent'] as [string, number])[0]))
  assert.equal(note['partial'], false)
  const page = await (await fetch(`${gateway.url}/metrics`)).text()
  const told = [JSON.stringify(receipt), page, ...[...answered.headers].flat()].join('\n')
  assert.ok(!told.includes('ann@') && !told.includes('Python'))
})

test('a long prompt is read when it was sent, and its receipt tells the same', LIMIT, async (t) => {
  const gateway = await harness(t, {})
  const answered = await gateway.json('/v1/responses', { model: 'm', input: `${'def f(x): return x.y\n'.repeat(400)}${QUESTION}` })
  const receipt = (await (await fetch(`${gateway.url}/homing/v1/responses/${String(answered.body['id'])}/decision`)).json()) as JsonObject
  const note = receipt['fingerprint'] as JsonObject
  assert.equal((note['topics'] as [string, number][])[0]![0], 'coding')
})

test('the route answers for a session that goes on, without moving it', LIMIT, async (t) => {
  const gateway = await harness(t, {})
  const first = await gateway.json('/v1/responses', { model: 'm', input: QUESTION })
  const next = { model: 'm', previous_response_id: first.body['id'] as string, input: 'continue' }
  const looked = await gateway.json('/homing/v1/fingerprint', next)
  assert.equal(looked.status, 200)
  assert.equal(looked.body['object'], 'fingerprint')
  assert.equal((looked.body['topics'] as [string, number][])[0]![0], 'coding', 'continue is about the code')
  assert.equal((looked.body['intent'] as [string, number])[0], 'continue')
  assert.equal((looked.body['embedding'] as number[]).length, 256)
  assert.ok((looked.body['entities'] as JsonObject[]).some(({ type }) => type === 'email'))
  assert.deepEqual((await gateway.json('/homing/v1/fingerprint', next)).body, looked.body)
})

test('a conversation goes on with its belief after a restart, and what is damaged is set aside', LIMIT, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'homing-restart-'))
  const store = { path: folder }
  const first = await harness(t, { config: { store } })
  const answered = await first.json('/v1/responses', { model: 'm', input: QUESTION }, { 'x-session-id': 's1' })
  assert.equal(answered.status, 200)
  const next = { model: 'm', previous_response_id: answered.body['id'] as string, input: 'continue' }
  const headers = { 'x-session-id': 's1' }
  const before = (await first.json('/homing/v1/fingerprint', next, headers)).body
  await first.gateway.close(0)
  const second = await harness(t, { config: { store } })
  const after = (await second.json('/homing/v1/fingerprint', next, headers)).body
  const withoutValues = (body: JsonObject): unknown => ({ ...body, entities: (body['entities'] as JsonObject[]).map((entry) => ({ ...entry, values: null })) })
  assert.deepEqual(withoutValues(after), withoutValues(before))
  assert.ok((before['entities'] as { type: string; values: unknown[] }[]).find(({ type }) => type === 'email')!.values.length > 0)
  await second.gateway.close(0)
  const raw = await openSqliteStore({ directory: folder, nowMs: Date.now })
  for (let shard = 0; shard < 128; shard++) {
    const bytes = await raw.loadState(`fingerprints-${shard}`)
    if (bytes !== null) await raw.saveState(`fingerprints-${shard}`, bytes.subarray(0, -1))
  }
  await raw.close()
  const third = await harness(t, { config: { store } })
  // after the harness has closed its store
  t.after(() => rmSync(folder, { recursive: true }))
  const page = await (await fetch(`${third.url}/metrics`)).text()
  assert.match(page, /homing_fallbacks_total\{what="snapshot_unread"\} 1/)
  assert.equal((await third.json('/homing/v1/fingerprint', next, headers)).status, 200)
})

test('answers teach what to expect, which metrics and receipts show, and it is there after a restart', LIMIT, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'homing-learned-'))
  const config = { store: { path: folder } }
  const first = await harness(t, { config })
  let id = ''
  for (let at = 0; at < 25; at++) id = String((await first.json('/v1/responses', { model: 'm', input: `${QUESTION} ${at}` })).body['id'])
  const receipt = (await (await fetch(`${first.url}/homing/v1/responses/${id}/decision`)).json()) as JsonObject
  const note = receipt['fingerprint'] as JsonObject
  assert.equal(typeof note['shipped_complexity'], 'number')
  assert.ok('expected_return_gap_seconds' in note)
  const errorsOf = async (url: string): Promise<string[]> =>
    (await (await fetch(`${url}/metrics`)).text()).split('\n').filter((line) => line.startsWith('homing_expectation_error{quantity="output_tokens"'))
  const before = await errorsOf(first.url)
  assert.deepEqual(before.map((line) => /predictor="(\w+)"/.exec(line)![1]).sort(), ['learned', 'mean', 'prior'])
  await first.gateway.close(0)
  const second = await harness(t, { config })
  t.after(() => rmSync(folder, { recursive: true }))
  assert.deepEqual(await errorsOf(second.url), before)
})

test('switched off, turns go on without and the route says so', LIMIT, async (t) => {
  const gateway = await harness(t, { config: { fingerprint: { enabled: false } } })
  const answered = await gateway.json('/v1/responses', { model: 'm', input: QUESTION })
  assert.equal(answered.status, 200)
  const looked = await gateway.json('/homing/v1/fingerprint', { model: 'm', input: QUESTION })
  assert.equal(looked.status, 400)
  assert.match(JSON.stringify(looked.body), /switched off/)
})

test('a taxonomy that cannot be used is refused at start with its path', LIMIT, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'homing-taxonomy-'))
  t.after(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'taxonomy.homing'), 'HOMINGFP but nothing more')
  await assert.rejects(harness(t, { config: { fingerprint: { topics: folder } } }), (error: Error) => error.message.includes(folder))
})
