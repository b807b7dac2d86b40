import type { Backend } from '../model/backend.ts'
import type { CancelSignal } from '../model/cancellation.ts'
import type { Decision, DecisionReason, InFlight, RankedBackend, SchedulingRequest } from '../model/decision.ts'
import type { Outcome } from '../model/outcome.ts'
import { findCandidates } from './candidates.ts'
import type { Policy } from './policy.ts'
import type { CalibrationPort, FleetPort, IndexPort, LatencyPort, LedgerPort, OutputLengthPort } from './ports.ts'
import { decodeScorer } from './scorers/decode.ts'
import { prefillScorer } from './scorers/prefill.ts'
import { regretScorer } from './scorers/regret.ts'
import { waitScorer } from './scorers/wait.ts'
import type { Scorer, Situation } from './situation.ts'

export type SchedulerPorts = {
  readonly fleet: FleetPort
  readonly index: IndexPort
  readonly ledger: LedgerPort
  readonly latency: LatencyPort
  readonly outputLength: OutputLengthPort
  readonly calibration?: CalibrationPort
  readonly random: () => number
  readonly nowMs: () => number
  /** Another way to choose than least expected seconds. */
  readonly policy?: Policy
}

/**
 * Places turns: J(b) = wait + prefill(uncached) + decode + regret, in seconds, least first (DESIGN.md section 6).
 *
 * Each term is a scorer: prepared once per turn, then called once per candidate; the numbers of all candidates lie in
 * parallel Float64Arrays that are reused from turn to turn, so a decision allocates per turn and per listed candidate,
 * never per backend. Costs within `TIE` of the least are a tie, broken at random: equal backends share evenly.
 */
export class Scheduler {
  readonly #ports: SchedulerPorts
  readonly #scorers: readonly [wait: Scorer, prefill: Scorer, decode: Scorer, regret: Scorer]
  #board = newBoard(16)
  #order = new Int32Array(16)

  constructor(ports: SchedulerPorts) {
    const { index, ledger, latency } = ports
    this.#ports = ports
    this.#scorers = [waitScorer(ledger), prefillScorer(latency), decodeScorer(ledger, latency), regretScorer(index, latency)]
  }

  /** Rejects with a HomingError where no backend may serve the turn. */
  async place(request: SchedulingRequest, signal?: CancelSignal): Promise<Decision> {
    signal?.throwIfAborted()
    return this.rank(request)
  }

  /** The same decision without waiting and without consequences. */
  rank(request: SchedulingRequest, backends: readonly Backend[] = this.#ports.fleet.list()): Decision {
    const startedMs = this.#ports.nowMs()
    const started = performance.now() // how long deciding takes is measured, not simulated
    const { backends: candidates, filteredOut } = findCandidates(backends, request)
    const situation = this.#look(request, candidates)
    const board = this.#board
    const count = candidates.length
    const columns = [board.waitSeconds, board.prefillSeconds, board.decodeSeconds, board.regretSeconds]
    for (let column = 0; column < columns.length; column++) {
      const score = this.#scorers[column]!.prepare(situation)
      const seconds = columns[column]!
      for (let position = 0; position < count; position++) seconds[position] = score(candidates[position]!, position)
    }
    for (let position = 0; position < count; position++) {
      board.costSeconds[position] = board.waitSeconds[position]! + board.prefillSeconds[position]! +
        board.decodeSeconds[position]! + board.regretSeconds[position]!
    }
    const { policy } = this.#ports
    const chosen = policy === undefined ? this.#least(count) : policy.choose(request, candidates, board)
    const listed = this.#sort(count, chosen)
    const ranked: RankedBackend[] = []
    for (let place = 0; place < listed; place++) {
      const position = this.#order[place]!
      ranked.push({
        backend: candidates[position]!,
        expectedCachedTokens: Math.round(board.cachedTokens[position]!),
        waitSeconds: board.waitSeconds[position]!,
        prefillSeconds: board.prefillSeconds[position]!,
        decodeSeconds: board.decodeSeconds[position]!,
        regretSeconds: board.regretSeconds[position]!,
        costSeconds: board.costSeconds[position]!,
      })
    }
    return {
      ranked,
      reason: this.#reason(situation, chosen, ranked[0]!),
      promptTokens: request.promptTokens,
      expectedOutputTokens: situation.expectedOutputTokens,
      filteredOut,
      queuedMs: Math.max(0, this.#ports.nowMs() - startedMs),
      decideMicroseconds: 1000 * (performance.now() - started),
    }
  }

  /** The turn is sent to `choice` now: its work counts, and its blocks count as present for siblings that follow. */
  begin(decision: Decision, choice: RankedBackend, request: SchedulingRequest): InFlight {
    const { index, ledger, calibration, policy } = this.#ports
    const { backend } = choice
    calibration?.dispatched(request.chain, backend.index)
    const inFlight = ledger.begin(backend.index, {
      uncachedTokens: Math.max(0, request.promptTokens - choice.expectedCachedTokens),
      expectedOutputTokens: decision.expectedOutputTokens,
      prefillSeconds: choice.prefillSeconds,
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
      },
      tokens: (n) => inFlight.tokens(n),
      end: (outcome) => {
        inFlight.end(outcome)
        if (!answered && outcome !== 'completed') index.retract(request.chain, backend.index)
        answered = true
      },
    }
  }

  observe(outcome: Outcome): void {
    const { index, latency, outputLength, calibration } = this.#ports
    latency.observe(outcome)
    outputLength.observe(outcome)
    if (calibration !== undefined) calibration.observe(outcome)
    else if (outcome.ttftMs !== null) index.insert(outcome.fullChain, outcome.backend.index)
  }

  #look(request: SchedulingRequest, candidates: readonly Backend[]): Situation {
    const { index, outputLength } = this.#ports
    const { chain, promptTokens } = request
    if (candidates.length > this.#order.length) {
      this.#board = newBoard(2 * candidates.length)
      this.#order = new Int32Array(2 * candidates.length)
    }
    const { cachedTokens } = this.#board
    const tokensPerBlock = chain.totalCharacters === 0 ? 0 : (chain.blockCharacters * promptTokens) / chain.totalCharacters
    // At least one token is always computed.
    const most = Math.max(0, promptTokens - 1)
    let warmest = 0
    for (let position = 0; position < candidates.length; position++) {
      const backend = candidates[position]!
      const blocks = index.cachedBlocks(chain, backend.index)
      cachedTokens[position] = Math.min(most, blocks * tokensPerBlock)
      if (cachedTokens[position]! > cachedTokens[warmest]!) warmest = position
    }
    const home = candidates.findIndex((backend) => backend.id === request.homeBackendId)
    if (home >= 0 && cachedTokens[home] === 0 && index.neverForgot(candidates[home]!.index)) {
      // Known from the store, placed before this process began: it probably still holds what the parent turn left.
      cachedTokens[home] = Math.min(most, request.homeTokens ?? ASSUMED_AT_HOME * promptTokens)
    }
    const trunk = cachedTokens[warmest]! > 0 ? index.trunk(chain, candidates[warmest]!.index) : NO_TRUNK
    return {
      request,
      candidates,
      cachedTokens,
      trunkTokens: Math.min(most, trunk.blocks * tokensPerBlock),
      trunkFanOut: trunk.fanOut,
      tokensPerBlock,
      expectedOutputTokens: outputLength.expectedTokens(request),
    }
  }

