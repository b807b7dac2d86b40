/**
 * `npm run bench:expertise`: how well choosing by learned expertise does on public outcome matrices, off-line and on-line, and
 * what a decision costs. Prints one record; `--record FILE` writes it. Needs ../shared/data; the first run trains heads that
 * have not seen the questions (ten minutes), later ones take what is in `.cache`.
 *
 * Gains are over the pool's best single model, as shares of what perfect labels gain (the data's own, every outcome of the
 * learning half known). On-line: one outcome a request, of the model that was used, questions drawn with replacement.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { seededRandom } from '../sim/random.ts'
import { Expertise } from '../src/learn/expertise.ts'
import type { Subject } from '../src/model/quality.ts'
import { projectRoot } from '../test/house/root.ts'
import { PlainLinear } from './expertise/plain-linear.ts'
import { drawPools, poolKinds, headroom, mean, splitOf, type Pool } from './expertise/pools.ts'
import { follow, offLine, WINDOW, type Course, type Learner, type Run } from './expertise/simulation.ts'
import { outcomeMatrices, type OutcomeMatrix } from './expertise/subjects.ts'

const { values } = parseArgs({
  options: {
    pools: { type: 'string', default: '4' },
    seeds: { type: 'string', default: '8' },
    kinds: { type: 'string' },
    subjects: { type: 'string', default: 'crossed' },
    flipped: { type: 'string', default: '0' },
    outcomes: { type: 'string', default: '8000' },
    plain: { type: 'boolean', default: false },
    record: { type: 'string' },
  },
})
const [POOLS, SEEDS, OUTCOMES, FLIPPED] = [values.pools, values.seeds, values.outcomes, values.flipped].map(Number) as [number, number, number, number]
const SUBJECTS = values.subjects === 'shipped' ? 'shipped' : 'crossed'
const FREEZE = [1000, 2000, 4000, 8000, 16_000].filter((at) => at <= OUTCOMES)
/** Pools where perfect labels gain less have nothing to learn, and a share of nothing says nothing. */
const LEAST_HEADROOM = 0.01
const KINDS = poolKinds(values.kinds)

const data = join(projectRoot(), '..', 'shared', 'data')
if (!existsSync(join(data, 'llmrouter-outcomes-train-half.jsonl'))) {
  console.error(`bench:expertise needs ${data}, which is not here`)
  process.exit(1)
}
const expertise = (seed: number): Learner =>
  values.plain
    ? new PlainLinear(seededRandom(seed))
    : new Expertise({ halfLifeMs: null, exploration: null, shareBetweenTenants: false, priors: {}, random: seededRandom(seed), wallMs: () => 0 })

const started = new Date().toISOString()
const rows = [
  `| questions | pool | pools | perfect labels | off-line | ${FREEZE.map((at) => `frozen ${at}`).join(' | ')} | learning 0-1k | 1-2k | 2-4k | 4-8k | worst 1k from 2k on | least over average before |`,
  `|---|---|---|---|---|${FREEZE.map(() => '---|').join('')}---|---|---|---|---|---|`,
]
for (const matrix of outcomeMatrices(data)) for (const kind of KINDS) measure(matrix, kind)
const record = [
  '# Expertise',
  '',
  `\`npm run bench:expertise -- ${process.argv.slice(2).filter((each, at, all) => each !== '--record' && all[at - 1] !== '--record').join(' ')}\`, ${started}, Node ${process.version}. ${SEEDS} seeds a pool; ` +
    `topics: ${SUBJECTS === 'crossed' ? 'of heads that have not seen the question' : 'of the shipped heads, which have seen it'}; ${100 * FLIPPED} % of the outcomes flipped; ${values.plain ? 'plain linear Thompson sampling' : 'Expertise'}.`,
  '',
  ...rows,
  '',
  ...(values.plain ? [] : cost()),
].join('\n')
console.log(record)
if (values.record !== undefined) writeFileSync(values.record, `${record}\n`)

