/**
 * The recorded comparison of policies: `npm run bench:policies` writes bench/records/policies-DATE.md.
 *
 *   node dist/bench/policies.bench.js [--data FOLDER] [--out FILE] [--seeds K] [--only SECTION]
 *
 * Traces are read from FOLDER (default ../shared/data beside the project); a section whose trace is missing is left out
 * and says so. Virtual time: the figures do not depend on the machine, only the wall time does.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { runExperiment, type ExperimentOptions, type FleetResult } from '../sim/experiment.ts'
import { policiesNamed } from '../sim/policy/catalogue.ts'
import { DEFAULT_SPEED, uniformFleet, type BackendSpec } from '../sim/profile.ts'
import type { Fault } from '../sim/replay.ts'
import { percent, seconds } from '../sim/report/table.ts'
import type { Estimate } from '../sim/summary.ts'
import { agentLoops } from '../sim/workload/agent-loops.ts'
import { readTrace } from '../sim/workload/read-trace.ts'
import { atRate, withSharedPrompt, type Workload } from '../sim/workload/workload.ts'

const { values } = parseArgs({
  options: {
    data: { type: 'string', default: '../shared/data' },
    seeds: { type: 'string', default: '5' },
    out: { type: 'string', default: `bench/records/policies-${new Date().toISOString().slice(0, 10)}.md` },
    only: { type: 'string', default: '' },
  },
})
const seeds = Number(values.seeds)

type Section = {
  readonly title: string
  readonly note: string
  readonly workload: Workload | null
  readonly fleets: readonly (readonly BackendSpec[])[]
  readonly policies: readonly string[]
  readonly faults?: readonly Fault[]
}

const trace = async (name: string): Promise<Workload | null> => {
  const path = join(values.data, name)
  if (!existsSync(path)) {
    process.stderr.write(`SKIPPED: ${path} is not here\n`)
    return null
  }
  const { workload, error } = await readTrace(path)
  if (error !== null) throw error
  return workload
}

const conversation = await trace('mooncake-conversation-part1.jsonl')
const synthetic = await trace('mooncake-synthetic-first400s.jsonl')
const changed = (workload: Workload | null, change: (workload: Workload) => Workload): Workload | null =>
  workload === null ? null : change(workload)
const agents = agentLoops()

const SHORT = [
  'round-robin',
  'sglang-cache-aware',
  'llm-d-default',
  'dynamo-linear',
  'lmetric',
  'mooncake-min-ttft',
  'homing',
  'homing-exact',
  'late-binding-prototype',
  'oracle',
]
const fifo = (backends: number, changes = {}): BackendSpec[] => uniformFleet('prefill-fifo', backends, changes)
const realistic = (backends: number, changes = {}): BackendSpec[] => uniformFleet('realistic', backends, changes)

/** One backend at half speed, one with a quarter of the cache. */
const mixed = (backends: number): BackendSpec[] =>
  fifo(backends).map((spec, index) => {
    if (index === 0) return { ...spec, speedFactor: 0.5 }
    return index === 1 ? { ...spec, speed: { ...spec.speed, cacheBlocks: DEFAULT_SPEED.cacheBlocks / 4 } } : spec
  })

const SECTIONS: readonly Section[] = [
  {
    title: 'Mooncake conversation',
    note: 'prefill-fifo, time stamps raw',
    workload: conversation,
    fleets: [8, 6, 5, 4].map((backends) => fifo(backends)),
    policies: ['all'],
  },
  {
    title: 'Mooncake conversation at 2.5 times the rate',
    note: 'prefill-fifo',
    workload: changed(conversation, (workload) => atRate(workload, 2.5)),
    fleets: [fifo(16)],
    policies: SHORT,
  },
  {
    title: 'Mooncake conversation, realistic engines',
    note: 'chunked prefill, batching, cached answers',
    workload: conversation,
    fleets: [8, 5].map((backends) => realistic(backends)),
    policies: ['all'],
  },
  {
    title: 'Mooncake conversation, small and large caches',
    note: 'prefill-fifo; 1,500, 4,000 and 10,000 blocks a backend',
    workload: conversation,
    fleets: [1500, 4000, 10_000].map((cacheBlocks) => fifo(8, { cacheBlocks })),
    policies: SHORT,
  },
  {
    title: 'Mooncake conversation behind a 12k-token agent prompt',
    note: 'prefill-fifo; the same 12,288 tokens in front of every request',
    workload: changed(conversation, (workload) => withSharedPrompt(workload, 12_288)),
    fleets: [fifo(8)],
    policies: [...SHORT, 'consistent-hash-2-blocks'],
  },
  {
    title: 'Mooncake conversation, uneven fleet',
    note: 'prefill-fifo; backend 0 at half speed, backend 1 with a quarter of the cache',
    workload: conversation,
    fleets: [mixed(8)],
    policies: SHORT,
  },
  {
    title: 'Mooncake conversation with faults',
    note: 'prefill-fifo; at 600 s one dies for 60 s, at 900 s one stalls for 10 s, at 1,200 s one restarts empty',
    workload: conversation,
    fleets: [fifo(8)],
    policies: SHORT,
    faults: [
      { atMs: 600_000, backend: 0, kind: 'die', forMs: 60_000 },
      { atMs: 900_000, backend: 1, kind: 'stall', forMs: 10_000 },
      { atMs: 1_200_000, backend: 2, kind: 'restart', forMs: 0 },
    ],
  },
  {
    title: 'Mooncake synthetic, first 400 s',
    note: 'prefill-fifo, 3,000 blocks a backend',
    workload: synthetic,
    fleets: [fifo(8, { cacheBlocks: 3000 })],
    policies: ['all'],
  },
  {
    title: 'Generated agent loops',
    note: 'realistic, 48,000 blocks of 64 tokens; parameters in sim/workload/agent-loops.ts',
    workload: agents,
    fleets: [4, 3].map((backends) => realistic(backends, { blockTokens: 64, cacheBlocks: 48_000 })),
    policies: SHORT,
  },
]

