import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError, loadConfig, type FingerprintConfig } from '../../src/config.ts'

const read = (fingerprint: object): FingerprintConfig =>
  loadConfig({ file: '/etc/homing/homing.yaml', text: JSON.stringify({ fingerprint }), env: { KEY: 'secret' } }).fingerprint!

function problems(fingerprint: object): string[] {
  try {
    read(fingerprint)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.problems.map(({ path, message }) => `${path}: ${message}`)
  }
  return []
}
const refused = (fingerprint: object, ...whys: RegExp[]): void => {
  const found = problems(fingerprint)
  assert.equal(found.length, whys.length, found.join('\n'))
  whys.forEach((why) => assert.ok(found.some((one) => why.test(one)), `${why} in\n${found.join('\n')}`))
}

test('topics and intents are a folder, labels with sentences, or both', () => {
  const billing = ['Why was I charged twice?', ' I need an invoice ']
  const kept = ['Why was I charged twice?', 'I need an invoice']
  assert.deepEqual(read({ topics: 'topics' }).topics, { folder: '/etc/homing/topics', examples: new Map() })
  assert.deepEqual(read({ topics: { billing } }).topics, { folder: null, examples: new Map([['billing', kept]]) })
  assert.deepEqual(read({ intents: { from: '/srv/intents', billing } }).intents, { folder: '/srv/intents', examples: new Map([['billing', kept]]) })
  assert.deepEqual([...read({ topics: { from: billing } }).topics.examples.keys()], ['from'], 'a list makes it a label')
})

test('sentences that say nothing are refused with their path and the reason', () => {
  refused({ topics: { billing: [] } }, /^fingerprint\.topics\.billing: has 0 sentences; 2 different ones are the fewest/)
  refused({ topics: { billing: ['only one'] } }, /has 1 sentences/)
  refused({ topics: { billing: ['Same thing', 'same thing '] } }, /billing\[1\]: is given twice/)
  refused({ topics: { billing: 'not a list' } }, /expected a list of sentences/)
  refused({ topics: { billing: ['a b', 7, ''] } }, /billing\[1\]: expected text/, /billing\[2\]: is empty/)
  refused({ topics: { a: ['one thing', 'another'], b: ['one thing', 'a third'] } }, /b\[0\]: is a sentence of 'a' too/)
  refused({ topics: { Wine: ['a b', 'c d'], wine: ['e f', 'g h'] } }, /wine: is the label 'Wine' in another spelling/)
  refused({ topics: { ['x'.repeat(65)]: ['a b', 'c d'] } }, /a label is 1 to 64 characters/)
  refused({ topics: { billing: ['a b', 'x'.repeat(1001)] } }, /is 1001 characters long; 1000 are the most/)
  refused({ topics: 7 }, /expected a folder of a trained taxonomy, or labels/)
})

test('labels and sentences are bounded', () => {
  const sentences = (label: number, count: number): string[] => Array.from({ length: count }, (_, at) => `sentence ${label} ${at}`)
  const labels = (count: number, each: number): object =>
    Object.fromEntries(Array.from({ length: count }, (_, at) => [`label ${at}`, sentences(at, each)]))
  assert.deepEqual(problems({ topics: labels(64, 7) }), [])
  refused({ topics: labels(65, 2) }, /has 65 labels; 64 are the most/)
  refused({ topics: labels(11, 50) }, /has 550 sentences; 500 are the most/)
  refused({ topics: labels(1, 51) }, /has 51 sentences; 50 are the most of a label/)
})

test('a remote embeddings model is read with its defaults, and what is wrong is told', () => {
  assert.equal(read({}).embeddings, null)
  assert.deepEqual(read({ embeddings: { url: 'http://e:1/v1', model: 'bge', key: 'env:KEY' } }).embeddings, {
    url: 'http://e:1', model: 'bge', key: 'secret', deadlineMs: 50, dimensions: null, characters: 2000,
  })
  const own = { url: 'http://e:1', model: 'bge', deadline: '1s', dimensions: 384, characters: 500 }
  assert.deepEqual(read({ embeddings: own }).embeddings, { url: 'http://e:1', model: 'bge', key: null, deadlineMs: 1000, dimensions: 384, characters: 500 })
  refused({ embeddings: { model: 'bge' } }, /embeddings\.url: missing/)
  refused({ embeddings: { url: 'e:1', model: 'bge' } }, /not an http/)
  refused({ embeddings: { url: 'http://e:1', model: 'bge', dimension: 3, deadline: 5 } }, /did you mean 'dimensions'/, /expected a duration/)
  refused({ embeddings: { url: 'http://e:1', model: 'bge', characters: 1e6 } }, /at most 100000/)
})
