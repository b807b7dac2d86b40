import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ServedCentres } from '../../src/learn/served-centres.ts'

const [CODE, COOKING] = [Float32Array.of(1, 0, 0.1), Float32Array.of(0, 1, 0.1)]

test('a conversation is near the backend that served its like, and what is served later counts more', () => {
  const centres = new ServedCentres()
  assert.equal(centres.likeness(0, CODE), null)
  centres.served(0, CODE)
  centres.served(1, COOKING)
  assert.ok(centres.likeness(0, CODE)! > 0.99)
  assert.ok(centres.likeness(1, CODE)! < 0.2)
  const before = centres.likeness(0, COOKING)!
  for (let turn = 0; turn < 100; turn++) centres.served(0, COOKING)
  assert.ok(centres.likeness(0, COOKING)! > 0.9 && before < 0.2)
  centres.forget(0)
  assert.equal(centres.likeness(0, CODE), null)
})
