import type { Backend } from '../model/backend.ts'
import type { CancelSignal } from '../model/cancellation.ts'
import type { Decision, Prepared, SchedulingRequest } from '../model/decision.ts'
import type { BlockChain } from '../model/turn.ts'
import { Assessment, type AssessmentPorts } from './assessment.ts'
import type { ChunkedPrefill } from './chunked-prefill.ts'
import type { FleetPort, PrefillPiece } from './ports.ts'
import { isServing, Plan, type Planned } from './plan.ts'
import type { Readiness } from './readiness.ts'
import { WaitingRoom, type WaitingTurn } from './waiting-room.ts'

export type LateBindingPorts = {
  readonly fleet: FleetPort
  readonly assessment: AssessmentPorts
  readonly readiness: Readiness
  readonly chunks: ChunkedPrefill
  readonly random: () => number
  readonly nowMs: () => number
  readonly after: (ms: number, callback: () => void) => () => void
  readonly maxWaitMs: number
  readonly grant: (
    assessment: Assessment,
    position: number,
    waited: { readonly queuedMs: number; readonly prepared?: Prepared; readonly reason?: Decision['reason'] },
    startedMs: number,
  ) => Decision
  /** Books a piece as work at the backend; the function it gives is called once, with what came of it. */
  readonly beginPiece: (piece: Piece) => (result: Awaited<ReturnType<PrefillPiece>>) => void
}

/** The first `promptTokens` of a turn's prompt at a backend, of which `cachedTokens` are expected to be there. */
export type Piece = {
  readonly request: SchedulingRequest
  readonly backend: Backend
  readonly chain: BlockChain
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly preparedTokens: number
}

/**
 * While every suitable backend is busy, turns wait here and not in an engine's queue. When something changes (a first
 * token, an end, an arrival, a piece) all that wait are weighed again; the first of them in the room's order are planned
 * together (`Plan`), and where a backend is free, the first of its line starts there. So a turn goes home when that
 * frees up, elsewhere when that has become cheaper for all, and long prompts are computed in pieces with the room between
 * them (`ChunkedPrefill`).
 *
 * Nobody waits past the bound: then the turn, or its next piece, goes into its cheapest backend's own queue. A second in
 * which a piece is computed buys a second of further waiting, so a long turn that is past the bound has half of a
 * backend and not all of it.
 *
 * Costs O(waiting * candidates) additions at each change for at most `WINDOW` turns, and a plan of at most 16.
 */
export class LateBinding {
  readonly #ports: LateBindingPorts
  readonly room = new WaitingRoom()
  readonly #plan = new Plan()
  #pumping = false
  #stopLooking: (() => void) | null = null
  #stopWaking: (() => void) | null = null

  constructor(ports: LateBindingPorts) {
    this.#ports = ports
  }

  /** Resolves when a backend is free for the turn. Rejects with a HomingError where none may serve it any more. */
  wait(
    request: SchedulingRequest,
    holdMs: number,
    signal: CancelSignal | undefined,
    prefill: PrefillPiece | null,
  ): Promise<Decision> {
    const { fleet, nowMs, after, maxWaitMs } = this.#ports
    const assessment = new Assessment(this.#ports.assessment)
    assessment.begin(request, fleet.list())
    const enteredMs = nowMs()
    return new Promise<Decision>((resolve, reject) => {
      const cancelled = (): void => {
        if (!this.room.leave(turn)) return
        this.room.counts.cancelled++
        reject(new DOMException('This operation was aborted', 'AbortError'))
      }
      const cancelBound = after(maxWaitMs, () => this.pump())
      // The end of the hold is the timer's word, not the clock's: real timers fire up to a millisecond early.
      const endHold = (): void => {
        turn.notBeforeMs = -Infinity
        this.pump()
      }
      const cancelHold = holdMs > 0 ? after(holdMs, endHold) : null
      const turn: WaitingTurn = {
        assessment,
        enteredMs,
        lookedMs: enteredMs,
        notBeforeMs: enteredMs + holdMs,
        prefill,
        computing: 0,
        computingAt: -1,
        computedMs: 0,
        computedUntilMs: -Infinity,
        prepared: null,
        ceilingAt: null,
        signal,
        settle: { resolve, reject },
        release: () => {
          cancelBound()
          cancelHold?.()
          signal?.removeEventListener('abort', cancelled)
        },
      }
      signal?.addEventListener('abort', cancelled, { once: true })
      this.room.enter(turn)
      if (this.room.size === 1) this.#lookIn()
      if (holdMs === 0) this.pump()
    })
  }

  /** Starts waiting turns for as long as one finds its backend free. */
  pump(): void {
    if (this.#pumping || this.room.size === 0) return
    this.#pumping = true
    try {
      while (this.room.size > 0 && this.#startSome());
    } finally {
      this.#pumping = false
    }
    this.#wakeInTime()
    if (this.room.size > 0) return
    this.#stopLooking?.()
    this.#stopLooking = null
  }

  /** At the next moment at which a backend that somebody waits for should be done. */
  #wakeInTime(): void {
    this.#stopWaking?.()
    this.#stopWaking = null
    let seconds = Infinity
    for (const { turn, position } of this.#plan.rows) {
      if (position >= 0) seconds = Math.min(seconds, this.#secondsToFree(turn.assessment.candidates[position]!.index))
    }
    for (const { computing, computingAt } of this.room.turns) {
      if (computing === 1) seconds = Math.min(seconds, this.#secondsToFree(computingAt))
    }
    if (seconds < LOOK_AGAIN_MS / 1000) this.#stopWaking = this.#ports.after(Math.max(1, 1000 * seconds), () => this.pump())
  }

  /** Infinity also for those that are due: whoever could use them was started. */
  #secondsToFree(backendIndex: number): number {
    return this.#ports.readiness.secondsToFree(backendIndex) || Infinity
  }

  /** A backend that stalls tells nobody: while turns wait they are weighed again every second, events or not. */
  #lookIn(): void {
    this.#stopLooking?.()
    this.#stopLooking = this.#ports.after(LOOK_AGAIN_MS, () => {
      this.pump()
      if (this.room.size > 0) this.#lookIn()
    })
  }

