/**
 * Compares what engines tell of themselves with what this process sent them. What is more than ours is the work of
 * others (`OthersWork` turns it into seconds); where the engine is idle and we believe that turns wait there, those are
 * lost.
 *
 * A page shows a moment somewhere between the question and its answer, so its counts are compared with the most, and for
 * lost turns the least, that was in flight in that window: a turn that begins or ends meanwhile is never taken for
 * somebody else's. Cancelled turns count for `LINGER_MS` more, since engines notice late. What remains is a lower bound.
 *
 * One waiting sequence is worth the prefill of others' mean prompt where counters tell it (computed tokens and finished
 * requests, less ours), else of our own mean prompt there, else of the fleet's, else of `FIRST_PROMPT_TOKENS`; seconds
 * come from the latency model. Where a queue does not get on from page to page, each in it is expected to take as long
 * as it has stood still: the rule that our own late turns follow. How busy the engine is with others' prompts comes from
 * the same counters, else from how often somebody waits: in an M/M/1 queue two or more are there rho^2 of the time.
 *
 * O(1) per page and turn; about 200 bytes a backend, let go when it leaves the fleet.
 */
import type { Backend } from '../model/backend.ts'
import type { OthersReading } from './others-work.ts'

/** The newest page of an engine, in numbers. Null: this engine does not tell. */
export type EnginePage = {
  readonly running: number
  readonly waiting: number
  /** Share of the KV cache that running sequences hold, 0..1. */
  readonly cacheUsage: number | null
  /** Prompt tokens that were computed, not found in the cache, since it started; and requests that it finished. */
  readonly computedTokens: number | null
  readonly finishedRequests: number | null
  readonly observedAtMs: number
}

export interface WatchedLedger {
  watch(backendIndex: number): void
  watched(backendIndex: number): {
    readonly mostRunning: number
    readonly leastRunning: number
    readonly mostPrefilling: number
    readonly computedTokens: number
    readonly ended: number
  }
  meanPromptTokens(backendIndex: number): number | null
  setAside(backendIndex: number, sentBeforeMs: number): void
}

export type EngineLoadOptions = {
  readonly ledger: WatchedLedger
  readonly others: { observe(backendIndex: number, reading: OthersReading): void; forget(backendIndex: number): void }
  readonly prefillSeconds: (tokens: number, backend: Backend) => number
  readonly nowMs: () => number
}

type Compared = {
  askedAtMs: number
  last: { readonly page: EnginePage; readonly ownTokens: number; readonly ownEnded: number } | null
  /** Sums over time that halve every `HALF_LIFE_MS`: what others had computed, had finished, how often one waited. */
  tokens: number
  finished: number
  seconds: number
  waited: number
  pages: number
  /** Pages in a row on which an idle engine and turns of ours contradict each other, and when the first was asked for. */
  idlePages: number
  idleSinceMs: number
  /** When its queue was last seen to get on, or empty. */
  movedAtMs: number
  reading: OthersReading
}

const NONE: OthersReading = { waiting: 0, running: 0, tokensEach: 0, secondsEach: 0, busyShare: 0 }

export class EngineLoad {
  readonly #options: EngineLoadOptions
  readonly #byBackend = new Map<Backend, Compared>()

  constructor(options: EngineLoadOptions) {
    this.#options = options
  }

  /** A page is asked for now. */
  asked(backend: Backend): void {
    const { ledger, nowMs } = this.#options
    this.#of(backend).askedAtMs = nowMs()
    ledger.watch(backend.index)
  }

  answered(backend: Backend, page: EnginePage): void {
    const { ledger, others } = this.#options
    const compared = this.#of(backend)
    const own = ledger.watched(backend.index)
    const waiting = Math.max(0, page.waiting - own.mostPrefilling)
    const running = Math.max(0, page.running + page.waiting - own.mostRunning - waiting)
    this.#count(compared, page, own, waiting > 0)
    const tokensEach = this.#tokensEach(compared, backend)
    const secondsEach = Math.max(this.#secondsOf(tokensEach, backend), waiting > 0 ? this.#stillSeconds(compared) : 0)
    const seen = waiting + running > 0 || compared.finished > 1
    compared.reading = {
      waiting, running, tokensEach, secondsEach,
      busyShare: seen ? this.#busyShare(compared, secondsEach / Math.max(1, tokensEach)) : 0,
    }
    others.observe(backend.index, compared.reading)
    this.#findLost(compared, backend, page, own.leastRunning)
  }

  /** The engine no longer tells, or it is another process. */
  forget(backend: Backend): void {
    this.#options.others.forget(backend.index)
    this.#byBackend.delete(backend)
  }

  /** What others have there as of the newest page; null where none was read. */
  others(backend: Backend): OthersReading | null {
    const compared = this.#byBackend.get(backend)
    return compared === undefined || compared.last === null ? null : compared.reading
  }

  #of(backend: Backend): Compared {
    let compared = this.#byBackend.get(backend)
    if (compared === undefined) {
      compared = {
        askedAtMs: 0, last: null, tokens: 0, finished: 0, seconds: 0, waited: 0, pages: 0, idlePages: 0, idleSinceMs: 0,
        movedAtMs: 0,
        reading: NONE,
      }
      this.#byBackend.set(backend, compared)
    }
    return compared
  }

