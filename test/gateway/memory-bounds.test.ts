import assert from 'node:assert/strict'
import { test } from 'node:test'
import { harness } from './support/gateway.ts'
import { says } from './support/scripted-upstream.ts'

test('memory bounds of the configuration hold, and what they let go is counted', { timeout: 30_000 }, async (t) => {
  const gateway = await harness(t, { config: { memory: { receipts: 2, lineages: 1, sessions: 3, block_index_bytes: '64KiB' } } })
  const ask = { model: 'm', messages: [{ role: 'user', content: 'hello' }] }
  for (const id of ['chatcmpl-a', 'chatcmpl-b', 'chatcmpl-c']) {
    gateway.next(says('Hello.', id))
    await gateway.json('/v1/chat/completions', ask)
    assert.equal((await gateway.json('/v1/responses', { model: 'm', input: `from ${id}` })).status, 200)
  }
  const found = []
  for (const id of ['chatcmpl-a', 'chatcmpl-b', 'chatcmpl-c']) found.push((await gateway.json(`/homing/v1/responses/${id}/decision`)).status)
  assert.deepEqual(found, [404, 404, 200])
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
  assert.match(metrics, /homing_state_size\{what="receipts"\} 2\n/)
  assert.match(metrics, /homing_state_size\{what="lineages"\} 1\n/)
  assert.match(metrics, /homing_evictions\{what="receipts_size"\} 4\n/)
})
