/**
 * `npm run bench:examples`: topics and intents that an operator gives by 3, 5 and 10 sentences, added to the built-in ones. Recall
 * and precision of the new labels, and what they take from the built-in ones, beside naive Bayes over the same sentences. The
 * weights are learnt on half of the labels and judged on the other half, both ways. `--record FILE` writes the table.
 * Needs ../shared/data.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fingerprintAssetPath } from '../src/fingerprint-asset.ts'
import { loadFingerprintModel } from '../src/fingerprint/fingerprint-model.ts'
import { Fingerprinter } from '../src/fingerprint/fingerprinter.ts'
import { calibrationError } from '../src/fingerprint/calibration.ts'
import { indexOfMost } from '../src/fingerprint/label-filter.ts'
import { LabelsByExample } from '../src/fingerprint/labels-by-example.ts'
import { ORDINARY_TEXTS } from '../src/fingerprint/ordinary-texts.ts'
import { projectRoot } from '../test/house/root.ts'
import { EXAMPLE_COUNTS, episodesOf, fitWeights, ordinaryQuestions, type Episode, type Half } from '../training/label-examples.ts'
import { rowsOf, sgdDialogues, writtenTexts } from '../training/labelled.ts'
import { NaiveBayes } from './fingerprint/naive-bayes.ts'

const data = join(projectRoot(), '..', 'shared', 'data')
if (!existsSync(join(data, 'clinc150-train-val.jsonl'))) {
  console.error(`bench:examples needs ${data}, which is not here`)
  process.exit(1)
}
const model = loadFingerprintModel(fingerprintAssetPath())
const REST = '(none)'
type Rule = (text: string) => string
type Tally = { own: number; hit: number; confused: number; others: number; takenOthers: number; questions: number; takenQuestions: number; prompts: number; takenPrompts: number; written: number; takenWritten: number }
const tallies = new Map<string, { ours: Tally; floor: Tally }>()
const empty = (): Tally => ({ own: 0, hit: 0, confused: 0, others: 0, takenOthers: 0, questions: 0, takenQuestions: 0, prompts: 0, takenPrompts: 0, written: 0, takenWritten: 0 })

for (const half of [0, 1] as const) {
  const weights = fitWeights(model, data, [half])
  const judged: Half = half === 0 ? 1 : 0
  for (const count of EXAMPLE_COUNTS) {
    for (const episode of episodesOf(data, judged, count)) {
      const key = `${episode.source} | ${count}`
      const both = tallies.get(key) ?? { ours: empty(), floor: empty() }
      tallies.set(key, both)
      judge(episode, oursOf(episode, weights), both.ours)
      judge(episode, floorOf(episode), both.floor)
    }
  }
}

function oursOf({ kind, examples }: Episode, weights: readonly number[]): Rule {
  const labels = new LabelsByExample(model[kind], examples, model.reader, weights)
  const row = new Float32Array(labels.labels.length)
  return (text) => {
    labels.read(model.reader.read(text), row)
    const best = indexOfMost(row)
    return best < model[kind].labels.length ? REST : labels.labels[best]!
  }
}

/** Knows the same: the examples, and ordinary texts as what is none of them. */
function floorOf({ examples }: Episode): Rule {
  const own = [...examples].flatMap(([label, texts]) => texts.map((text) => ({ text, label })))
  const bayes = new NaiveBayes([...own, ...ORDINARY_TEXTS.map((text) => ({ text, label: REST }))])
  return (text) => bayes.best(text)
}

function judge({ kind, own, others }: Episode, rule: Rule, tally: Tally): void {
  for (const { text, label } of own) {
    const found = rule(text)
    tally.own++
    if (found === label) tally.hit++
    else if (found !== REST) tally.confused++
  }
  const taken = (texts: readonly string[]): number => texts.filter((text) => rule(text) !== REST).length
  const { subjects, prompts } = ordinaryQuestions(data, 1)
  const written = writtenTexts(kind).map(({ text }) => text)
  tally.others += others.length
  tally.takenOthers += taken(others)
  tally.questions += subjects.length
  tally.takenQuestions += taken(subjects)
  tally.prompts += prompts.length
  tally.takenPrompts += taken(prompts)
  tally.written += written.length
  tally.takenWritten += taken(written)
}

const percent = (part: number, whole: number): string => `${((100 * part) / Math.max(1, whole)).toFixed(1)} %`
const cells = ({ own, hit, confused, others, takenOthers, questions, takenQuestions, prompts, takenPrompts, written, takenWritten }: Tally): string[] => [
  percent(hit, own),
  percent(hit, hit + confused + (takenOthers * own) / others),
  percent(takenQuestions, questions),
  percent(takenPrompts, prompts),
  percent(takenWritten, written),
]
const lines = [
  '| labels | sentences each | recall | precision | of MMLU-Pro | of hard prompts | of written built-in texts | floor: recall | precision | of MMLU-Pro | of hard prompts | of written |',
  '|---|---|---|---|---|---|---|---|---|---|---|---|',
  ...[...tallies].map(([key, { ours, floor }]) => `| ${[key, ...cells(ours), ...cells(floor)].join(' | ')} |`),
  '',
  ...conversations(),
  '',
  ...manyAtOnce(),
]
console.log(lines.join('\n'))
const place = process.argv.indexOf('--record')
const path = process.argv[place + 1]
if (place >= 0 && path !== undefined) {
  writeFileSync(path, `# Labels by example, 2026-11-26

Command: \`npm run bench:examples -- --record bench/records/label-examples-2026-11-26.md\`.

New labels are five intents of CLINC, two of its domains, or three services of SGD at a time, added to the built-in intents or topics;
weights learnt on half of each set's labels, judged on the other half, both ways. Precision counts as many other texts of the same set as
there are of the new labels: these are near (another bank matter, another booking). The next three columns are the share of texts that
have nothing to do with the new labels and were given one: what the built-in labels lose. Floor: naive Bayes over the same sentences, with
the ordinary texts as none of them.

${lines.join('\n')}
`)
}

