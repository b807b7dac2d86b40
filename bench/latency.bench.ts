/**
 * How wrong the latency predictions are, and how fast they follow: `npm run bench:latency` writes
 * bench/records/latency-DATE.md. Virtual time.
 *
 *   node dist/bench/latency.bench.js [--data FOLDER] [--out FILE] [--seed K]
 *
 * Each turn's time to first token and time per output token, as Homing's own model predicts them at dispatch (with the
 * cached tokens that the engine tells afterwards), beside what came; before the model learns from it.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { LatencyModel } from '../src/learn/latency.ts'
import type { Outcome } from '../src/model/outcome.ts'
import { homingWith } from '../sim/policy/homing.ts'
import { PROFILE_NAMES, uniformFleet, type ProfileName } from '../sim/profile.ts'
import { replay, type Fault } from '../sim/replay.ts'
import { percentile } from '../sim/summary.ts'
import { readTrace } from '../sim/workload/read-trace.ts'
import type { Workload } from '../sim/workload/workload.ts'

const date = new Date().toISOString().slice(0, 10)
const { values } = parseArgs({
  options: {
    data: { type: 'string', default: '../shared/data' },
    out: { type: 'string', default: `bench/records/latency-${date}.md` },
    seed: { type: 'string', default: '1' },
  },
})

type Prediction = { readonly backend: number; readonly predicted: number; readonly measured: number }
type Thought = { readonly backend: number; readonly sentAtMs: number; readonly atMs: number; readonly prefillSeconds: number }

/** Writes down each prediction beside its outcome. */
class WatchedModel extends LatencyModel {
  readonly ttft: Prediction[] = []
  readonly step: Prediction[] = []
  /** What 4,000 uncached prompt tokens are thought to take at the backend, after each of its turns. */
  readonly prefill: Thought[] = []
  readonly #nowMs: () => number

  constructor(nowMs: () => number) {
    super()
    this.#nowMs = nowMs
  }

  override observe(outcome: Outcome): void {
    const { backend, model, usage, ttftMs, decodeMs, queuedTokensAtDispatch, othersSecondsAtDispatch } = outcome
    const { index } = backend
    // a piece of a prompt has no answer
    if (outcome.status === 'completed' && usage !== null && ttftMs !== null && decodeMs !== null) {
      const uncachedTokens = Math.max(0, usage.promptTokens - (usage.cachedTokens ?? 0))
      const own = this.predictTtftSeconds({ uncachedTokens, queuedTokens: queuedTokensAtDispatch }, index, model)
      this.ttft.push({ backend: index, predicted: own + (othersSecondsAtDispatch ?? 0), measured: Math.max(1e-4, ttftMs / 1000) })
      if (usage.outputTokens >= 4) {
        const predicted = this.stepSeconds(outcome.inFlightAtDispatch, index, model)
        this.step.push({ backend: index, predicted, measured: decodeMs / 1000 / (usage.outputTokens - 1) })
      }
    }
    super.observe(outcome)
    const sentAtMs = this.#nowMs() - (ttftMs ?? 0) - (decodeMs ?? 0)
    this.prefill.push({ backend: index, sentAtMs, atMs: this.#nowMs(), prefillSeconds: this.prefillSeconds(4000, index, model) })
  }
}

const watch = async (workload: Workload, profile: ProfileName, backends: number, faults: readonly Fault[] = []) => {
  let model!: WatchedModel
  const policy = homingWith('homing', '', { latency: ({ nowMs }) => (model = new WatchedModel(nowMs)) })
  await replay({ workload, fleet: uniformFleet(profile, backends), policy, seed: Number(values.seed), faults })
  return model
}

const share = (predictions: readonly Prediction[], quantile: number): string => {
  const errors = predictions.map(({ predicted, measured }) => Math.abs(predicted - measured) / measured)
  return `${(100 * percentile(Float64Array.from(errors).sort(), quantile)).toFixed(1)} %`
}

/** On the Azure trace half of the fleet is idle, and a slow backend is hardly used again. */
const FOLLOWED = /^mooncake/
const rows: string[] = []
const followed: string[] = []
for (const file of ['mooncake-conversation-part1.jsonl', 'mooncake-synthetic-first400s.jsonl', 'azure-llm-conv.csv']) {
  const path = join(values.data, file)
  if (!existsSync(path)) {
    process.stderr.write(`SKIPPED: ${path} is not here\n`)
    continue
  }
  const { workload, error } = await readTrace(path)
  if (error !== null) throw error
  for (const profile of PROFILE_NAMES) {
    for (const backends of [8, 5]) {
      const { ttft, step } = await watch(workload, profile, backends)
      const cells = [ttft, step].flatMap((of) => [share(of, 0.5), share(of, 0.9)])
      rows.push(`| ${file} | ${profile} | ${backends} | ${ttft.length} | ${cells.join(' | ')} |`)
      process.stderr.write(`${rows.at(-1)}\n`)
    }
    if (FOLLOWED.test(file)) followed.push(await follow(workload, file, profile))
  }
}

/** Backend 0 turns half as fast in the middle of the trace. */
async function follow(workload: Workload, file: string, profile: ProfileName): Promise<string> {
  const atMs = workload.requests[Math.floor(workload.requests.length / 2)]!.atMs
  const { prefill } = await watch(workload, profile, 8, [{ atMs, backend: 0, kind: 'slow', forMs: 0 }])
  const own = prefill.filter(({ backend }) => backend === 0)
  const level = own.filter((thought) => thought.atMs < atMs).at(-1)!.prefillSeconds
  const slow = own.filter(({ sentAtMs }) => sentAtMs >= atMs)
  const at = (turns: number): string => (slow[turns - 1] === undefined ? '' : (slow[turns - 1]!.prefillSeconds / level).toFixed(2))
  return `| ${file} | ${profile} | ${[5, 10, 12, 15, 20, 40].map(at).join(' | ')} |`
}

const text = `# Latency predictions, ${date}

\`npm run bench:latency\`: relative error |predicted - measured| / measured of each turn, predicted at dispatch by the model that
places, caches known by history only; virtual time, seed ${values.seed}. TTFT: from dispatch to the first token. Step: time per output token
over the whole answer. \`prefill-fifo\` has no noise; in \`realistic\` a step lasts as long as the prompts computed in it, so the time per
token depends on the prompts that come while the answer runs.

| trace | profile | backends | turns | TTFT: median | p90 | step: median | p90 |
|---|---|---|---|---|---|---|---|
${rows.join('\n')}

Backend 0 of 8 turns half as fast in the middle of the trace. Its predicted prefill of 4,000 tokens after so many of its own requests
(pieces of prompts included) sent since then, as a multiple of the prediction before (2.00 is right):

| trace | profile | 5 | 10 | 12 | 15 | 20 | 40 |
|---|---|---|---|---|---|---|---|
${followed.join('\n')}

A slow backend gets the turns that are cheap there. In \`realistic\` a short prompt's first token mostly waits for the step under
way, which on a nearly idle backend is shorter than usual: its factor, learned from such turns, falls again.
`
mkdirSync(dirname(values.out), { recursive: true })
writeFileSync(values.out, text)
process.stdout.write(`${values.out}\n`)
