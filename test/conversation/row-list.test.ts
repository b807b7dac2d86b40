import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeRows, encodeRows } from '../../src/conversation/row-list.ts'

const rows = fc.array(fc.oneof(fc.nat(), fc.nat({ max: 300 }), fc.maxSafeNat().map((n) => Math.floor(n / 4))))

test('a list of rows comes back from its bytes', () => {
  fc.assert(fc.property(rows, (list) => assert.deepEqual(decodeRows(encodeRows(list)), list)))
})

test('a list is continued by appending the bytes of what follows', () => {
  fc.assert(fc.property(rows, rows, (first, second) => {
    const bytes = Buffer.concat([encodeRows(first), encodeRows(second, first.at(-1) ?? 0)])
    assert.deepEqual(decodeRows(bytes), [...first, ...second])
  }))
})

test('neighbouring rows take one byte each', () => {
  assert.equal(encodeRows(Array.from({ length: 100 }, (_, n) => 1_000_000 + n)).length, 102)
})
