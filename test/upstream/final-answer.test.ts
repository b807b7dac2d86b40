import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ConversationItem } from '../../src/model/item.ts'
import { ballotOf, canonicalJson, finalAnswer, normalise } from '../../src/upstream/ensemble/final-answer.ts'

const says = (text: string): ConversationItem[] => [{ type: 'message', role: 'assistant', content: [{ type: 'output_text', text }] }]
const ballot = (text: string, json = false): string | null => ballotOf(says(text), json)

/** Each list is one vote. */
const SAME: Readonly<Record<string, readonly string[]>> = {
  'a choice': ['B', '(b)', '**B**', 'B.', 'The answer is (B).', 'the answer is **B**', 'Answer: B', 'First A, then C.\nAnswer: B) because it holds', '\\boxed{B}', '<think>A? no.</think>B', 'I think so.\n\n#### B'],
  'a number': ['1234.5', '1,234.50', '$1,234.50', '\\boxed{1234.5}', 'The answer is 1234.5 km', 'The final answer is: 1,234.5 apples.', '= 1234.5', '  **1234.5** '],
  'a fraction': ['0.75', '3/4', '75%', '75 percent', '\\frac{3}{4}', '\\boxed{\\dfrac{3}{4}}', '.75', '0.750'],
  'a negative number': ['-3', '−3', '-3.0', 'The answer is -3 °C'],
  'what an answer ends with': ['Step 1: 5 * 8 = 40.\nStep 2: 40 + 2 = 42.\nThe answer is 42.', 'At first I thought the answer is 40.\nBut the answer is 42', '42'],
  'a word': ['Paris', 'paris.', 'The answer is Paris!', '**Paris**', '\\boxed{\\text{Paris}}'],
  'an article does not count': ['The cat', 'a cat', 'cat'],
  'JSON by its value': ['{"a": 1, "b": [2, 3]}', '{"b":[2,3],"a":1}', '```json\n{"a": 1.0, "b": [2, 3]}\n```'],
}

for (const [what, texts] of Object.entries(SAME)) {
  test(`${what} is the same vote however it is written`, () => {
    for (const text of texts) assert.equal(ballot(text), ballot(texts[0]!), text)
  })
}

test('different answers are different votes', () => {
  const texts = ['A', 'B', '42', '43', '-42', '0.42', 'Paris', 'Berlin', 'a cat sat', '{"a":1}', '{"a":2}', '1/3', '1e3', 'I do not know', '?', '!']
  assert.equal(new Set(texts.map((text) => ballot(text))).size, texts.length)
})

test('an answer of nothing casts no ballot', () => {
  for (const text of ['', '  \n']) assert.equal(ballot(text), null)
  assert.equal(ballotOf([{ type: 'reasoning', summary: [] }], false), null)
})

test('where JSON was asked for it is compared as JSON, and what is none as text', () => {
  assert.equal(ballot('42', true), ballot(' 42.0 ', true))
  assert.notEqual(ballot('"B"', true), ballot('B', true))
})

test('calls of tools are compared by name and arguments, in any order, and are no text', () => {
  const call = (name: string, args: string): ConversationItem => ({ type: 'function_call', name, arguments: args, call_id: 'x' })
  const [one, two] = [call('look', '{"a":1,"b":2}'), call('go', '{}')]
  assert.equal(ballotOf([one, two], false), ballotOf([two, call('look', '{ "b": 2, "a": 1 }')], false))
  assert.notEqual(ballotOf([one], false), ballotOf([one, two], false))
  assert.notEqual(ballotOf([call('look', '{"a":2}')], false), ballotOf([call('look', '{"a":1}')], false))
})

test('normalising again changes nothing, and no text throws', () => {
  fc.assert(fc.property(fc.string({ unit: 'grapheme' }), (text) => {
    const once = normalise(finalAnswer(text))
    assert.equal(typeof once, 'string')
    assert.equal(normalise(text.toUpperCase().toLowerCase()), normalise(` ${text.toUpperCase().toLowerCase()} `))
  }))
})

test('a number is the same vote with and without separators, a currency and trailing zeros', () => {
  fc.assert(fc.property(fc.integer({ min: -999_999_999, max: 999_999_999 }), (value) => {
    const own = ballot(String(value))
    for (const text of [value.toLocaleString('en-US'), `${value}.0`, `The answer is ${value}.`, `\\boxed{${value}}`]) assert.equal(ballot(text), own, text)
    assert.notEqual(ballot(String(value + 1)), own)
  }))
})

test('the order of keys and white space never change a canonical JSON', () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    const text = JSON.stringify(value)
    const again = JSON.parse(text) as Parameters<typeof canonicalJson>[0]
    assert.equal(canonicalJson(again), canonicalJson(JSON.parse(JSON.stringify(reversed(again))) as typeof again))
  }))
})

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).reverse().map(([key, entry]) => [key, reversed(entry)]))
}

test('a long text with a hostile shape is read in linear time', () => {
  const started = performance.now()
  for (const text of ['answer is '.repeat(50_000), '1,'.repeat(100_000), '\\boxed{'.repeat(50_000), '{'.repeat(200_000), 'a '.repeat(200_000), '1'.repeat(200_000)]) ballot(text)
  assert.ok(performance.now() - started < 3000)
})
