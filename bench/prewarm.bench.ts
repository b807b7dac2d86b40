/**
 * Pre-warming in the laboratory: `node dist/bench/prewarm.bench.js [--seeds K] [--out FILE]`.
 *
 * Agent loops (sim/workload/agent-loops.ts) on `realistic` engines; one backend is drained for good at a moment of the run.
 * Affected: the first turn after that moment of every conversation whose last turn before it ran there.
 */
import { cpus } from 'node:os'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { homing, homingPrewarm } from '../sim/policy/homing.ts'
import type { Policy } from '../sim/policy/policy.ts'
import { uniformFleet } from '../sim/profile.ts'
import { replay, type Replay } from '../sim/replay.ts'
import { estimate, percentile } from '../sim/summary.ts'
import { agentLoops } from '../sim/workload/agent-loops.ts'
import type { Workload } from '../sim/workload/workload.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '5' },
    out: { type: 'string', default: `bench/records/prewarm-${new Date().toISOString().slice(0, 10)}.md` },
  },
})
const SEEDS = Number(values.seeds)
const DRAINS_MS = [600_000, 900_000, 1_200_000]
const WINDOW_MS = 600_000
const POLICIES: readonly Policy[] = [homing, homingPrewarm]

const mean = (numbers: readonly number[]): number => numbers.reduce((sum, one) => sum + one, 0) / Math.max(1, numbers.length)

/** First turns of conversations whose home was drained. */
const affectedTurns = (workload: Workload, run: Replay, drainMs: number, backend: number): number[] => {
  const homes = new Map<number, number>()
  const found = new Map<number, number>()
  for (const { index, session, atMs } of workload.requests) {
    if (atMs < drainMs) homes.set(session, run.backendOf[index]!)
    else if (homes.get(session) === backend && !found.has(session)) found.set(session, index)
  }
  return [...found.values()]
}

type Row = { readonly affected: number[]; readonly others: number[]; readonly otherTotals: number[]; readonly computed: number; readonly ahead: number; readonly work: number }

const measure = (workload: Workload, run: Replay, drainMs: number): Row => {
  const affected = affectedTurns(workload, run, drainMs, 0)
  const set = new Set(affected)
  const window = workload.requests.filter(({ atMs }) => atMs >= drainMs && atMs < drainMs + WINDOW_MS)
  const others = window.filter(({ index }) => !set.has(index))
  return {
    affected: affected.map((index) => run.ttftMs[index]! / 1000),
    others: others.map(({ index }) => run.ttftMs[index]! / 1000),
    otherTotals: others.map(({ index }) => run.totalMs[index]! / 1000),
    computed: window.reduce((sum, { index, promptTokens }) => sum + promptTokens - run.cachedTokens[index]!, 0),
    ahead: run.background.reduce((sum, tokens) => sum + tokens, 0),
    work: run.work.reduce((sum, tokens) => sum + tokens, 0),
  }
}

const started = performance.now()
const parts: string[] = []

