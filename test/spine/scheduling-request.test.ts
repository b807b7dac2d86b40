import assert from 'node:assert/strict'
import { test } from 'node:test'
import { priorityOf } from '../../src/scheduling-request.ts'

test('service tiers and vLLM priorities order the waiting room: higher goes first', () => {
  assert.equal(priorityOf({}), 0)
  assert.equal(priorityOf({ service_tier: 'default' }), 0)
  assert.equal(priorityOf({ service_tier: 'priority' }), 1)
  assert.equal(priorityOf({ service_tier: 'flex' }), -1)
  assert.ok(priorityOf({ priority: -2 }) > priorityOf({ priority: 3 }), 'vLLM: lower goes first')
})

test('a hostile priority cannot outweigh everything', () => {
  assert.equal(priorityOf({ priority: -1e308 }), 10)
  assert.equal(priorityOf({ priority: 1e308 }), -10)
  assert.equal(priorityOf({ priority: Number.NaN }), 0)
})