/** Whole dialogues: the belief after every user turn, against each message alone. */
function conversations(): string[] {
  const services = ['Hotels', 'Flights', 'Movies']
  const { length } = sgdDialogues(data)
  const dialogues = sgdDialogues(data)
  const rows = EXAMPLE_COUNTS.map((count) => {
    const examples = new Map(services.map((service) => {
      const texts = dialogues.slice(0, length / 2).flatMap((turns) =>
        turns.filter(({ speaker, text, label }) => speaker === 'user' && label === service && text.split(' ').length > 4).map(({ text }) => text))
      const step = Math.floor(texts.length / count)
      return [service, Array.from({ length: count }, (_, at) => texts[at * step]!)] as const
    }))
    const fingerprinter = new Fingerprinter(model, {}, { topics: examples })
    const tally = { own: 0, hit: 0, alone: 0, others: 0, taken: 0 }
    for (const turns of dialogues.slice(length / 2)) {
      const state = fingerprinter.begin()
      for (const { speaker, text, label } of turns) {
        const found = fingerprinter.update(state, speaker, text).topics[0]![0]
        if (speaker !== 'user') continue
        if (services.includes(label!)) {
          tally.own++
          if (found === label) tally.hit++
          if (fingerprinter.update(fingerprinter.begin(), 'user', text).topics[0]![0] === label) tally.alone++
        } else {
          tally.others++
          if (services.includes(found)) tally.taken++
        }
      }
    }
    return `| ${count} | ${percent(tally.hit, tally.own)} | ${percent(tally.alone, tally.own)} | ${percent(tally.taken, tally.others)} |`
  })
  return [
    `Dialogues of SGD (second half; ${services.join(', ')} given by sentences of the first), every user turn, with the shipped weights:`,
    '',
    '| sentences each | right, in the conversation | right, message alone | turns about other services that were given one |',
    '|---|---|---|---|',
    ...rows,
  ]
}

/** As many as the configuration takes: what they do to each other and to the built-in ones. */
function manyAtOnce(): string[] {
  const rows = rowsOf<{ text: string; intent: string; split: string }>(join(data, 'clinc150-train-val.jsonl'))
  const intents = [...new Set(rows.filter(({ split }) => split === 'train').map(({ intent }) => intent))].sort()
  const lines = [8, 64].map((many) => {
    const chosen = intents.filter((_, at) => at % Math.floor(intents.length / many) === 0).slice(0, many)
    const examples = new Map(chosen.map((intent) => [
      intent,
      rows.filter((row) => row.split === 'train' && row.intent === intent).slice(0, 5).map(({ text }) => text),
    ]))
    const labels = new LabelsByExample(model.intents, examples, model.reader)
    const row = new Float32Array(labels.labels.length)
    const read = (text: string): { best: string; probability: number; known: number } => {
      labels.read(model.reader.read(text), row)
      const best = indexOfMost(row)
      const known = row.subarray(0, model.intents.labels.length).reduce((sum, value) => sum + Math.exp(value), 0)
      return { best: labels.labels[best]!, probability: Math.exp(row[best]!), known }
    }
    const own = rows.filter(({ split, intent }) => split === 'val' && chosen.includes(intent))
    const found = own.map(({ text }) => read(text))
    const hits = found.map(({ best }, at) => best === own[at]!.intent)
    const { subjects, prompts } = ordinaryQuestions(data, 1)
    const ordinary = [...subjects, ...prompts, ...writtenTexts('intents').map(({ text }) => text)].map(read)
    const lost = ordinary.filter(({ best }) => examples.has(best)).length
    const started = performance.now()
    for (let round = 0; round < 20; round++) for (const { text } of own.slice(0, 100)) read(text)
    const ours = performance.now() - started
    const before = performance.now()
    for (let round = 0; round < 20; round++) for (const { text } of own.slice(0, 100)) model.intents.read(model.reader.read(text), row)
    const times = ours / (performance.now() - before)
    const kept = ordinary.reduce((sum, { known }) => sum + known, 0) / ordinary.length
    return `| ${many} | ${percent(hits.filter(Boolean).length, hits.length)} | ${calibrationError(found.map(({ probability }) => probability), hits).toFixed(3)} | ${percent(lost, ordinary.length)} | ${kept.toFixed(3)} | ${times.toFixed(2)} |`
  })
  return [
    'Intents of CLINC by 5 sentences each, many at once, with the shipped weights; ordinary texts are questions of MMLU-Pro, hard prompts and',
    'the written built-in texts:',
    '',
    '| labels | recall | calibration error | ordinary texts that were given one | mean probability that ordinary texts keep for built-in labels | time over without them |',
    '|---|---|---|---|---|---|',
    ...lines,
  ]
}
