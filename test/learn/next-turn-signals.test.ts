/** What a next turn says of the answer before it: tables of dialogues, and what only looks like them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { markOfAnswer, newsOf, signsOfNextTurn } from '../../src/learn/next-turn-signals.ts'
import { asksAgain, sketchOf } from '../../src/learn/question-sketch.ts'
import { foundSigns, SIGNALS, type Evidence, type Signal } from '../../src/learn/signals.ts'
import type { ConversationItem } from '../../src/model/item.ts'
import type { JsonValue } from '../../src/model/json.ts'

const SALT = 7
const again = (before: string, now: string): boolean => {
  const [first, second] = [sketchOf(before, SALT), sketchOf(now, SALT)]
  return first !== null && second !== null && asksAgain(first, second)
}
const LONG = 'Write a TypeScript function that reads a CSV file line by line, skips the header, parses dates in the second column, groups rows by month and returns the totals of the last column'

const SAME: readonly (readonly [string, string])[] = [
  ['How do I sort a list in Python?', 'How do I sort a list in Python?'],
  ['How do I sort a list in Python?', 'how do i sort lists in python'],
  ['How do I sort a list in Python?', 'I asked how to sort a list in Python!'],
  ['How do I sort a list in Python?', 'No. How can I sort a Python list, please?'],
  ['What is 17 * 23?', 'what is 17 * 23'],
  ['When does the museum in Rome open on Sundays?', 'Again: when does the museum in Rome open on Sunday?'],
  [LONG, `${LONG}.`],
  [LONG, `Please, once more: ${LONG}`],
  ['巴黎的人口是多少?', '巴黎的人口是多少'],
]
const OTHER: readonly (readonly [string, string])[] = [
  ['What is 17 * 23?', 'What is 18 * 23?'],
  ['What is 17 * 23?', 'What is 17 + 23?'],
  ["Translate 'cat' into French", "Translate 'dog' into French"],
  ['Write a Python function that sorts a list of dictionaries by name', 'Write a Python function that sorts a list of dictionaries by age'],
  ['How do I enable two-factor login?', 'How do I disable two-factor login?'],
  ['How do I sort a list in Python?', 'How do I sort a list in Python in descending order with a custom key?'],
  ['How do I sort a list in Python?', 'And how do I reverse it?'],
  ['How do I sort a list in Python?', 'Thanks, that works'],
  ['Is it safe to eat raw eggs?', 'Why?'],
  ['continue', 'continue'],
  ['yes', 'yes'],
  ['Next question, please', 'Next question, please'],
  [`Classify the review as positive or negative. Answer with one word. Review: the pizza was cold and the waiter rude`, 'Classify the review as positive or negative. Answer with one word. Review: lovely evening, will come back'],
  [LONG, LONG.replace('month', 'week')],
  ['巴黎的人口是多少?', '伦敦的人口是多少?'],
]
for (const [before, now] of SAME) test(`asked again: ${before} | ${now}`, () => assert.ok(again(before, now)))
for (const [before, now] of OTHER) test(`not asked again: ${before} | ${now}`, () => assert.ok(!again(before, now)))

test('a sketch holds numbers that differ from process to process, and no words', () => {
  const one = sketchOf('How do I sort a list in Python?', 1)!
  const other = sketchOf('How do I sort a list in Python?', 2)!
  assert.equal(one.hashes.length, 3)
  assert.notDeepEqual([...one.hashes], [...other.hashes])
})

test('a sketch of a long text is bounded, and still tells a swapped word among few from none', () => {
  const words = Array.from({ length: 300 }, (_, at) => `w${String.fromCharCode(97 + (at % 26))}${String.fromCharCode(97 + Math.floor(at / 26))}`).join(' ')
  const sketch = sketchOf(words, SALT)!
  assert.equal(sketch.hashes.length, 64)
  assert.ok(again(words, words))
  assert.ok(!again(words, words.toUpperCase().split(' ').map((word, at) => (at % 20 === 3 ? `${word}zz` : word)).join(' ').replaceAll('WA', 'QA')))
})

const user = (said: string): ConversationItem => ({ type: 'message', role: 'user', content: [{ type: 'input_text', text: said }] })
const assistant = (said: string): ConversationItem => ({ type: 'message', role: 'assistant', content: [{ type: 'output_text', text: said }] })
const called: ConversationItem = { type: 'function_call', call_id: 'c1', name: 'lookup', arguments: '{}' }
const output = (said: JsonValue): ConversationItem => ({ type: 'function_call_output', call_id: 'c1', output: said })

const QUESTION = 'How do I sort a list in Python?'
const reaction = (said: string, intent: readonly [string, number] | null): Evidence =>
  signsOfNextTurn(sketchOf(QUESTION, SALT), newsOf([user(QUESTION), assistant('Use sort().'), user(said)], SALT), intent)
const soughtIn = (evidence: Evidence): Signal[] => SIGNALS.filter((_, sign) => (evidence.sought & (1 << sign)) !== 0)

const REACTIONS: readonly (readonly [said: string, intent: readonly [string, number] | null, found: readonly Signal[]])[] = [
  ["No, that's wrong", ['correct', 0.99], ['correction', 'went_on']],
  ['This is useless', ['complain', 0.98], ['complaint', 'went_on']],
  ['Thank you!', ['thank', 0.99], ['thanks', 'went_on']],
  ['And in Go?', ['ask', 0.9], ['went_on']],
  ['Write a reply to a customer who complains', ['complain', 0.74], ['went_on']],
  ['I asked how to sort a list in Python', ['correct', 0.9], ['asked_again', 'correction', 'went_on']],
  [QUESTION, null, ['asked_again', 'went_on']],
]
for (const [said, intent, found] of REACTIONS) {
  test(`reaction: ${said} (${intent?.join(' ') ?? 'no fingerprint'}): ${found.join(', ')}`, () => {
    assert.deepEqual(foundSigns(reaction(said, intent)), SIGNALS.filter((signal) => found.includes(signal)))
  })
}

test('without a fingerprint nothing is concluded from the absence of a complaint', () => {
  assert.deepEqual(soughtIn(reaction('And in Go?', null)), ['asked_again', 'went_on'])
})

test('the output of a tool is no word of a person: only errors are looked for', () => {
  const news = newsOf([user(QUESTION), called, output('{"rows":3}')], SALT)
  assert.deepEqual(soughtIn(signsOfNextTurn(null, news, ['complain', 0.99])), ['tool_error'])
})

const ERRORS: readonly JsonValue[] = [
  'Error: no such order', 'error: timeout', '{"error": "not found"}', '{"error":{"code":404}}', 'Traceback (most recent call last):\n', 'TypeError: x is undefined',
  '{"success": false}', 'Failed to open the file', [{ type: 'input_text', text: 'Error: no rows' }], 'fatal: not a git repository',
]
const FINE: readonly JsonValue[] = [
  '{"rows":3}', '{"error": null, "rows": 3}', '{"errors": []}', '0 errors, 2 warnings', 'The error log is empty', '{"success": true}', '', '{"error":false}',
  'no failures', 'Exceptional results',
]
test('a tool that reports an error is told by how its output begins', () => {
  for (const said of ERRORS) assert.equal(newsOf([called, output(said)], SALT).toolError, true, JSON.stringify(said))
  for (const said of FINE) assert.equal(newsOf([called, output(said)], SALT).toolError, false, JSON.stringify(said))
})

test('an answer is found again by its mark in the history that a client sends back', () => {
  const answer = [{ type: 'reasoning', summary: [] }, assistant('Use sort().')]
  assert.equal(newsOf([user(QUESTION), ...answer, user('Thanks')], SALT).answerMark, markOfAnswer(answer))
  assert.notEqual(newsOf([user(QUESTION), assistant('Use sorted().'), user('Thanks')], SALT).answerMark, markOfAnswer(answer))
  assert.equal(newsOf([user(QUESTION)], SALT).answerMark, 0)
  const calls = [assistant('Let me see.'), called]
  assert.equal(newsOf([user(QUESTION), ...calls, output('{}')], SALT).answerMark, markOfAnswer(calls))
})
