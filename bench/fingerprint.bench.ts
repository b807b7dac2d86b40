/**
 * `npm run bench:fingerprint`: accuracy, calibration and microseconds of every part of the fingerprint, on the development data
 * with a fixed split, the lexical floor beside it. Prints one table; `--record FILE` writes it, `--only PART,PART` measures
 * some parts only. Needs ../shared/data.
 *
 * What operators train is trained here. What is shipped was trained on all of the development data, so its figures are the
 * cross-validated ones that the training recorded in the asset.
 */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { seededRandom } from '../sim/random.ts'
import { areaUnderCurve, calibrationError } from '../src/fingerprint/calibration.ts'
import { findEntities } from '../src/fingerprint/entities/find-entities.ts'
import { Fingerprinter, type TurnFingerprint } from '../src/fingerprint/fingerprinter.ts'
import { loadFingerprintModel } from '../src/fingerprint/fingerprint-model.ts'
import { SectionFile } from '../src/fingerprint/section-file.ts'
import { trainTaxonomy } from '../src/fingerprint/train-taxonomy.ts'
import type { LabelledText, TrainingSet } from '../src/fingerprint/training-lines.ts'
import { isObject, type JsonObject } from '../src/model/json.ts'
import { projectRoot } from '../test/house/root.ts'
import { intentExamples, rowsOf, sgdDialogues, topicExamples, writtenTexts, type SourcedText } from '../training/labelled.ts'
import { explained } from '../training/quantities.ts'
import { NaiveBayes } from './fingerprint/naive-bayes.ts'
import { mooncakeHistory } from './fingerprint/mooncake-history.ts'

const root = projectRoot()
const data = join(root, '..', 'shared', 'data')
const modelPath = join(root, 'assets/fingerprint/model.homing')
if (!existsSync(join(data, 'clinc150-train-val.jsonl'))) {
  console.error(`bench:fingerprint needs ${data}, which is not here`)
  process.exit(1)
}

const rows: string[] = []
const measured = (what: string, on: string, value: string, asked: string, floor = ''): void => {
  rows.push(`| ${what} | ${on} | ${value} | ${asked} | ${floor} |`)
  console.error(rows.at(-1))
}
const three = (value: number): string => value.toFixed(3)
const share = (hits: readonly boolean[]): number => hits.filter(Boolean).length / Math.max(1, hits.length)
const percentile = (values: readonly number[], at: number): number =>
  [...values].sort((left, right) => left - right)[Math.floor(at * (values.length - 1))] ?? 0

const rssBefore = process.memoryUsage().rss
const started = performance.now()
const model = loadFingerprintModel(modelPath)
const startMs = performance.now() - started
const rssAdded = process.memoryUsage().rss - rssBefore
const training = { outOfScope: 'oos', reader: model.reader, random: seededRandom }
const shipped = new Fingerprinter(model)

const alone = (fingerprinter: Fingerprinter, text: string): TurnFingerprint =>
  fingerprinter.update(fingerprinter.begin(), 'user', text)
/** The same on every machine. */
function split<T>(values: readonly T[]): { readonly train: T[]; readonly judge: T[] } {
  const random = seededRandom(20_261_125)
  const train: T[] = []
  const judge: T[] = []
  for (const value of values) (random() < 0.8 ? train : judge).push(value)
  return { train, judge }
}

const parts: Readonly<Record<string, () => void>> = {
  intents: () => clinc('intent', '.945'),
  domains: () => clinc('domain', '.982'),
  subjects: mmlu,
  dialogues,
  'built-in topics': () => builtIn('topics', topicExamples(data), writtenTexts('topics')),
  'built-in intents': () => builtIn('intents', intentExamples(data), writtenTexts('intents')),
  entities,
  recorded,
  history,
  speed,
}
const only = argument('--only')?.split(',') ?? Object.keys(parts)
const unknown = only.filter((name) => parts[name] === undefined)
if (unknown.length > 0) {
  console.error(`--only: no part is called ${unknown.join(', ')}; there are ${Object.keys(parts).join(', ')}`)
  process.exit(1)
}
for (const name of only) parts[name]!()
finish()

function argument(name: string): string | undefined {
  const place = process.argv.indexOf(name)
  return place < 0 ? undefined : process.argv[place + 1]
}

function clinc(name: 'intent' | 'domain', asked: string): void {
  type Row = { text: string; intent: string; domain: string | null; split: string }
  const all = rowsOf<Row>(join(data, 'clinc150-train-val.jsonl'))
  const labelled = (part: string): LabelledText[] =>
    all.filter((row) => row.split.includes(part)).map((row) => ({ text: row.text, label: row.intent === 'oos' ? 'oos' : row[name]! }))
  const set = labelled('train')
  const { taxonomy } = trainTaxonomy({ kind: 'texts', texts: set }, { ...training, kind: name === 'intent' ? 'intents' : 'topics' })
  const fingerprinter = new Fingerprinter(model, name === 'intent' ? { intents: taxonomy } : { topics: taxonomy })
  const bayes = new NaiveBayes(set)
  const hits: boolean[] = []
  const confidences: number[] = []
  const floor: boolean[] = []
  const [inside, outside]: [number[], number[]] = [[], []]
  for (const { text, label } of labelled('val')) {
    const found = alone(fingerprinter, text)
    if (label === 'oos') {
      outside.push(found.inScope)
      continue
    }
    inside.push(found.inScope)
    const [best, confidence] = name === 'intent' ? found.intent : found.topics[0]!
    hits.push(best === label)
    confidences.push(confidence)
    floor.push(bayes.best(text) === label)
  }
  measured(`${name} of ${taxonomy.labels.length - 1}`, 'CLINC train -> val', `${three(share(hits))}, calibration error ${three(calibrationError(confidences, hits))}`, asked, three(share(floor)))
  measured(`out of scope, beside the ${name}s`, 'CLINC', `AUROC ${three(areaUnderCurve(inside, outside))}`, '.965')
}

