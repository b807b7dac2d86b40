import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fingerprinter } from '../../src/fingerprint/fingerprinter.ts'
import { FingerprintCache } from '../../src/fingerprint/fingerprint-cache.ts'
import { Taxonomy } from '../../src/fingerprint/taxonomy.ts'
import { trainTaxonomy } from '../../src/fingerprint/train-taxonomy.ts'
import { seededRandom } from '../../sim/random.ts'
import type { ConversationItem } from '../../src/model/item.ts'
import { shipped } from './shipped.ts'

const fingerprinter = new Fingerprinter(shipped)
const cacheOf = (maxConversations: number, read = fingerprinter): FingerprintCache =>
  new FingerprintCache({ fingerprinter: read, maxConversations, deadlineMs: 1e9, nowMs: () => 0 })
const says = (role: string, text: string): ConversationItem => ({ type: 'message', role, content: [{ type: 'input_text', text }] })
const asked = [says('user', 'Why does my Python function raise a TypeError? Mail ann@example.com.'), says('assistant', 'x is None there.')]

const carryOver = (from: FingerprintCache, to: FingerprintCache): void => {
  const written = new Map(from.snapshots.map(({ name, save }) => [name, save()]))
  for (const { name, restore } of to.snapshots) {
    const bytes = written.get(name)
    if (bytes !== undefined) restore(bytes)
  }
}

test('a conversation goes on after a restart exactly as it would have', () => {
  const [before, after] = [cacheOf(1000), cacheOf(1000)]
  for (let at = 0; at < 300; at++) before.update(`acme\nsession ${at}`, [...asked, says('user', `number ${at}`)])
  before.update('acme\nж', asked)
  carryOver(before, after)
  assert.equal(after.size, 301)
  const next = [...asked, says('user', 'continue')]
  assert.deepEqual(after.update('acme\nж', next), before.update('acme\nж', next))
  assert.equal(after.counts.begunAnew, 0)
})

test('what is restored is bounded as before, the oldest go first, also with another number of shards', () => {
  const [before, smaller] = [cacheOf(640), cacheOf(64)]
  for (let at = 0; at < 50; at++) before.update(`s${at}`, asked)
  const written = before.snapshots.map(({ save }) => save())
  for (const bytes of written) smaller.snapshots[0]!.restore(bytes)
  assert.equal(smaller.size, 50)
  for (const bytes of written) smaller.snapshots[0]!.restore(bytes)
  assert.equal(smaller.size, 50)
})

test('values of entities are not in a snapshot: the counts go on, their text is gone', () => {
  const [before, after] = [cacheOf(2), cacheOf(2)]
  before.update('a', asked)
  const bytes = before.snapshots[0]!.save()
  assert.ok(!Buffer.from(bytes).includes('ann@'))
  carryOver(before, after)
  const email = (cache: FingerprintCache): unknown => cache.look('a', [...asked, says('user', 'thanks')])!.entities.find(({ type }) => type === 'email')
  assert.deepEqual(email(before), { type: 'email', count: 1, lastTurn: 0, values: [{ value: 'ann@example.com', count: 1, lastTurn: 0 }] })
  assert.deepEqual(email(after), { type: 'email', count: 1, lastTurn: 0, values: [] })
})

test('a shard is written only where something changed', () => {
  const cache = cacheOf(6400)
  cache.update('a', asked)
  assert.equal(cache.snapshots.filter(({ changed }) => changed()).length, 1)
  for (const { save } of cache.snapshots) save()
  assert.equal(cache.snapshots.some(({ changed }) => changed()), false)
  cache.look('a', asked)
  assert.equal(cache.snapshots.some(({ changed }) => changed()), false)
})

test('a snapshot of other labels, of another version or cut anywhere is refused, and nothing of it is kept', () => {
  const cache = cacheOf(2)
  cache.update('a', asked)
  const bytes = cache.snapshots[0]!.save()
  for (let end = 0; end < bytes.length; end += 7) {
    const into = cacheOf(2)
    assert.throws(() => into.snapshots[0]!.restore(bytes.subarray(0, end)))
    assert.equal(into.size, 0)
  }
  const newer = Buffer.from(bytes)
  newer[0] = 9
  assert.throws(() => cacheOf(2).snapshots[0]!.restore(newer), /version 9/)
  const texts = ['red', 'blue'].flatMap((label) => Array.from({ length: 10 }, (_, at) => ({ text: `${label} thing ${at}`, label })))
  const { taxonomy } = trainTaxonomy({ kind: 'texts', texts }, { kind: 'topics', outOfScope: 'oos', reader: shipped.reader, random: seededRandom })
  assert.ok(taxonomy instanceof Taxonomy)
  assert.throws(() => cacheOf(2, new Fingerprinter(shipped, { topics: taxonomy })).snapshots[0]!.restore(bytes), /another taxonomy/)
})
