/** A scheduler on a fake clock with a small fleet, and turns by name: what the scheduling tests share. */
import { BlockIndex } from '../../src/kv/block-index.ts'
import { CacheCalibration } from '../../src/kv/calibration.ts'
import { Pressure } from '../../src/kv/pressure.ts'
import { Ledger } from '../../src/fleet/ledger.ts'
import { LatencyModel } from '../../src/learn/latency.ts'
import { OutputLength } from '../../src/learn/output-length.ts'
import type { Backend } from '../../src/model/backend.ts'
import type { Decision, InFlight, SchedulingRequest } from '../../src/model/decision.ts'
import type { Outcome } from '../../src/model/outcome.ts'
import type { BlockChain } from '../../src/model/turn.ts'
import type { Policy } from '../../src/schedule/policy.ts'
import { Scheduler } from '../../src/schedule/scheduler.ts'

/** A chain of one block per word; chains that start with the same words share blocks. */
export function chainOf(words: readonly string[], blockCharacters = 2048): BlockChain {
  const hashes = new Uint32Array(2 * words.length)
  let [low, high] = [0x811c9dc5, 0x9747b28c]
  words.forEach((word, i) => {
    for (const letter of word) low = Math.imul(low ^ letter.charCodeAt(0), 0x01000193) >>> 0
    low = Math.imul(low ^ (low >>> 13) ^ i, 0x5bd1e995) >>> 0
    high = (Math.imul(high ^ low, 0x85ebca6b) + i) >>> 0
    hashes.set([low, high], 2 * i)
  })
  return { hashes, length: words.length, blockCharacters, totalCharacters: words.length * blockCharacters }
}

/** `count` words that nobody else has. */
export const words = (name: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${name}${i}`)

export type FakeBackend = { -readonly [Field in keyof Backend]: Backend[Field] }

export function backendAt(index: number, changes: Partial<FakeBackend> = {}): FakeBackend {
  const id = 'abcdefghijklmnopqrstuvwxyz'[index] ?? `b${index}`
  return {
    id, index, engine: 'unknown', protocols: new Set(['chat'] as const), vision: null, slots: null, cacheCapacityTokens: null,
    models: new Map([['m', { name: 'm', served: 'm', contextTokens: null }]]),
    healthy: true, draining: false, probed: true, trouble: null,
    config: {
      id, url: '', protocol: 'auto', key: null, headers: {}, models: null, contextTokens: null, maxInFlightTokens: null, ca: null,
      timeouts: { connectMs: 1, idleMs: 1, firstTokenMs: null },
    },
    ...changes,
  }
}

export function requestFor(text: readonly string[], changes: Partial<SchedulingRequest> = {}): SchedulingRequest {
  return {
    endpoint: 'responses', tenant: 't', model: 'm', chain: chainOf(text), promptTokens: 512 * text.length,
    maxOutputTokens: null, sessionId: text.join(), homeBackendId: null, protocol: null, needsVision: false,
    exclude: new Set(), ...changes,
  }
}

export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

export type Running = { readonly request: SchedulingRequest; readonly decision: Decision; readonly inFlight: InFlight; readonly startedMs: number }

export function newFleet(backends: readonly Backend[], options: { policy?: Policy; seed?: number; waiting?: boolean; maxWaitMs?: number; timersEarlyMs?: number } = {}) {
  const clock = { nowMs: 0 }
  const timers = new Set<{ atMs: number; callback: () => void }>()
  const nowMs = () => clock.nowMs
  const index = new BlockIndex({ maxBytes: 1 << 22, nowMs })
  for (const backend of backends) if (backend.slots !== null) index.setSlots(backend.index, backend.slots)
  const ledger = new Ledger({ nowMs })
  const latency = new LatencyModel()
  const pressure = new Pressure({ index, nowMs, maxConversations: 10_000 })
  const calibration = new CacheCalibration(index, pressure, latency)
  const after = (ms: number, callback: () => void) => {
    const timer = { atMs: clock.nowMs + ms - (options.timersEarlyMs ?? 0), callback }
    timers.add(timer)
    return () => { timers.delete(timer) }
  }
  const scheduler = new Scheduler({
    fleet: { list: () => backends }, index, ledger, latency, outputLength: new OutputLength(), calibration,
    random: seeded(options.seed ?? 1), nowMs, returnsSoon: (elapsedMs) => pressure.returnsSoon(elapsedMs),
    ...(options.policy === undefined ? {} : { policy: options.policy }),
    ...(options.waiting === true ? { after } : {}),
    ...(options.maxWaitMs === undefined ? {} : { maxWaitMs: options.maxWaitMs }),
  })
  const start = (request: SchedulingRequest, decision: Decision): Running =>
    ({ request, decision, inFlight: scheduler.begin(decision, decision.ranked[0]!, request), startedMs: clock.nowMs })
  const finish = (running: Running, ttftMs: number, cachedTokens: number | null = null, outputTokens = 20): void => {
    const { request, decision, inFlight } = running
    inFlight.firstToken()
    inFlight.end('completed')
    const outcome: Outcome = {
      backend: decision.ranked[0]!.backend, model: request.model, tenant: request.tenant, sessionId: request.sessionId,
      status: 'completed', promptChain: request.chain, fullChain: request.chain,
      expectedCachedTokens: decision.ranked[0]!.expectedCachedTokens, expectedPromptTokens: request.promptTokens,
      usage: { promptTokens: request.promptTokens, cachedTokens, outputTokens, reasoningTokens: null },
      ttftMs, decodeMs: 20 * outputTokens, inFlightAtDispatch: 0, queuedTokensAtDispatch: 0,
    }
    scheduler.observe(outcome)
  }
  /** Time passes, timers fire in order, promises settle. */
  const advance = async (ms: number): Promise<void> => {
    const untilMs = clock.nowMs + ms
    for (;;) {
      const due = [...timers].filter((timer) => timer.atMs <= untilMs).sort((one, other) => one.atMs - other.atMs)[0]
      if (due === undefined) break
      timers.delete(due)
      clock.nowMs = Math.max(clock.nowMs, due.atMs)
      due.callback()
      await settled()
    }
    clock.nowMs = untilMs
    await settled()
  }
  return { scheduler, index, ledger, latency, calibration, pressure, clock, start, finish, advance, timers }
}

export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
