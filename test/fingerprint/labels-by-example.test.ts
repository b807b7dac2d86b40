import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../../sim/random.ts'
import { Fingerprinter, type TurnFingerprint } from '../../src/fingerprint/fingerprinter.ts'
import { LabelsByExample, type LabelExamples } from '../../src/fingerprint/labels-by-example.ts'
import { trainTaxonomy } from '../../src/fingerprint/train-taxonomy.ts'
import { shipped } from './shipped.ts'

const BILLING = ['Why was I charged twice?', 'I need an invoice for March', 'Please refund the fee on my last statement']
const WINE = ['Which red goes with lamb?', 'The nose has cherry and oak', 'How long should I let a Bordeaux breathe?', 'Recommend a dry Riesling']
const OWN: LabelExamples = new Map([['billing', BILLING], ['wine tasting', WINE]])
const HUMAN = ['let me talk to a human', 'I want to speak with a real person', 'connect me to an agent please']

const alone = (fingerprinter: Fingerprinter, text: string): TurnFingerprint =>
  fingerprinter.update(fingerprinter.begin(), 'user', text)
const topOf = ({ topics }: TurnFingerprint): string => topics[0]![0]

test('topics and intents given by a few sentences are found in other words, beside the built-in ones', () => {
  const fingerprinter = new Fingerprinter(shipped, {}, { topics: OWN, intents: new Map([['escalate', HUMAN]]) })
  assert.equal(topOf(alone(fingerprinter, 'there are two charges on my invoice this month')), 'billing')
  assert.equal(topOf(alone(fingerprinter, 'is this Riesling too dry, which red would you recommend with lamb?')), 'wine tasting')
  assert.equal(topOf(alone(fingerprinter, 'Why does my Python function raise a TypeError?')), 'coding')
  assert.equal(alone(fingerprinter, 'can I talk to a real person?').intent[0], 'escalate')
  assert.equal(alone(fingerprinter, 'thanks a lot!').intent[0], 'thank')
})

test('what built-in labels think of each other stays as it was: new labels take from all of them alike', () => {
  const plain = new Float32Array(shipped.topics.labels.length)
  const labels = new LabelsByExample(shipped.topics, OWN, shipped.reader)
  const row = new Float32Array(labels.labels.length)
  fc.assert(fc.property(fc.string({ maxLength: 80, unit: 'grapheme' }), (text) => {
    labels.read(shipped.reader.read(text), row)
    shipped.topics.read(shipped.reader.read(text), plain)
    assert.ok(Math.abs(row.reduce((sum, value) => sum + Math.exp(value), 0) - 1) < 1e-4)
    const factor = row[0]! - plain[0]!
    assert.ok(factor <= 1e-6)
    plain.forEach((value, label) => assert.ok(value < -20 || Math.abs(row[label]! - value - factor) < 1e-3))
  }), { numRuns: 200, seed: 4 })
})

test('a new topic takes part in the conversation: terse turns stay at it, and it can be left', () => {
  const fingerprinter = new Fingerprinter(shipped, {}, { topics: OWN })
  const state = fingerprinter.begin()
  const say = (text: string): TurnFingerprint => fingerprinter.update(state, 'user', text)
  assert.equal(topOf(say('I was charged twice on my last invoice, please refund it')), 'billing')
  assert.equal(topOf(say('yes, the second one')), 'billing')
  assert.ok(say('Now write a Python function that merges two sorted lists.').shift > 0.2)
  assert.equal(topOf(say('Why does this function raise a TypeError when the list is empty?')), 'coding')
})

test('examples under the name of a built-in label, in any spelling, extend it', () => {
  const text = 'the nose is all cherry with a hint of oak'
  const by = new Map([['Chemistry', WINE]])
  const extended = new Fingerprinter(shipped, {}, { topics: by })
  const before = new Map(alone(new Fingerprinter(shipped), text).topics).get('chemistry')!
  const found = alone(extended, text)
  assert.equal(found.topics.length, shipped.topics.labels.length, 'no label was added')
  assert.ok(new Map(found.topics).get('chemistry')! > before + 0.1)
})

test('examples are added to a trained taxonomy as to the built-in one', () => {
  const about = (label: string, words: string[]) => words.map((word) => ({ text: `please help with my ${word}`, label }))
  const texts = [...about('pets', ['dog', 'cat', 'hamster', 'parrot']), ...about('cars', ['engine', 'brakes', 'tyres', 'gearbox'])]
  const { taxonomy } = trainTaxonomy({ kind: 'texts', texts }, { kind: 'topics', outOfScope: 'oos', reader: shipped.reader, random: seededRandom })
  const fingerprinter = new Fingerprinter(shipped, { topics: taxonomy }, { topics: OWN })
  assert.equal(topOf(alone(fingerprinter, 'I need an invoice for April')), 'billing')
  assert.equal(topOf(alone(fingerprinter, 'please help with my dog and my cat')), 'pets')
  assert.deepEqual(alone(fingerprinter, 'x').topics.map(([name]) => name).sort(), ['billing', 'cars', 'pets', 'wine tasting'])
})

test('a new intent is in scope, and nothing else about the scope changes', () => {
  const extended = new Fingerprinter(shipped, {}, { topics: OWN, intents: new Map([['escalate', HUMAN]]) })
  assert.ok(alone(extended, HUMAN[0]!).inScope > 0.9)
  const gibberish = 'zzz qqq xxyzzy 000'
  assert.ok(alone(extended, gibberish).inScope < alone(new Fingerprinter(shipped), gibberish).inScope + 0.2)
})
