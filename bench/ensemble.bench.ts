/**
 * What asking several models is worth: `npm run bench:ensemble` writes bench/records/ensemble-DATE.md.
 *
 *   node dist/bench/ensemble.bench.js [--data FOLDER] [--out FILE] [--seeds K] [--engine URL]
 *
 * Votes and cascades on the outcome matrices of ../shared/data; with `--engine`, how well the token probabilities of a real
 * engine (Chat Completions with log probabilities) tell its right answers from its wrong ones, on capitals of countries.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { integerBelow, seededRandom } from '../sim/random.ts'
import { atShare, casesOf, gainPerChange, playAccount } from './ensemble/cascades.ts'
import { errorOf, mean, readMatrices, type Matrix } from './ensemble/matrix.ts'
import { askCapitals } from './ensemble/real-engine.ts'
import { ARMS, playPool, type Arm } from './ensemble/votes.ts'

const date = new Date().toISOString().slice(0, 10)
const { values } = parseArgs({
  options: {
    data: { type: 'string', default: '../shared/data' },
    out: { type: 'string', default: `bench/records/ensemble-${date}.md` },
    seeds: { type: 'string', default: '8' },
    engine: { type: 'string' },
  },
})
const seeds = Number(values.seeds)
const POOLS = 12
/** Pairs in which the large model is at least so much better, by its score over all questions. */
const APART = 0.1
const started = performance.now()
const lines = [
  `# What asking several models is worth, ${date}`,
  '',
  `\`npm run bench:ensemble -- --seeds ${seeds}${values.engine === undefined ? '' : ' --engine URL'}\`, Node ${process.version}, ${cpus()[0]?.model.trim() ?? ''}.`,
  'Points are percent right, means over pools and seeds, half of the questions learned from; +- is the standard error over pools and seeds.',
]
const write = (...more: readonly string[]): void => {
  lines.push(...more)
  console.log(more.join('\n'))
}
const points = (value: number, digits = 1): string => (100 * value).toFixed(digits)

const matrices = readMatrices(values.data)
if (matrices.length === 0) console.error(`SKIPPED: no outcome matrix in ${join(process.cwd(), values.data)}; votes and cascades were not measured`)
for (const matrix of matrices) for (const size of [6, 9]) votes(matrix, size)
for (const matrix of matrices) cascades(matrix)
if (values.engine === undefined) console.error('SKIPPED: no --engine, so the confidence of a real one was not measured')
else await realConfidence(values.engine)
write('', `${((performance.now() - started) / 1000).toFixed(0)} s.`)
mkdirSync(dirname(values.out), { recursive: true })
writeFileSync(values.out, `${lines.join('\n')}\n`)

function votes(matrix: Matrix, size: number): void {
  const random = seededRandom(size)
  const results = new Map<Arm, number[]>(ARMS.map((arm) => [arm, []]))
  for (let at = 0; at < POOLS; at++) {
    const pool = drawPool(matrix, size, random)
    for (let seed = 0; seed < seeds; seed++) {
      const played = playPool(matrix, pool, seededRandom(1000 * at + seed))
      for (const arm of ARMS) results.get(arm)!.push(played[arm])
    }
  }
  const single = results.get('best single')!
  write('', `## ${matrix.name}, pools of ${size} of ${matrix.models.length} models`, '', '| asked | right | against the best single model | calls a turn |', '|---|---|---|---|')
  for (const arm of ARMS) {
    const own = results.get(arm)!
    const gains = own.map((value, at) => value - single[at]!)
    const calls = arm.includes('vote of 5') ? 5 : arm.includes(' 3') ? 3 : 1
    write(`| ${arm} | ${points(mean(own))} | ${points(mean(gains))} +- ${points(errorOf(gains), 2)} | ${calls} |`)
  }
}

function drawPool({ models }: Matrix, size: number, random: () => number): readonly number[] {
  const pool = new Set<number>()
  while (pool.size < Math.min(size, models.length)) pool.add(integerBelow(random, models.length))
  return [...pool]
}

