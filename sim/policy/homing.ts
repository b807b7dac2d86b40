/**
 * Homing itself: `src/schedule/scheduler.ts` with the index, ledger and models that the gateway gives it, driven in
 * virtual time. Two forms: by history only (what the router placed and what answers reported), and with exact knowledge
 * of the caches, as KV events without delay would give. A block of the trace is a block of the chain; an answer's
 * blocks follow its prompt's, as in the gateway.
 */
import { BACKEND_DEFAULTS } from '../../src/config/backend.ts'
import { BlockIndex } from '../../src/kv/block-index.ts'
import { CacheCalibration } from '../../src/kv/calibration.ts'
import { EngineLoad, type EngineLoadOptions } from '../../src/fleet/engine-load.ts'
import { Ledger, type OthersPort } from '../../src/fleet/ledger.ts'
import { OthersWork } from '../../src/fleet/others-work.ts'
import type { TtftPort } from '../../src/kv/hidden-hits.ts'
import { conversationKey, Pressure } from '../../src/kv/pressure.ts'
import { LatencyModel } from '../../src/learn/latency.ts'
import { OutputLength } from '../../src/learn/output-length.ts'
import type { Backend, BackendConfig } from '../../src/model/backend.ts'
import type { Decision, InFlight, SchedulingRequest } from '../../src/model/decision.ts'
import type { Outcome } from '../../src/model/outcome.ts'
import type { BlockChain } from '../../src/model/turn.ts'
import type { IndexPort, LatencyPort, PrefillPiece } from '../../src/schedule/ports.ts'
import { Scheduler } from '../../src/schedule/scheduler.ts'
import { CHARACTERS_PER_TOKEN } from '../prompt.ts'
import { mix32 } from '../random.ts'
import type { SimulatedRequest } from '../request.ts'
import type { Policy, Router, RouterContext } from './policy.ts'
import { prewarming } from './prewarming.ts'

const MODEL = 'homing-sim'
const TENANT = 'lab'
const INDEX_BYTES = 256 * 2 ** 20
/** Where no backend is usable the gateway answers 503; the laboratory's client tries again after this. */
const RETRY_MS = 1000
const HIDING = 0x68696465

type Placed = {
  readonly scheduling: SchedulingRequest
  readonly decision: Decision
  readonly inFlight: InFlight
  readonly dispatchedAtMs: number
  readonly inFlightAtDispatch: number
  readonly queuedTokensAtDispatch: number
  readonly othersSecondsAtDispatch: number
  firstTokenAtMs: number
}

const chainOf = (request: SimulatedRequest, answer: boolean, blockTokens: number): BlockChain => {
  const { blocks, answerBlocks, promptTokens, outputTokens } = request
  const fromPrompt = Math.floor(promptTokens / blockTokens) // whole blocks only, as in the gateway
  const length = fromPrompt + (answer ? answerBlocks.length : 0)
  const hashes = new Uint32Array(2 * length)
  for (let index = 0; index < length; index++) {
    const id = index < fromPrompt ? blocks[index]! : answerBlocks[index - fromPrompt]!
    const upper = Math.floor(id / 4294967296)
    hashes[2 * index] = mix32(id | 0, upper)
    hashes[2 * index + 1] = mix32(id | 0, 0x6a09e667 ^ upper)
  }
  const totalCharacters = (promptTokens + (answer ? outputTokens : 0)) * CHARACTERS_PER_TOKEN
  return { hashes, length, blockCharacters: blockTokens * CHARACTERS_PER_TOKEN, totalCharacters }
}

const backendAt = (context: RouterContext, index: number, exact: boolean): Backend => {
  const config: BackendConfig = {
    id: `b${index}`,
    url: '',
    protocol: 'chat',
    key: null,
    headers: {},
    models: null,
    contextTokens: null, maxInFlightTokens: null,
    ca: null,
    timeouts: { connectMs: 0, idleMs: 0, firstTokenMs: null },
  }
  const { cacheBlocks, blockTokens } = context.speed(index)
  return {
    id: config.id,
    index,
    config,
    engine: 'homing-sim',
    protocols: new Set(['chat']),
    models: new Map([[MODEL, { name: MODEL, served: MODEL, contextTokens: null }]]),
    vision: null,
    slots: null,
    cacheCapacityTokens: exact ? cacheBlocks * blockTokens : null,
    get healthy() {
      return context.usable(index) || context.draining(index)
    },
    get draining() {
      return context.draining(index)
    },
    probed: true,
    trouble: null,
  }
}

