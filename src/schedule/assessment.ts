import type { Backend } from '../model/backend.ts'
import type { Decision, DecisionReason, Prepared, RankedBackend, SchedulingRequest } from '../model/decision.ts'
import { findCandidates, type Candidates } from './candidates.ts'
import { contextTokens } from './filters.ts'
import { Options } from './options.ts'
import { newBoard, type Policy, type ScoreBoard } from './policy.ts'
import type { IndexPort, OutputLengthPort, ResidencyPort } from './ports.ts'
import type { Scorer, Situation } from './situation.ts'

/** The four terms of the cost, and what is needed to know when they changed. */
export type AssessmentPorts = {
  readonly index: IndexPort
  readonly residency?: ResidencyPort
  readonly outputLength: OutputLengthPort
  readonly ledger: { version(backendIndex: number): number }
  readonly scorers: readonly [wait: Scorer, prefill: Scorer, decode: Scorer, regret: Scorer]
}

/**
 * One turn before its candidates: the score board, one number per candidate and term, in parallel Float64Arrays.
 *
 * `weigh` fills it. Prefill, decode and regret of a candidate are computed again only when its blocks or its work
 * changed since; the wait passes with time and is always read anew. So a turn that waits costs a few additions per
 * candidate each time somebody else is placed. An assessment can be used for one turn after another (`begin`), which
 * makes a decision allocate per turn and per listed candidate, never per backend.
 *
 * A turn that asks for a group of models has one option for each backend and each model of the group there. Options are
 * weighed, then each backend stands for its cheapest one: everybody behind sees one candidate a backend (`Options`).
 */
export class Assessment {
  readonly #ports: AssessmentPorts
  #found: Candidates = NOTHING
  #situation!: Situation
  #terms: ((backend: Backend, position: number) => number)[] = []
  #board = newBoard(16)
  #seen = new Float64Array(16)
  #order = new Int32Array(16)
  #blocks = new Int32Array(16)
  #options: Options | null = null
  request!: SchedulingRequest

  constructor(ports: AssessmentPorts) {
    this.#ports = ports
  }

  get candidates(): readonly Backend[] {
    return this.#found.backends
  }

  get board(): ScoreBoard {
    return this.#options?.board ?? this.#board
  }

  get expectedOutputTokens(): number {
    return this.#situation.expectedOutputTokens
  }

  /** The turn as it would be sent to the candidate: with the model that would answer there. */
  requestAt(position: number): SchedulingRequest {
    const option = this.#options?.chosenAt(position)
    return option === undefined ? this.request : { ...this.request, model: option.model, chain: option.chain }
  }

  modelAt(position: number): string {
    return this.#options?.chosenAt(position).model ?? this.request.model
  }

  /** Throws a HomingError where no backend may serve the turn. */
  begin(request: SchedulingRequest, fleet: readonly Backend[]): void {
    const { index, outputLength, scorers } = this.#ports
    this.request = request
    const expectedOutputTokens = outputLength.expectedTokens(request)
    this.#found = findCandidates(fleet, request, expectedOutputTokens)
    const { neededTokens } = this.#found
    this.#options =
      request.choice === undefined
        ? null
        : new Options(
            request.choice,
            this.#found.backends,
            (backend, model) => backend.models.has(model) && (contextTokens(backend, model) ?? Infinity) >= neededTokens,
          )
    const backends = this.#options?.backends ?? this.#found.backends
    if (backends.length > this.#order.length) {
      this.#board = newBoard(2 * backends.length)
      this.#seen = new Float64Array(2 * backends.length)
      this.#order = new Int32Array(2 * backends.length)
      this.#blocks = new Int32Array(2 * backends.length)
    }
    this.#seen.fill(-1, 0, backends.length)
    const { chain, promptTokens, model } = request
    const tokensPerBlock =
      chain.totalCharacters === 0 ? 0 : (chain.blockCharacters * promptTokens) / chain.totalCharacters
    let most = 0
    for (let position = 0; position < backends.length; position++) {
      const blocks = index.cachedBlocks(this.#chainOf(position), backends[position]!.index)
      this.#board.cachedTokens[position] = this.#tokens(blocks, tokensPerBlock, position, backends)
      this.#blocks[position] = blocks
      if (blocks > most) most = blocks
    }
    const trunk = this.#trunk(most, backends)
    const options = this.#options
    this.#situation = {
      request,
      candidates: backends,
      modelAt: options === null ? () => model : (position) => options.at(position).model,
      cachedTokens: this.#board.cachedTokens,
      trunkTokens: Math.min(promptTokens, trunk.blocks * tokensPerBlock),
      trunkFanOut: trunk.fanOut,
      tokensPerBlock,
      expectedOutputTokens,
    }
    this.#terms = scorers.map((scorer) => scorer.prepare(this.#situation))
  }

