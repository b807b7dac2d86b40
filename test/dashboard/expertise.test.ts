import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pageModule } from './page-module.ts'

type Row = { tenant: string | null; model: string; topic: string | null; mean: number; low: number; high: number; observations: number; last_change: number | null }
type Sort = { key: string; direction: 'ascending' | 'descending' }
const { rowsShown, sortedAfterPress, tenantsOf, wrongEdit } = await pageModule<{
  rowsShown: (rows: readonly Row[], filter: { tenant: string | null; words: string }, sort: Sort) => Row[]
  sortedAfterPress: (sort: Sort, key: string) => Sort; tenantsOf: (rows: readonly Row[]) => string[]; wrongEdit: (mean: number, observations: number) => string | null
}>('expertise-rows.js')
const { changesBetween } = await pageModule<{
  changesBetween: (before: readonly Row[], after: readonly Row[], topics: readonly string[]) => { topic: string | null; before: Row | null; after: Row }[]
}>('learned.js')

const row = (model: string, topic: string | null, mean = 0.5, changes: Partial<Row> = {}): Row => ({
  tenant: null, model, topic, mean, low: mean - 0.1, high: mean + 0.1, observations: 10, last_change: null, ...changes,
})
const ROWS = [row('coder', 'math', 0.4), row('coder', null, 0.6), row('general', 'coding', 0.7, { last_change: 9 }), row('coder', 'coding', 0.9, { observations: 80, last_change: 5 })]
const ALL = { tenant: null, words: '' }
const names = (rows: readonly Row[]): string[] => rows.map(({ model, topic }) => `${model} ${topic ?? '-'}`)

test('rows are sorted by any column, both ways, and equal ones by name', () => {
  assert.deepEqual(names(rowsShown(ROWS, ALL, { key: 'model', direction: 'ascending' })), ['coder -', 'coder coding', 'coder math', 'general coding'])
  assert.deepEqual(names(rowsShown(ROWS, ALL, { key: 'mean', direction: 'descending' })), ['coder coding', 'general coding', 'coder -', 'coder math'])
  assert.equal(names(rowsShown(ROWS, ALL, { key: 'last_change', direction: 'descending' }))[0], 'general coding')
  assert.deepEqual(names(rowsShown([...ROWS].reverse(), ALL, { key: 'observations', direction: 'ascending' })).slice(0, 3), ['coder -', 'coder math', 'general coding'])
})

test('a press sorts by the column, figures from above; another press turns it round', () => {
  const first = sortedAfterPress({ key: 'model', direction: 'ascending' }, 'mean')
  assert.deepEqual(first, { key: 'mean', direction: 'descending' })
  assert.deepEqual(sortedAfterPress(first, 'mean'), { key: 'mean', direction: 'ascending' })
  assert.deepEqual(sortedAfterPress(first, 'model'), { key: 'model', direction: 'ascending' })
})

test('the filter wants all its words in the names, and the tenant that was chosen', () => {
  const sort = { key: 'model', direction: 'ascending' } as const
  assert.deepEqual(names(rowsShown(ROWS, { tenant: null, words: ' CODER math ' }, sort)), ['coder math'])
  assert.deepEqual(names(rowsShown(ROWS, { tenant: null, words: 'general' }, sort)), ['general coding'])
  assert.deepEqual(names(rowsShown(ROWS, { tenant: null, words: 'all topics' }, sort)), ['coder -'])
  const several = [row('coder', null, 0.5, { tenant: 'zeta' }), row('coder', null, 0.6, { tenant: 'acme' })]
  assert.deepEqual(tenantsOf(several), ['acme', 'zeta'])
  assert.deepEqual(rowsShown(several, { tenant: 'zeta', words: '' }, sort).map(({ tenant }) => tenant), ['zeta'])
})

test('an edit that the gateway would refuse is not sent', () => {
  assert.equal(wrongEdit(0.7, 20), null)
  for (const [mean, observations] of [[1.1, 20], [-0.1, 20], [Number.NaN, 20], [0.5, 0], [0.5, 1001], [0.5, Number.NaN]] as const) assert.ok(wrongEdit(mean, observations))
})

test('what an outcome changed is told: the topics of the conversation first, then the whole, then the largest changes', () => {
  const before = [row('m', null, 0.5), row('m', 'coding', 0.5), row('m', 'math', 0.5), row('m', 'law', 0.5), row('m', 'art', 0.5)]
  const after = [row('m', null, 0.52), row('m', 'coding', 0.6), row('m', 'math', 0.51), row('m', 'law', 0.53), row('m', 'art', 0.5001)]
  assert.deepEqual(changesBetween(before, after, ['coding']).map(({ topic }) => topic), ['coding', null, 'law', 'math'])
  const [first] = changesBetween(before, after, ['coding'])
  assert.deepEqual([first!.before!.mean, first!.after.mean], [0.5, 0.6])
})

test('a row that is new is a change, a narrower interval too, and nothing is none', () => {
  assert.deepEqual(changesBetween([], [row('m', 'coding')], []).map(({ before }) => before), [null])
  assert.equal(changesBetween([row('m', 'coding')], [row('m', 'coding', 0.5, { low: 0.45 })], []).length, 1)
  const coder = ROWS.filter(({ model }) => model === 'coder')
  assert.deepEqual(changesBetween(coder, coder, []), [])
})