function cascades(matrix: Matrix): void {
  const overall = matrix.models.map((_, model) => mean(matrix.questions.map(({ scores }) => scores[model]!)))
  const pairs = matrix.models.flatMap((_, small) => matrix.models.flatMap((__, large) => (overall[large]! - overall[small]! >= APART ? [[small, large] as const] : [])))
  const chosen = pairs.filter((_, at) => at % Math.max(1, Math.floor(pairs.length / 24)) === 0)
  const gains = chosen.map(([small, large]) => gainPerChange(matrix, small, large))
  write(
    '', `## ${matrix.name}, cascades of ${chosen.length} pairs, the large model at least ${points(APART, 0)} points better`, '',
    `Small models alone ${points(mean(chosen.map(([small]) => overall[small]!)))}, large ones alone ${points(mean(chosen.map(([, large]) => overall[large]!)))}. Of answers that differ the large model's is right more often by ${mean(gains).toFixed(2)} (half of two wrong answers differ; pairs from ${Math.min(...gains).toFixed(2)} to ${Math.max(...gains).toFixed(2)}).`, '',
    '| AUROC of the confidence (simulated) | 10 % escalated | 30 % | 50 % | 70 % | of the large model\'s lead, at 30 % | at 50 % |', '|---|---|---|---|---|---|---|',
  )
  for (const auroc of [0.5, 0.6, 0.7, 0.8, 0.9]) {
    const rows = chosen.map(([small, large], at) => {
      const cases = casesOf(matrix, small, large, auroc, seededRandom(at + 1))
      const [low, high] = [overall[small]!, overall[large]!]
      const reached = [0.1, 0.3, 0.5, 0.7].map((share) => atShare(cases, share))
      return [...reached, (reached[1]! - low) / (high - low), (reached[2]! - low) / (high - low)]
    })
    const column = (at: number): number => mean(rows.map((row) => row[at]!))
    write(`| ${auroc.toFixed(1)} | ${[0, 1, 2, 3].map((at) => points(column(at))).join(' | ')} | ${column(4).toFixed(2)} | ${column(5).toFixed(2)} |`)
  }
  write(
    '', "The gateway's account, which learns from how often the answer changed: quality at 100 s a whole point minus the seconds of the large model, per turn.", '',
    '| AUROC | large model takes | never escalate | always | account | best threshold in hindsight | escalated |', '|---|---|---|---|---|---|---|',
  )
  for (const auroc of [0.6, 0.75, 0.9]) {
    for (const seconds of [2, 8, 20]) {
      const rows = chosen.map(([small, large], at) => playAccount(shuffledCases(matrix, small, large, auroc, at), seconds, seededRandom(99 + at)))
      const over = (of: (row: (typeof rows)[number]) => number): string => mean(rows.map(of)).toFixed(1)
      write(`| ${auroc} | ${seconds} s | ${over(({ never }) => never)} | ${over(({ always }) => always)} | **${over(({ account }) => account)}** | ${over(({ hindsight }) => hindsight)} | ${points(mean(rows.map(({ share }) => share)), 0)} % |`)
    }
  }
}

function shuffledCases(matrix: Matrix, small: number, large: number, auroc: number, at: number) {
  const random = seededRandom(500 + at)
  return casesOf(matrix, small, large, auroc, random)
    .map((each) => ({ each, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ each }) => each)
}

async function realConfidence(url: string): Promise<void> {
  const asked = await askCapitals(url)
  const right = asked.filter(({ isRight }) => isRight)
  const wrong = asked.filter(({ isRight }) => !isRight)
  let won = 0
  for (const one of right) for (const other of wrong) won += one.confidence > other.confidence ? 1 : one.confidence === other.confidence ? 0.5 : 0
  write(
    '', '## The confidence of a real engine', '',
    `SmolLM2-135M (Q4_0) on ${asked.length} capitals, graded by whether the name is said in twelve tokens: ${right.length} right. The geometric mean probability of the answer's tokens tells right from wrong answers with an AUROC of ${right.length === 0 || wrong.length === 0 ? 'not defined' : (won / right.length / wrong.length).toFixed(2)}; mean ${mean(right.map(({ confidence }) => confidence)).toFixed(2)} of right and ${mean(wrong.map(({ confidence }) => confidence)).toFixed(2)} of wrong answers.`,
  )
}
