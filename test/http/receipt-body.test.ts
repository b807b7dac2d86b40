import assert from 'node:assert/strict'
import { test } from 'node:test'
import { receiptBody } from '../../src/http/operator-routes.ts'
import type { JsonObject } from '../../src/model/json.ts'
import type { Receipt } from '../../src/model/receipt.ts'

test('a receipt tells qualities of 0 to 1, and keeps what was believed, from which probabilities are computed', () => {
  const considered = [1.03, 0.7, -0.02].map((mean, at) => ({ model: `m${at}`, mean, deviation: 0.1, observations: 3, drawn: mean, seconds: 1 }))
  const receipt = { id: 'resp_1', group: { name: 'auto', incumbent: null, considered } } as unknown as Receipt
  const told = (receiptBody(receipt)['group'] as JsonObject)['considered'] as readonly JsonObject[]
  assert.deepEqual(told.map(({ mean }) => mean), [1, 0.7, 0])
  assert.deepEqual(receipt.group!.considered.map(({ mean }) => mean), [1.03, 0.7, -0.02])
})