  #least(count: number): number {
    const { costSeconds } = this.#board
    let least = Infinity
    for (let position = 0; position < count; position++) least = Math.min(least, costSeconds[position]!)
    // Reservoir of one among the tied.
    let chosen = 0
    let tied = 0
    for (let position = 0; position < count; position++) {
      if (costSeconds[position]! > least + TIE_SECONDS) continue
      tied++
      if (this.#ports.random() * tied < 1) chosen = position
    }
    return chosen
  }

  /** Fills `#order` with the chosen position and then the cheapest others; returns how many. */
  #sort(count: number, chosen: number): number {
    const { costSeconds } = this.#board
    const order = this.#order
    const listed = Math.min(count, LISTED)
    order[0] = chosen
    let filled = 1
    for (let position = 0; position < count; position++) {
      if (position === chosen) continue
      if (filled === listed && (listed === 1 || costSeconds[position]! >= costSeconds[order[filled - 1]!]!)) continue
      let at = filled === listed ? filled - 1 : filled++
      while (at > 1 && costSeconds[order[at - 1]!]! > costSeconds[position]!) {
        order[at] = order[at - 1]!
        at--
      }
      order[at] = position
    }
    return filled
  }

  #reason(situation: Situation, chosen: number, first: RankedBackend): DecisionReason {
    const { candidates, cachedTokens, request, tokensPerBlock } = situation
    if (candidates.length === 1) return 'only-candidate'
    if (this.#ports.policy !== undefined) return 'policy'
    let warmest = 0
    for (let position = 0; position < candidates.length; position++) {
      warmest = Math.max(warmest, cachedTokens[position]!)
    }
    if (warmest < Math.max(1, tokensPerBlock)) return 'least-cost'
    if (cachedTokens[chosen]! < warmest - tokensPerBlock) return 'load'
    return first.backend.id === request.homeBackendId ? 'home' : 'shared-prefix'
  }
}

function newBoard(size: number) {
  return {
    cachedTokens: new Float64Array(size),
    waitSeconds: new Float64Array(size),
    prefillSeconds: new Float64Array(size),
    decodeSeconds: new Float64Array(size),
    regretSeconds: new Float64Array(size),
    costSeconds: new Float64Array(size),
  }
}

const NO_TRUNK = { blocks: 0, fanOut: 1 } as const
/** Candidates in a decision: enough for failover and for a receipt, and no more objects than that. */
const LISTED = 16
/** Differences below half a millisecond are smaller than any prediction error. */
const TIE_SECONDS = 0.0005
/** Beyond three times the expected time to the first token, a placed turn's blocks count as present this long. */
const SPECULATIVE_LIFE_MS = 30_000
/** Share of a prompt that its parent turn is taken to have left at home when nobody knows. */
const ASSUMED_AT_HOME = 0.8
