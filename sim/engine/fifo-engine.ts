/**
 * Profile `prefill-fifo`: one prefill at a time in order of arrival at `prefillTokensPerSecond`, then decode at
 * `decodeMsPerToken` that slows nothing. The cache is a plain LRU of the prompt's blocks, the partial last one
 * included, as the trace names them. The first token comes at the end of the prefill. No batching: rank orders and
 * ratios to the bound mean something here, absolute seconds do not.
 */
import type { Job } from '../request.ts'
import type { Timeline } from '../timeline.ts'
import { BlockCache } from './block-cache.ts'
import { newTotals, scaled, type EngineSpeed, type EngineTotals, type SimulatedEngine } from './engine.ts'

export class FifoEngine implements SimulatedEngine {
  speed: EngineSpeed
  readonly cache: BlockCache
  readonly totals: EngineTotals = newTotals()
  readonly #timeline: Timeline
  readonly #queue: Job[] = []
  #head = 0
  #current: Job | null = null
  #currentEndMs = 0
  #waiting = 0
  readonly #decoding = new Set<Job>()
  /** Events of an older epoch are void: the engine was restarted, stalled or the job was cancelled since. */
  #prefillEpoch = 0
  #decodeEpoch = 0
  #stalledUntilMs = 0

  constructor(speed: EngineSpeed, timeline: Timeline) {
    this.speed = speed
    this.cache = new BlockCache(speed.cacheBlocks)
    this.#timeline = timeline
  }

  get running(): number {
    return this.#decoding.size + (this.#current === null ? 0 : 1)
  }

  get waiting(): number {
    return this.#waiting
  }

  submit(job: Job): void {
    job.submittedAtMs = this.#timeline.nowMs()
    job.state = 'waiting'
    this.#queue.push(job)
    this.#waiting++
    if (this.#current === null) this.#startNext()
  }

  cancel(job: Job): void {
    if (job.state === 'waiting') this.#waiting--
    else if (job.state !== 'prefill' && job.state !== 'decode') return
    const wasCurrent = job === this.#current
    this.#decoding.delete(job)
    job.state = 'cancelled'
    job.endedAtMs = this.#timeline.nowMs()
    this.totals.cancelled++
    if (!wasCurrent) return
    this.#current = null
    this.#prefillEpoch++
    this.totals.busyMs -= this.#currentEndMs - this.#timeline.nowMs()
    this.#startNext()
  }

  produced(job: Job): number {
    if (job.state !== 'decode') return job.producedTokens
    // Counted from the end, which a stall moves, so that a stalled job produces nothing.
    const left = Math.ceil((job.endedAtMs - this.#timeline.nowMs()) / this.speed.decodeMsPerToken)
    job.producedTokens = Math.max(job.producedTokens, job.request.outputTokens - Math.max(0, left))
    return job.producedTokens
  }

  restart(why: string): void {
    const lost = [...this.#decoding, ...this.#queue.slice(this.#head).filter((job) => job.state === 'waiting')]
    if (this.#current !== null) lost.push(this.#current)
    this.#queue.length = 0
    this.#head = 0
    this.#waiting = 0
    this.#decoding.clear()
    this.#current = null
    this.#prefillEpoch++
    this.#decodeEpoch++
    this.cache.clear()
    for (const job of lost) {
      job.state = 'failed'
      job.endedAtMs = this.#timeline.nowMs()
      this.totals.failed++
      job.listener.failed(job, why)
    }
  }

  slow(factor: number): void {
    this.speed = scaled(this.speed, factor)
  }

  stall(durationMs: number): void {
    const nowMs = this.#timeline.nowMs()
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, nowMs + durationMs)
    if (this.#current !== null) this.#awaitPrefill(this.#current, this.#currentEndMs + durationMs)
    this.#decodeEpoch++
    for (const job of this.#decoding) this.#awaitDecode(job, job.endedAtMs + durationMs)
  }

  #startNext(): void {
    let job = this.#queue[this.#head]
    while (job !== undefined && job.state !== 'waiting') job = this.#queue[++this.#head] // cancelled while waiting
    if (job === undefined) {
      this.#queue.length = 0
      this.#head = 0
      return
    }
    this.#head++
    if (this.#head > 1024) {
      this.#queue.splice(0, this.#head)
      this.#head = 0
    }
    this.#waiting--
    const { request } = job
    const matched = this.cache.matched(request.blocks)
    job.cachedTokens = Math.min(request.promptTokens, matched * this.speed.blockTokens)
    this.cache.use(request.blocks)
    job.state = 'prefill'
    job.startedAtMs = Math.max(this.#timeline.nowMs(), this.#stalledUntilMs)
    this.#current = job
    const prefillMs = ((request.promptTokens - job.cachedTokens) / this.speed.prefillTokensPerSecond) * 1000
    this.totals.busyMs += prefillMs
    this.totals.promptTokens += request.promptTokens
    this.totals.cachedTokens += job.cachedTokens
    this.#awaitPrefill(job, job.startedAtMs + prefillMs)
  }

  #awaitPrefill(job: Job, endMs: number): void {
    const epoch = ++this.#prefillEpoch
    this.#currentEndMs = endMs
    this.#timeline.schedule(endMs, () => {
      if (epoch !== this.#prefillEpoch) return
      this.#current = null
      job.state = 'decode'
      job.firstTokenAtMs = this.#timeline.nowMs()
      job.producedTokens = 1
      this.#decoding.add(job)
      this.#awaitDecode(
        job,
        job.firstTokenAtMs + Math.max(0, job.request.outputTokens - 1) * this.speed.decodeMsPerToken,
      )
      job.listener.firstToken(job)
      if (this.#current === null) this.#startNext()
    })
  }

  #awaitDecode(job: Job, endMs: number): void {
    const epoch = this.#decodeEpoch
    job.endedAtMs = endMs
    this.#timeline.schedule(endMs, () => {
      if (epoch !== this.#decodeEpoch || !this.#decoding.delete(job)) return
      job.state = 'finished'
      job.producedTokens = job.request.outputTokens
      this.totals.outputTokens += job.producedTokens
      this.totals.finished++
      job.listener.finished(job)
    })
  }
}