  /** `price`: what a second of prefill counts, now or later, since it delays those who wait as well. */
  weigh(price: number): void {
    const { index, residency, ledger } = this.#ports
    const { cachedTokens, waitSeconds, prefillSeconds, decodeSeconds, regretSeconds, costSeconds } = this.#board
    const [wait, prefill, decode, regret] = this.#terms as [Term, Term, Term, Term]
    const backends = this.#situation.candidates
    for (let position = 0; position < backends.length; position++) {
      const backend = backends[position]!
      // All only grow, so their sum changes when any does.
      const version =
        index.version(backend.index) + ledger.version(backend.index) + (residency?.version(backend.index) ?? 0)
      if (this.#seen[position] !== version) {
        if (this.#seen[position]! >= 0) {
          const blocks = index.cachedBlocks(this.#chainOf(position), backend.index)
          cachedTokens[position] = this.#tokens(blocks, this.#situation.tokensPerBlock, position, backends)
        }
        this.#seen[position] = version
        prefillSeconds[position] = prefill(backend, position)
        decodeSeconds[position] = decode(backend, position)
        regretSeconds[position] = regret(backend, position)
      }
      waitSeconds[position] = wait(backend, position)
      costSeconds[position] =
        waitSeconds[position]! +
        DECODE_SHARE * decodeSeconds[position]! +
        price * (prefillSeconds[position]! + regretSeconds[position]!)
    }
    this.#options?.collapse(this.#board)
  }

  /** Position of the least cost among candidates that `usable` accepts; ties are drawn by lot. -1 for none. */
  cheapest(random: () => number, usable: (backend: Backend) => boolean): number {
    const { costSeconds, prefillSeconds } = this.board
    const { backends } = this.#found
    let least = Infinity
    let bound = Infinity
    for (let position = 0; position < backends.length; position++) {
      if (costSeconds[position]! >= least || !usable(backends[position]!)) continue
      least = costSeconds[position]!
      bound = least + TIE_SECONDS + TIE_SHARE * prefillSeconds[position]!
    }
    let chosen = -1
    let tied = 0
    for (let position = 0; position < backends.length; position++) {
      if (costSeconds[position]! > bound || !usable(backends[position]!)) continue
      tied++
      if (tied === 1 || random() * tied < 1) chosen = position
    }
    return chosen
  }

  decision(
    chosen: number,
    { policy = null, queuedMs = 0, decideMicroseconds, prepared, reason }: Grant,
  ): Decision {
    const { backends, filteredOut } = this.#found
    const { board } = this
    const listed = this.#sort(backends.length, chosen)
    const ranked: RankedBackend[] = []
    for (let place = 0; place < listed; place++) {
      const position = this.#order[place]!
      ranked.push({
        backend: backends[position]!,
        model: this.modelAt(position),
        expectedCachedTokens: Math.round(board.cachedTokens[position]!),
        waitSeconds: board.waitSeconds[position]!,
        prefillSeconds: board.prefillSeconds[position]!,
        decodeSeconds: board.decodeSeconds[position]!,
        regretSeconds: board.regretSeconds[position]!,
        qualitySeconds: board.qualitySeconds[position]!,
        costSeconds: board.costSeconds[position]!,
      })
    }
    return {
      ranked,
      reason: reason ?? (policy !== null && backends.length > 1 ? 'policy' : this.reason(chosen)),
      ...(policy === null ? {} : { policy: policy.name }),
      promptTokens: this.request.promptTokens,
      expectedOutputTokens: this.#situation.expectedOutputTokens,
      filteredOut,
      ...(this.#options === null ? {} : { considered: this.#options.considered() }),
      queuedMs,
      ...(prepared === undefined ? {} : { prepared }),
      decideMicroseconds,
    }
  }

  /** Sessions that go on from a shared prefix are counted over all backends that hold as much of this chain. */
  #trunk(most: number, backends: readonly Backend[]): { readonly blocks: number; readonly fanOut: number } {
    let shared = 0
    let fanOut = 0
    let asked = 0
    for (let position = 0; position < backends.length && asked < TRUNK_HOLDERS && most > 0; position++) {
      if (this.#blocks[position] !== most) continue
      asked++
      const there = this.#ports.index.trunk(this.#chainOf(position), backends[position]!.index)
      if (there.blocks < shared) continue
      fanOut = there.blocks > shared ? there.fanOut : fanOut + there.fanOut
      shared = there.blocks
    }
    return shared === 0 ? NO_TRUNK : { blocks: shared, fanOut }
  }

  /** Of an option, where the turn has a choice. */
  #chainOf(position: number): SchedulingRequest['chain'] {
    return this.#options?.at(position).chain ?? this.request.chain
  }

  /** At least one token is always computed. */
  #tokens(blocks: number, tokensPerBlock: number, position: number, backends: readonly Backend[]): number {
    const { request } = this
    const most = Math.max(0, request.promptTokens - 1)
    const backend = backends[position]!
    const resident = this.#ports.residency?.residentTokens(this.#chainOf(position), backend) ?? -1
    if (resident >= 0) return Math.min(most, resident)
    const { homeTokens } = request
    if (
      blocks === 0 &&
      homeTokens !== undefined &&
      request.headChanged !== true &&
      backend.id === request.homeBackendId &&
      (request.choice === undefined || this.#options!.at(position).model === request.choice.incumbent) &&
      this.#ports.index.neverForgot(backend.index)
    ) {
      // Known from the store, placed before this process began: it probably still holds what the parent turn left.
      return Math.min(most, homeTokens)
    }
    return Math.min(most, blocks * tokensPerBlock)
  }

  /** Fills `#order` with the chosen position and then the cheapest others; returns how many. */
  #sort(count: number, chosen: number): number {
    const { costSeconds } = this.board
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

  reason(chosen: number): DecisionReason {
    const { request, tokensPerBlock } = this.#situation
    const { candidates } = this
    const { cachedTokens, qualitySeconds, costSeconds } = this.board
    if (candidates.length === 1) return 'only-candidate'
    let warmest = 0
    let soonest = Infinity
    for (let position = 0; position < candidates.length; position++) {
      warmest = Math.max(warmest, cachedTokens[position]!)
      soonest = Math.min(soonest, costSeconds[position]! - qualitySeconds[position]!)
    }
    // Without the answers' quality it would have gone elsewhere.
    if (this.#options !== null && costSeconds[chosen]! - qualitySeconds[chosen]! > soonest + TIE_SECONDS) return 'quality'
    if (warmest < Math.max(1, tokensPerBlock)) return 'least-cost'
    if (cachedTokens[chosen]! < warmest - tokensPerBlock) return 'load'
    return candidates[chosen]!.id === request.homeBackendId ? 'home' : 'shared-prefix'
  }
}

type Term = (backend: Backend, position: number) => number

type Grant = {
  readonly policy?: Policy | null
  readonly queuedMs?: number
  readonly decideMicroseconds: number
  readonly prepared?: Prepared
  /** Why it was chosen when its first piece was computed there. */
  readonly reason?: DecisionReason
}

const NOTHING: Candidates = { backends: [], neededTokens: 0, filteredOut: [] }
/** Holders asked for the fan-out of a shared prefix: it need not be exact once it is large. */
const TRUNK_HOLDERS = 8
const NO_TRUNK = { blocks: 0, fanOut: 1 } as const
/** Candidates in a decision: enough for failover and for a receipt, and no more objects than that. */
const LISTED = 16
/** Differences below half a millisecond, or a twentieth of the turn's work, are smaller than any prediction error. */
const TIE_SECONDS = 0.0005
const TIE_SHARE = 0.05
/**
 * What a second of decoding counts beside one of waiting. How crowded a batch is now says little about the minutes of an
 * answer: at full price turns wait for a quieter backend that is crowded by then (realistic profile, N = 8: mean TTFT
 * 2.3 s at 1, 1.39 s at 0.1, 1.31 s at 0; mean time to the last token 15.8, 13.95, 14.1 s).
 */
const DECODE_SHARE = 0.1