/** The index as KV events keep it, and beside it what placed turns are about to bring. */
class ExactIndex implements IndexPort {
  readonly #index: BlockIndex
  readonly #context: RouterContext
  readonly #requests = new WeakMap<BlockChain, SimulatedRequest>()
  readonly #coming: Map<number, number>[]
  #changes = 0

  constructor(index: BlockIndex, context: RouterContext) {
    this.#index = index
    this.#context = context
    this.#coming = Array.from({ length: context.backends }, () => new Map<number, number>())
    for (let backend = 0; backend < context.backends; backend++)
      index.setCapacity(backend, context.speed(backend).cacheBlocks)
  }

  note(chain: BlockChain, request: SimulatedRequest): void {
    this.#requests.set(chain, request)
  }

  announce(request: SimulatedRequest, backend: number, by: 1 | -1): void {
    const coming = this.#coming[backend]!
    this.#changes++
    for (let at = 0; at < request.blocks.length; at++) {
      const id = request.blocks[at]!
      const count = (coming.get(id) ?? 0) + by
      if (count === 0) coming.delete(id)
      else coming.set(id, count)
    }
  }

  cachedBlocks(chain: BlockChain, backend: number): number {
    const request = this.#requests.get(chain)
    if (request === undefined) return this.#index.cachedBlocks(chain, backend)
    const { blocks } = request
    const coming = this.#coming[backend]!
    let count = 0
    while (count < blocks.length && (this.#context.holds(backend, blocks[count]!) || coming.has(blocks[count]!)))
      count++
    return count
  }

  trunk(chain: BlockChain, backend: number) {
    return this.#index.trunk(chain, backend)
  }
  insert(chain: BlockChain, backend: number, options?: { fromBlock?: number; speculativeUntilMs?: number }): void {
    this.#index.insert(chain, backend, options)
  }
  retract(chain: BlockChain, backend: number): void {
    this.#index.retract(chain, backend)
  }
  blocks(backend: number): number {
    return this.#index.blocks(backend)
  }
  chains(backend: number): number {
    return this.#index.chains(backend)
  }
  capacity(backend: number): number {
    return this.#index.capacity(backend)
  }
  slots(): number {
    return Infinity
  }
  idleMs(): number {
    return 0
  }
  version(backend: number): number {
    return this.#index.version(backend) + this.#changes
  }
  neverForgot(): boolean {
    return false
  }
}

/** How Homing is run in the laboratory where it is not the plain one. */
export type HomingOptions = {
  /** Knows the caches as KV events without delay tell them. */
  readonly exact?: boolean
  /** Prefixes are computed ahead, so many tokens a minute and backend. */
  readonly prewarmTokensPerMinute?: number
  /** Share of the answers that hide `cached_tokens`, as some engines do. */
  readonly hiddenShare?: number
  /** Told of each turn that continues another: was the parent's prompt still at its home, and what was predicted. */
  readonly onReturn?: (seen: { readonly predicted: number; readonly resident: boolean }) => void
  /** Instead of a fresh `LatencyModel`: what wants to see each prediction beside its outcome. */
  readonly latency?: (context: RouterContext) => LatencyPort & TtftPort
  /** Metrics pages are read every so many milliseconds (with the gateway's jitter), and correct the ledger. */
  readonly scrapeEveryMs?: number
  /** Instead of metrics pages: what the run itself knows of the others' work. */
  readonly others?: (context: RouterContext) => OthersPort
}

const build = (context: RouterContext, options: HomingOptions): Router => {
  const { exact = false, prewarmTokensPerMinute = 0, hiddenShare = 0, onReturn } = options
  const nowMs = (): number => context.nowMs()
  const blockIndex = new BlockIndex({ maxBytes: INDEX_BYTES, nowMs })
  const exactIndex = exact ? new ExactIndex(blockIndex, context) : null
  const pressure = new Pressure({ index: blockIndex, nowMs, maxConversations: 200_000 })
  const backends = Array.from({ length: context.backends }, (_, index) => backendAt(context, index, exact))
  const after = (ms: number, callback: () => void): (() => void) => {
    let cancelled = false
    context.schedule(nowMs() + ms, () => {
      if (!cancelled) callback()
    })
    return () => {
      cancelled = true
    }
  }
  const latency = options.latency?.(context) ?? new LatencyModel()
  const others = options.others?.(context) ?? new OthersWork({ nowMs })
  const ledger = new Ledger({ nowMs, others })
  if (options.scrapeEveryMs !== undefined && others instanceof OthersWork) {
    const prefillSeconds = (tokens: number, { index }: Backend): number => latency.prefillSeconds(tokens, index, MODEL)
    readPages(context, backends, { ledger, others, prefillSeconds, nowMs }, options.scrapeEveryMs)
  }
  const scheduler = new Scheduler({
    fleet: { list: () => backends },
    index: exactIndex ?? blockIndex,
    ledger,
    latency,
    outputLength: new OutputLength(),
    ...(exact ? {} : { calibration: new CacheCalibration(blockIndex, pressure, latency) }),
    random: context.random,
    nowMs,
    after,
  })
  const ahead =
    prewarmTokensPerMinute === 0
      ? null
      : prewarming({ context, backends, scheduler, index: blockIndex, ledger, latency, gaps: pressure.gaps, after, tokensPerMinute: prewarmTokensPerMinute })
  const placed = new Map<SimulatedRequest, Placed>()
  const homes = new Map<number, number>()
  let placing = 0
  const hides = (request: SimulatedRequest): boolean => mix32(request.index, HIDING) < hiddenShare * 2 ** 32

  const schedulingRequest = (request: SimulatedRequest): SchedulingRequest => {
    const chain = chainOf(request, false, context.blockTokens)
    exactIndex?.note(chain, request)
    const home = homes.get(request.parent)
    return {
      endpoint: 'chat',
      tenant: TENANT,
      model: MODEL,
      chain,
      promptTokens: request.promptTokens,
      maxOutputTokens: null,
      sessionId: `s${request.session}`,
      homeBackendId: home === undefined ? null : backends[home]!.id,
      protocol: 'chat',
      needsVision: false,
      exclude: new Set(),
    }
  }
  const begin = (request: SimulatedRequest, scheduling: SchedulingRequest, decision: Decision): void => {
    const choice = decision.ranked[0]!
    const backend = choice.backend.index
    const inFlightAtDispatch = ledger.runningCount(backend)
    const queuedTokensAtDispatch = ledger.remainingPrefillTokens(backend)
    const othersSecondsAtDispatch = others.waitSeconds(backend)
    ahead?.begins(request, scheduling, choice.backend)
    const inFlight = scheduler.begin(decision, choice, scheduling)
    placed.set(request, {
      scheduling,
      decision,
      inFlight,
      dispatchedAtMs: nowMs(),
      inFlightAtDispatch,
      queuedTokensAtDispatch,
      othersSecondsAtDispatch,
      firstTokenAtMs: -1,
    })
    homes.set(request.index, backend)
    exactIndex?.announce(request, backend, 1)
    context.dispatch(request, backend, Math.max(0, request.promptTokens - choice.expectedCachedTokens))
  }
  const pieces =
    (request: SimulatedRequest, scheduling: SchedulingRequest): PrefillPiece =>
    ({ index: backend }, promptTokens) =>
      new Promise((resolve) => {
        const sentMs = nowMs()
        ahead?.begins(request, scheduling, backends[backend]!)
        placing-- // time passes while it is computed
        context.prefill(request, backend, promptTokens, (result) => {
          placing++
          resolve(result === null ? null : { ...result, ms: nowMs() - sentMs })
        })
      })
  const foresee = (
    request: SimulatedRequest,
    { tenant, sessionId }: SchedulingRequest,
    tell: NonNullable<HomingOptions['onReturn']>,
  ): void => {
    const home = homes.get(request.parent)
    const forecast = pressure.forecast(conversationKey(tenant, sessionId))
    if (home === undefined || forecast === null || forecast.backendIndex !== home) return
    const parent = context.request(request.parent)
    const last = Math.floor(parent.promptTokens / context.blockTokens) - 1
    if (last >= 0) tell({ predicted: forecast.now, resident: context.holds(home, parent.blocks[last]!) })
  }
  const router: Router = {
    busy: () => placing > 0,
    arrive: (request) => {
      const scheduling = schedulingRequest(request)
      if (onReturn !== undefined) foresee(request, scheduling, onReturn)
      placing++
      scheduler.place(scheduling, undefined, pieces(request, scheduling)).then(
        (decision) => {
          placing--
          begin(request, scheduling, decision)
        },
        () => {
          placing--
          context.schedule(nowMs() + RETRY_MS, () => router.arrive(request))
        },
      )
    },
    firstToken: (request, backend) => {
      const turn = placed.get(request)!
      turn.firstTokenAtMs = nowMs()
      exactIndex?.announce(request, backend, -1)
      turn.inFlight.firstToken()
      ahead?.moved()
    },
    ended: (request, backend, outcome, cachedTokens) => {
      const turn = placed.get(request)!
      placed.delete(request)
      const answered = turn.firstTokenAtMs >= 0
      if (!answered) exactIndex?.announce(request, backend, -1)
      turn.inFlight.tokens(outcome === 'completed' ? request.outputTokens : 0)
      turn.inFlight.end(outcome)
      const promptChain = turn.scheduling.chain
      const seen: Outcome = {
        backend: backends[backend]!,
        model: MODEL,
        tenant: TENANT,
        sessionId: turn.scheduling.sessionId,
        status: outcome,
        promptChain,
        fullChain: outcome === 'completed' ? chainOf(request, true, context.blockTokens) : promptChain,
        expectedCachedTokens: turn.decision.ranked[0]!.expectedCachedTokens,
        expectedPromptTokens: request.promptTokens,
        ...(turn.decision.prepared === undefined ? {} : { preparedTokens: turn.decision.prepared.tokens }),
        usage:
          outcome === 'completed'
            ? {
                promptTokens: request.promptTokens,
                cachedTokens: hides(request) ? null : cachedTokens,
                outputTokens: request.outputTokens,
                reasoningTokens: null,
              }
            : null,
        awaits: request.endsInCall === true ? 'tool' : 'person',
        ttftMs: answered ? turn.firstTokenAtMs - turn.dispatchedAtMs : null,
        decodeMs: answered ? nowMs() - turn.firstTokenAtMs : null,
        inFlightAtDispatch: turn.inFlightAtDispatch,
        queuedTokensAtDispatch: turn.queuedTokensAtDispatch,
        othersSecondsAtDispatch: turn.othersSecondsAtDispatch,
      }
      scheduler.observe(seen)
      ahead?.ended(request, turn.scheduling, seen)
      ahead?.moved()
    },
    changed: (backend) => ahead?.changed(backends[backend]!),
  }
  return router
}

export const homing: Policy = {
  name: 'homing',
  kind: 'homing',
  rule: 'least expected seconds, learned; caches known by history only',
  create: (context) => build(context, {}),
}

export const homingExact: Policy = {
  name: 'homing-exact',
  kind: 'homing',
  rule: 'the same with exact knowledge of the caches',
  create: (context) => build(context, { exact: true }),
}

export const homingPrewarm: Policy = {
  name: 'homing-prewarm',
  kind: 'homing',
  rule: 'homing, which computes prefixes ahead where it has idle capacity',
  create: (context) => build(context, { prewarmTokensPerMinute: BACKEND_DEFAULTS.prewarmTokensPerMinute }),
}

export const homingWith = (name: string, rule: string, options: HomingOptions): Policy => ({
  name,
  kind: 'homing',
  rule,
  create: (context) => build(context, options),
})

const readPages = (
  context: RouterContext, backends: readonly Backend[], options: EngineLoadOptions, everyMs: number,
): void => {
  const load = new EngineLoad(options)
  for (const backend of backends) {
    const read = (): void => {
      if (context.ended()) return
      context.schedule(context.nowMs() + everyMs * (0.8 + 0.4 * context.random()), read)
      if (!context.usable(backend.index)) return load.forget(backend)
      const { running, waiting, totals } = context.engine(backend.index)
      load.asked(backend)
      load.answered(backend, {
        running,
        waiting,
        cacheUsage: null,
        computedTokens: totals.promptTokens - totals.cachedTokens,
        finishedRequests: totals.finished,
        observedAtMs: context.nowMs(),
      })
    }
    context.schedule(everyMs * context.random(), read)
  }
}