  /** While a piece of it is computed nothing is decided about a turn, until that piece should be done. */
  #undecided({ computing, computingAt }: WaitingTurn): boolean {
    return computing === 0 || (computing === 1 && this.#ports.readiness.secondsToFree(computingAt) === 0)
  }

  #startSome(): boolean {
    const startedMs = performance.now()
    const now = this.#ports.nowMs()
    const leastServed = this.room.leastServed(now)
    this.#plan.begin()
    let looked = 0
    const window = Math.min(WINDOW, Math.ceil(WINDOW_CELLS / Math.max(1, this.#ports.fleet.list().length)))
    for (const turn of this.room.turns) {
      if (now < turn.notBeforeMs || !this.#undecided(turn)) continue
      if (++looked > window) break
      const { assessment } = turn
      if (now - turn.lookedMs >= LOOK_AGAIN_MS && !this.#lookAgain(turn, now)) continue
      assessment.weigh(PRICE)
      const position = assessment.cheapest(this.#ports.random, isServing)
      if (position < 0) continue
      if (now - turn.enteredMs - 2 * computedMs(turn, now) >= this.#ports.maxWaitMs) {
        this.#start(turn, position, true, now, startedMs)
        return true
      }
      const order = this.room.order(turn, assessment.board.prefillSeconds[position]!, leastServed, now)
      this.#plan.add(turn, position, order)
    }
    this.#plan.solve((index) => this.#ports.readiness.promisedSeconds(index), this.#ports.random)
    const { left, backends } = this.#plan
    if (left > 0 && backends < this.#ports.fleet.list().length) this.#planElsewhere(window, leastServed, now)
    let started = false
    for (const { turn, position } of this.#plan.rows) {
      if (position < 0) continue
      const { assessment } = turn
      const backend = assessment.candidates[position]!
      const tokens = turnTokens(assessment)
      if (!this.#ports.readiness.isFree(backend, uncachedAt(assessment, position), tokens)) {
        if (this.#ports.readiness.isFull(backend, tokens)) turn.ceilingAt = backend.id
        continue
      }
      this.#start(turn, position, false, now, startedMs)
      started = true
    }
    return started
  }

  /**
   * Those who are planned may all be of one model, or of few backends: the first of the others in the room's order whose
   * cheapest backend none of them can use comes after them.
   */
  #planElsewhere(window: number, leastServed: number, now: number): void {
    let first: Planned | null = null
    let looked = 0
    for (const turn of this.room.turns) {
      if (now < turn.notBeforeMs || !this.#undecided(turn)) continue
      if (++looked > window) break
      const { candidates, board } = turn.assessment
      const position = turn.assessment.cheapest(this.#ports.random, isServing)
      if (position < 0 || this.#plan.canUse(candidates[position]!.index)) continue
      const order = this.room.order(turn, board.prefillSeconds[position]!, leastServed, now)
      if (first === null || order < first.order) first = { turn, position, order }
    }
    if (first !== null) this.#plan.addBehind(first)
  }

  /** Sends the turn to the candidate at `position`, or a piece of its prompt. */
  #start(turn: WaitingTurn, position: number, overdue: boolean, now: number, startedMs: number): void {
    const { assessment, prepared } = turn
    const { candidates } = assessment
    const request = assessment.requestAt(position)
    const backend = candidates[position]!
    const uncachedTokens = uncachedAt(assessment, position)
    const tokens =
      turn.prefill === null
        ? 0
        : this.#ports.chunks.pieceTokens(backend, candidates.length, { ...request, uncachedTokens })
    if (tokens > 0) return this.#computePiece(turn, position, tokens)
    this.room.leave(turn)
    this.room.counts[overdue ? 'overdue' : 'placed']++
    const here = isPreparedAt(prepared, backend, assessment.modelAt(position)) ? prepared : null
    const waited = {
      queuedMs: now - turn.enteredMs - computedMs(turn, now),
      ...(here === null ? {} : { prepared: here, reason: here.reason }),
    }
    const decision = this.#ports.grant(assessment, position, waited, startedMs)
    turn.settle.resolve(turn.ceilingAt === null ? decision : { ...decision, ceilingAt: turn.ceilingAt })
  }

  #computePiece(turn: WaitingTurn, position: number, tokens: number): void {
    const { assessment, prepared } = turn
    const { candidates, board } = assessment
    const request = assessment.requestAt(position)
    const backend = candidates[position]!
    const cachedTokens = board.cachedTokens[position]!
    const promptTokens = Math.min(request.promptTokens, cachedTokens + tokens)
    const before = isPreparedAt(prepared, backend, request.model) ? prepared : null
    const foundTokens = before?.foundTokens ?? cachedTokens
    const end = this.#ports.beginPiece({
      request,
      backend,
      chain: headOf(request.chain, promptTokens / request.promptTokens),
      promptTokens,
      cachedTokens,
      preparedTokens: before?.tokens ?? 0,
    })
    const sentMs = this.#ports.nowMs()
    if (turn.computing === 0) turn.computedUntilMs = sentMs
    turn.computing++
    turn.computingAt = backend.index
    turn.prepared = {
      backendIndex: backend.index,
      model: request.model,
      reason: before?.reason ?? assessment.reason(position),
      expectedTokens: before?.expectedTokens ?? cachedTokens,
      foundTokens,
      tokens: Math.max(0, promptTokens - foundTokens),
      pieces: (before?.pieces ?? 0) + 1,
      ms: before?.ms ?? 0,
    }
    // An error here would end the process; sent whole, the turn meets it where its client is told.
    const computed = turn.prefill!(backend, promptTokens, turn.signal, request.model).catch(() => null)
    void computed.then((result) => {
      const nowMs = this.#ports.nowMs()
      const ms = nowMs - turn.computedUntilMs
      turn.computing--
      turn.computedMs += ms
      turn.computedUntilMs = nowMs
      if (result === null) {
        turn.prefill = null // it is sent whole, and dispatch deals with the backend
        turn.prepared = before
      } else if (turn.prepared !== null) {
        const found = before === null && result.cachedTokens !== null ? result.cachedTokens : turn.prepared.foundTokens
        // Cuts are made by estimated tokens; once nothing of it is under way the engine's own count is known.
        const until = turn.computing === 0 ? result.promptTokens : turn.prepared.tokens + turn.prepared.foundTokens
        const tokens = Math.max(0, until - found)
        turn.prepared = { ...turn.prepared, foundTokens: found, tokens, ms: turn.prepared.ms + ms }
      }
      end(result)
      this.pump()
    })
  }

  /** Backends join, leave and recover while a turn waits. False where none is left that may serve it. */
  #lookAgain(turn: WaitingTurn, now: number): boolean {
    turn.lookedMs = now
    try {
      turn.assessment.begin(turn.assessment.request, this.#ports.fleet.list())
      return true
    } catch (error) {
      if (this.room.leave(turn)) this.room.counts.refused++
      turn.settle.reject(error)
      return false
    }
  }
}

const isPreparedAt = (prepared: WaitingTurn['prepared'], backend: Backend, model: string): boolean =>
  prepared !== null && prepared.backendIndex === backend.index && prepared.model === model

/** What it did not wait: pieces of it were computed, one may be just now. */
const computedMs = (turn: WaitingTurn, nowMs: number): number =>
  turn.computedMs + (turn.computing > 0 ? nowMs - turn.computedUntilMs : 0)

export const uncachedAt = ({ request, board }: Assessment, position: number): number =>
  Math.max(0, request.promptTokens - board.cachedTokens[position]!)

/** What the turn takes in an engine's cache when it is done. */
export const turnTokens = ({ request, expectedOutputTokens }: Assessment): number =>
  request.promptTokens + expectedOutputTokens

/** The whole blocks of the first `share` of a chain. */
function headOf(chain: BlockChain, share: number): BlockChain {
  const length = Math.min(chain.length, Math.floor((share * chain.totalCharacters) / chain.blockCharacters))
  return { ...chain, hashes: chain.hashes, length, totalCharacters: length * chain.blockCharacters }
}

/** Price of a second of prefill for one turn by itself: half a second more than it takes must be saved by leaving home. */
export const PRICE = 1.5
/** Turns weighed at each change: the first in the room. More than this many wait only where nothing helps. */
const WINDOW = 512
/** Turns times backends weighed at each change: about 1 ms. */
const WINDOW_CELLS = 16_384
const LOOK_AGAIN_MS = 1000
