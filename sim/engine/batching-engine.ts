/**
 * Profile `realistic`: continuous batching in steps, after vLLM's V1 scheduler.
 *
 *   step:  every decoding job gets one token; what is left of the token budget goes to prefills, running ones first,
 *          then waiting jobs in order of arrival while sequences and pages last (head of line blocks)
 *   time:  decode(batch) + prefill tokens / prefill speed
 *          decode(batch) = decodeMsPerToken * (1 + (batchSlowdown - 1) * (batch - 1) / (maxSequences - 1))
 *
 * A job holds a page per block of prompt and answer; full pages get their block's name and stay as prefix cache after
 * the job, answers included. When a decoding job finds no page, the job that started last is preempted: it gives its
 * pages back and goes to the head of the queue, to be computed again from what is still cached. At least the last
 * prompt token is always computed.
 *
 * While nothing but decode runs, steps are alike and many are taken as one event, cut at the step in which something
 * arrives. Cost: O(batch) per event.
 */
import type { Job } from '../request.ts'
import type { Timeline } from '../timeline.ts'
import { BlockCache } from './block-cache.ts'
import { newTotals, scaled, type EngineSpeed, type EngineTotals, type SimulatedEngine } from './engine.ts'

export type BatchingSpeed = EngineSpeed & {
  readonly maxBatchTokens: number
  readonly maxSequences: number
  /** Step time of a full batch over that of one sequence. */
  readonly batchSlowdown: number
}

export class BatchingEngine implements SimulatedEngine {
  speed: BatchingSpeed
  readonly cache: BlockCache
  readonly totals: EngineTotals = newTotals()
  readonly #timeline: Timeline
  readonly #waiting: Job[] = []
  #running: Job[] = []
  /** Prompt tokens of each running job that the current step computes, parallel to `#running`; 0 is a decode. */
  #chunks: number[] = []
  #epoch = 0
  #stepping = false
  #stepStartMs = 0
  #stepMs = 0
  #steps = 0

  constructor(speed: BatchingSpeed, timeline: Timeline) {
    this.speed = speed
    this.cache = new BlockCache(speed.cacheBlocks)
    this.#timeline = timeline
  }

  get running(): number {
    return this.#running.length
  }

  get waiting(): number {
    return this.#waiting.length
  }