function mmlu(): void {
  const all = rowsOf<{ text: string; category: string }>(join(data, 'mmlu-pro-topics-quarter.jsonl'))
  const { train, judge } = split(all.map(({ text, category }) => ({ text, label: category })))
  const { taxonomy } = trainTaxonomy({ kind: 'texts', texts: train }, { ...training, kind: 'topics' })
  const fingerprinter = new Fingerprinter(model, { topics: taxonomy })
  const bayes = new NaiveBayes(train)
  const found = judge.map(({ text }) => alone(fingerprinter, text).topics)
  const hits = found.map((topics, at) => topics[0]![0] === judge[at]!.label)
  const second = found.map((topics, at) => topics.slice(0, 2).some(([name]) => name === judge[at]!.label))
  const error = calibrationError(found.map((topics) => topics[0]![1]), hits)
  measured('topic of 14', `mmlu-pro-topics-quarter, ${train.length} -> ${judge.length}`, `${three(share(hits))}, top-2 ${three(share(second))}, calibration error ${three(error)}`, '.77, .88, .05', three(share(judge.map(({ text, label }) => bayes.best(text) === label))))
}

function dialogues(): void {
  const { train, judge } = split(sgdDialogues(data))
  const { taxonomy } = trainTaxonomy({ kind: 'dialogues', dialogues: train }, { ...training, kind: 'topics' })
  const fingerprinter = new Fingerprinter(model, { topics: taxonomy })
  const [all, terse, last]: [boolean[], boolean[], boolean[]] = [[], [], []]
  const shifts = { hit: 0, wrong: 0, missed: 0 }
  for (const turns of judge) {
    const state = fingerprinter.begin()
    let before: string | null = null
    for (const { speaker, text, label } of turns) {
      const found = fingerprinter.update(state, speaker, text)
      if (speaker !== 'user') continue
      const hit = found.topics[0]![0] === label
      all.push(hit)
      if (text.trim().split(/\s+/).length <= 4) terse.push(hit)
      last.push(alone(fingerprinter, text).topics[0]![0] === label)
      const changed = before !== null && before !== label
      const declared = before !== null && found.shift >= 0.5
      if (changed) shifts[declared ? 'hit' : 'missed']++
      else if (declared) shifts.wrong++
      before = label
    }
  }
  const f1 = (2 * shifts.hit) / (2 * shifts.hit + shifts.wrong + shifts.missed)
  measured('topic of every user turn', `sgd-dev-half, ${train.length} -> ${judge.length} dialogues`, three(share(all)), '.885', `${three(share(last))} (last message)`)
  measured('topic of terse turns', 'sgd-dev-half', three(share(terse)), '.895')
  measured('topic shift', 'sgd-dev-half', `F1 ${three(f1)}`, '.87')
}

/** Trained without what was written in one style, judged on it; each style in turn. */
function builtIn(kind: 'topics' | 'intents', examples: readonly SourcedText[], written: readonly SourcedText[]): void {
  const labels = new Set(written.map(({ label }) => label))
  for (const source of new Set(written.map((one) => one.source))) {
    const texts = examples.filter((example) => example.source !== source)
    const set: TrainingSet = { kind: 'texts', texts }
    const { taxonomy } = trainTaxonomy(set, { ...training, kind, outOfScope: 'out of scope' })
    const fingerprinter = new Fingerprinter(model, { [kind]: taxonomy })
    const judge = written.filter((one) => one.source === source && one.label !== 'out of scope')
    const bayes = new NaiveBayes(texts)
    const hits = judge.map(({ text, label }) => {
      const found = alone(fingerprinter, text)
      return (kind === 'intents' ? found.intent[0] : found.topics[0]![0]) === label
    })
    const floor = judge.map(({ text, label }) => bayes.best(text) === label)
    measured(`built-in ${kind} beyond MMLU-Pro's (${labels.size})`, `written, source ${source} left out`, three(share(hits)), '.85', three(share(floor)))
  }
}

