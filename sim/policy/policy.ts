/**
 * What the laboratory compares. A policy builds a router for one run; the router is told of arrivals and progress and
 * answers by dispatching, at once or later. Everything it may see is in the context.
 */
import type { EngineSpeed, SimulatedEngine } from '../engine/engine.ts'
import type { Ledger } from '../ledger.ts'
import type { Random } from '../random.ts'
import type { Job, SimulatedRequest } from '../request.ts'

export interface RouterContext {
  readonly backends: number
  readonly blockTokens: number
  readonly ledger: Ledger
  readonly random: Random
  nowMs(): number
  speed(backend: number): EngineSpeed
  /** Contiguous cached tokens of the prompt at a backend as its KV events tell (exact where they are not delayed). */
  cachedTokens(request: SimulatedRequest, backend: number): number
  /** The same, block by block. */
  holds(backend: number, block: number): boolean
  /** False while a backend is down and does not answer, or drained. */
  usable(backend: number): boolean
  /** An operator takes it out of service: what runs there ends by itself, nothing new is to be sent. */
  draining(backend: number): boolean
  /** By its place in the workload. */
  request(index: number): SimulatedRequest
  /** `uncachedTokens`: the router's own estimate, for its ledger. */
  dispatch(request: SimulatedRequest, backend: number, uncachedTokens: number): void
  /**
   * Computes the first `promptTokens` tokens of the request's prompt there; `done` hears what of it was cached, null where
   * the backend failed.
   */
  prefill(
    request: SimulatedRequest,
    backend: number,
    promptTokens: number,
    done: (result: { readonly promptTokens: number; readonly cachedTokens: number } | null) => void,
  ): void
  /**
   * A request of the router's own, which is nobody's turn. It counts as work, not as an answer; the job is handed over
   * when it ends. Returns what ends it before.
   */
  background(request: SimulatedRequest, backend: number, ended: (job: Job) => void): () => void
  schedule(atMs: number, action: () => void): void
  /** What the metrics page of the backend tells. */
  engine(backend: number): Pick<SimulatedEngine, 'running' | 'waiting' | 'totals'>
  /** Every request was answered: what repeats itself ends. */
  ended(): boolean
}

export interface Router {
  arrive(request: SimulatedRequest): void
  firstToken?(request: SimulatedRequest, backend: number): void
  ended?(request: SimulatedRequest, backend: number, outcome: 'completed' | 'failed', cachedTokens: number): void
  /** A backend went out of service or came back. */
  changed?(backend: number): void
  /** True while it waits for a promise: virtual time then stands still until the promises that can settle have. */
  busy?(): boolean
}

export type Policy = {
  readonly name: string
  /** One line: the rule and where it is published. */
  readonly rule: string
  /** `shipped`: something one can install; `lab`: a reference that knows what no router knows; `homing`: ours. */
  readonly kind: 'shipped' | 'lab' | 'homing'
  create(context: RouterContext): Router
}

/** A rule that places every request the moment it arrives. */
export type Rule = {
  choose(request: SimulatedRequest): number
  /** What the rule believes to be cached where it goes, for the ledger's uncached work. Left out: nothing. */
  cached?(request: SimulatedRequest, backend: number): number
  /** The request went there; rules with a memory of their own note it here. */
  placed?(request: SimulatedRequest, backend: number): void
}

export const onArrival = (
  name: string,
  kind: Policy['kind'],
  rule: string,
  build: (context: RouterContext) => Rule | Rule['choose'],
): Policy => ({
  name,
  kind,
  rule,
  create: (context) => {
    const built = build(context)
    const { choose, cached, placed }: Rule = typeof built === 'function' ? { choose: built } : built
    return {
      arrive: (request) => {
        const backend = choose(request)
        context.dispatch(request, backend, request.promptTokens - (cached?.(request, backend) ?? 0))
        placed?.(request, backend)
      },
    }
  },
})

/**
 * The usable backend with the least cost; equal ones are drawn by lot (reservoir of one). Infinity everywhere still
 * gives a usable one.
 */
export const leastCost = (context: RouterContext, cost: (backend: number) => number): number => {
  let best = -1
  let bestCost = Number.POSITIVE_INFINITY
  let equal = 0
  for (let backend = 0; backend < context.backends; backend++) {
    if (!context.usable(backend)) continue
    const value = cost(backend)
    if (best >= 0 && value > bestCost) continue
    if (best < 0 || value < bestCost) {
      best = backend
      bestCost = value
      equal = 1
    } else if (context.random() * ++equal < 1) best = backend
  }
  if (best < 0) throw new Error('no usable backend')
  return best
}
