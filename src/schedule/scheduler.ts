import type { Backend } from '../model/backend.ts'
import type { CancelSignal } from '../model/cancellation.ts'
import type { Decision, InFlight, RankedBackend, SchedulingRequest } from '../model/decision.ts'
import type { Outcome } from '../model/outcome.ts'
import { Assessment, type AssessmentPorts } from './assessment.ts'
import type { Policy } from './policy.ts'
import type { CalibrationPort, FleetPort, IndexPort, LatencyPort, LedgerPort, OutputLengthPort } from './ports.ts'
import { decodeScorer } from './scorers/decode.ts'
import { prefillScorer } from './scorers/prefill.ts'
import { regretScorer } from './scorers/regret.ts'
import { waitScorer } from './scorers/wait.ts'
import { WaitingRoom, type WaitingTurn } from './waiting-room.ts'

export type SchedulerPorts = {
  readonly fleet: FleetPort
  readonly index: IndexPort
  readonly ledger: LedgerPort
  readonly latency: LatencyPort
  readonly outputLength: OutputLengthPort
  readonly calibration?: CalibrationPort
  readonly random: () => number
  readonly nowMs: () => number
  /** Another way to choose than least expected seconds. It places on arrival: turns then wait in the engines' queues. */
  readonly policy?: Policy
  /** Calls back after so many milliseconds unless cancelled. Without it every turn is placed on arrival. */
  readonly after?: (ms: number, callback: () => void) => () => void
  /** No turn waits longer for a free backend: then it goes into the cheapest engine's own queue. */
  readonly maxWaitMs?: number
}

/**
 * Places turns: J(b) = wait + decode / 10 + price * (prefill(uncached) + regret), in seconds, least first (DESIGN.md section 6).
 *
 * Late binding: while the cheapest backend of a turn is busy, the turn waits here and not in the engine's queue. When
 * something changes (a first token, an end, an arrival) every waiting turn is weighed again, home's remaining work
 * included; among those whose cheapest backend is free, the first in the room's order starts there. So a turn goes home
 * when that frees up and elsewhere when that has become cheaper.
 *
 * Busy: prompt tokens are still to be computed that will take longer than `SLACK_SECONDS`, or all sequence slots are
 * taken. What a first token costs beside its prompt tokens (network, one step) keeps nobody from being sent, so many
 * short prompts run at once and a long one runs alone: the limit follows from the learned speed, nobody sets it.
 * `price` grows with the number of waiting turns per backend, since each second of prefill delays those as well: under
 * load recomputing what another backend holds costs everybody.
 */
export class Scheduler {
  readonly #ports: SchedulerPorts
  readonly #assessmentPorts: AssessmentPorts
  readonly #immediate: Assessment
  readonly #room = new WaitingRoom()
  /** Backends promised to a turn whose `begin` has not come yet, and since when. */
  readonly #promised = new Map<number, number>()
  #pumping = false
  #stopLooking: (() => void) | null = null

  constructor(ports: SchedulerPorts) {
    const { index, ledger, latency, outputLength } = ports
    this.#ports = ports
    const scorers = [
      waitScorer(ledger, latency),
      prefillScorer(latency),
      decodeScorer(ledger, latency),
      regretScorer(index, latency),
    ] as const
    this.#assessmentPorts = { index, ledger, outputLength, scorers }
    this.#immediate = new Assessment(this.#assessmentPorts)
  }

