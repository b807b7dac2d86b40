/**
 * Reads from each healthy backend's Prometheus page how many sequences it runs and how many wait, every 2 s, off the
 * path of turns. It sees work that came to the engine past Homing. One small object per backend; a page costs about
 * 0.3 ms. A counter that fell, or another process start time, shows a restart.
 */
import type { Backend } from '../model/backend.ts'
import type { ProbeAnswer, ProbeGet } from './probe-get.ts'
import { readSamples, sum } from './prometheus.ts'
import type { Sample } from './prometheus.ts'
import type { After } from './timers.ts'

export type ScrapedLoad = { readonly running: number; readonly waiting: number; readonly observedAtMs: number }

export type MetricsProbeOptions = {
  readonly backends: () => readonly Backend[]
  readonly get: ProbeGet
  readonly nowMs: () => number
  readonly after: After
  readonly random: () => number
  readonly onRestart: (backend: Backend, why: string) => void
  readonly everyMs?: number
}

/** Per engine: sequences that run, sequences that wait. */
const GAUGES: readonly (readonly [running: string, waiting: string])[] = [
  ['vllm:num_requests_running', 'vllm:num_requests_waiting'],
  ['sglang:num_running_reqs', 'sglang:num_queue_reqs'],
  ['llamacpp:requests_processing', 'llamacpp:requests_deferred'],
]
const COUNTERS = [
  'vllm:prompt_tokens_total', 'vllm:generation_tokens_total', 'sglang:prompt_tokens_total',
  'sglang:generation_tokens_total', 'llamacpp:prompt_tokens_total', 'llamacpp:tokens_predicted_total',
]
const STARTED = 'process_start_time_seconds'
const WANTED: ReadonlySet<string> = new Set([...GAUGES.flat(), ...COUNTERS, STARTED])

const EVERY_MS = 2000
/** A backend without a readable page is asked again after this. */
const ABSENT_AGAIN_MS = 60_000

type Page = { readonly started: string | null; readonly counters: ReadonlyMap<string, number> }
type Entry = { load: ScrapedLoad | null; last: Page | null; notBeforeMs: number; busy: boolean }

export class MetricsProbe {
  readonly #options: MetricsProbeOptions
  /** Follows the list of backends: entries of removed ones are let go at the next round. */
  #entries = new Map<Backend, Entry>()
  #cancelTimer: () => void = () => undefined
  #running = false

  constructor(options: MetricsProbeOptions) {
    this.#options = options
  }

  /** The newest reading, null when there is none or the page went away. Its age is for the reader to judge. */
  load(backend: Backend): ScrapedLoad | null {
    return this.#entries.get(backend)?.load ?? null
  }

  start(): void {
    if (this.#running) return
    this.#running = true
    this.#next()
  }

  close(): void {
    this.#running = false
    this.#cancelTimer()
  }

  /** Reads every page that is due, each at most once at a time. */
  async round(): Promise<void> {
    const { backends, nowMs } = this.#options
    const listed = backends()
    this.#entries = new Map(listed.map((backend) => [
      backend, this.#entries.get(backend) ?? { load: null, last: null, notBeforeMs: 0, busy: false },
    ]))
    const isDue = (backend: Backend, entry: Entry): boolean =>
      backend.healthy && !entry.busy && nowMs() >= entry.notBeforeMs
    const due = [...this.#entries].filter(([backend, entry]) => isDue(backend, entry))
    await Promise.all(due.map(([backend, entry]) => this.#read(backend, entry)))
  }

  #next(): void {
    if (!this.#running) return
    const { after, random, everyMs = EVERY_MS } = this.#options
    this.#cancelTimer = after(everyMs * (0.8 + 0.4 * random()), () => {
      // A slow page delays its own backend only: the next round does not wait for this one.
      void this.round()
      this.#next()
    })
  }

  async #read(backend: Backend, entry: Entry): Promise<void> {
    const { get, nowMs } = this.#options
    entry.busy = true
    const answer = await get(backend.config, '/metrics').catch(() => null)
    entry.busy = false
    const samples = readSamples(answer?.status === 200 ? answer.text : '', WANTED)
    entry.load = readLoad(samples, nowMs())
    // An engine that is starting answers 503: its page is late, not absent.
    if (answer === null || (answer.status >= 500 && answer.status !== 501)) return
    if (entry.load === null) {
      entry.notBeforeMs = nowMs() + ABSENT_AGAIN_MS
      return
    }
    const page = readPage(answer, samples)
    const sign = entry.last === null ? null : restartSign(entry.last, page)
    entry.last = page
    if (sign !== null) this.#options.onRestart(backend, sign)
  }
}

function readLoad(samples: ReadonlyMap<string, readonly Sample[]>, observedAtMs: number): ScrapedLoad | null {
  for (const [running, waiting] of GAUGES) {
    const count = sum(samples.get(running))
    if (count !== null) return { running: count, waiting: sum(samples.get(waiting)) ?? 0, observedAtMs }
  }
  return null
}

function readPage(answer: ProbeAnswer, samples: ReadonlyMap<string, readonly Sample[]>): Page {
  // llama.cpp tells its start in a header.
  const header = answer.headers['process-start-time-unix']
  const value = samples.get(STARTED)?.[0]?.value
  const started = value !== undefined ? String(value) : typeof header === 'string' ? header : null
  const counters = new Map<string, number>()
  for (const name of COUNTERS) {
    const total = sum(samples.get(name))
    if (total !== null) counters.set(name, total)
  }
  return { started, counters }
}

function restartSign(before: Page, now: Page): string | null {
  if (before.started !== null && now.started !== null && before.started !== now.started) return 'its start time changed'
  for (const [name, total] of now.counters) {
    if (total < (before.counters.get(name) ?? 0)) return `${name} fell`
  }
  return null
}
