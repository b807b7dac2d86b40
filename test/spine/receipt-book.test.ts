import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Receipt } from '../../src/model/receipt.ts'
import { MOST_RECENT, ReceiptBook } from '../../src/receipt-book.ts'

const receipt = (id: string, outcome: Receipt['outcome'] = 'completed'): Receipt => ({ id, outcome }) as Receipt
const ids = (found: readonly { readonly tenant: string; readonly receipt: Receipt }[]): string[] => found.map(({ tenant, receipt: { id } }) => `${tenant} ${id}`)

test('the last receipts come newest first: of one tenant, or of all', () => {
  const book = new ReceiptBook(100)
  book.put('acme', receipt('1'))
  book.put('zeta', receipt('2'))
  book.put('acme', receipt('3'))
  assert.deepEqual(ids(book.recent(null, 10)), ['acme 3', 'zeta 2', 'acme 1'])
  assert.deepEqual(ids(book.recent('acme', 10)), ['acme 3', 'acme 1'])
  assert.deepEqual(ids(book.recent('acme', 1)), ['acme 3'])
  assert.deepEqual(ids(book.recent('nobody', 10)), [])
})

test('an answer whose receipt is written twice is there once, as it was last; the same id of another tenant is another answer', () => {
  const book = new ReceiptBook(100)
  book.put('acme', receipt('1'))
  book.put('zeta', receipt('1'))
  book.put('acme', receipt('1', 'failed'))
  assert.deepEqual(ids(book.recent(null, 10)), ['acme 1', 'zeta 1'])
  assert.equal(book.recent('acme', 10)[0]!.receipt.outcome, 'failed')
})

test('a busy tenant pushes out no other tenant, and the lists are bounded', () => {
  const book = new ReceiptBook(10)
  book.put('quiet', receipt('q'))
  for (let i = 0; i < 3 * MOST_RECENT; i++) book.put('busy', receipt(String(i)))
  assert.deepEqual(ids(book.recent('quiet', 10)), ['quiet q'])
  assert.equal(book.recent(null, 1000).length, MOST_RECENT)
  assert.equal(book.recent('busy', 1000).length, MOST_RECENT)
  assert.equal(book.size, 10)
})
