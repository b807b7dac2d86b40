import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { seededRandom } from '../../sim/random.ts'
import { Fingerprinter } from '../../src/fingerprint/fingerprinter.ts'
import { Taxonomy } from '../../src/fingerprint/taxonomy.ts'
import { trainTaxonomy, type TrainedTaxonomy } from '../../src/fingerprint/train-taxonomy.ts'
import { readTrainingLines } from '../../src/fingerprint/training-lines.ts'
import { shipped } from './shipped.ts'

const lines = (rows: readonly object[]): string => rows.map((row) => JSON.stringify(row)).join('\n')
const train = (rows: readonly object[], kind: 'topics' | 'intents' = 'topics'): TrainedTaxonomy =>
  trainTaxonomy(readTrainingLines('lines.jsonl', lines(rows), 'oos'), { kind, outOfScope: 'oos', reader: shipped.reader, random: seededRandom })

const FEW = [
  { text: 'my invoice is wrong', label: 'billing' },
  { text: 'I was charged twice on my card', label: 'billing' },
  { text: 'please refund the payment', label: 'billing' },
  { text: 'the parcel has not arrived', label: 'shipping' },
  { text: 'where is my delivery', label: 'shipping' },
  { text: 'the courier left the package at the wrong house', label: 'shipping' },
]

test('a handful of sentences makes topics, and what was saved says the same', (t) => {
  const { taxonomy, heldOut } = train(FEW)
  assert.equal(heldOut, null, 'nothing was held out of three examples')
  const folder = mkdtempSync(join(tmpdir(), 'homing-taxonomy-'))
  t.after(() => rmSync(folder, { recursive: true }))
  taxonomy.save(folder, { table: shipped.table, examples: FEW.length })
  const [fresh, saved] = [taxonomy, Taxonomy.load(folder, shipped.table)].map((topics) => {
    const fingerprinter = new Fingerprinter(shipped, { topics })
    return fingerprinter.update(fingerprinter.begin(), 'user', 'has my shipment been delivered by the courier yet?')
  })
  assert.equal(fresh!.topics[0]![0], 'shipping')
  assert.deepEqual(saved, fresh)
  assert.deepEqual(saved!.topics.map(([name]) => name).sort(), ['billing', 'shipping'], 'only its own labels')
  assert.throws(() => Taxonomy.load(folder, 'another table'), /train it again/)
})

test('the same lines give the same taxonomy', () => {
  const [left, right] = [train(FEW), train(FEW)].map(({ taxonomy }) => {
    const fingerprinter = new Fingerprinter(shipped, { topics: taxonomy })
    return fingerprinter.update(fingerprinter.begin(), 'user', 'a parcel').topics
  })
  assert.deepEqual(left, right)
})

test('what is out of scope is a probability of its own, and no label', () => {
  const rows = [...FEW, ...['the moon is far', 'sing a song', 'blue elephants dance'].map((text) => ({ text, label: 'oos' }))]
  const fingerprinter = new Fingerprinter(shipped, { intents: train(rows, 'intents').taxonomy })
  const scope = (text: string): number => fingerprinter.update(fingerprinter.begin(), 'user', text).inScope
  assert.ok(scope('refund my payment please') > scope('the elephants sing to the moon'))
  const turn = fingerprinter.update(fingerprinter.begin(), 'user', 'blue elephants dance')
  assert.notEqual(turn.intent[0], 'oos')
  assert.ok(turn.intent[1] < 0.5)
})

test('dialogues teach where the subject changes', () => {
  const about = { food: ['book a table', 'italian please', 'two people'], travel: ['find me a flight', 'to boston', 'window seat'] }
  const dialogue = (first: keyof typeof about, second: keyof typeof about, times: number): object => ({
    turns: [first, second].flatMap((label, half) =>
      about[label].flatMap((text, at) => [
        { speaker: 'USER', text: half === 1 && at === 0 ? `${'also '.repeat(1 + (times % 2))}${text}` : text, label },
        { speaker: 'SYSTEM', text: 'certainly, anything else?' },
      ]),
    ),
  })
  const rows = Array.from({ length: 24 }, (_, at) => dialogue(at % 2 === 0 ? 'food' : 'travel', at % 2 === 0 ? 'travel' : 'food', at))
  const { taxonomy, heldOut } = train(rows)
  assert.ok(heldOut!.accuracy > 0.95 && heldOut!.shiftF1! > 0.9, JSON.stringify(heldOut))
  const fingerprinter = new Fingerprinter(shipped, { topics: taxonomy })
  const state = fingerprinter.begin()
  const said = ['book a table', 'two people', 'also find me a flight', 'window seat']
  const turns = said.map((text) => fingerprinter.update(state, 'user', text))
  assert.deepEqual(turns.map(({ topics }) => topics[0]![0]), ['food', 'food', 'travel', 'travel'])
  assert.deepEqual(turns.map(({ shift }) => shift >= 0.5), [false, false, true, false])
  assert.equal(state.driftTurn, 2)
})

test('lines that nothing can be learnt from are refused with file, line and reason', () => {
  const refused = (rows: readonly object[] | string, why: RegExp): void => {
    const content = typeof rows === 'string' ? rows : lines(rows)
    assert.throws(() => readTrainingLines('topics.jsonl', content, 'oos'), (error: Error) => error.message.startsWith('topics.jsonl: ') && why.test(error.message))
  }
  refused('', /0 labelled examples; 5 are the fewest/)
  refused(FEW.slice(0, 4), /4 labelled examples/)
  refused(`${lines(FEW)}\nnot json`, /line 7 is not a JSON object/)
  refused([...FEW, { text: 'x' }], /line 7 needs "text" and "label"/)
  refused(FEW.map(({ text }) => ({ text, label: 'one' })), /1 labels in scope/)
  refused([...FEW, { text: 'only this', label: 'rare' }], /label "rare" has one example/)
  refused([...FEW, ...Array.from({ length: 3 }, () => ({ text: 'Same ', label: 'rare' }))], /label "rare" has 3 examples that are all the same/)
  refused([...FEW, { turns: [] }], /one form in a file/)
  refused([{ turns: [{ speaker: 'NOBODY', text: 'x', label: 'y' }] }], /turns\[0\]\.speaker must be USER or SYSTEM/)
})
