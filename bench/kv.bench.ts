/**
 * How well the registry knows the caches: `npm run bench:kv` writes bench/records/kv-DATE.md. Virtual time, Mooncake
 * conversation (first half), 8 backends of profile prefill-fifo at three cache sizes.
 *
 *   exact       the same scheduler with exact knowledge of the caches
 *   history     by what was placed and what answers report
 *   half        the same, half of the answers without `cached_tokens`;  `none`: all of them without
 *   error       mean |expected - actual| cached tokens, as a share of all prompt tokens, at the backend chosen
 *   survival    at each turn that continues another: predicted probability that its predecessor's prompt is still at its
 *               home, against the truth. Brier: mean squared error; the base rate predicts the share that was for everybody
 *
 *   node dist/bench/kv.bench.js [--data FOLDER] [--seeds 3] [--sizes 1500,4000,10000] [--out FILE]
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { homingExact, homingWith } from '../sim/policy/homing.ts'
import type { Policy } from '../sim/policy/policy.ts'
import { uniformFleet } from '../sim/profile.ts'
import { replay } from '../sim/replay.ts'
import { readTrace } from '../sim/workload/read-trace.ts'

const today = new Date().toISOString().slice(0, 10)
const { values } = parseArgs({
  options: {
    data: { type: 'string', default: '../shared/data' },
    seeds: { type: 'string', default: '3' },
    sizes: { type: 'string', default: '1500,4000,10000' },
    out: { type: 'string', default: `bench/records/kv-${today}.md` },
  },
})
const BACKENDS = 8
const path = join(values.data, 'mooncake-conversation-part1.jsonl')
if (!existsSync(path)) {
  process.stderr.write(`SKIPPED: ${path} is not here\n`)
  process.exit(0)
}
const { workload, error } = await readTrace(path)
if (error !== null) throw error

type Seen = { readonly predicted: number; readonly resident: boolean }
type Figures = { hit: number; error: number; ttft: number }

async function measure(policy: Policy, cacheBlocks: number): Promise<Figures> {
  const sums = { hit: 0, error: 0, ttft: 0 }
  const seeds = Number(values.seeds)
  for (let seed = 1; seed <= seeds; seed++) {
    const run = await replay({ workload, fleet: uniformFleet('prefill-fifo', BACKENDS, { cacheBlocks }), policy, seed })
    let [prompt, cached, wrong, ttftMs] = [0, 0, 0, 0]
    for (const { index, promptTokens } of workload.requests) {
      prompt += promptTokens
      cached += run.cachedTokens[index]!
      wrong += Math.abs(run.cachedTokens[index]! - run.expectedCachedTokens[index]!)
      ttftMs += run.ttftMs[index]!
    }
    sums.hit += cached / prompt / seeds
    sums.error += wrong / prompt / seeds
    sums.ttft += ttftMs / workload.requests.length / 1000 / seeds
  }
  return sums
}

const percent = (share: number): string => (100 * share).toFixed(1)
const mean = (numbers: readonly number[]): number => numbers.reduce((sum, each) => sum + each, 0) / numbers.length
const hits: string[] = []
const survivals: string[] = []
const bins: string[] = []
for (const cacheBlocks of values.sizes.split(',').map(Number)) {
  const seen: Seen[] = []
  const forms: readonly (readonly [string, Policy])[] = [
    ['exact', homingExact],
    ['history', homingWith('history', 'watched', { exact: false, onReturn: (one) => seen.push(one) })],
    ['half', homingWith('half', 'half of the answers hide it', { exact: false, hiddenShare: 0.5 })],
    ['none', homingWith('none', 'all answers hide it', { exact: false, hiddenShare: 1 })],
  ]
  let exactHit = 0
  for (const [name, policy] of forms) {
    const { hit, error: wrong, ttft } = await measure(policy, cacheBlocks)
    if (name === 'exact') exactHit = hit
    hits.push(`| ${cacheBlocks.toLocaleString('en')} | ${name} | ${percent(hit)} | ${percent(exactHit - hit)} | ${percent(wrong)} | ${ttft.toFixed(3)} |`)
    process.stderr.write(`${hits.at(-1)}\n`)
  }
  const brier = (predict: (one: Seen) => number): number =>
    mean(seen.map((one) => (predict(one) - (one.resident ? 1 : 0)) ** 2))
  const share = mean(seen.map(({ resident }) => (resident ? 1 : 0)))
  survivals.push(`| ${cacheBlocks.toLocaleString('en')} | ${seen.length} | ${percent(share)} | ${brier(({ predicted }) => predicted).toFixed(3)} | ${brier(() => share).toFixed(3)} |`)
  for (let low = 0; low < 1; low += 0.2) {
    const inside = seen.filter(({ predicted }) => predicted >= low && (predicted < low + 0.2 || (low > 0.79 && predicted <= 1)))
    if (inside.length === 0) continue
    bins.push(`| ${cacheBlocks.toLocaleString('en')} | ${percent(low)} to ${percent(low + 0.2)} | ${inside.length} | ${percent(mean(inside.map(({ predicted }) => predicted)))} | ${percent(mean(inside.map(({ resident }) => (resident ? 1 : 0))))} |`)
  }
}
const text = `# What is known of the caches, ${today}

\`npm run bench:kv -- --seeds ${values.seeds}\`: ${workload.requests.length.toLocaleString('en')} requests, ${BACKENDS} backends, virtual time, means over the seeds. What the rows are:
bench/kv.bench.ts. Node ${process.version}.

## Hit rate and expectation

| blocks a backend | knows | hit rate, % | below exact, points | error, % of prompt tokens | mean TTFT, s |
|---|---|---|---|---|---|
${hits.join('\n')}

Targets: history within 2 points of exact, half within 3, error at most 5 %. \`none\` is no target: without one reported answer a
slow first token can be a miss or a slow backend.

## Survival

| blocks a backend | returns | still there, % | Brier | base rate's Brier |
|---|---|---|---|---|
${survivals.join('\n')}

Target: at most 0.10 where the base rate has at least 0.2.

| blocks a backend | predicted, % | returns | mean predicted, % | still there, % |
|---|---|---|---|---|
${bins.join('\n')}
`
mkdirSync(dirname(values.out), { recursive: true })
writeFileSync(values.out, text)
process.stdout.write(`${values.out}\n`)
