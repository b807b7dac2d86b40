/**
 * Replays a workload through a policy against a simulated fleet, in virtual time. Every request is answered exactly
 * once: what a dying backend loses comes back to the policy at once and keeps its time of arrival. Deterministic: the
 * same workload, fleet, policy and seed give the same numbers.
 */
import type { SimulatedEngine } from './engine/engine.ts'
import { Ledger } from './ledger.ts'
import type { Policy, Router, RouterContext } from './policy/policy.ts'
import { buildEngine, type BackendSpec } from './profile.ts'
import { seededRandom } from './random.ts'
import { newJob, startOf, type Job, type JobListener } from './request.ts'
import { DelayedCacheView } from './delayed-cache-view.ts'
import { VirtualTimeline } from './timeline.ts'
import type { Workload } from './workload/workload.ts'

export type Fault = {
  readonly atMs: number
  readonly backend: number
  /**
   * `die`: jobs and cache are lost and it is away for `forMs`; `restart`: the same with no time away; `stall`: no
   * progress; `drain`: it takes nothing new for `forMs`, what runs there ends, its cache stays; `slow`: from now on half
   * as fast, prompts and answers alike.
   */
  readonly kind: 'die' | 'restart' | 'stall' | 'slow' | 'drain'
  readonly forMs: number
}

export type ReplayOptions = {
  readonly workload: Workload
  readonly fleet: readonly BackendSpec[]
  readonly policy: Policy
  readonly seed: number
  readonly faults?: readonly Fault[]
  /** Load that reaches these backends past the router, in turn. It is not measured, it only takes room. */
  readonly foreign?: { readonly workload: Workload; readonly backends: readonly number[] }
  /** KV events reach the policy so much later. 0: exact knowledge. */
  readonly eventDelayMs?: number
  /** A request reaches its engine, and what it answers the router, so much later. */
  readonly networkDelayMs?: number
  readonly onProgress?: (answered: number) => void
}

/** Columns, one row a request. */
export type Replay = {
  readonly policy: Policy
  readonly seed: number
  readonly workload: Workload
  readonly backends: number
  readonly ttftMs: Float64Array
  readonly totalMs: Float64Array
  /** Time in the router before the last dispatch, less what was spent computing pieces of the prompt. */
  readonly heldMs: Float64Array
  readonly cachedTokens: Float64Array
  /** What the policy expected to be cached where it placed the request. */
  readonly expectedCachedTokens: Float64Array
  readonly backendOf: Int32Array
  /** How often each request was answered in full: all ones, or the laboratory is broken. */
  readonly answers: Uint8Array
  readonly retries: number
  readonly preemptions: number
  /** Pieces of prompts computed before their turns were sent. */
  readonly pieces: number
  /** Prompt tokens that each backend computed, those of `background` included. */
  readonly work: Float64Array
  /** Prompt tokens that were computed for requests of the router's own. */
  readonly background: Float64Array
  readonly wallMs: number
}