function entities(): void {
  type Turn = { text: string; spans?: [string, number, number][] }
  const slots = { calendar: { hit: 0, all: 0 }, any: { hit: 0, all: 0 } }
  for (const { turns } of rowsOf<{ turns: Turn[] }>(join(data, 'sgd-dev-half.jsonl'))) {
    for (const { text, spans = [] } of turns) {
      if (spans.length === 0) continue
      const found = findEntities(text, model.names)
      for (const [slot, start, end] of spans) {
        const over = found.filter((entity) => entity.start < end && entity.end > start)
        slots.any.all++
        if (over.length > 0) slots.any.hit++
        if (!/date|_time$|^time$/.test(slot)) continue
        slots.calendar.all++
        if (over.some(({ type }) => type === 'date' || type === 'time')) slots.calendar.hit++
      }
    }
  }
  measured('dates and times, overlap recall (type right)', `sgd-dev-half, ${slots.calendar.all}`, three(slots.calendar.hit / slots.calendar.all), '.98')
  measured('any annotated slot, overlap recall', `sgd-dev-half, ${slots.any.all}`, three(slots.any.hit / slots.any.all), '.60')
}

/** What the training measured, from the asset's description. */
function recorded(): void {
  const { meta } = SectionFile.read(modelPath)
  const found = isObject(meta['measured']) ? meta['measured'] : {}
  const of = (what: string, key: string): number => {
    const entry = found[what]
    return isObject(entry) && typeof entry[key] === 'number' ? entry[key] : NaN
  }
  const partners = found['partner prompts found'] as { table: JsonObject; untrained: JsonObject } | undefined
  measured('likeness to the teacher, held-out sentences', 'WordNet, texts of data', `cosine ${three(of('table', 'heldOutCosine'))}`, '.92', `${three(of('table', 'untrainedCosine'))} (untrained)`)
  if (partners !== undefined) {
    measured('partner prompt is the nearest', 'arena-hard-cluster-pairs', three(Number(partners.table['first'])), 'twice the untrained', `${three(Number(partners.untrained['first']))} (untrained)`)
  }
  measured('people, places, organisations: exact / any', 'wnut17-dev', `${three(of('names, wnut17-dev', 'exact'))} / ${three(of('names, wnut17-dev', 'any'))}`, '.33 / .48')
  measured('the same', 'clean sentences, teacher-labelled, held out', `${three(of('names, silver sentences held out', 'exact'))} / ${three(of('names, silver sentences held out', 'any'))}`, '.60')
  measured('complexity: small model fails', 'routellm-mmlu, subjects left out', `AUROC ${three(of('complexity, subjects left out', 'areaUnderCurve'))}`, '.675')
  measured('complexity: mean error of 20 models', 'mmlu-pro-topics-quarter, 5 folds', `Spearman ${three(of('complexity, mean error of 20 models', 'spearman'))}`, '.42')
  measured('output tokens, next output of an agent', 'tau-bench, tasks left out', `R2 ${three(of('output tokens of an agent, tasks left out', 'r2'))}`, '.25')
  measured('remaining turns', 'sgd-dev-half, dialogues left out', `R2 ${three(of('remaining turns, dialogues left out', 'r2'))}`, '-')
}

function history(): void {
  const { predicted, wanted } = mooncakeHistory(join(data, 'mooncake-conversation-part1.jsonl'))
  measured('output tokens of continuing turns, from the own history', `mooncake, ${wanted.length} turns`, `R2 ${three(explained(predicted, wanted))}`, '.44')
}

function speed(): void {
  const clincTexts = rowsOf<{ text: string }>(join(data, 'clinc150-train-val.jsonl')).slice(0, 3000).map(({ text }) => text)
  const words = rowsOf<{ prompt: string }>(join(data, 'routellm-mmlu-19subjects.jsonl')).map(({ prompt }) => prompt).join(' ').split(' ')
  const ofWords = (count: number): string[] => Array.from({ length: 200 }, (_, at) => words.slice(at * count, (at + 1) * count).join(' '))
  for (const text of clincTexts.slice(0, 500)) alone(shipped, text)
  const timed = (what: string, texts: readonly string[], asked: string): void => {
    const used = texts.map((text) => {
      const state = shipped.begin()
      const before = process.cpuUsage()
      shipped.update(state, 'user', text)
      const { user, system } = process.cpuUsage(before)
      return user + system
    })
    measured(`processor time of an update, ${what}`, `${texts.length} texts`, `p50 ${percentile(used, 0.5)} us, p99 ${percentile(used, 0.99)} us`, asked)
  }
  timed('short texts', clincTexts, '150, 1500')
  timed('about 200 tokens', ofWords(140), '1500')
  timed('about 425 tokens', ofWords(300), '3000')
  measured('start', 'the shipped model', `${startMs.toFixed(0)} ms, ${(rssAdded / 2 ** 20).toFixed(0)} MB resident`, '300 ms, 60 MB')
  measured('size of the asset', '', `${(statSync(modelPath).size / 1e6).toFixed(2)} MB`, '8 MB')
}

function finish(): void {
  const table = ['| measure | data | measured | asked for | floor |', '|---|---|---|---|---|', ...rows].join('\n')
  console.log(table)
  const path = argument('--record')
  if (path === undefined) return
  const head = readFileSync(join(root, 'bench/fingerprint/record-head.md'), 'utf8')
  writeFileSync(path, `${head}\n${table}\n`)
}
