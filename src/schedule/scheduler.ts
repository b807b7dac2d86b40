import type { Backend } from '../model/backend.ts'
import type { CancelSignal } from '../model/cancellation.ts'
import type {
  Decision,
  DecisionReason,
  InFlight,
  Prepared,
  RankedBackend,
  SchedulingRequest,
} from '../model/decision.ts'
import type { Outcome } from '../model/outcome.ts'
import { Assessment } from './assessment.ts'
import { ChunkedPrefill } from './chunked-prefill.ts'
import { LateBinding, PRICE, turnTokens, uncachedAt, type Piece } from './late-binding.ts'
import type { Policy } from './policy.ts'
import type {
  CalibrationPort,
  FleetPort,
  IndexPort,
  LatencyPort,
  LedgerPort,
  OutputLengthPort,
  PrefillPiece,
  ResidencyPort,
} from './ports.ts'
import { Readiness } from './readiness.ts'
import { decodeScorer } from './scorers/decode.ts'
import { prefillScorer } from './scorers/prefill.ts'
import { regretScorer } from './scorers/regret.ts'
import { waitScorer } from './scorers/wait.ts'
import { WaitingRoom } from './waiting-room.ts'

export type SchedulerPorts = {
  readonly fleet: FleetPort
  readonly index: IndexPort
  /** Exact knowledge of the caches, where engines publish events; it goes before the index. */
  readonly residency?: ResidencyPort
  readonly ledger: LedgerPort
  readonly latency: LatencyPort
  readonly outputLength: OutputLengthPort
  readonly calibration?: CalibrationPort
  /** Probability that a conversation which has been silent for so long comes back soon. Left out: 1. */
  readonly returnsSoon?: (elapsedMs: number) => number
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
 * A turn goes at once where its cheapest backend is free (`Readiness`) and nobody waits; otherwise it waits here and is
 * planned together with the others (`LateBinding`). Without timers, or under another policy, every turn is placed on
 * arrival. For one turn by itself `price` counts each second of prefill half as much again: it delays whoever comes next,
 * so recomputing elsewhere what home holds must save more than it takes.
 */
export class Scheduler {
  readonly #ports: SchedulerPorts
  readonly #immediate: Assessment
  readonly #readiness: Readiness
  readonly #chunks: ChunkedPrefill
  readonly #late: LateBinding | null

  constructor(ports: SchedulerPorts) {
    const { fleet, index, residency, ledger, latency, outputLength, random, nowMs, after } = ports
    this.#ports = ports
    const scorers = [
      waitScorer(ledger, latency),
      prefillScorer(latency),
      decodeScorer(ledger, latency),
      regretScorer(index, latency, ports.returnsSoon),
    ] as const
    const assessment = { index, ledger, outputLength, scorers, ...(residency === undefined ? {} : { residency }) }
    this.#immediate = new Assessment(assessment)
    this.#readiness = new Readiness(ledger, nowMs)
    this.#chunks = new ChunkedPrefill(latency, nowMs)
    this.#late =
      after === undefined || ports.policy !== undefined
        ? null
        : new LateBinding({
            fleet,
            assessment,
            readiness: this.#readiness,
            chunks: this.#chunks,
            random,
            nowMs,
            after,
            maxWaitMs: ports.maxWaitMs ?? MAX_WAIT_MS,
            grant: (turn, position, waited, startedMs) => this.#grant(turn, position, startedMs, waited),
            beginPiece: (piece) => this.#beginPiece(piece),
          })
  }

  /**
   * Resolves when a backend is free for the turn. Rejects with a HomingError where none may serve it. With `prefill` a
   * long prompt may be computed in pieces while it waits.
   */
  async place(request: SchedulingRequest, signal?: CancelSignal, prefill: PrefillPiece | null = null): Promise<Decision> {
    signal?.throwIfAborted()
    const started = performance.now() // how long deciding takes is measured, not simulated
    const assessment = this.#immediate
    assessment.begin(request, this.#ports.fleet.list())
    assessment.weigh(PRICE)
    const late = this.#late
    if (late === null) return this.#grant(assessment, this.#choose(assessment), started)
    this.#chunks.arrived()
    const cheapest = assessment.cheapest(this.#ports.random, ALWAYS)
    const holdMs = Math.min(HOLD_MS, HOLD_SHARE * 1000 * assessment.board.prefillSeconds[cheapest]!)
    if (
      holdMs < 1 &&
      !late.room.crowded &&
      this.#readiness.isFree(assessment.candidates[cheapest]!, uncachedAt(assessment, cheapest), turnTokens(assessment))
    ) {
      return this.#grant(assessment, cheapest, started)
    }
    return late.wait(request, holdMs < 1 ? 0 : holdMs, signal, prefill)
  }

  /** The same decision without waiting and without consequences. */
  rank(request: SchedulingRequest, backends: readonly Backend[] = this.#ports.fleet.list()): Decision {
    const started = performance.now()
    const assessment = this.#immediate
    assessment.begin(request, backends)
    assessment.weigh(PRICE)
    const chosen = assessment.cheapest(this.#ports.random, ALWAYS)
    return assessment.decision(chosen, { decideMicroseconds: 1000 * (performance.now() - started) })
  }

  /** The turn is sent to `choice` now: its work counts, and its blocks count as present for siblings that follow. */
  begin(decision: Decision, choice: RankedBackend, request: SchedulingRequest): InFlight {
    const { index, ledger, latency, calibration, policy } = this.#ports
    const { backend } = choice
    const overheadSeconds = latency.prefillSeconds(0, backend.index, choice.model)
    this.#readiness.settle(decision.ranked[0]!.backend.index)
    calibration?.dispatched(request, backend.index)
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
        this.#late?.pump()
      },
      tokens: (n) => inFlight.tokens(n),
      end: (outcome) => {
        inFlight.end(outcome)
        if (!answered && outcome !== 'completed') index.retract(request.chain, backend.index)
        answered = true
        this.#late?.pump()
      },
    }
  }

  /** A decision that nobody will begin: what it promised is free again. */
  release(decision: Decision): void {
    this.#readiness.settle(decision.ranked[0]!.backend.index)
    this.#late?.pump()
  }

  /** What the answer showed of the cache, where somebody calibrates. */
  observe(outcome: Outcome): ReturnType<CalibrationPort['observe']> | null {
    const { index, latency, outputLength, calibration } = this.#ports
    // First, since it reads the time to the first token against the model as it stands.
    const finding = calibration?.observe(outcome) ?? null
    const told = finding?.cachedTokens ?? null
    const hidden = (outcome.usage?.cachedTokens ?? null) === null
    latency.observe(hidden && told !== null ? { ...outcome, expectedCachedTokens: told } : outcome)
    this.#chunks.observe(outcome)
    outputLength.observe(outcome)
    if (calibration === undefined && outcome.ttftMs !== null) index.insert(outcome.fullChain, outcome.backend.index)
    return finding
  }

  /** What waits now, and what became of those who waited. */
  get waiting(): {
    readonly turns: number
    readonly oldestMs: number
    readonly counts: Readonly<WaitingRoom['counts']>
  } {
    const room = this.#late?.room ?? NO_ROOM
    return { turns: room.size, oldestMs: room.oldestMs(this.#ports.nowMs()), counts: room.counts }
  }

  /** Pieces of prompts computed, their tokens, and how often what they brought was not there afterwards. */
  get pieces(): Readonly<ChunkedPrefill['counts']> {
    return this.#chunks.counts
  }

  /** The backend may be another engine now: whether it caches prefixes is to be shown again. */
  forget(backendIndex: number): void {
    this.#chunks.forget(backendIndex)
  }

  #choose(assessment: Assessment): number {
    const { policy } = this.#ports
    if (policy === undefined) return assessment.cheapest(this.#ports.random, ALWAYS)
    return policy.choose(assessment.request, assessment.candidates, assessment.board)
  }

  #grant(assessment: Assessment, chosen: number, startedMs: number, waited: Waited = NOT_WAITED): Decision {
    const { request, board } = assessment
    const seconds = board.prefillSeconds[chosen]!
    this.#readiness.promise(assessment.candidates[chosen]!.index, seconds)
    this.#late?.room.serve(request.tenant, seconds, this.#ports.nowMs())
    return assessment.decision(chosen, {
      policy: this.#ports.policy ?? null,
      ...waited,
      decideMicroseconds: 1000 * (performance.now() - startedMs),
    })
  }

  /** A piece of a prompt is work like any other, and its answer teaches like any other. */
  #beginPiece({ request, backend, chain, promptTokens, cachedTokens, preparedTokens }: Piece) {
    const { index, ledger, latency, calibration, nowMs } = this.#ports
    const b = backend.index
    const uncachedTokens = promptTokens - cachedTokens
    const seconds = latency.prefillSeconds(uncachedTokens, b, request.model)
    const overheadSeconds = latency.prefillSeconds(0, b, request.model)
    const inFlightAtDispatch = ledger.runningCount(b)
    const queuedTokensAtDispatch = ledger.remainingPrefillTokens(b)
    calibration?.dispatched({ chain, tenant: request.tenant, sessionId: request.sessionId }, b)
    const prefillSeconds = Math.max(0, seconds - overheadSeconds)
    const inFlight = ledger.begin(b, { uncachedTokens, expectedOutputTokens: 1, promptTokens, prefillSeconds, overheadSeconds })
    index.insert(chain, b, { speculativeUntilMs: nowMs() + SPECULATIVE_LIFE_MS + 3000 * seconds })
    this.#late?.room.serve(request.tenant, seconds, nowMs())
    this.#chunks.counts.pieces++
    this.#chunks.counts.tokens += uncachedTokens
    return (result: Awaited<ReturnType<PrefillPiece>>): void => {
      inFlight.firstToken()
      inFlight.end(result === null ? 'failed' : 'completed')
      if (result === null) {
        this.#chunks.counts.failed++
        index.retract(chain, b)
        return
      }
      const outcome: Outcome = {
        backend,
        model: request.model,
        tenant: request.tenant,
        sessionId: request.sessionId,
        status: 'completed',
        promptChain: chain,
        fullChain: chain,
        expectedCachedTokens: cachedTokens,
        expectedPromptTokens: promptTokens,
        preparedTokens,
        partial: true,
        usage: { promptTokens: result.promptTokens, cachedTokens: result.cachedTokens, outputTokens: 1, reasoningTokens: null },
        ttftMs: result.ms,
        decodeMs: null,
        inFlightAtDispatch,
        queuedTokensAtDispatch,
      }
      latency.observe(outcome)
      this.#chunks.observe(outcome)
      if (calibration !== undefined) calibration.observe(outcome)
      else index.insert(chain, b)
    }
  }
}

type Waited = { readonly queuedMs: number; readonly prepared?: Prepared; readonly reason?: DecisionReason }
const NOT_WAITED: Waited = { queuedMs: 0 }
const NO_ROOM = new WaitingRoom()
const ALWAYS = (): boolean => true

/** Beyond three times the expected time to the first token, a placed turn's blocks count as present this long. */
const SPECULATIVE_LIFE_MS = 30_000
const MAX_WAIT_MS = 30_000
/** A turn is held for a hundredth of its own prefill, 5 ms at most: those that arrive together are weighed together. */
const HOLD_SHARE = 0.01
const HOLD_MS = 5
