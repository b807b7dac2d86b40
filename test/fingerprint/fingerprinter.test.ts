import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { Fingerprinter, type TurnFingerprint } from '../../src/fingerprint/fingerprinter.ts'
import { FingerprintCache } from '../../src/fingerprint/fingerprint-cache.ts'
import type { ConversationItem } from '../../src/model/item.ts'
import { shipped } from './shipped.ts'

const fingerprinter = new Fingerprinter(shipped)
const alone = (text: string): TurnFingerprint => fingerprinter.update(fingerprinter.begin(), 'user', text)
const says = (role: string, text: string): ConversationItem => ({ type: 'message', role, content: [{ type: 'input_text', text }] })

const sane = (found: TurnFingerprint): void => {
  const probabilities = [found.shift, found.intent[1], found.inScope, found.complexity, ...found.topics.map(([, value]) => value)]
  for (const value of probabilities) assert.ok(value >= -1e-6 && value <= 1 + 1e-6, String(value))
  assert.ok(found.topics.reduce((sum, [, value]) => sum + value, 0) <= 1 + 1e-4)
  for (const value of [found.expectedOutputTokens, found.expectedOutputTokensP90, found.expectedRemainingTurns]) {
    assert.ok(Number.isFinite(value) && value >= 0)
  }
  assert.ok(found.expectedOutputTokensP90 >= found.expectedOutputTokens)
  const length = Math.hypot(...found.embedding)
  assert.ok(length === 0 || Math.abs(length - 1) < 1e-3, String(length))
}

test('whatever is said, nothing is thrown and probabilities are probabilities', () => {
  const odd = ['', ' ', '😀😀', '日本語のテキスト', 'Привет, как дела?', 'مرحبا بالعالم', '\ud800', 'a'.repeat(5000), 'aGVsbG8gd29ybGQ='.repeat(40), '\u0000', '. . . .', 'x'.repeat(63) + '-'.repeat(3000)]
  for (const text of odd) sane(alone(text))
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => sane(alone(text))))
})

test('what cannot be read is other: nothing, other scripts, words without end', () => {
  for (const text of ['', 'Привет, как дела?', '日本語のテキストです', 'x'.repeat(1_000_000)]) assert.equal(alone(text).topics[0]![0], 'other', text.slice(0, 20))
})

test('a terse answer that says little by itself means what was meant before', () => {
  const state = fingerprinter.begin()
  const asked = fingerprinter.update(state, 'user', 'Please cancel my flight to Boston and book another one.')
  fingerprinter.update(state, 'assistant', 'What is your reservation number?')
  assert.equal(fingerprinter.update(state, 'user', '4WQ150').intent[0], asked.intent[0])
})

test('a paste of a megabyte is read at both ends only: it costs what its ends cost', () => {
  const paste = 'The quick brown fox jumps over the lazy dog, said Anna. '.repeat(20_000)
  const ends = paste.slice(0, 5000) + paste.slice(-2500)
  const cost = (text: string): number => {
    const started = process.cpuUsage()
    for (let round = 0; round < 20; round++) alone(text)
    return process.cpuUsage(started).user
  }
  cost(ends)
  assert.ok(cost(paste) < 6 * cost(ends) + 50_000)
})

test('a terse turn is about what the conversation is about', () => {
  const state = fingerprinter.begin()
  fingerprinter.update(state, 'user', 'Why does my Python function throw a TypeError in this loop? def f(x): return x[0]')
  fingerprinter.update(state, 'assistant', 'Because x is None there: your function returns nothing in that branch of the code.')
  assert.equal(fingerprinter.update(state, 'user', 'continue').topics[0]![0], 'coding')
})

test('a conversation is moved by its new turns only and knows nothing later', () => {
  const said = ['I need a table for two', 'at 7 pm', 'thanks, and what is the capital of Peru?']
  const whole = fingerprinter.begin()
  const first = said.map((text) => fingerprinter.update(whole, 'user', text))
  const part = fingerprinter.begin()
  assert.deepEqual(fingerprinter.update(part, 'user', said[0]!), first[0])
  assert.deepEqual(fingerprinter.update(part, 'user', said[1]!), first[1])
})