function measure(matrix: OutcomeMatrix, { name, size, within }: (typeof KINDS)[number]): void {
  const splits = Array.from({ length: Math.max(8, SEEDS) }, (_, seed) => splitOf(matrix, seededRandom(1000 + seed)))
  const pools = drawPools(matrix, splits, { size, count: POOLS, within, least: LEAST_HEADROOM }, seededRandom(size + (within === null ? 0 : 100)))
  if (pools.length === 0) return
  const runs = pools.map((pool) => Array.from({ length: SEEDS }, (_, seed) => oneRun(pool, splits[seed]!, seed)))
  const all = runs.flat()
  const perfect = mean(all.map(({ run }) => run.perfectGain))
  const share = (gains: readonly number[]): string => (mean(gains) / perfect).toFixed(2)
  const learning = (from: number, to: number): string => share(all.flatMap(({ run }) => run.windows.slice(from / WINDOW, to / WINDOW).map(({ overBest }) => overBest)))
  rows.push(
    `| ${matrix.name} | ${name} | ${pools.length} | ${(100 * perfect).toFixed(1)} points | ${share(all.map(({ offline }) => offline))} | ` +
      `${FREEZE.map((at) => share(all.map(({ run }) => run.drawnGain.get(at)!))).join(' | ')} | ${learning(0, 1000)} | ${learning(1000, 2000)} | ${learning(2000, 4000)} | ` +
      `${learning(4000, 8000)} | ${points(worst(runs, 2000, OUTCOMES, 'overBest'))} | ${points(worst(runs, 0, 2000, 'overAverage'))} |`,
  )
  console.error(rows.at(-1), `headroom ${points(mean(pools.map((pool) => headroom(pool, splits))))}`)
}

function oneRun(pool: Pool, split: Parameters<typeof follow>[1], seed: number): { readonly run: Run; readonly offline: number } {
  const course: Course = { outcomes: OUTCOMES, freezeAt: FREEZE, subjects: SUBJECTS, flipped: FLIPPED, random: seededRandom(50 + seed) }
  return { run: follow(pool, split, expertise(seed), course), offline: offLine(pool, split, expertise(seed), SUBJECTS) }
}

/** The least mean over seeds of any pool's window of 1,000 requests. */
function worst(runs: readonly (readonly { readonly run: Run }[])[], from: number, to: number, of: 'overBest' | 'overAverage'): number {
  const windows: number[] = []
  for (const pool of runs) {
    for (let at = from / WINDOW; at + 1 < Math.min(to, OUTCOMES) / WINDOW; at += 2) {
      windows.push(mean(pool.flatMap(({ run }) => [run.windows[at]![of], run.windows[at + 1]![of]])))
    }
  }
  return Math.min(...windows)
}

function points(value: number): string {
  return `${(100 * value).toFixed(1)} points`
}

/** Of 8 models after 2,000 outcomes, kinds included: what a turn waits for, what an outcome costs behind it. */
function cost(): string[] {
  const [matrix] = outcomeMatrices(data)
  const learner = new Expertise({ halfLifeMs: null, exploration: null, shareBetweenTenants: false, priors: {}, random: seededRandom(1), wallMs: () => 0 })
  const models = matrix!.models.slice(0, 8)
  const subjects = matrix!.questions.map((question): Subject => question.crossed)
  const timed = (work: (at: number) => void): number => {
    for (let at = 0; at < 2000; at++) work(at)
    const best = Array.from({ length: 7 }, () => {
      const before = process.cpuUsage()
      for (let at = 0; at < 2000; at++) work(at)
      const { user, system } = process.cpuUsage(before)
      return (user + system) / 2000
    })
    return Math.min(...best)
  }
  const learn = (at: number): void => {
    const place = at % subjects.length
    learner.observe({ tenant: 't', model: models[at % 8]!, subject: subjects[place]!, score: matrix!.questions[place]!.scores[at % 8]!, weight: 1, atMs: 0 })
  }
  for (let at = 0; at < 300; at++) learner.expect('t', models, subjects[at]!)
  const learning = timed(learn)
  const choosing = timed((at) => void learner.expect('t', models, subjects[at % subjects.length]!))
  const expected = learner.expect('t', models, subjects[0]!)
  const propensities = timed(() => void learner.probabilities(expected, []))
  return [
    '| of 8 models | CPU, least of seven |',
    '|---|---|',
    `| expectations and draws | ${choosing.toFixed(1)} us |`,
    `| probabilities of the choice, for the log | ${propensities.toFixed(1)} us |`,
    `| one outcome learned, sweeps included | ${learning.toFixed(1)} us |`,
    `| snapshot | ${(learner.snapshot().length / 1024 / 8).toFixed(1)} kB a model |`,
  ]
}
