import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { EntityValues, MOST_BYTES, MOST_VALUES } from '../../src/fingerprint/entities/entity-values.ts'
import { normalised } from '../../src/fingerprint/entities/normalise.ts'
import { ENTITY_TYPES, type EntityType } from '../../src/fingerprint/entities/spans.ts'

const same: readonly (readonly [EntityType, string, ...string[]])[] = [
  ['url', 'https://shop.example/a', 'HTTPS://Shop.example/a/', 'https://shop.example:443/a#top', 'https://me:secret@shop.example/a//'],
  ['url', 'https://shop.example/a?page=2', 'https://shop.example/a/?page=2'],
  ['url', 'www.shop.example', 'www.shop.example/', 'WWW.shop.example'],
  ['email', 'ann@example.com', 'Ann@Example.com'],
  ['date', '2024-03-05', 'March 5th, 2024', '5 March 2024', 'the 5th of Mar 2024', 'Mar. 5, 2024', '05.03.2024', '2024/3/5'],
  ['date', '2024-03-25', '25/03/2024', '3/25/2024'],
  ['date', '03/05/2024'],
  ['date', 'may 5', 'May 5'],
  ['date', '2024-13-40'],
  ['time', '15:30', '3:30 pm', '3:30 P.M.', '15:30:00', '3.30pm'],
  ['time', '00:05', '12:05 am'],
  ['time', 'noon', 'Noon'],
  ['number', '1200 km', '1,200 km', '1200 km', "1'200 km", '1.2e3 km'],
  ['number', '2000000', '2 million', '2,000,000', '2.0 million'],
  ['number', '12.5 %', '12.50%', '12.5 %', '12,5 %'],
  ['number', '2/3'],
  ['number', '3 m'],
  ['number', 'twenty two', 'Twenty two'],
  ['money', '1200.5 USD', '$1,200.50', '1200.50 dollars', 'USD 1200.5', '1,200.5 $'],
  ['money', '5000000 EUR', '5 million euros', '€5m', '5mn EUR'],
  ['money', 'five dollars', 'Five dollars'],
  ['file', 'src/Compose.ts'],
  ['code', 'TypeError'],
  ['id', 'W2378156'],
  ['person', 'ann smith', 'Ann Smith', "Ann  Smith's"],
]

test('spellings of one thing share one form, and what has two readings or is not complete keeps its words', () => {
  for (const [type, form, ...spellings] of same) {
    for (const spelling of [form, ...spellings]) assert.equal(normalised(type, spelling), form, `${type}: ${spelling}`)
  }
})

test('a form is its own form, whatever the text', () => {
  fc.assert(
    fc.property(fc.constantFrom(...ENTITY_TYPES), fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...same.flat())), (type, text) => {
      const once = normalised(type, text)
      assert.equal(normalised(type, once), once)
    }),
  )
})

test('values count, move to the front when they are seen, and the least recently seen go when there is no room', () => {
  const values = new EntityValues()
  values.see('file', 'a.ts', 0)
  values.see('file', 'b.ts', 1)
  values.see('code', 'a.ts', 1)
  values.see('file', 'a.ts', 2)
  assert.deepEqual(values.list().get('file'), [{ value: 'a.ts', count: 2, lastTurn: 2 }, { value: 'b.ts', count: 1, lastTurn: 1 }])
  assert.deepEqual(values.list().get('code'), [{ value: 'a.ts', count: 1, lastTurn: 1 }])
  let gone = 0
  for (let at = 0; at < MOST_VALUES; at++) gone += values.see('id', `${at}`, 3)
  assert.equal(values.size, MOST_VALUES)
  assert.equal(gone, 3, 'one for each value that was there before')
  assert.equal(values.list().has('file'), false)
  assert.equal(values.see('url', 'x'.repeat(1000), 3), 1, 'a value that is too long is let go itself')
})

test('any sequence leaves the latest values with their counts, within the bounds, and bytes restore the same', () => {
  const value = fc.oneof(fc.string({ unit: 'grapheme', maxLength: 12 }), fc.constantFrom('a', 'b', 'c'))
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom(...ENTITY_TYPES), value), { maxLength: 200 }), (sequence) => {
      const values = new EntityValues()
      let model: { type: string; value: string; count: number; lastTurn: number }[] = []
      sequence.forEach(([type, text], turn) => {
        values.see(type, text, turn)
        const known = model.find((entry) => entry.type === type && entry.value === text)
        model = [...model.filter((entry) => entry !== known), { type, value: text, count: (known?.count ?? 0) + 1, lastTurn: turn }]
        const bytes = (): number => model.reduce((sum, entry) => sum + 6 + Buffer.byteLength(entry.value), 0)
        while (model.length > MOST_VALUES || bytes() > MOST_BYTES) model.shift()
      })
      const listed = [...values.list()].flatMap(([type, list]) => list.map((entry) => ({ type, ...entry })))
      const order = (left: { lastTurn: number }, right: { lastTurn: number }): number => left.lastTurn - right.lastTurn
      assert.deepEqual(listed.sort(order), [...model].sort(order))
      const restored = new EntityValues()
      restored.restore(values.bytes)
      assert.deepEqual([restored.list(), restored.size], [values.list(), values.size])
    }),
  )
})
