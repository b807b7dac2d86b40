/**
 * `npm run bench:specialisation`: groups of models learn over HTTP, as an operator gets it: a gateway with nothing configured but
 * backends and `model_groups: { auto: [...] }`, Chat requests, one outcome posted after each answer. Questions and who
 * answers them right come from ../shared/data; half of the questions are asked, the other half is held out. Gains are
 * counted over the best single model, as a share of what perfect labels gain.
 *
 *   node dist/bench/specialisation.bench.js [--outcomes 8000] [--pools 2] [--seeds 1] [--record FILE]
 *
 * The shipped topics were trained on the questions of MMLU-Pro, so they are better here than elsewhere;
 * `npm run bench:expertise` has the figures with topics that never saw the question.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { integerBelow, seededRandom, type Random } from '../sim/random.ts'
import { startGateway } from '../src/compose.ts'
import { loadConfig } from '../src/config.ts'
import { projectRoot } from '../test/house/root.ts'
import { rowsOf } from '../training/labelled.ts'
import { drawPools, poolKinds, mean, perfectLabels, scoreOf, splitOf, bestSingle, type Pool, type Split } from './expertise/pools.ts'
import { startFleet } from './specialisation/graded-fleet.ts'
import type { OutcomeMatrix, Question } from './expertise/subjects.ts'

const data = join(projectRoot(), '..', 'shared', 'data')
if (!existsSync(join(data, 'mmlu-pro-topics-quarter.jsonl'))) {
  console.error(`bench:specialisation needs ${data}, which is not here`)
  process.exit(1)
}
const text = { type: 'string' } as const
const { values } = parseArgs({ options: { outcomes: text, pools: text, seeds: text, kinds: text, sets: text, record: text } })
const OUTCOMES = Number(values.outcomes ?? 8000)
const POOLS = Number(values.pools ?? 2)
const SEEDS = Number(values.seeds ?? 1)
const WINDOW = 1000
/** Pools whose labels gain less have nothing to learn. */
const LEAST_HEADROOM = 0.005

type Asked = Question & { readonly text: string }

function matrices(): OutcomeMatrix[] {
  const names = JSON.parse(readFileSync(join(data, 'mmlu-pro-topics-quarter.models.json'), 'utf8')) as string[]
  const subjects = rowsOf<{ text: string; category: string; correct: string }>(join(data, 'mmlu-pro-topics-quarter.jsonl'))
  const tasks = rowsOf<{ task: string; question: string; scores: Record<string, number> }>(join(data, 'llmrouter-outcomes-train-half.jsonl'))
  const others = Object.keys(tasks[0]!.scores)
  const unread = { topics: [], intent: ['', 0], inScope: 0, complexity: 0 } as const
  const question = (label: string, content: string, scores: readonly number[]): Asked => ({ label, text: content, scores, shipped: unread, crossed: unread })
  return [
    { name: 'mmlu-pro', models: names, questions: subjects.map((row) => question(row.category, row.text, [...row.correct].map(Number))) },
    { name: 'llmrouter', models: others, questions: tasks.map((row) => question(row.task, row.question, others.map((name) => row.scores[name]!))) },
  ]
}

type Course = { readonly frozen: Record<number, number>; readonly windows: readonly number[]; readonly perfect: number; readonly belowBest: number }