/** With nothing drained: what the other rules do on ordinary days. */
const quiet: string[] = []
for (const backends of [8, 4, 3]) {
  for (const policy of POLICIES) {
    const runs: Row[] = []
    for (let seed = 1; seed <= SEEDS; seed++) {
      const workload = agentLoops({ seed })
      const fleet = uniformFleet('realistic', backends, { blockTokens: 64, cacheBlocks: 48_000 })
      const run = await replay({ workload, fleet, policy, seed })
      runs.push({ ...measure(workload, run, Infinity), others: Array.from(run.ttftMs, (ms) => ms / 1000), otherTotals: Array.from(run.totalMs, (ms) => ms / 1000) })
    }
    const all = Float64Array.from(runs.flatMap(({ others }) => others)).sort()
    const totals = Float64Array.from(runs.flatMap(({ otherTotals }) => otherTotals)).sort()
    const tokens = (of: (row: Row) => number): string => (runs.reduce((sum, row) => sum + of(row), 0) / 1e6).toFixed(2)
    quiet.push(
      `| ${[backends, policy.name, mean([...all]).toFixed(3), percentile(all, 0.99).toFixed(2), percentile(totals, 0.99).toFixed(1), tokens(({ work }) => work), tokens(({ ahead }) => ahead)].join(' | ')} |`,
    )
  }
}
parts.push(
  '## Nothing drained, 60 sessions 20 s apart\n',
  '| backends | policy | mean TTFT, s | p99 | p99 to the last token | computed, M tokens | ahead |',
  '|---|---|---|---|---|---|---|',
  ...quiet,
  '',
)
process.stderr.write(`${parts.join('\n')}\n`)
for (const [backends, sessions, everySeconds] of [[8, 60, 20], [6, 60, 20], [4, 60, 20], [4, 40, 30]] as const) {
  const rows = new Map<Policy, Row[]>(POLICIES.map((policy) => [policy, []]))
  for (let seed = 1; seed <= SEEDS; seed++) {
    const workload = agentLoops({ sessions, everySeconds, seed })
    const fleet = uniformFleet('realistic', backends, { blockTokens: 64, cacheBlocks: 48_000 })
    for (const drainMs of DRAINS_MS) {
      for (const policy of POLICIES) {
        const run = await replay({ workload, fleet, policy, seed, faults: [{ atMs: drainMs, backend: 0, kind: 'drain', forMs: 1e9 }] })
        rows.get(policy)!.push(measure(workload, run, drainMs))
      }
    }
  }
  const base = rows.get(homing)!
  const sum = (list: readonly Row[], of: (row: Row) => number): number => list.reduce((total, row) => total + of(row), 0)
  const p99 = (list: readonly Row[], of: (row: Row) => number[]): number => percentile(Float64Array.from(list.flatMap(of)).sort(), 0.99)
  const lines = POLICIES.map((policy) => {
    const mine = rows.get(policy)!
    const affected = mine.flatMap(({ affected: some }) => some)
    const sorted = Float64Array.from(affected).sort()
    const share = (mine_: number, base_: number): string => `${(100 * (mine_ / base_ - 1)).toFixed(1)} %`
    const half = estimate(mine.map((row) => mean(row.affected)).filter((one) => one > 0)).half
    return [
      policy.name, String(affected.length), `${mean(affected).toFixed(2)} ± ${half.toFixed(2)}`, percentile(sorted, 0.5).toFixed(2), percentile(sorted, 0.9).toFixed(2),
      (mean(affected) / mean(base.flatMap(({ affected: some }) => some))).toFixed(2),
      share(sum(mine, (row) => row.computed + row.ahead), sum(base, (row) => row.computed)), share(sum(mine, (row) => row.work), sum(base, (row) => row.work)),
      mean(mine.flatMap(({ others }) => others)).toFixed(3), p99(mine, ({ others }) => others).toFixed(2), share(p99(mine, ({ others }) => others), p99(base, ({ others }) => others)),
      p99(mine, ({ otherTotals }) => otherTotals).toFixed(1),
    ]
  })
  parts.push(
    `## ${backends} backends, ${sessions} sessions ${everySeconds} s apart\n`,
    '| policy | affected turns | mean TTFT, s | median | p90 | of homing | extra prefill, 10 min | whole run | other turns: mean | p99 | against homing | p99 to the last token |',
    '|---|---|---|---|---|---|---|---|---|---|---|---|',
    ...lines.map((line) => `| ${line.join(' | ')} |`),
    '',
  )
  process.stderr.write(`${parts.slice(-7).join('\n')}\n`)
}
const text = `# Pre-warming before a drained backend, ${new Date().toISOString().slice(0, 10)}

\`npm run bench:prewarm -- --seeds ${SEEDS}\`: means over ${SEEDS} seeds, drains at ${DRAINS_MS.map((ms) => ms / 1000).join(', ')} s of backend 0. Seconds of virtual time.
Node ${process.version}, ${cpus()[0]?.model ?? 'unknown processor'}; ${((performance.now() - started) / 1000).toFixed(0)} s of one core.

${parts.join('\n')}`
mkdirSync(dirname(values.out), { recursive: true })
writeFileSync(values.out, text)
process.stdout.write(`${values.out}\n`)
