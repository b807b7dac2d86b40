/**
 * Second half of the training: the heads, in the gateway's own code, on the table that distil.py wrote; then the asset.
 *
 *   node dist/training/build-asset.js CACHE DATA OUT
 *
 * Seeds are fixed; the same table and data give the same file.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { partnersFound } from './partners.ts'
import type { FeatureReader } from '../src/fingerprint/text-features.ts'
import type { JsonValue } from '../src/model/json.ts'
import { seededRandom } from '../sim/random.ts'
import { SectionFile, SectionWriter } from '../src/fingerprint/section-file.ts'
import { readTable } from '../src/fingerprint/fingerprint-model.ts'
import { NGRAM_SCHEME } from '../src/fingerprint/ngrams.ts'
import { LabelFilter } from '../src/fingerprint/label-filter.ts'
import { trainTaxonomy } from '../src/fingerprint/train-taxonomy.ts'
import { saveQuantities } from '../src/fingerprint/quantities.ts'
import { trainQuantities } from './quantities.ts'
import { NameTagger } from '../src/fingerprint/entities/name-tagger.ts'
import { intentExamples, rowsOf, sgdDialogues, topicExamples } from './labelled.ts'
import { judgedNames, readFacts, saveNames, SILVER_HELD_OUT_ONE_IN, trainNames, wnut, type NamedText } from './names.ts'

const [cache = '', data = '', out = ''] = process.argv.slice(2)
const OUT_OF_SCOPE = 'out of scope'

const vocabulary = readFileSync(join(cache, 'vocabulary.txt'), 'utf8')
type Table = { readonly rows: Int8Array; readonly scales: Float32Array }
const numbers = (name: string): Table => {
  const bytes = readFileSync(join(cache, `${name}.i8`))
  const scaleBytes = readFileSync(join(cache, `${name}.f32`))
  return {
    rows: new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length),
    scales: new Float32Array(new Uint8Array(scaleBytes).buffer),
  }
}
const own = numbers('table')
const table = createHash('sha256').update(vocabulary).update(own.rows).update(own.scales).update(NGRAM_SCHEME).digest('hex').slice(0, 16)
const dimensions = own.rows.length / own.scales.length

const tableSections = ({ rows, scales }: Table): SectionWriter => {
  const file = new SectionWriter()
  file.addText('vocabulary', vocabulary)
  file.add('table.rows', rows)
  file.add('table.scales', scales)
  return file
}
const readerOf = (of: Table): FeatureReader =>
  readTable(SectionFile.parse('table', tableSections(of).toBuffer({ table, dimensions }))).reader
const reader = readerOf(own)
const training = { reader, random: seededRandom, outOfScope: OUT_OF_SCOPE }

const measured: Record<string, JsonValue> = {}
const say = (what: string, found: object | null): void => {
  measured[what] = JSON.parse(JSON.stringify(found)) as JsonValue
  console.error(what, JSON.stringify(found))
}
say('table', JSON.parse(readFileSync(join(cache, 'table.json'), 'utf8')) as object)
say('partner prompts found', {
  table: partnersFound(data, reader),
  untrained: partnersFound(data, readerOf(numbers('untrained'))),
})
const dialogues = trainTaxonomy({ kind: 'dialogues', dialogues: sgdDialogues(data) }, { ...training, kind: 'topics', mostRows: 6000 })
say('filter, on service dialogues', dialogues.heldOut)
const topics = trainTaxonomy({ kind: 'texts', texts: topicExamples(data) }, { ...training, kind: 'topics', mostRows: 12_000 })
say('topics', topics.heldOut)
const intents = trainTaxonomy({ kind: 'texts', texts: intentExamples(data) }, { ...training, kind: 'intents', mostRows: 8000 })
say('intents', intents.heldOut)

const file = tableSections(own)
topics.taxonomy.write(file, 'topics.')
intents.taxonomy.write(file, 'intents.')
const shared = dialogues.taxonomy
file.add('filter', (shared.filter ?? new LabelFilter(new Float32Array(12))).weights)
shared.writeCue(file, 'cue')
saveQuantities(trainQuantities(data, reader, say), file)
const facts = readFacts(cache)
const names = trainNames(cache, data, facts)
facts.save(file)
saveNames(names, file)
const tagger = new NameTagger(names, facts.facts)
say('names, wnut17-dev', judgedNames(tagger, wnut(join(data, 'wnut17-dev.conll'))))
const silver = rowsOf<NamedText>(join(cache, 'silver.jsonl')).filter((_, at) => at % SILVER_HELD_OUT_ONE_IN === 0)
say('names, silver sentences held out', judgedNames(tagger, silver))
mkdirSync(dirname(out), { recursive: true })
const size = file.write(out, {
  content: 'model',
  table,
  dimensions,
  measured,
  taxonomies: { topics: topics.taxonomy.description, intents: intents.taxonomy.description },
})
console.error(`${out}: ${size} bytes, sha256 ${createHash('sha256').update(readFileSync(out)).digest('hex')}`)
