import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
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
  assert.ok(!JSON.stringify(receipt).includes('ann@') && !JSON.stringify(receipt).includes('Python'))
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