  /** Resolves when a backend is free for the turn. Rejects with a HomingError where none may serve it. */
  async place(request: SchedulingRequest, signal?: CancelSignal): Promise<Decision> {
    signal?.throwIfAborted()
    const { fleet, after, policy } = this.#ports
    const started = performance.now() // how long deciding takes is measured, not simulated
    const assessment = this.#immediate
    assessment.begin(request, fleet.list())
    assessment.weigh(this.#price(this.#room.size))
    if (after === undefined || policy !== undefined)
      return this.#grant(assessment, this.#choose(assessment), 0, started)
    const cheapest = assessment.cheapest(this.#ports.random, ALWAYS)
    const holdMs = Math.min(HOLD_MS, HOLD_SHARE * 1000 * assessment.board.prefillSeconds[cheapest]!)
    if (
      this.#room.size === 0 &&
      holdMs < 1 &&
      this.#isFree(assessment.candidates[cheapest]!, uncachedAt(assessment, cheapest))
    ) {
      return this.#grant(assessment, cheapest, 0, started)
    }
    return this.#wait(request, after, holdMs < 1 ? 0 : holdMs, signal)
  }

  /** The same decision without waiting and without consequences. */
  rank(request: SchedulingRequest, backends: readonly Backend[] = this.#ports.fleet.list()): Decision {
    const started = performance.now()
    const assessment = this.#immediate
    assessment.begin(request, backends)
    assessment.weigh(this.#price(this.#room.size))
    const chosen = assessment.cheapest(this.#ports.random, ALWAYS)
    return assessment.decision(chosen, null, 0, 1000 * (performance.now() - started))
  }

  /** The turn is sent to `choice` now: its work counts, and its blocks count as present for siblings that follow. */
  begin(decision: Decision, choice: RankedBackend, request: SchedulingRequest): InFlight {
    const { index, ledger, latency, calibration, policy } = this.#ports
    const { backend } = choice
    const overheadSeconds = latency.prefillSeconds(0, backend.index, request.model)
    this.#promised.delete(decision.ranked[0]!.backend.index)
    calibration?.dispatched(request.chain, backend.index)
    const inFlight = ledger.begin(backend.index, {
      uncachedTokens: Math.max(0, request.promptTokens - choice.expectedCachedTokens),
      expectedOutputTokens: decision.expectedOutputTokens,
      promptTokens: request.promptTokens,
      prefillSeconds: Math.max(0, choice.prefillSeconds - overheadSeconds),
      overheadSeconds,
    })
    const lifeMs = SPECULATIVE_LIFE_MS + 3000 * (choice.waitSeconds + choice.prefillSeconds)
    index.insert(request.chain, backend.index, { speculativeUntilMs: this.#ports.nowMs() + lifeMs })
    policy?.placed?.(request, backend)
    let answered = false
    return {
      firstToken: () => {
        if (answered) return
        answered = true
        inFlight.firstToken()
        index.insert(request.chain, backend.index)
        this.#pump()
      },
      tokens: (n) => inFlight.tokens(n),
      end: (outcome) => {
        inFlight.end(outcome)
        if (!answered && outcome !== 'completed') index.retract(request.chain, backend.index)
        answered = true
        this.#pump()
      },
    }
  }

  /** A decision that nobody will begin: what it promised is free again. */
  release(decision: Decision): void {
    this.#promised.delete(decision.ranked[0]!.backend.index)
    this.#pump()
  }

  observe(outcome: Outcome): void {
    const { index, latency, outputLength, calibration } = this.#ports
    latency.observe(outcome)
    outputLength.observe(outcome)
    if (calibration !== undefined) calibration.observe(outcome)
    else if (outcome.ttftMs !== null) index.insert(outcome.fullChain, outcome.backend.index)
  }

  /** What waits now, and what became of those who waited. */
  get waiting(): {
    readonly turns: number
    readonly oldestMs: number
    readonly counts: Readonly<WaitingRoom['counts']>
  } {
    return { turns: this.#room.size, oldestMs: this.#room.oldestMs(this.#ports.nowMs()), counts: this.#room.counts }
  }

  #choose(assessment: Assessment): number {
    const { policy } = this.#ports
    if (policy === undefined) return assessment.cheapest(this.#ports.random, ALWAYS)
    return policy.choose(assessment.request, assessment.candidates, assessment.board)
  }

  #grant(assessment: Assessment, chosen: number, queuedMs: number, started: number): Decision {
    const nowMs = this.#ports.nowMs()
    const { request } = assessment
    if (this.#ports.after !== undefined) this.#promised.set(assessment.candidates[chosen]!.index, nowMs)
    this.#room.serve(request.tenant, assessment.board.prefillSeconds[chosen]!, nowMs)
    return assessment.decision(chosen, this.#ports.policy ?? null, queuedMs, 1000 * (performance.now() - started))
  }

  #wait(request: SchedulingRequest, after: After, holdMs: number, signal: CancelSignal | undefined): Promise<Decision> {
    const { fleet, nowMs, maxWaitMs } = this.#ports
    const assessment = new Assessment(this.#assessmentPorts)
    assessment.begin(request, fleet.list())
    const enteredMs = nowMs()
    return new Promise<Decision>((resolve, reject) => {
      const cancelled = (): void => {
        if (!this.#room.leave(turn)) return
        this.#room.counts.cancelled++
        reject(new DOMException('This operation was aborted', 'AbortError'))
      }
      const cancelBound = after(maxWaitMs ?? MAX_WAIT_MS, () => this.#pump())
      // The end of the hold is the timer's word, not the clock's: real timers fire up to a millisecond early.
      const endHold = (): void => {
        turn.notBeforeMs = -Infinity
        this.#pump()
      }
      const cancelHold = holdMs > 0 ? after(holdMs, endHold) : null
      const turn: WaitingTurn = {
        assessment,
        enteredMs,
        lookedMs: enteredMs,
        notBeforeMs: enteredMs + holdMs,
        settle: { resolve, reject },
        release: () => {
          cancelBound()
          cancelHold?.()
          signal?.removeEventListener('abort', cancelled)
        },
      }
      signal?.addEventListener('abort', cancelled, { once: true })
      this.#room.enter(turn)
      if (this.#room.size === 1) this.#lookIn(after)
      if (holdMs === 0) this.#pump()
    })
  }

  /** A backend that stalls tells nobody: while turns wait they are weighed again every second, events or not. */
  #lookIn(after: After): void {
    this.#stopLooking?.()
    this.#stopLooking = after(LOOK_AGAIN_MS, () => {
      this.#pump()
      if (this.#room.size > 0) this.#lookIn(after)
    })
  }

  /** Starts waiting turns for as long as one finds its cheapest backend free. */
  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    while (this.#room.size > 0 && this.#startOne());
    this.#pumping = false
    if (this.#room.size > 0) return
    this.#stopLooking?.()
    this.#stopLooking = null
  }

  #startOne(): boolean {
    const started = performance.now()
    const { nowMs, random, maxWaitMs } = this.#ports
    const now = nowMs()
    const price = this.#price(this.#room.size - 1)
    const leastServed = this.#room.leastServed(now)
    let first: WaitingTurn | null = null
    let firstPosition = -1
    let firstOrder = Infinity
    let looked = 0
    for (const turn of this.#room.turns) {
      if (++looked > WINDOW) break
      if (now < turn.notBeforeMs) continue
      const { assessment } = turn
      if (now - turn.lookedMs >= LOOK_AGAIN_MS && !this.#lookAgain(turn, now)) continue
      assessment.weigh(price)
      const position = assessment.cheapest(random, SERVING)
      if (position < 0) continue
      const bound = (now - turn.enteredMs) / (maxWaitMs ?? MAX_WAIT_MS)
      const overdue = bound >= 1
      if (!overdue && !this.#isFree(assessment.candidates[position]!, uncachedAt(assessment, position))) continue
      const work = assessment.board.prefillSeconds[position]!
      const cached = assessment.board.cachedTokens[position]!
      const saved = (work * cached) / Math.max(1, assessment.request.promptTokens - cached)
      const order = overdue
        ? -Infinity
        : bound >= SOON
          ? turn.enteredMs - SOONER_MS
          : this.#room.order(turn, work, saved, leastServed, now)
      if (first !== null && order >= firstOrder) continue
      ;[first, firstPosition, firstOrder] = [turn, position, order]
      if (overdue) break
    }
    if (first === null) return false
    this.#room.leave(first)
    this.#room.counts[firstOrder === -Infinity ? 'overdue' : 'placed']++
    first.settle.resolve(this.#grant(first.assessment, firstPosition, now - first.enteredMs, started))
    return true
  }

  /** Backends join, leave and recover while a turn waits. False where none is left that may serve it. */
  #lookAgain(turn: WaitingTurn, now: number): boolean {
    turn.lookedMs = now
    try {
      turn.assessment.begin(turn.assessment.request, this.#ports.fleet.list())
      return true
    } catch (error) {
      if (this.#room.leave(turn)) this.#room.counts.refused++
      turn.settle.reject(error)
      return false
    }
  }

  /**
   * A backend is free for a turn when nothing waits for its first token there. Short turns may follow short turns up to
   * a bound: they delay each other little, and a batching engine computes several in one step but idles between steps
   * when it is fed one at a time.
   */
  #isFree(backend: Backend, uncachedTokens: number): boolean {
    const { ledger, nowMs } = this.#ports
    const promised = this.#promised.get(backend.index)
    if (promised !== undefined && nowMs() - promised < PROMISE_MS) return false
    if (backend.slots !== null && ledger.runningCount(backend.index) >= backend.slots) return false
    const pending = ledger.beforeFirstToken(backend.index)
    if (pending === 0 || ledger.waitSeconds(backend.index) <= SLACK_SECONDS) return true
    const pendingTokens = ledger.queuedPrefillTokens(backend.index)
    if (uncachedTokens > SHORT_TOKENS || pendingTokens > SHORT_TOKENS * pending) return false
    return pendingTokens + uncachedTokens <= PENDING_TOKENS
  }

  #price(others: number): number {
    return 1 + STAY + (CROWDING * others) / Math.max(1, this.#ports.fleet.list().length)
  }
}

type After = NonNullable<SchedulerPorts['after']>

const uncachedAt = ({ request, board }: Assessment, position: number): number =>
  Math.max(0, request.promptTokens - board.cachedTokens[position]!)

const ALWAYS = (): boolean => true
const SERVING = (backend: Backend): boolean => backend.healthy && !backend.draining

/** Beyond three times the expected time to the first token, a placed turn's blocks count as present this long. */
const SPECULATIVE_LIFE_MS = 30_000
const MAX_WAIT_MS = 30_000
/**
 * In the last fifth of its bound a turn goes first, oldest before others, to the next free backend: what goes into an
 * engine's queue at the bound cannot be overtaken there. On the overloaded trace (N = 4) this takes the longest TTFT
 * from 75 s to 40 s and the mean down by 3 %.
 */
const SOON = 0.8
const SOONER_MS = 1e15
/**
 * A turn may follow work that ends within this: waiting would save it no more, and the engine's idle moment between
 * two turns costs as much.
 */
const SLACK_SECONDS = 0.005
/**
 * Short: fits one step of a batching engine (vLLM's `--max-num-batched-tokens` is 2,048 by default); pending up to eight
 * steps. On the Azure trace at five times its rate on 4 backends (short prompts, near saturation) one at a time gives a
 * mean TTFT of 23 s, this 4.8 s, placing on arrival 5.4 s; on the Mooncake trace, where few prompts are short, it costs
 * 2 % at N = 4 and nothing at N = 8.
 */
const SHORT_TOKENS = 2048
const PENDING_TOKENS = 16_384
/** A turn is held for a hundredth of its own prefill, 5 ms at most: those that arrive together are weighed together. */
const HOLD_SHARE = 0.01
const HOLD_MS = 5
/** Prices from the Mooncake conversation trace (docs/scorers.md): flat between half and twice these values. */
const STAY = 0.5
const CROWDING = 2
/** Turns weighed at each change: the first in the room. More than this many wait only where nothing helps. */
const WINDOW = 512
const LOOK_AGAIN_MS = 1000
/** Between a decision and its dispatch lie microseconds; a caller that never dispatches blocks a backend no longer. */
const PROMISE_MS = 1000
