import assert from 'node:assert/strict'
import { test } from 'node:test'
import { harness } from './support/gateway.ts'

test('a policy named in the configuration places turns, and headers and receipts say so', { timeout: 30_000 }, async (t) => {
  const { json } = await harness(t, { backends: 3, config: { policy: 'round-robin' } })
  const homes = new Set<string | null>()
  for (let turn = 0; turn < 3; turn++) {
    const { status, headers, body } = await json('/v1/responses', { model: 'm', input: 'the same words every time' })
    assert.equal(status, 200)
    assert.equal(headers.get('x-homing-reason'), 'policy')
    homes.add(headers.get('x-homing-backend'))
    const decision = await json(`/homing/v1/responses/${String(body['id'])}/decision`)
    assert.deepEqual([decision.body['reason'], decision.body['policy']], ['policy', 'round-robin'])
  }
  assert.equal(homes.size, 3, 'the cost model would have kept the conversation where it was')
})