async function course(pool: Pool, split: Split, seed: number): Promise<Course> {
  const random = seededRandom(seed)
  const { matrix, members } = pool
  const names = members.map((model) => matrix.models[model]!)
  const fleet = await startFleet(names)
  const gateway = await startGateway(
    loadConfig({
      text: JSON.stringify({
        listen: '127.0.0.1:0', store: 'memory', log: { level: 'silent' },
        backends: fleet.urls.map((url) => ({ url })),
        model_groups: { auto: names },
      }),
      env: {},
    }),
    { version: 'bench' },
  )
  await gateway.fleet.firstProbeDone
  const post = async (path: string, body: object): Promise<{ headers: Headers; body: { id?: string } }> => {
    const response = await fetch(gateway.url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
    const answer = (await response.json()) as { id?: string }
    if (response.status !== 200) throw new Error(`${path}: ${response.status} ${JSON.stringify(answer)}`)
    return { headers: response.headers, body: answer }
  }
  const ask = async (question: Asked): Promise<{ id: string; model: number }> => {
    const { headers, body } = await post('/v1/chat/completions', { model: 'auto', messages: [{ role: 'user', content: question.text }] })
    return { id: body.id!, model: members[names.indexOf(headers.get('x-homing-model')!)]! }
  }
  const best = bestSingle(pool)
  const frozen: Record<number, number> = {}
  const windows: number[] = []
  let over = 0
  for (let seen = 1; seen <= OUTCOMES; seen++) {
    const question = split.learn[integerBelow(random, split.learn.length)] as Asked
    const { id, model } = await ask(question)
    const truth = question.scores[model]!
    over += truth - question.scores[best]!
    await post('/homing/v1/outcomes', { response_id: id, score: gradeOf(truth, random) })
    if (seen % WINDOW === 0) {
      windows.push(over / WINDOW)
      over = 0
    }
    if (seen === 2000 || seen === OUTCOMES) frozen[seen] = await heldOut(split.test as readonly Asked[], ask, best)
  }
  await gateway.close(0)
  await fleet.close()
  return { frozen, windows, perfect: perfectLabels(split, members) - scoreOf(split.test, best), belowBest: Math.min(...windows.slice(2)) }
}

const gradeOf = (truth: number, random: Random): number => (truth === 0 || truth === 1 ? truth : random() < truth ? 1 : 0)

/** Nothing is learned here: no outcome is posted. Exploration stays in it, as a client would get it. */
async function heldOut(test: readonly Asked[], ask: (question: Asked) => Promise<{ model: number }>, best: number): Promise<number> {
  const gains: number[] = []
  for (const question of test) gains.push(question.scores[(await ask(question)).model]! - question.scores[best]!)
  return mean(gains)
}

const KINDS = poolKinds(values.kinds)
const rows: string[] = ['| questions | pool | runs | perfect labels gain | 2,000 frozen | ' + `${OUTCOMES} frozen | learning 2,000-4,000 | learning 4,000-${OUTCOMES} | worst window from 2,000 on |`, '|---|---|---|---|---|---|---|---|---|']
const started = new Date().toISOString()
for (const matrix of matrices()) {
  if (values.sets !== undefined && !values.sets.split(',').includes(matrix.name)) continue
  for (const kind of KINDS) {
    const splits = Array.from({ length: 8 }, (_, seed) => splitOf(matrix, seededRandom(1000 + seed)))
    const pools = drawPools(matrix, splits, { size: kind.size, count: POOLS, within: kind.within, least: LEAST_HEADROOM }, seededRandom(7 + kind.size))
    const runs: Course[] = []
    for (const [at, pool] of pools.entries()) {
      for (const [seed, split] of splits.slice(0, SEEDS).entries()) runs.push(await course(pool, split, 100 * at + seed))
    }
    const perfect = mean(runs.map((run) => run.perfect))
    const share = (gain: number): string => (gain / perfect).toFixed(2)
    const learning = (from: number, to: number): string => share(mean(runs.flatMap(({ windows }) => windows.slice(from / WINDOW, to / WINDOW))))
    rows.push(
      `| ${matrix.name} | ${kind.name} | ${runs.length} | ${(100 * perfect).toFixed(1)} points | ${share(mean(runs.map((run) => run.frozen[2000]!)))} | ` +
        `${share(mean(runs.map((run) => run.frozen[OUTCOMES]!)))} | ${learning(2000, 4000)} | ${learning(4000, OUTCOMES)} | ` +
        `${(100 * Math.min(...runs.map(({ belowBest }) => belowBest))).toFixed(1)} points |`,
    )
    console.error(rows.at(-1))
  }
}
const record = `# Specialisation over HTTP\n\n\`npm run bench:specialisation -- --outcomes ${OUTCOMES} --pools ${POOLS} --seeds ${SEEDS}\`, ${started}, Node ${process.version}. Shares of what perfect labels gain over the best single model.\n\n${rows.join('\n')}\n`
console.log(record)
if (values.record !== undefined) writeFileSync(values.record, record)
