/**
 * What reading the engines' metrics is worth where others use the same backends: `npm run bench:engine-load` writes
 * bench/records/engine-load-DATE.md. Virtual time.
 *
 *   node dist/bench/engine-load.bench.js [--data FOLDER] [--out FILE] [--seeds K]
 *
 * Others: the same trace at a share of its rate, with blocks of their own, dealt round robin over half of the backends
 * past the router. And two routers that share one fleet, each with every other turn, neither knowing of the other.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { homingWith } from '../sim/policy/homing.ts'
import type { Policy, Router } from '../sim/policy/policy.ts'
import { PROFILE_NAMES, uniformFleet, type ProfileName } from '../sim/profile.ts'
import { replay } from '../sim/replay.ts'
import { seconds } from '../sim/report/table.ts'
import { estimate, summarise, type Estimate } from '../sim/summary.ts'
import { readTrace } from '../sim/workload/read-trace.ts'
import { atRate, ofStrangers, type Workload } from '../sim/workload/workload.ts'

const date = new Date().toISOString().slice(0, 10)
const { values } = parseArgs({
  options: {
    data: { type: 'string', default: '../shared/data' },
    out: { type: 'string', default: `bench/records/engine-load-${date}.md` },
    seeds: { type: 'string', default: '5' },
  },
})
const BACKENDS = 8
const seeds = Number(values.seeds)
const { workload, error } = await readTrace(join(values.data, 'mooncake-conversation-part1.jsonl'))
if (error !== null) throw error

const own = homingWith('own record', 'counts what it sent', {})
const corrected = homingWith('corrected', 'reads metrics every 2 s', { scrapeEveryMs: 2000 })

/** Turns go to two routers in turn; engines and time are shared, knowledge is not. */
const two = (policy: Policy): Policy => ({
  ...policy,
  create: (context) => {
    const routers: readonly [Router, Router] = [policy.create(context), policy.create(context)]
    const of = ({ index }: { readonly index: number }): Router => routers[index % 2 === 0 ? 0 : 1]
    return {
      arrive: (request) => of(request).arrive(request),
      firstToken: (request, backend) => of(request).firstToken?.(request, backend),
      ended: (request, backend, outcome, cached) => of(request).ended?.(request, backend, outcome, cached),
      busy: () => routers.some((router) => router.busy?.() === true),
    }
  },
})

type Figures = { readonly mean: Estimate; readonly p99: Estimate; readonly loaded: number }

const run = async (policy: Policy, profile: ProfileName, strangers: Workload | null): Promise<Figures> => {
  const means: number[] = []
  const p99s: number[] = []
  let loaded = 0
  for (let seed = 1; seed <= seeds; seed++) {
    const half = Array.from({ length: BACKENDS / 2 }, (_, index) => index)
    const result = await replay({
      workload,
      fleet: uniformFleet(profile, BACKENDS),
      policy,
      seed,
      ...(strangers === null ? {} : { foreign: { workload: strangers, backends: half } }),
    })
    const summary = summarise(result, 8000)
    means.push(summary.meanTtftSeconds)
    p99s.push(summary.p99TtftSeconds)
    loaded += result.backendOf.reduce((count, backend) => count + (backend < BACKENDS / 2 ? 1 : 0), 0)
  }
  return { mean: estimate(means), p99: estimate(p99s), loaded: loaded / seeds / workload.requests.length }
}

const rows: string[] = []
for (const profile of PROFILE_NAMES) {
  for (const share of [0, 0.2, 0.4, 0.6]) {
    const strangers = share === 0 ? null : ofStrangers(atRate(workload, share))
    const [before, after] = [await run(own, profile, strangers), await run(corrected, profile, strangers)]
    rows.push(rowOf(profile, share === 0 ? 'nobody' : `${share} of the rate on half of the backends`, before, after))
  }
  const [before, after] = [await run(two(own), profile, null), await run(two(corrected), profile, null)]
  rows.push(rowOf(profile, 'a second router', before, after))
}

function rowOf(profile: string, others: string, before: Figures, after: Figures): string {
  const cells = ({ mean, p99, loaded }: Figures): readonly string[] => [
    `${seconds(mean.mean)} ± ${seconds(mean.half)}`,
    seconds(p99.mean),
    `${(100 * loaded).toFixed(0)} %`,
  ]
  const ratio = (after.mean.mean / before.mean.mean).toFixed(2)
  const row = `| ${[profile, others, ...cells(before), ...cells(after), ratio].join(' | ')} |`
  process.stderr.write(`${row}\n`)
  return row
}

const text = `# Load that others bring, ${date}

\`npm run bench:engine-load -- --seeds ${seeds}\`: Mooncake conversation, first half (${workload.requests.length.toLocaleString('en')} turns), ${BACKENDS} backends, virtual
time, means over ${seeds} seeds, ± half of the 95 % interval. TTFT in seconds, of our turns only; "there": share of our turns
that went to the first half of the backends, which the others use. Own record: counts what this router sent. Corrected:
reads each engine's metrics every 2 s. Ratio: corrected to own record.

| profile | others | own record: mean | p99 | there | corrected: mean | p99 | there | ratio |
|---|---|---|---|---|---|---|---|---|
${rows.join('\n')}
`
mkdirSync(dirname(values.out), { recursive: true })
writeFileSync(values.out, text)
process.stdout.write(`${values.out}\n`)
