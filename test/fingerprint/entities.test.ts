import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { findEntities } from '../../src/fingerprint/entities/find-entities.ts'
import { projectRoot } from '../house/root.ts'
import { shipped } from './shipped.ts'

const BY_RULE = new Set(['file', 'code', 'url', 'email', 'date', 'time', 'number', 'money', 'id'])

test('the table of cases: nearly every entity that has a form is found, and nearly nothing else', () => {
  let right = 0
  const wrong: string[] = []
  for (const line of readFileSync(join(projectRoot(), 'test/fingerprint/entity-cases.jsonl'), 'utf8').trim().split('\n')) {
    const { text, entities } = JSON.parse(line) as { text: string; entities: [string, string][] }
    const wanted = entities.filter(([type]) => BY_RULE.has(type)).map((entity) => entity.join(': '))
    const found = findEntities(text, shipped.names)
      .filter(({ type }) => BY_RULE.has(type))
      .map(({ type, start, end }) => `${type}: ${text.slice(start, end)}`)
    right += wanted.filter((one) => found.includes(one)).length
    wrong.push(...wanted.filter((one) => !found.includes(one)).map((one) => `missed ${one} in ${text}`))
    wrong.push(...found.filter((one) => !wanted.includes(one)).map((one) => `invented ${one} in ${text}`))
  }
  assert.ok((2 * right) / (2 * right + wrong.length) >= 0.99, wrong.join('\n'))
})

test('spans lie within the text, in order, and never overlap, whatever the text', () => {
  const pieces = fc.constantFrom('a', 'Anna', ' ', '\n', '😀', '/etc/x', '1.5', '$', 'http://', '@', '`', '(', ')', '_', '.', '-', 'May', '日本', '\ud800', '\\')
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.array(pieces).map((some) => some.join(''))), (text) => {
      let last = 0
      for (const { start, end } of findEntities(text, shipped.names)) {
        assert.ok(start >= last && end > start && end <= text.length)
        last = end
      }
    }),
  )
})

test('offsets at the end of a long paste are those of the whole text', () => {
  const text = `${'lorem ipsum dolor '.repeat(50_000)}write to ann@example.com today`
  const found = findEntities(text, shipped.names).map(({ type, start, end }) => `${type}: ${text.slice(start, end)}`)
  assert.deepEqual(found.slice(-2), ['email: ann@example.com', 'date: today'])
})

test('people, places and organisations of plain sentences are found', () => {
  const text = 'Angela Merkel met Barack Obama in Berlin before she flew to New York.'
  const found = findEntities(text, shipped.names).map(({ type, start, end }) => `${type}: ${text.slice(start, end)}`)
  assert.deepEqual(found, ['person: Angela Merkel', 'person: Barack Obama', 'location: Berlin', 'location: New York'])
})