  submit(job: Job): void {
    job.submittedAtMs = this.#timeline.nowMs()
    if (this.#pagesFor(job.request.promptTokens + job.request.outputTokens) > this.cache.capacity) {
      this.#fail(job, 'the request needs more KV cache than the engine has')
      return
    }
    job.state = 'waiting'
    this.#waiting.push(job)
    if (this.#stepping) this.#cutShort()
    else this.#step()
  }

  cancel(job: Job): void {
    const queued = this.#waiting.indexOf(job)
    if (queued >= 0) this.#waiting.splice(queued, 1)
    else {
      const at = this.#running.indexOf(job)
      if (at < 0) return
      this.#settle()
      this.#running.splice(at, 1)
      this.#chunks.splice(at, 1)
      this.#releasePages(job)
      if (this.#stepping) this.#cutShort()
    }
    job.state = 'cancelled'
    job.endedAtMs = this.#timeline.nowMs()
    this.totals.cancelled++
  }

  produced(job: Job): number {
    if (job.state !== 'decode' || this.#steps <= 1) return job.producedTokens
    const done = Math.floor((this.#timeline.nowMs() - this.#stepStartMs) / this.#stepMs)
    return Math.min(job.producedTokens + Math.max(0, Math.min(done, this.#steps)), job.request.outputTokens)
  }

  restart(why: string): void {
    const lost = [...this.#running, ...this.#waiting]
    this.#running = []
    this.#chunks = []
    this.#waiting.length = 0
    this.#epoch++
    this.#stepping = false
    this.cache.clear()
    for (const job of lost) this.#fail(job, why)
  }

  slow(factor: number): void {
    this.speed = scaled(this.speed, factor)
  }

  stall(durationMs: number): void {
    if (!this.#stepping || this.#steps === 0) return
    this.#settle()
    this.#stepStartMs += durationMs
    this.#await()
  }

  #fail(job: Job, why: string): void {
    job.state = 'failed'
    job.endedAtMs = this.#timeline.nowMs()
    this.totals.failed++
    job.listener.failed(job, why)
  }

  #pagesFor(tokens: number): number {
    return Math.ceil(tokens / this.speed.blockTokens)
  }

  /** Plans the next step; nothing to do leaves the engine idle until the next submit. */
  #step(): void {
    this.#stepping = false
    this.#chunks.length = 0
    let budget = this.speed.maxBatchTokens
    let decodes = 0
    let prefillTokens = 0
    let preempted = false
    for (let index = 0; index < this.#running.length; index++) {
      const job = this.#running[index]!
      if (job.state === 'decode') {
        while (!this.#grow(job, job.computedTokens + 1)) {
          preempted = true
          if (this.#preemptLast() === job) break
        }
        if (index >= this.#running.length) break // it preempted itself
        this.#chunks[index] = 0
        decodes++
        budget--
      } else {
        let chunk = Math.min(this.#goalTokens(job) - job.computedTokens, Math.max(0, budget))
        if (!this.#grow(job, job.computedTokens + chunk)) chunk = this.#roomInPages(job)
        this.#chunks[index] = chunk
        budget -= chunk
        prefillTokens += chunk
      }
    }
    while (!preempted && budget > 0 && this.#waiting.length > 0 && this.#running.length < this.speed.maxSequences) {
      const job = this.#waiting[0]!
      this.#attachPrefix(job)
      let chunk = Math.min(this.#goalTokens(job) - job.computedTokens, budget)
      if (!this.#grow(job, job.computedTokens + chunk)) chunk = Math.min(chunk, this.#roomInPages(job))
      if (chunk <= 0) {
        this.#releasePages(job)
        break
      }
      this.#waiting.shift()
      if (job.preemptions === 0) {
        job.startedAtMs = this.#timeline.nowMs()
        job.cachedTokens = job.computedTokens
        this.totals.promptTokens += job.request.promptTokens
        this.totals.cachedTokens += job.cachedTokens
      }
      job.state = 'prefill'
      this.#running.push(job)
      this.#chunks.push(chunk)
      budget -= chunk
      prefillTokens += chunk
    }
    if (decodes === 0 && prefillTokens === 0) {
      // Prefills that block each other for pages: the last one gives way. Nothing running: wait for a submit.
      if (this.#running.length > 1) {
        this.#preemptLast()
        this.#step()
      }
      return
    }
    this.#stepMs = (prefillTokens / this.speed.prefillTokensPerSecond) * 1000 + this.#decodeMs(decodes)
    this.#steps = prefillTokens === 0 ? this.#alikeSteps() : 1
    this.#stepStartMs = this.#timeline.nowMs()
    this.#stepping = true
    this.#await()
  }

  #decodeMs(batch: number): number {
    if (batch === 0) return 0
    const share = this.speed.maxSequences > 1 ? (batch - 1) / (this.speed.maxSequences - 1) : 0
    return this.speed.decodeMsPerToken * (1 + (this.speed.batchSlowdown - 1) * share)
  }

  /** Steps until a job ends or needs a page. */
  #alikeSteps(): number {
    if (this.#waiting.length > 0 && this.#running.length < this.speed.maxSequences) return 1
    let steps = Number.POSITIVE_INFINITY
    for (const job of this.#running) {
      const room = job.pages * this.speed.blockTokens - job.computedTokens
      steps = Math.min(steps, job.request.outputTokens - job.producedTokens, room)
    }
    return Math.max(1, steps)
  }

  #await(): void {
    const epoch = ++this.#epoch
    this.#timeline.schedule(this.#stepStartMs + this.#steps * this.#stepMs, () => {
      if (epoch === this.#epoch) this.#endStep()
    })
  }

  /** Books the steps that are over, leaving the one under way. */
  #settle(): void {
    if (!this.#stepping || this.#steps <= 1) return
    const done = Math.min(this.#steps - 1, Math.floor((this.#timeline.nowMs() - this.#stepStartMs) / this.#stepMs))
    if (done <= 0) return
    for (const job of this.#running) {
      job.producedTokens += done
      job.computedTokens += done
    }
    this.#stepStartMs += done * this.#stepMs
    this.#steps -= done
    this.totals.busyMs += done * this.#stepMs
  }

  /** The planning after the current step must not wait for the whole bundle. */
  #cutShort(): void {
    if (this.#steps <= 1) return
    this.#settle()
    this.#steps = 1
    this.#await()
  }

  #endStep(): void {
    this.totals.busyMs += this.#steps * this.#stepMs
    const nowMs = this.#timeline.nowMs()
    const steps = this.#steps
    this.#steps = 0
    const firsts: Job[] = []
    const ended: Job[] = []
    for (let index = 0; index < this.#running.length; index++) {
      const job = this.#running[index]!
      const chunk = this.#chunks[index] ?? 0
      if (chunk === 0) {
        if (job.state !== 'decode') continue
        job.producedTokens += steps
        job.computedTokens += steps
      } else {
        job.computedTokens += chunk
        this.#nameFullPages(job)
        if (job.computedTokens < this.#goalTokens(job)) continue
        job.state = 'decode'
        job.producedTokens++
        if (job.producedTokens === 1) {
          job.firstTokenAtMs = nowMs
          firsts.push(job)
        }
      }
      if (job.producedTokens >= job.request.outputTokens) ended.push(job)
    }
    if (ended.length > 0) this.#running = this.#running.filter((job) => job.producedTokens < job.request.outputTokens)
    for (const job of ended) {
      this.#releasePages(job)
      job.state = 'finished'
      job.endedAtMs = nowMs
      this.totals.outputTokens += job.producedTokens
      this.totals.finished++
    }
    // Reported only when the books are right, since a listener may submit or cancel; `#stepping` keeps that from
    // planning a second step.
    const epoch = this.#epoch
    for (const job of firsts) job.listener.firstToken(job)
    for (const job of ended) job.listener.finished(job)
    if (epoch === this.#epoch) this.#step()
  }

  /** Tokens that a prefill computes: the prompt, and after a preemption also the answer so far. */
  #goalTokens(job: Job): number {
    return job.request.promptTokens + job.producedTokens
  }

  #blockAt(job: Job, page: number): number | undefined {
    const { request } = job
    const promptBlocks = Math.floor(request.promptTokens / this.speed.blockTokens)
    return page < promptBlocks ? request.blocks[page] : request.answerBlocks[page - promptBlocks]
  }

  /** Refers to the cached head of a job that is about to start. */
  #attachPrefix(job: Job): void {
    const goal = this.#goalTokens(job)
    const full = Math.floor((goal - 1) / this.speed.blockTokens)
    let page = 0
    for (; page < full; page++) {
      const id = this.#blockAt(job, page)
      if (id === undefined || !this.cache.acquire(id)) break
    }
    job.pages = page
    job.namedPages = page
    job.computedTokens = page * this.speed.blockTokens
  }

  #grow(job: Job, tokens: number): boolean {
    const wanted = this.#pagesFor(tokens)
    while (job.pages < wanted) {
      this.#nameFullPages(job)
      if (!this.cache.reserve()) return false
      job.pages++
    }
    return true
  }

  #roomInPages(job: Job): number {
    return job.pages * this.speed.blockTokens - job.computedTokens
  }

  /** A decode fills its page between two events; the page gets its name when the job wants the next one or ends. */
  #nameFullPages(job: Job): void {
    const full = Math.floor(job.computedTokens / this.speed.blockTokens)
    while (job.namedPages < full) {
      const id = this.#blockAt(job, job.namedPages)
      if (id === undefined) return
      this.cache.name(id)
      job.namedPages++
    }
  }

  #releasePages(job: Job): void {
    this.#nameFullPages(job)
    for (let page = job.namedPages - 1; page >= 0; page--) this.cache.release(this.#blockAt(job, page)!)
    this.cache.discard(job.pages - job.namedPages)
    job.namedPages = 0
    job.pages = 0
    job.computedTokens = 0
  }

  #preemptLast(): Job {
    const job = this.#running.pop()!
    this.#chunks.length = Math.min(this.#chunks.length, this.#running.length)
    this.#releasePages(job)
    job.state = 'waiting'
    job.preemptions++
    this.totals.preemptions++
    this.#waiting.unshift(job)
    return job
  }
}
