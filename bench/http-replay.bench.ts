/**
 * Does the laboratory tell the truth? The first seconds of a trace over HTTP, through the gateway and without it,
 * beside the same run in virtual time and the bound of that window.
 *
 *   node dist/bench/http-replay.bench.js [--trace FILE] [--seconds 600] [--time-factor 5] [--backends 8,6,4] [--program FILE]
 *
 * The fleet (`homing simulate`, prefill-fifo) and the gateway (`homing serve --store memory`, otherwise defaults) are
 * processes of their own; this one generates the load. The harness's own overhead is a run without a router at a tenth
 * of the rate: measured TTFT minus what virtual time says of the same requests. Wall time: seconds / time factor, each.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { boundOf } from '../sim/bound.ts'
import { playTrace, type Played } from '../sim/http/trace-player.ts'
import { policiesNamed } from '../sim/policy/catalogue.ts'
import { uniformFleet } from '../sim/profile.ts'
import { replay } from '../sim/replay.ts'
import { summarise, summariseBound } from '../sim/summary.ts'
import { readTrace } from '../sim/workload/read-trace.ts'
import { atRate, firstMilliseconds } from '../sim/workload/workload.ts'

const { values } = parseArgs({
  options: {
    trace: { type: 'string', default: '../shared/data/mooncake-conversation-part1.jsonl' },
    seconds: { type: 'string', default: '600' },
    'time-factor': { type: 'string', default: '5' },
    backends: { type: 'string', default: '8,6,4' },
    program: { type: 'string', default: fileURLToPath(new URL('../src/main.js', import.meta.url)) },
  },
})
const timeFactor = Number(values['time-factor'])
const { workload: whole } = await readTrace(values.trace)
const workload = firstMilliseconds(whole, Number(values.seconds) * 1000)

const started: ChildProcess[] = []
const stopAll = async (): Promise<void> => {
  for (const child of started.splice(0)) {
    child.kill('SIGTERM')
    if (child.exitCode === null) await once(child, 'exit')
  }
}

/** Starts the program and resolves when it has printed `lines` URLs. */
const start = async (args: readonly string[], lines: number): Promise<string[]> => {
  const child = spawn(process.execPath, [values.program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  started.push(child)
  const urls: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /https?:\/\/[^\s]+/.exec(line)?.[0]
    if (url !== undefined) urls.push(url)
    if (urls.length === lines) break
  }
  if (urls.length < lines) throw new Error(`homing ${args[0]} ended before it was ready`)
  child.stdout.resume()
  return urls
}

const simulate = (backends: number): Promise<string[]> =>
  start(
    [
      'simulate',
      '--backends',
      String(backends),
      '--port',
      '0',
      '--profile',
      'prefill-fifo',
      '--time-factor',
      String(timeFactor),
    ],
    backends,
  )

const meanSeconds = (played: Played): number => {
  let sum = 0
  let count = 0
  for (const ms of played.ttftMs) {
    if (Number.isNaN(ms)) continue
    sum += ms
    count++
  }
  return sum / count / 1000
}

try {
  process.stdout.write(
    '| backends | bound | virtual time | over HTTP | x bound | x virtual | harness overhead, s | statuses | player lag, ms |\n',
  )
  process.stdout.write('|---|---|---|---|---|---|---|---|---|\n')
  for (const backends of values.backends.split(',').map(Number)) {
    const fleet = uniformFleet('prefill-fifo', backends)
    const bound = summariseBound(workload, boundOf(workload, fleet)).meanTtftSeconds
    const virtual = async (name: string, of = workload): Promise<number> =>
      summarise(await replay({ workload: of, fleet, policy: policiesNamed([name])[0]!, seed: 1 }), 8000).meanTtftSeconds
    const model = 'homing-sim'

    const direct = await simulate(backends)
    const sparse = atRate(firstMilliseconds(whole, 30_000), 0.1)
    let turn = 0
    const bare = await playTrace({
      workload: sparse,
      timeFactor,
      model,
      clock: () => performance.now(),
      target: () => direct[turn++ % backends]!,
    })
    const overhead = meanSeconds(bare) - (await virtual('round-robin', sparse))
    await stopAll()

    const urls = await simulate(backends)
    const [gateway] = await start(
      [
        'serve',
        '--listen',
        '127.0.0.1:0',
        '--store',
        'memory',
        '--log-level',
        'error',
        ...urls.flatMap((url) => ['--backend', url]),
      ],
      1,
    )
    const base = `${gateway!.replace(/\/+$/, '').replace(/\/v1$/, '')}/v1`
    await untilReady(base.replace(/\/v1$/, ''))
    const played = await playTrace({ workload, timeFactor, model, clock: () => performance.now(), target: () => base })
    await stopAll()
    const expected = await virtual('homing')
    const measured = meanSeconds(played)
    process.stdout.write(
      `| ${[
        backends,
        bound.toFixed(3),
        expected.toFixed(3),
        measured.toFixed(3),
        (measured / bound).toFixed(3),
        (measured / expected).toFixed(3),
        overhead.toFixed(3),
        JSON.stringify(played.statuses),
        played.worstLagMs.toFixed(0),
      ].join(' | ')} |\n`,
    )
  }
} finally {
  await stopAll()
}

async function untilReady(url: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if ((await fetch(`${url}/readyz`).catch(() => null))?.status === 200) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('the gateway did not become ready')
}