  #count(
    compared: Compared, page: EnginePage, own: { readonly computedTokens: number; readonly ended: number },
    waits: boolean,
  ): void {
    const { last } = compared
    if (last === null || page.waiting === 0 || hasMoved(last.page, page)) compared.movedAtMs = page.observedAtMs
    compared.last = { page, ownTokens: own.computedTokens, ownEnded: own.ended }
    const passedMs = last === null ? 0 : page.observedAtMs - last.page.observedAtMs
    const kept = 2 ** (-passedMs / HALF_LIFE_MS)
    compared.waited = kept * compared.waited + (waits ? 1 : 0)
    compared.pages = kept * compared.pages + 1
    if (last === null || passedMs <= 0) return
    compared.seconds = kept * compared.seconds + passedMs / 1000
    const tokens = difference(page.computedTokens, last.page.computedTokens)
    const finished = difference(page.finishedRequests, last.page.finishedRequests)
    // Not cut at zero: what the engine counts sooner than we do comes back with the next page.
    if (tokens !== null) compared.tokens = kept * compared.tokens + tokens - (own.computedTokens - last.ownTokens)
    if (finished !== null) compared.finished = kept * compared.finished + finished - (own.ended - last.ownEnded)
  }

  #tokensEach(compared: Compared, backend: Backend): number {
    if (compared.finished >= ENOUGH_REQUESTS && compared.tokens > 0) return compared.tokens / compared.finished
    return this.#options.ledger.meanPromptTokens(backend.index) ?? FIRST_PROMPT_TOKENS
  }

  /** What computing so many tokens keeps the engine from other prompts. */
  #secondsOf(tokens: number, backend: Backend): number {
    const { prefillSeconds } = this.#options
    return Math.max(0, prefillSeconds(tokens, backend) - prefillSeconds(0, backend))
  }

  /** For how long nobody in its queue has got on, as far as pages show. */
  #stillSeconds({ last, movedAtMs }: Compared): number {
    return last === null ? 0 : (last.page.observedAtMs - movedAtMs) / 1000
  }

  #busyShare(compared: Compared, secondsPerToken: number): number {
    if (compared.seconds > 0 && (compared.last?.page.computedTokens ?? null) !== null) {
      return Math.min(1, Math.max(0, (compared.tokens * secondsPerToken) / compared.seconds))
    }
    return Math.sqrt(compared.waited / compared.pages)
  }

  #findLost(compared: Compared, backend: Backend, page: EnginePage, leastRunning: number): void {
    if (page.running + page.waiting > 0 || leastRunning === 0) {
      compared.idlePages = 0
      return
    }
    if (compared.idlePages === 0) compared.idleSinceMs = compared.askedAtMs
    compared.idlePages++
    // Only what was sent before the first of these pages: a turn takes its time to reach the engine.
    if (compared.idlePages < IDLE_PAGES) return
    this.#options.ledger.setAside(backend.index, compared.idleSinceMs)
  }
}

const hasMoved = (before: EnginePage, now: EnginePage): boolean =>
  now.waiting < before.waiting ||
  (difference(now.computedTokens, before.computedTokens) ?? 0) > 0 ||
  (difference(now.finishedRequests, before.finishedRequests) ?? 0) > 0

const difference = (now: number | null, before: number | null): number | null =>
  now === null || before === null || now < before ? null : now - before

/** Others' requests in memory from which their mean prompt is taken from counters. */
const ENOUGH_REQUESTS = 3
/** Of what the counters told: long enough to even out single prompts, short enough to see a batch job end. */
const HALF_LIFE_MS = 15_000
/** Mean prompt of the Azure conversation trace (1,155 tokens), rounded. */
const FIRST_PROMPT_TOKENS = 1200
/** In a row: one may be of the moment between two turns. */
const IDLE_PAGES = 3
