import type { InFlight } from '../model/decision.ts'

/**
 * Work in flight per backend, in the units that cost time: prompt tokens that still have to be computed, and output
 * tokens that are still expected. Turns before their first token are counted apart from those that only decode: the
 * former delay the next first token, the latter make every step a little longer.
 *
 * Every backend serves its prefills about in order of arrival, so the oldest turn without a first token is the one
 * being computed. `waitSeconds` is the predicted work of all such turns, less what the oldest has had already. A turn
 * that overruns its prediction is expected to need as long again as it is late, and a tenth of its prediction at least:
 * a backend that stalls looks worse by the second.
 *
 * A first token is seen later than the engine turns to the next prompt, and a prompt sent then comes later still. So the
 * next turn counts as begun by its own overhead before the token of the one before it was seen, and `headIsOver` says
 * when the oldest one's prefill should be done although its token is on the way: what is sent then arrives in time.
 *
 * Reads are O(1). Bounded by what is in flight; an entry leaves by `end`, which every dispatch calls exactly once.
 */
export class Ledger {
  readonly #nowMs: () => number
  readonly #load: BackendLoad[] = []

  constructor(options: { readonly nowMs: () => number }) {
    this.#nowMs = options.nowMs
  }

  begin(backendIndex: number, work: Work): InFlight {
    const load = this.#at(backendIndex)
    const now = this.#nowMs()
    const turn: TurnInFlight = {
      uncachedTokens: Math.max(0, work.uncachedTokens),
      prefillSeconds: Math.max(0, work.prefillSeconds ?? 0),
      overheadSeconds: Math.max(0, work.overheadSeconds ?? 0),
      decodeTokens: Math.max(0, work.expectedOutputTokens),
      contextTokens: Math.max(0, work.promptTokens ?? work.uncachedTokens),
      dispatchedAtMs: now,
      answerTokens: Math.max(0, work.expectedOutputTokens),
      phase: 'prefill',
    }
    if (load.prefilling.size === 0) load.oldestSinceMs = now
    load.prefilling.add(turn)
    load.running++
    load.queuedTokens += turn.uncachedTokens
    load.queuedSeconds += turn.prefillSeconds
    load.decodeTokens += turn.decodeTokens
    load.contextTokens += turn.contextTokens
    load.answerTokens += turn.answerTokens
    load.version++
    return {
      firstToken: () => this.#firstToken(load, turn),
      tokens: (n) => {
        const counted = Math.min(n, turn.decodeTokens)
        turn.decodeTokens -= counted
        load.decodeTokens -= counted
      },
      end: () => {
        if (turn.phase === 'ended') return
        this.#firstToken(load, turn)
        turn.phase = 'ended'
        load.running--
        load.decodeTokens = Math.max(0, load.decodeTokens - turn.decodeTokens)
        load.contextTokens = load.running === 0 ? 0 : load.contextTokens - turn.contextTokens
        load.answerTokens = load.running === 0 ? 0 : load.answerTokens - turn.answerTokens
        load.version++
      },
    }
  }

  /** Prompt tokens still to be computed by turns before their first token. */
  queuedPrefillTokens(backendIndex: number): number {
    return this.#load[backendIndex]?.queuedTokens ?? 0
  }

  /** Predicted seconds until the backend has answered all turns that wait for their first token. */
  waitSeconds(backendIndex: number): number {
    const load = this.#load[backendIndex]
    if (load === undefined || load.prefilling.size === 0) return 0
    const [oldest] = load.prefilling
    const { prefillSeconds, overheadSeconds } = oldest!
    const elapsed = this.#headSeconds(load)
    const remaining = Math.max(prefillSeconds - elapsed, 0.1 * prefillSeconds)
    const late = elapsed - prefillSeconds - overheadSeconds
    return load.queuedSeconds - prefillSeconds + Math.max(remaining, late)
  }