/** Resolves when every promise that could settle has: the queue of immediates comes after all microtasks. */
const promisesSettled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export const replay = async (options: ReplayOptions): Promise<Replay> => {
  const startedMs = performance.now()
  const { workload, fleet, policy } = options
  const { requests } = workload
  const count = requests.length
  const backends = fleet.length
  const timeline = new VirtualTimeline()
  const engines: SimulatedEngine[] = fleet.map((spec) => buildEngine(spec, timeline))
  const ledger = new Ledger(backends)
  const ttftMs = new Float64Array(count).fill(Number.NaN)
  const totalMs = new Float64Array(count).fill(Number.NaN)
  const heldMs = new Float64Array(count)
  const cachedTokens = new Float64Array(count)
  const expectedCachedTokens = new Float64Array(count)
  const backendOf = new Int32Array(count).fill(-1)
  const answers = new Uint8Array(count)
  const work = new Float64Array(backends)
  const background = new Float64Array(backends)
  const down = new Uint8Array(backends)
  /** What was computed of each prompt before it was sent, and how long that took. */
  const preparedTokens = new Float64Array(count)
  const preparedMs = new Float64Array(count)
  let pieces = 0
  const draining = new Uint8Array(backends)
  let answered = 0
  let retries = 0

  const delayMs = options.eventDelayMs ?? 0
  const views = delayMs > 0 ? engines.map((engine) => new DelayedCacheView(engine.cache, timeline, delayMs)) : null
  const context: RouterContext = {
    backends,
    blockTokens: workload.blockTokens,
    ledger,
    random: seededRandom(options.seed),
    nowMs: () => timeline.nowMs(),
    speed: (backend) => engines[backend]!.speed,
    cachedTokens: (request, backend) => {
      const matched = (views === null ? engines[backend]!.cache : views[backend]!).matched(request.blocks)
      return Math.min(request.promptTokens, matched * workload.blockTokens)
    },
    holds: (backend, block) => (views === null ? engines[backend]!.cache : views[backend]!).has(block),
    usable: (backend) => down[backend] === 0 && draining[backend] === 0,
    draining: (backend) => draining[backend] === 1,
    background: (request, backend, ended) => {
      const book = (tokens: number): void => {
        work[backend]! += Math.max(0, tokens)
        background[backend]! += Math.max(0, tokens)
      }
      const job: Job = newJob(request, {
        firstToken: () => undefined,
        finished: () => {
          book(request.promptTokens - job.cachedTokens)
          ended(job)
        },
        failed: () => ended(job),
      })
      engines[backend]!.submit(job)
      return () => {
        if (job.state === 'prefill') book(job.computedTokens - job.cachedTokens)
        engines[backend]!.cancel(job)
      }
    },
    request: (index) => requests[index]!,
    dispatch: (request, backend, uncachedTokens) => {
      const nowMs = timeline.nowMs()
      heldMs[request.index] = nowMs - request.atMs - preparedMs[request.index]!
      backendOf[request.index] = backend
      expectedCachedTokens[request.index] = request.promptTokens - uncachedTokens - preparedTokens[request.index]!
      ledger.placed(request, backend, uncachedTokens, nowMs)
      later(() => engines[backend]!.submit(newJob(request, listeners[backend]!)))
    },
    prefill: (request, backend, promptTokens, done) => {
      const sentMs = timeline.nowMs()
      pieces++
      const piece = startOf(request, promptTokens, workload.blockTokens)
      const listener: JobListener = {
        firstToken() {},
        finished: (job) =>
          later(() => {
            const computed = piece.promptTokens - job.cachedTokens
            preparedTokens[request.index]! += computed
            preparedMs[request.index]! += timeline.nowMs() - sentMs
            work[backend]! += computed
            done({ promptTokens: piece.promptTokens, cachedTokens: job.cachedTokens })
          }),
        failed: () => later(() => done(null)),
      }
      later(() => engines[backend]!.submit(newJob(piece, listener)))
    },
    schedule: (atMs, action) => timeline.schedule(atMs, action),
    engine: (backend) => engines[backend]!,
    ended: () => answered === count,
  }
  const router: Router = policy.create(context)
  const networkDelayMs = options.networkDelayMs ?? 0
  const later = (action: () => void): void => {
    if (networkDelayMs === 0) action()
    else timeline.schedule(timeline.nowMs() + networkDelayMs, action)
  }

  const listeners = engines.map((_, backend): JobListener => ({
    firstToken: (job: Job) => later(() => {
      const { request } = job
      ttftMs[request.index] = timeline.nowMs() - request.atMs
      // what was computed for it just before was not cached
      cachedTokens[request.index] = Math.max(0, job.cachedTokens - preparedTokens[request.index]!)
      ledger.firstToken(request, backend, timeline.nowMs())
      router.firstToken?.(request, backend)
    }),
    finished: (job: Job) => later(() => {
      const { request } = job
      totalMs[request.index] = timeline.nowMs() - request.atMs
      work[backend]! += request.promptTokens - job.cachedTokens
      answers[request.index]!++
      answered++
      ledger.ended(request, backend)
      if (options.onProgress !== undefined && (answered & 255) === 0) options.onProgress(answered)
      router.ended?.(request, backend, 'completed', job.cachedTokens)
    }),
    failed: (job: Job) => later(() => {
      const { request } = job
      retries++
      ledger.ended(request, backend)
      router.ended?.(request, backend, 'failed', 0)
      timeline.schedule(timeline.nowMs(), () => router.arrive(request))
    }),
  }))

  let next = 0
  const arrive = (): void => {
    const request = requests[next++]!
    if (next < count) timeline.schedule(requests[next]!.atMs, arrive)
    router.arrive(request)
  }
  if (count > 0) timeline.schedule(requests[0]!.atMs, arrive)

  if (options.foreign !== undefined) sendForeign(options.foreign, engines, timeline)

  for (const fault of options.faults ?? []) {
    timeline.schedule(fault.atMs, () => {
      if (fault.kind === 'stall') return engines[fault.backend]!.stall(fault.forMs)
      if (fault.kind === 'slow') return engines[fault.backend]!.slow(0.5)
      const away = fault.kind === 'die' ? down : draining
      if (fault.kind !== 'restart') {
        away[fault.backend] = 1
        timeline.schedule(fault.atMs + fault.forMs, () => {
          away[fault.backend] = 0
          router.changed?.(fault.backend)
        })
      }
      if (fault.kind !== 'drain') engines[fault.backend]!.restart(fault.kind)
      router.changed?.(fault.backend)
    })
  }

  await timeline.runSettling(() => (router.busy?.() === true ? promisesSettled() : null))
  options.onProgress?.(answered)
  return {
    policy,
    seed: options.seed,
    workload,
    backends,
    ttftMs,
    totalMs,
    heldMs,
    cachedTokens,
    expectedCachedTokens,
    backendOf,
    answers,
    retries,
    pieces,
    work,
    background,
    preemptions: engines.reduce((sum, engine) => sum + engine.totals.preemptions, 0),
    wallMs: performance.now() - startedMs,
  }
}

const NOBODY: JobListener = { firstToken: () => undefined, finished: () => undefined, failed: () => undefined }

const sendForeign = (
  { workload, backends }: NonNullable<ReplayOptions['foreign']>,
  engines: readonly SimulatedEngine[],
  timeline: VirtualTimeline,
): void => {
  let next = 0
  const send = (): void => {
    const request = workload.requests[next]!
    engines[backends[next++ % backends.length]!]!.submit(newJob(request, NOBODY))
    if (next < workload.requests.length) timeline.schedule(workload.requests[next]!.atMs, send)
  }
  if (workload.requests.length > 0) timeline.schedule(workload.requests[0]!.atMs, send)
}
