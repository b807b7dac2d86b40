/**
 * The questions of both outcome matrices with what the fingerprint says of each, read once and kept in `.cache`.
 *
 * The shipped heads were trained on these very questions, so their topics are better here than they will be. `crossed`
 * subjects are what heads say that were trained without the question's fold: the same training, fewer texts.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { seededRandom } from '../../sim/random.ts'
import { Fingerprinter } from '../../src/fingerprint/fingerprinter.ts'
import { loadFingerprintModel } from '../../src/fingerprint/fingerprint-model.ts'
import { trainTaxonomy } from '../../src/fingerprint/train-taxonomy.ts'
import type { Subject } from '../../src/model/quality.ts'
import { projectRoot } from '../../test/house/root.ts'
import { intentExamples, rowsOf, topicExamples } from '../../training/labelled.ts'

export type Question = {
  /** The data set's own label: a subject of MMLU-Pro, a task of LLMRouter. */
  readonly label: string
  /** What each model of the matrix scored, in the order of `models`. */
  readonly scores: readonly number[]
  readonly shipped: Subject
  readonly crossed: Subject
}
export type OutcomeMatrix = { readonly name: string; readonly models: readonly string[]; readonly questions: readonly Question[] }

const FOLDS = 5
const TOPIC_ROWS = 12_000
const INTENT_ROWS = 8000

type Row = { readonly set: string; readonly label: string; readonly text: string; readonly scores: readonly number[] }

export function outcomeMatrices(data: string): OutcomeMatrix[] {
  const names = JSON.parse(readFileSync(join(data, 'mmlu-pro-topics-quarter.models.json'), 'utf8')) as string[]
  const subjects = rowsOf<{ text: string; category: string; correct: string }>(join(data, 'mmlu-pro-topics-quarter.jsonl'))
  const tasks = rowsOf<{ task: string; question: string; scores: Record<string, number> }>(join(data, 'llmrouter-outcomes-train-half.jsonl'))
  const others = Object.keys(tasks[0]!.scores)
  const rows: Row[] = [
    ...subjects.map(({ text, category, correct }) => ({ set: 'mmlu-pro', label: category, text, scores: [...correct].map(Number) })),
    ...tasks.map(({ task, question, scores }) => ({ set: 'llmrouter', label: task, text: question, scores: others.map((name) => scores[name]!) })),
  ]
  const read = subjectsOf(rows, data)
  const matrix = (name: string, models: readonly string[]): OutcomeMatrix => ({
    name,
    models,
    questions: rows.flatMap(({ set, label, scores }, at) => (set === name ? [{ label, scores, ...read[at]! }] : [])),
  })
  return [matrix('mmlu-pro', names), matrix('llmrouter', others)]
}

type Both = { readonly shipped: Subject; readonly crossed: Subject }
type Kept = Omit<Subject, 'embedding' | 'shape'> & { readonly embedding: number[]; readonly shape: number[] }

function subjectsOf(rows: readonly Row[], data: string): Both[] {
  const cache = join(projectRoot(), '.cache', 'expertise-subjects.json')
  if (!existsSync(cache)) {
    const made = madeSubjects(rows, data).map(({ shipped, crossed }) => [keep(shipped), keep(crossed)])
    mkdirSync(dirname(cache), { recursive: true })
    writeFileSync(cache, JSON.stringify(made))
  }
  const kept = JSON.parse(readFileSync(cache, 'utf8')) as [Kept, Kept][]
  if (kept.length !== rows.length) throw new Error(`${cache} is of other questions; delete it`)
  return kept.map(([shipped, crossed]) => ({ shipped: revive(shipped), crossed: revive(crossed) }))
}

const rounded = (values: Float32Array | undefined): number[] => Array.from(values ?? [], (value) => Math.round(1e5 * value) / 1e5)
const keep = (subject: Subject): object => ({ ...subject, embedding: rounded(subject.embedding), shape: rounded(subject.shape) })
const revive = (kept: Kept): Subject => ({ ...kept, embedding: Float32Array.from(kept.embedding), shape: Float32Array.from(kept.shape) })

function madeSubjects(rows: readonly Row[], data: string): Both[] {
  const model = loadFingerprintModel(join(projectRoot(), 'assets/fingerprint/model.homing'))
  const shipped = new Fingerprinter(model)
  const random = seededRandom(20_261_126)
  const foldOf = new Map<string, number>()
  const same = (text: string): string => text.trim().toLowerCase()
  for (const { text } of rows) foldOf.set(same(text), Math.floor(random() * FOLDS))
  const training = { outOfScope: 'out of scope', reader: model.reader, random: seededRandom }
  const [topicTexts, intentTexts] = [topicExamples(data), intentExamples(data)]
  const crossed = Array.from({ length: FOLDS }, (_, fold) => {
    console.error(`heads without fold ${fold + 1} of ${FOLDS}`)
    const without = <T extends { readonly text: string }>(texts: readonly T[]): T[] => texts.filter(({ text }) => foldOf.get(same(text)) !== fold)
    const topics = trainTaxonomy({ kind: 'texts', texts: without(topicTexts) }, { ...training, kind: 'topics', mostRows: TOPIC_ROWS })
    const intents = trainTaxonomy({ kind: 'texts', texts: without(intentTexts) }, { ...training, kind: 'intents', mostRows: INTENT_ROWS })
    console.error(`  held out: topics ${topics.heldOut?.accuracy.toFixed(3)}, intents ${intents.heldOut?.accuracy.toFixed(3)}`)
    return new Fingerprinter(model, { topics: topics.taxonomy, intents: intents.taxonomy })
  })
  return rows.map(({ text }) => ({ shipped: subjectOf(shipped, text), crossed: subjectOf(crossed[foldOf.get(same(text))!]!, text) }))
}

function subjectOf(fingerprinter: Fingerprinter, text: string): Subject {
  const { topics, intent, inScope, complexity, embedding, shape } = fingerprinter.update(fingerprinter.begin(), 'user', text)
  return { topics, intent, inScope, complexity, embedding, shape }
}
