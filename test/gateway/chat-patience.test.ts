import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JsonObject } from '../../src/model/json.ts'
import { errorOf, eventually, harness } from './support/gateway.ts'
import { Gate, refuses, says } from './support/scripted-upstream.ts'

const LIMIT = { timeout: 30_000 }
const ask = { model: 'm', stream: true, messages: [{ role: 'user', content: 'hello' }] }
const CONFIG = { stream_commit_after: '20ms' }

test('a Chat stream without output is opened after stream_commit_after by a comment; another backend may still answer', LIMIT, async (t) => {
  const gateway = await harness(t, { config: CONFIG })
  const first = new Gate()
  gateway.next(async (response) => {
    await first.opened
    response.writeHead(500).end('broken after all')
  })
  const stream = await gateway.events('/v1/chat/completions', ask)
  assert.deepEqual([stream.response.status, stream.response.headers.get('x-homing-backend')], [200, 'pending'])
  assert.equal((await stream.next())!.comment, 'waiting')
  first.open()
  const rest = await stream.rest()
  assert.equal(rest.at(-1)!.data, '[DONE]')
  const said = rest.slice(0, -1).map(({ data }) => ((data as JsonObject)['choices'] as JsonObject[])[0]!['delta'] as JsonObject)
  assert.equal(said.map((delta) => String(delta['content'] ?? '')).join(''), 'Hello there.')
  const receipt = await gateway.json('/homing/v1/responses/chatcmpl-1/decision')
  assert.equal((receipt.body['failovers'] as JsonObject[]).length, 1)
  assert.equal(receipt.body['outcome'], 'completed')
})

test('a refusal that comes after a Chat stream was opened is its error chunk', LIMIT, async (t) => {
  const gateway = await harness(t, { config: CONFIG })
  const first = new Gate()
  gateway.next(async (response, asked) => {
    await first.opened
    await refuses(400, { error: { message: 'no such grammar', param: 'grammar' } })(response, asked)
  })
  const stream = await gateway.events('/v1/chat/completions', ask)
  await stream.until(':')
  first.open()
  const seen = await stream.rest()
  assert.equal(seen.length, 2)
  assert.deepEqual([errorOf(seen[0]!.data as JsonObject)['message'], errorOf(seen[0]!.data as JsonObject)['code'], errorOf(seen[0]!.data as JsonObject)['param']], ['no such grammar', 'backend_rejected', 'grammar'])
  assert.equal(seen[1]!.data, '[DONE]')
  assert.equal(await gateway.running(), 0)
})

test('a Chat stream that is answered in time, or no stream, has no comment and no pending head', LIMIT, async (t) => {
  const quick = await harness(t)
  const stream = await quick.events('/v1/chat/completions', ask)
  assert.notEqual(stream.response.headers.get('x-homing-backend'), 'pending')
  assert.ok((await stream.rest()).every(({ comment }) => comment === null))
  const gateway = await harness(t, { config: { stream_commit_after: '0s' } })
  const gate = new Gate()
  gateway.next(async (response, asked) => {
    await gate.opened
    await says('Late.')(response, asked)
  })
  const whole = gateway.json('/v1/chat/completions', { ...ask, stream: false })
  await eventually(() => gateway.asked() === 1)
  gate.open()
  const { status, headers } = await whole
  assert.equal(status, 200)
  assert.notEqual(headers.get('x-homing-backend'), 'pending')
})