test('the cache reads new items only, begins anew at a fork, and is bounded', () => {
  const cache = new FingerprintCache({ fingerprinter, maxConversations: 2, deadlineMs: 5, nowMs: () => 0 })
  const one = [says('user', 'write a python function')]
  const two = [...one, says('assistant', 'def f(): pass'), says('user', 'now add a test')]
  cache.update('a', one)
  const continued = cache.update('a', two)!
  const state = fingerprinter.begin()
  const expected = [...two].map((item, at) => fingerprinter.update(state, at === 1 ? 'assistant' : 'user', (item['content'] as { text: string }[])[0]!.text)).at(-1)!
  assert.deepEqual(continued.topics, expected.topics)
  assert.equal(cache.counts.begunAnew, 0)
  cache.update('a', [says('user', 'something else entirely')])
  assert.equal(cache.counts.begunAnew, 1)
  cache.update('b', one)
  cache.update('c', one)
  assert.deepEqual([cache.size, cache.counts.evicted], [2, 1])
})

test('a look leaves no trace', () => {
  const cache = new FingerprintCache({ fingerprinter, maxConversations: 2, deadlineMs: 5, nowMs: () => 0 })
  const one = [says('user', 'write a python function')]
  cache.update('a', one)
  const before = cache.look('a', [...one, says('user', 'and what of Peru?')])!
  assert.deepEqual(cache.look('a', [...one, says('user', 'and what of Peru?')]), before)
  assert.equal(cache.look('nobody', []), null)
  const { entities, ...reading } = before
  assert.ok(entities.length > 0)
  assert.deepEqual(cache.update('a', [...one, says('user', 'and what of Peru?')]), reading)
  assert.equal(cache.size, 1)
})

test('after the deadline the last item is still read, and the fingerprint says that it is partial', () => {
  let now = 0
  const cache = new FingerprintCache({ fingerprinter, maxConversations: 2, deadlineMs: 5, nowMs: () => (now += 3) })
  const items = [says('user', 'a'), says('assistant', 'b'), says('user', 'c'), says('user', 'write me a poem about rain')]
  const found = cache.update('a', items)!
  assert.equal(found.partial, true)
  assert.equal(found.intent[0], 'write')
  assert.deepEqual([cache.counts.full, cache.counts.partial], [0, 1])
})

test('tool outputs and calls are read as what they are, and pictures say nothing', () => {
  const cache = new FingerprintCache({ fingerprinter, maxConversations: 2, deadlineMs: 5, nowMs: () => 0 })
  const found = cache.look('a', [
    says('user', 'send it to ann@example.com'),
    { type: 'function_call', name: 'send', arguments: '{"to":"ann@example.com"}', call_id: 'c' },
    { type: 'function_call_output', call_id: 'c', output: 'sent' },
    { type: 'item_reference', id: 'x' },
  ])!
  assert.deepEqual(found.entities.find(({ type }) => type === 'email'), {
    type: 'email', count: 2, lastTurn: 1, values: [{ value: 'ann@example.com', count: 2, lastTurn: 1 }],
  })
})

test('a conversation costs less than 2 KB, the values of its entities included', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const cache = new FingerprintCache({ fingerprinter, maxConversations: 8000, deadlineMs: 1e9, nowMs: () => 0 })
  const paths = Array.from({ length: 40 }, (_, at) => `src/room/file-${at}.ts`).join(' and ')
  const items = [says('user', 'book a flight to Boston on March 3rd'), says('assistant', `done, see ${paths}`), says('user', 'thanks')]
  cache.update('first', items)
  const used = (): number => {
    collect()
    const { heapUsed, external } = process.memoryUsage()
    return heapUsed + external
  }
  const before = used()
  for (let at = 0; at < 2000; at++) cache.update(`tenant\nsession ${at}`, items)
  const each = (used() - before) / 2000
  assert.ok(cache.counts.valuesEvicted > 0, 'the values are at their bound')
  assert.ok(each < 2048, `${each} bytes`)
})
