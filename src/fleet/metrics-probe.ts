/**
 * Reads each healthy backend's Prometheus page every 2 s, off the path of turns: how many sequences run and wait there,
 * how full its cache is, what it has computed and finished. It sees work that came to the engine past Homing. A counter
 * that fell, or another process start time, shows a restart.
 *
 * Cheap with 200 backends: a page costs about 0.3 ms and 4 MiB at most, each backend has its own jittered moment so that
 * they never come all at once, and none is asked again while it has not answered. One small object per backend.
 */
import type { Backend } from '../model/backend.ts'
import type { ProbeAnswer, ProbeGet } from './probe-get.ts'
import { label, readSamples, sum } from './prometheus.ts'
import type { Sample } from './prometheus.ts'
import type { After } from './timers.ts'
import type { EnginePage } from './engine-load.ts'

/** Who makes something of the pages. */
export interface PageReader {
  asked(backend: Backend): void
  answered(backend: Backend, page: EnginePage): void
}

export type MetricsProbeOptions = {
  readonly backends: () => readonly Backend[]
  readonly get: ProbeGet
  readonly nowMs: () => number
  readonly after: After
  readonly random: () => number
  readonly onRestart: (backend: Backend, why: string) => void
  readonly reader?: PageReader
  /** A page that was there before could not be read: until the next one only our own record counts. */
  readonly onUnread?: (backend: Backend) => void
  readonly everyMs?: number
}

type Samples = ReadonlyMap<string, readonly Sample[]>
type PageNames = {
  readonly running: string
  readonly waiting: string
  /** Share of the KV cache in use; several names over an engine's versions, the newest first. */
  readonly cacheUsage: readonly string[]
  readonly finished: string | null
  /** Prompt tokens that were computed, from these counters. */
  readonly computed: (samples: Samples) => number | null
  readonly counters: readonly string[]
}

/**
 * Where a vLLM does not count by source nothing is taken: its cache look-ups count a waiting prompt again in every step.
 */
const vllmComputed = (samples: Samples): number | null => {
  const bySource = samples.get('vllm:prompt_tokens_by_source_total')
  return sum(bySource?.filter(({ labels }) => label(labels, 'source') === 'local_compute'))
}

const sglangComputed = (samples: Samples): number | null => {
  const [whole, cached] = [sum(samples.get('sglang:prompt_tokens_total')), sum(samples.get('sglang:cached_tokens_total'))]
  return whole === null || cached === null ? null : whole - cached
}

const ENGINES: readonly PageNames[] = [
  {
    running: 'vllm:num_requests_running',
    waiting: 'vllm:num_requests_waiting',
    cacheUsage: ['vllm:kv_cache_usage_perc', 'vllm:gpu_cache_usage_perc'],
    finished: 'vllm:request_success_total',
    computed: vllmComputed,
    counters: ['vllm:prompt_tokens_total', 'vllm:generation_tokens_total'],
  },
  {
    running: 'sglang:num_running_reqs',
    waiting: 'sglang:num_queue_reqs',
    cacheUsage: ['sglang:token_usage'],
    finished: 'sglang:num_requests_total',
    computed: sglangComputed,
    counters: ['sglang:prompt_tokens_total', 'sglang:generation_tokens_total'],
  },
  {
    running: 'llamacpp:requests_processing',
    waiting: 'llamacpp:requests_deferred',
    cacheUsage: [],
    finished: null,
    // llama.cpp counts the cached ones apart.
    computed: (samples) => sum(samples.get('llamacpp:prompt_tokens_total')),
    counters: ['llamacpp:prompt_tokens_total', 'llamacpp:tokens_predicted_total'],
  },
]
const STARTED = 'process_start_time_seconds'
const WANTED: ReadonlySet<string> = new Set([
  ...ENGINES.flatMap(({ running, waiting, cacheUsage, finished, counters }) => [
    running, waiting, ...cacheUsage, ...counters, ...(finished === null ? [] : [finished]),
  ]),
  'vllm:prompt_tokens_by_source_total', 'sglang:cached_tokens_total', STARTED,
])
const COUNTERS = ENGINES.flatMap(({ counters }) => counters)

const EVERY_MS = 2000
/** How often it is looked who is due. */
const TICK_MS = 100
/** A backend without a readable page is asked again after this. */
const ABSENT_AGAIN_MS = 60_000

type Page = { readonly started: string | null; readonly counters: ReadonlyMap<string, number> }
type Entry = { page: EnginePage | null; last: Page | null; nextMs: number; notBeforeMs: number; busy: boolean }

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
  page(backend: Backend): EnginePage | null {
    return this.#entries.get(backend)?.page ?? null
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

  /** Reads every page that may be asked for, each at most once at a time. */
  async round(): Promise<void> {
    await Promise.all(this.#ready().map(([backend, entry]) => this.#read(backend, entry)))
  }

  #ready(): readonly (readonly [Backend, Entry])[] {
    const { backends, nowMs, random, everyMs = EVERY_MS } = this.#options
    const now = nowMs()
    this.#entries = new Map(backends().map((backend) => [
      backend,
      this.#entries.get(backend) ?? {
        page: null, last: null, nextMs: now + everyMs * random(), notBeforeMs: 0, busy: false,
      },
    ]))
    return [...this.#entries].filter(([backend, entry]) => backend.healthy && !entry.busy && now >= entry.notBeforeMs)
  }

  #next(): void {
    if (!this.#running) return
    const { after, nowMs, random, everyMs = EVERY_MS } = this.#options
    this.#cancelTimer = after(TICK_MS, () => {
      // A slow page delays its own backend only.
      for (const [backend, entry] of this.#ready()) {
        if (nowMs() < entry.nextMs) continue
        entry.nextMs = nowMs() + everyMs * (0.8 + 0.4 * random())
        void this.#read(backend, entry)
      }
      this.#next()
    })
  }

  async #read(backend: Backend, entry: Entry): Promise<void> {
    const { backends, get, nowMs, reader, onUnread } = this.#options
    const before = entry.page
    entry.busy = true
    reader?.asked(backend)
    const answer = await get(backend.config, '/metrics').catch(() => null)
    entry.busy = false
    if (!backends().includes(backend)) return // it left meanwhile
    const samples = readSamples(answer?.status === 200 ? answer.text : '', WANTED)
    entry.page = readNumbers(samples, nowMs())
    if (entry.page !== null) reader?.answered(backend, entry.page)
    else if (before !== null) onUnread?.(backend)
    // An engine that is starting answers 503: its page is late, not absent.
    if (answer === null || (answer.status >= 500 && answer.status !== 501)) return
    if (entry.page === null) {
      entry.notBeforeMs = nowMs() + ABSENT_AGAIN_MS
      return
    }
    const page = readPage(answer, samples)
    const sign = entry.last === null ? null : restartSign(entry.last, page)
    entry.last = page
    if (sign !== null) this.#options.onRestart(backend, sign)
  }
}

function readNumbers(samples: Samples, observedAtMs: number): EnginePage | null {
  for (const { running, waiting, cacheUsage, finished, computed } of ENGINES) {
    const count = sum(samples.get(running))
    if (count === null) continue
    const usage = cacheUsage.map((name) => samples.get(name)).find((found) => found !== undefined)
    return {
      running: count,
      waiting: sum(samples.get(waiting)) ?? 0,
      cacheUsage: usage === undefined ? null : sum(usage)! / usage.length,
      computedTokens: computed(samples),
      finishedRequests: finished === null ? null : sum(samples.get(finished)),
      observedAtMs,
    }
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