const interval = ({ mean, half }: Estimate): string => `${seconds(mean)} ± ${seconds(half)}`

const tableOf = ({ backends, fleet, bound, floor, pooledHitRate, cells }: FleetResult): string => {
  const rows = [...cells]
    .sort((a, b) => a.estimates.meanTtftSeconds.mean - b.estimates.meanTtftSeconds.mean)
    .map(({ policy, estimates }) => [
      policy.kind === 'homing' ? `**${policy.name}**` : policy.kind === 'lab' ? `*${policy.name}*` : policy.name,
      interval(estimates.meanTtftSeconds),
      (estimates.meanTtftSeconds.mean / bound.meanTtftSeconds).toFixed(3),
      seconds(estimates.p50TtftSeconds.mean),
      interval(estimates.p99TtftSeconds),
      percent(estimates.hitRate.mean),
      percent(estimates.movedShare.mean),
      estimates.workSkew.mean.toFixed(2),
      seconds(estimates.maxHeldSeconds.mean),
    ])
  for (const [name, figures] of [
    ['*bound*', bound],
    ['*floor*', floor],
  ] as const) {
    rows.push([
      name,
      seconds(figures.meanTtftSeconds),
      (figures.meanTtftSeconds / bound.meanTtftSeconds).toFixed(3),
      seconds(figures.p50TtftSeconds),
      seconds(figures.p99TtftSeconds),
      percent(figures.hitRate),
      '',
      '',
      '',
    ])
  }
  rows.push(['*one pooled LRU*', '', '', '', '', percent(pooledHitRate), '', '', ''])
  return [
    `${backends} backends, ${fleet[fleet.length - 1]!.speed.cacheBlocks.toLocaleString('en')} blocks each`,
    '',
    '| policy | mean TTFT, s | x bound | median | p99 | hit rate | moved | max/mean work | longest held |',
    '|---|---|---|---|---|---|---|---|---|',
    ...rows.map((row) => `| ${row.join(' | ')} |`),
    '',
  ].join('\n')
}

const started = performance.now()
const parts: string[] = []
for (const { title, note, workload, fleets, policies, faults } of SECTIONS) {
  if (!title.includes(values.only)) continue
  if (workload === null) {
    parts.push(`## ${title}\n\nLeft out: the trace was not there.\n`)
    continue
  }
  process.stderr.write(`${title} ...\n`)
  const options: ExperimentOptions = {
    workload,
    fleets,
    policies: policiesNamed(policies),
    seeds,
    ...(faults === undefined ? {} : { faults }),
  }
  const results = await runExperiment(options)
  parts.push(
    `## ${title}\n\n${note}; ${workload.requests.length.toLocaleString('en')} requests.\n\n${results.map(tableOf).join('\n')}`,
  )
}
const text = `# Policies, ${new Date().toISOString().slice(0, 10)}

\`npm run bench:policies -- --seeds ${seeds}\`: means over ${seeds} seeds, ± half of the 95 % interval (Student t). Seconds of virtual time. **Ours** in bold,
references of the laboratory (which know what no router knows) in italics. What the columns and the policies are: docs/laboratory.md.
Node ${process.version}, ${cpus()[0]?.model ?? 'unknown processor'}; ${((performance.now() - started) / 1000).toFixed(0)} s of one core.

${parts.join('\n')}`
mkdirSync(dirname(values.out), { recursive: true })
writeFileSync(values.out, text)
process.stdout.write(`${values.out}\n`)