  /** Of those, what is left by the prediction. */
  remainingPrefillTokens(backendIndex: number): number {
    const load = this.#load[backendIndex]
    if (load === undefined || load.prefilling.size === 0) return 0
    const [oldest] = load.prefilling
    const { prefillSeconds, uncachedTokens } = oldest!
    const done = prefillSeconds === 0 ? 0 : Math.min(1, this.#headSeconds(load) / prefillSeconds)
    return Math.max(0, load.queuedTokens - done * uncachedTokens)
  }

  /**
   * Seconds until the next prompt should be sent behind the only turn before its first token, at least 0; Infinity where
   * there are several, or where it is later than a prediction may be.
   */
  headOverSeconds(backendIndex: number): number {
    const load = this.#load[backendIndex]
    if (load === undefined || load.prefilling.size !== 1) return Infinity
    const [oldest] = load.prefilling
    const { prefillSeconds, overheadSeconds } = oldest!
    const elapsed = this.#headSeconds(load)
    if (elapsed > prefillSeconds + overheadSeconds + Math.max(LATE_SHARE * prefillSeconds, overheadSeconds)) return Infinity
    return Math.max(0, prefillSeconds - elapsed - AHEAD * overheadSeconds)
  }

  runningCount(backendIndex: number): number {
    return this.#load[backendIndex]?.running ?? 0
  }

  beforeFirstToken(backendIndex: number): number {
    return this.#load[backendIndex]?.prefilling.size ?? 0
  }

  decodeTokens(backendIndex: number): number {
    return this.#load[backendIndex]?.decodeTokens ?? 0
  }

  /** Prompt tokens of all turns in flight, until they end. */
  contextTokens(backendIndex: number): number {
    return this.#load[backendIndex]?.contextTokens ?? 0
  }

  /** What the turns in flight take in the engine's cache when they are done: prompts, and answers as long as expected. */
  inFlightTokens(backendIndex: number): number {
    const load = this.#load[backendIndex]
    return load === undefined ? 0 : load.contextTokens + load.answerTokens
  }

  /** Changes when a turn begins, gets its first token or ends. */
  version(backendIndex: number): number {
    return this.#load[backendIndex]?.version ?? 0
  }

  #headSeconds(load: BackendLoad): number {
    return (this.#nowMs() - load.oldestSinceMs) / 1000
  }

  #at(backendIndex: number): BackendLoad {
    for (let next = this.#load.length; next <= backendIndex; next++) {
      this.#load.push({
        prefilling: new Set(),
        oldestSinceMs: 0,
        running: 0,
        queuedTokens: 0,
        queuedSeconds: 0,
        decodeTokens: 0,
        contextTokens: 0,
        answerTokens: 0,
        version: 0,
      })
    }
    return this.#load[backendIndex]!
  }

  #firstToken(load: BackendLoad, turn: TurnInFlight): void {
    if (turn.phase !== 'prefill') return
    turn.phase = 'decode'
    const [oldest] = load.prefilling
    load.prefilling.delete(turn)
    // The next in line has started, unless this one overtook it.
    const [next] = load.prefilling
    if (oldest === turn && next !== undefined) {
      load.oldestSinceMs = Math.max(next.dispatchedAtMs, this.#nowMs() - 1000 * next.overheadSeconds)
    }
    load.version++
    if (load.prefilling.size === 0) {
      load.queuedTokens = 0
      load.queuedSeconds = 0
    } else {
      load.queuedTokens -= turn.uncachedTokens
      load.queuedSeconds -= turn.prefillSeconds
    }
  }
}

/** Predictions are usually within a tenth: beyond that nobody knows how long it will take. */
const LATE_SHARE = 0.1
/**
 * Overheads (learned: the first token of next to no prompt) by which the next prompt is sent ahead, since predictions
 * err and an engine that idles costs everybody. Replayed with 25 ms each way, N = 4, mean TTFT over the bound: 0: 1.32,
 * 1: 1.17, 1.5: 1.11, 2: 1.12.
 */
const AHEAD = 1.5

export type Work = {
  readonly uncachedTokens: number
  readonly expectedOutputTokens: number
  /** The whole prompt, cached or not; left out: the uncached part. */
  readonly promptTokens?: number
  /** Predicted seconds that computing the uncached part keeps the backend from other prompts. */
  readonly prefillSeconds?: number
  /** Predicted seconds of its time to first token beside that (network, template, one step): delays nobody else. */
  readonly overheadSeconds?: number
}

type TurnInFlight = {
  readonly uncachedTokens: number
  readonly prefillSeconds: number
  readonly overheadSeconds: number
  readonly contextTokens: number
  readonly dispatchedAtMs: number
  readonly answerTokens: number
  decodeTokens: number
  phase: 'prefill' | 'decode' | 'ended'
}

type BackendLoad = {
  /** In order of dispatch. */
  readonly prefilling: Set<TurnInFlight>
  oldestSinceMs: number
  running: number
  queuedTokens: number
  queuedSeconds: number
  decodeTokens: number
  contextTokens: number
  /** Expected when they began; `decodeTokens` is what is left of it. */
  answerTokens: number
  version: number
}
