import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MOST_NGRAMS, NgramReader } from '../../src/fingerprint/ngrams.ts'

const reader = new NgramReader()
const of = (text: string): Set<number> => {
  reader.read(text)
  return new Set(reader.buckets.subarray(0, reader.count))
}
const shared = (left: string, right: string): number => {
  const other = of(right)
  return [...of(left)].filter((bucket) => other.has(bucket)).length
}

test('a text has the same n-grams whatever was read before it', () => {
  const first = of('book a flight')
  of('something else entirely')
  assert.deepEqual(of('book a flight'), first)
})

test('the order of words tells texts apart, and so do pairs with words between them', () => {
  assert.notDeepEqual(of('dog bites man'), of('man bites dog'))
  // "book" and "flight" stand together in both; only the distance differs
  assert.ok(shared('book flight', 'book xx flight') < shared('book yy flight', 'book xx flight'))
})

test('a misspelt word keeps most of its runs, and runs go on from word to word', () => {
  assert.ok(shared('reservation', 'reservatoin') > 12)
  assert.ok(shared('checkin', 'check in') > shared('checkin', 'check') + 2)
})

test('said twice counts once; marks count; white space does not', () => {
  assert.deepEqual(of('very very very very very'), of('very very very very very very'))
  assert.notDeepEqual(of('really'), of('really?'))
  assert.deepEqual(of('a  b\n c'), of('a b c'))
})

test('any text is read without a throw, distinct n-grams only, at most as many as there is room for', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 400 }), (text) => {
      reader.read(text.toLowerCase())
      assert.equal(of(text.toLowerCase()).size, reader.count)
    }),
  )
  const random = Array.from({ length: 60_000 }, (_, at) => ((at * 7919) % 46_656).toString(36)).join(' ')
  reader.read(random)
  assert.equal(reader.count, MOST_NGRAMS)
})
