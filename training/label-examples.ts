/**
 * Learns the weights of labels by example (src/fingerprint/labels-by-example.ts), and prints them:
 *
 *   npm run build && node dist/training/label-examples.js
 *
 * An episode is an operator: a few labels of a public set, each given by 3, 5 or 10 of its sentences, and texts of these labels
 * and of others to tell apart. Every other operator says the same thing several times over: his sentences lie side by side in
 * the set, where CLINC has them in the order of their paraphrases. The weights are a logistic regression over all of them. The labels of each set fall in
 * two halves, so that a bench can learn on one and judge on the other.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { seededRandom } from '../sim/random.ts'
import { fingerprintAssetPath } from '../src/fingerprint-asset.ts'
import { loadFingerprintModel, type FingerprintModel } from '../src/fingerprint/fingerprint-model.ts'
import { EXAMPLE_WEIGHTS, LabelsByExample } from '../src/fingerprint/labels-by-example.ts'
import { shuffled } from '../src/fingerprint/shuffled.ts'
import { logistic } from '../src/fingerprint/train-filter.ts'
import type { LabelledText } from '../src/fingerprint/training-lines.ts'
import { projectRoot } from '../test/house/root.ts'
import { rowsOf, sgdDialogues } from './labelled.ts'

export type Episode = {
  readonly kind: 'topics' | 'intents'
  readonly source: string
  readonly examples: ReadonlyMap<string, readonly string[]>
  /** Texts of the labels that were given, and others of the same set. */
  readonly own: readonly LabelledText[]
  readonly others: readonly string[]
}
export type Half = 0 | 1

export const EXAMPLE_COUNTS = [3, 5, 10] as const
const EPISODES_A_SOURCE = 6
const MOST_JUDGED = 300

type Labelled = { readonly source: string; readonly kind: Episode['kind']; readonly labels: number; readonly train: readonly LabelledText[]; readonly judge: readonly LabelledText[] }

function labelledSets(data: string): Labelled[] {
  const rows = rowsOf<{ text: string; intent: string; domain: string | null; split: string }>(join(data, 'clinc150-train-val.jsonl'))
  const of = (split: string, label: 'intent' | 'domain'): LabelledText[] =>
    rows.filter((row) => row.split === split).map((row) => ({ text: row.text, label: row[label]!.replaceAll('_', ' ') }))
  const said = shuffled(
    sgdDialogues(data).flatMap((turns) => turns.filter(({ speaker, text }) => speaker === 'user' && text.split(' ').length > 4)),
    seededRandom(11),
  ).map(({ text, label }) => ({ text, label: label! }))
  const half = said.length / 2
  return [
    { source: 'CLINC intents', kind: 'intents', labels: 5, train: of('train', 'intent'), judge: of('val', 'intent') },
    { source: 'CLINC domains', kind: 'topics', labels: 2, train: of('train', 'domain'), judge: of('val', 'domain') },
    { source: 'SGD services', kind: 'topics', labels: 3, train: said.slice(0, half), judge: said.slice(half) },
  ]
}

export function episodesOf(data: string, half: Half, count: number): Episode[] {
  const random = seededRandom(1000 * half + count)
  return labelledSets(data).flatMap(({ source, kind, labels, train, judge }) => {
    const mine = [...new Set(judge.map(({ label }) => label))].sort().filter((_, at) => at % 2 === half)
    return Array.from({ length: EPISODES_A_SOURCE }, (_, at): Episode => {
      const clumped = kind === 'intents' && at % 2 === 1
      const chosen = shuffled(mine, random).slice(0, labels)
      const examples = chosen.map((label) => {
        const texts = [...new Set(train.filter((one) => one.label === label).map(({ text }) => text))]
        const from = Math.floor(random() * (texts.length - count))
        return [label, (clumped ? texts.slice(from) : shuffled(texts, random)).slice(0, count)] as const
      })
      const own = shuffled(judge.filter(({ label }) => chosen.includes(label)), random).slice(0, MOST_JUDGED)
      const others = shuffled(judge.filter(({ label }) => !chosen.includes(label)), random).slice(0, MOST_JUDGED)
      return { kind, source, examples: new Map(examples), own, others: others.map(({ text }) => text) }
    })
  })
}

/** Questions of every kind that are about none of the labels; the even ones to learn from, the odd ones to judge by. */
export function ordinaryQuestions(data: string, half: Half): { readonly subjects: string[]; readonly prompts: string[] } {
  const mine = (texts: string[], most: number): string[] =>
    shuffled(texts.filter((_, at) => at % 2 === half), seededRandom(5)).slice(0, most)
  return {
    subjects: mine(rowsOf<{ text: string }>(join(data, 'mmlu-pro-topics-quarter.jsonl')).map(({ text }) => text), 300),
    prompts: mine(rowsOf<{ text: string }>(join(data, 'arena-hard-cluster-pairs-0-124.jsonl')).map(({ text }) => text), 125),
  }
}

export function fitWeights(model: FingerprintModel, data: string, halves: readonly Half[]): number[] {
  const rows: Float32Array[] = []
  const wanted: number[] = []
  for (const half of halves) {
    const { subjects, prompts } = ordinaryQuestions(data, 0)
    for (const count of EXAMPLE_COUNTS) {
      for (const { kind, examples, own, others } of episodesOf(data, half, count)) {
        const labels = new LabelsByExample(model[kind], examples, model.reader)
        const names = [...examples.keys()]
        const add = (text: string, label: string | null): void =>
          labels.evidence(model.reader.read(text)).forEach((row, at) => {
            rows.push(Float32Array.from(row))
            wanted.push(names[at] === label ? 1 : 0)
          })
        for (const { text, label } of own) add(text, label)
        // every other one: what is close to the labels shall not drown the labels
        for (const text of [...others, ...subjects, ...prompts].filter((_, at) => at % 2 === 0)) add(text, null)
      }
    }
  }
  return [...logistic(rows, wanted, new Float32Array(EXAMPLE_WEIGHTS.length), seededRandom(9))]
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const model = loadFingerprintModel(fingerprintAssetPath())
  const data = join(projectRoot(), '..', 'shared', 'data')
  console.log(fitWeights(model, data, [0, 1]).map((weight) => Number(weight.toFixed(2))))
}
