import type { InFlight } from '../model/decision.ts'

/**
 * Work in flight per backend, in the units that cost time: prompt tokens that still have to be computed, and output
 * tokens that are still expected. Turns before their first token are counted apart from those that only decode: the
 * former delay the next first token, the latter make every step a little longer.
 *
 * Every backend serves its prefills about in order of arrival, so the oldest turn without a first token is the one
 * being computed. `waitSeconds` is the predicted work of all such turns, less what the oldest has had already. A turn
 * that overruns its prediction is expected to need as long again as it is late, and a tenth of its prediction at least:
 * a backend that stalls looks worse by the second. What others have there (`OthersPort`) comes on top.
 *
 * A first token is seen later than the engine turns to the next prompt, and a prompt sent then comes later still. So the
 * next turn counts as begun by its own overhead before the token of the one before it was seen, and `headOverSeconds`
 * says when the oldest one's prefill should be done although its token is on the way: what is sent then arrives in time.
 *
 * An answer that never comes does not count for ever. A turn before its first token is set aside, out of all sums, when
 * the engine says that it is idle (`setAside`), when `OVERTAKEN` turns sent after it have theirs while it is late by
 * `OVERTAKEN_LATE_SECONDS` and by as much as it was predicted to take, or when it is late by `LOST_SECONDS`. It counts
 * again from the moment it says something. After its first token silence is ended by the upstream's idle timeout.
 *
 * Reads are O(1). Bounded by what is in flight; an entry leaves by `end`, which every dispatch calls exactly once.
 */
export class Ledger {
  readonly #nowMs: () => number
  readonly #others: OthersPort
  readonly #load: BackendLoad[] = []
  /** Turns that were set aside, by why. */
  readonly lost = { idle: 0, overtaken: 0, late: 0 }
  /** Running mean of what our turns are expected to answer. */
  #answerTokens = 0
  #answers = 0

  constructor(options: { readonly nowMs: () => number; readonly others?: OthersPort }) {
    this.#nowMs = options.nowMs
    this.#others = options.others ?? NOBODY
  }

  begin(backendIndex: number, work: Work): InFlight {
    const load = this.#at(backendIndex)
    const now = this.#nowMs()
    const turn: TurnInFlight = {
      sentAtMs: now,
      uncachedTokens: Math.max(0, work.uncachedTokens),
      prefillSeconds: Math.max(0, work.prefillSeconds ?? 0),
      overheadSeconds: Math.max(0, work.overheadSeconds ?? 0),
      contextTokens: Math.max(0, work.promptTokens ?? work.uncachedTokens),
      decodeTokens: Math.max(0, work.expectedOutputTokens),
      answerTokens: Math.max(0, work.expectedOutputTokens),
      overtaken: 0,
      counted: false,
      phase: 'prefill',
    }
    // What others have in front of it is not its own time.
    if (load.prefilling.size === 0) load.oldestSinceMs = now + 1000 * this.#others.waitSeconds(backendIndex)
    this.#count(load, turn)
    load.meanPromptTokens +=
      (turn.uncachedTokens - load.meanPromptTokens) / Math.min(MEAN_PROMPTS, ++load.prompts)
    this.#answerTokens += (turn.decodeTokens - this.#answerTokens) / Math.min(MEAN_ANSWERS, ++this.#answers)
    return {
      firstToken: () => {
        if (turn.phase !== 'prefill') return
        this.#firstToken(load, turn)
        this.#others.answered(backendIndex, turn.sentAtMs)
      },
      tokens: (n) => {
        const counted = Math.min(n, turn.decodeTokens)
        turn.decodeTokens -= counted
        if (turn.counted) load.decodeTokens -= counted
      },
      end: (outcome) => {
        if (turn.phase === 'ended') return
        this.#uncount(load, turn)
        turn.phase = 'ended'
        load.ended++
        if (outcome !== 'completed') leave(load, this.#nowMs())
      },
    }
  }

  /**
   * A request of the gateway's own that is nobody's turn, computed ahead of one. It delays nothing here, but an engine's
   * page counts it, and it must not be taken for others' work. Returns what ends it.
   */
  beside(backendIndex: number): (computedTokens: number) => void {
    const load = this.#at(backendIndex)
    load.beside++
    load.mostRunning++
    load.mostPrefilling++
    return (computedTokens) => {
      load.beside--
      load.computedTokens += computedTokens
      load.ended++
      leave(load, this.#nowMs())
    }
  }

  /** Prompt tokens of our own that are still to be computed by turns before their first token. */
  queuedPrefillTokens(backendIndex: number): number {
    return this.#load[backendIndex]?.queuedTokens ?? 0
  }

  /** Of those, what is left by the prediction. */
  remainingPrefillTokens(backendIndex: number): number {
    const load = this.#load[backendIndex]
    if (load === undefined || load.prefilling.size === 0) return 0
    const [oldest] = load.prefilling
    const { prefillSeconds, uncachedTokens } = oldest!
    const elapsed = Math.max(0, this.#headSeconds(load))
    const done = prefillSeconds === 0 ? 0 : Math.min(1, elapsed / prefillSeconds)
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

  /** Predicted seconds until the backend has answered all that waits for its first token there. */
  waitSeconds(backendIndex: number): number {
    const others = this.#others.waitSeconds(backendIndex)
    const load = this.#load[backendIndex]
    if (load === undefined || load.prefilling.size === 0) return others
    const [oldest] = load.prefilling
    const { prefillSeconds } = oldest!
    const elapsed = Math.max(0, this.#headSeconds(load))
    const remaining = Math.max(prefillSeconds - elapsed, 0.1 * prefillSeconds)
    const late = elapsed - prefillSeconds - oldest!.overheadSeconds
    if (late >= LOST_SECONDS) {
      this.#lose(load, oldest!, 'late')
      return this.waitSeconds(backendIndex)
    }
    return others + load.queuedSeconds - prefillSeconds + Math.max(remaining, late)
  }

  /** Sequences that the backend runs: ours, and those of others that its metrics show. */
  runningCount(backendIndex: number): number {
    return this.ownCount(backendIndex) + this.#others.running(backendIndex)
  }

  /** Our own turns in flight. */
  ownCount(backendIndex: number): number {
    return this.#load[backendIndex]?.running ?? 0
  }

  /** Our own turns that have no first token yet. */
  beforeFirstToken(backendIndex: number): number {
    return this.#load[backendIndex]?.prefilling.size ?? 0
  }

  /** Output tokens still expected there. Others' sequences are taken for average answers of ours, half done. */
  decodeTokens(backendIndex: number): number {
    const load = this.#load[backendIndex]
    const others = this.#others.running(backendIndex)
    return (load?.decodeTokens ?? 0) + (others === 0 ? 0 : (others * this.#answerTokens) / 2)
  }

  /** Prompt tokens of all our turns in flight, until they end. */
  contextTokens(backendIndex: number): number {
    return this.#load[backendIndex]?.contextTokens ?? 0
  }

  /** What our turns in flight take in the engine's cache when they are done: prompts, and answers as long as expected. */
  inFlightTokens(backendIndex: number): number {
    const load = this.#load[backendIndex]
    return load === undefined ? 0 : load.contextTokens + load.answerTokens
  }

  /** Changes when a turn begins, gets its first token or ends, and when others' sequences come or go. Only grows. */
  version(backendIndex: number): number {
    return (this.#load[backendIndex]?.version ?? 0) + this.#others.version(backendIndex)
  }

  /** Mean of the prompt tokens that our last turns had to compute there, else in the fleet; null before the first. */
  meanPromptTokens(backendIndex: number): number | null {
    const load = this.#load[backendIndex]
    if (load !== undefined && load.prompts > 0) return load.meanPromptTokens
    let [sum, count] = [0, 0]
    for (const { meanPromptTokens, prompts } of this.#load) {
      if (prompts === 0) continue
      sum += meanPromptTokens
      count++
    }
    return count === 0 ? null : sum / count
  }

  /** A metrics page is asked for: from here on the counts are watched, since nobody knows which of them it will show. */
  watch(backendIndex: number): void {
    const load = this.#at(backendIndex)
    const since = this.#nowMs() - LINGER_MS
    while (load.left.length > 0 && load.left[0]! < since) load.left.shift()
    load.mostRunning = load.running + load.beside + load.left.length
    load.mostPrefilling = load.prefilling.size + load.beside + load.left.length
    load.leastRunning = load.running
  }

  /** The range of the counts since `watch`, and what adds up. */
  watched(backendIndex: number): WatchedCounts {
    return this.#at(backendIndex)
  }

  /** The engine does not have the turns without a first token that were sent before this moment. */
  setAside(backendIndex: number, sentBeforeMs: number): void {
    const load = this.#load[backendIndex]
    if (load === undefined) return
    for (const turn of load.prefilling) {
      if (turn.sentAtMs >= sentBeforeMs) break
      this.#lose(load, turn, 'idle')
    }
  }

  /** Below zero while others' work is in front of it. */
  #headSeconds(load: BackendLoad): number {
    return (this.#nowMs() - load.oldestSinceMs) / 1000
  }

  #at(backendIndex: number): BackendLoad {
    for (let next = this.#load.length; next <= backendIndex; next++) this.#load.push(newLoad())
    return this.#load[backendIndex]!
  }

  #count(load: BackendLoad, turn: TurnInFlight): void {
    turn.counted = true
    load.running++
    load.decodeTokens += turn.decodeTokens
    load.contextTokens += turn.contextTokens
    load.answerTokens += turn.answerTokens
    if (turn.phase === 'prefill') {
      load.prefilling.add(turn)
      load.queuedTokens += turn.uncachedTokens
      load.queuedSeconds += turn.prefillSeconds
    }
    load.mostRunning = Math.max(load.mostRunning, load.running + load.beside + load.left.length)
    load.mostPrefilling = Math.max(load.mostPrefilling, load.prefilling.size + load.beside + load.left.length)
    load.version++
  }

  #uncount(load: BackendLoad, turn: TurnInFlight): void {
    if (!turn.counted) return
    turn.counted = false
    if (turn.phase === 'prefill') this.#unqueue(load, turn)
    load.running--
    load.leastRunning = Math.min(load.leastRunning, load.running)
    load.decodeTokens = Math.max(0, load.decodeTokens - turn.decodeTokens)
    load.contextTokens = load.running === 0 ? 0 : load.contextTokens - turn.contextTokens
    load.answerTokens = load.running === 0 ? 0 : load.answerTokens - turn.answerTokens
    load.version++
  }

  #firstToken(load: BackendLoad, turn: TurnInFlight): void {
    const [oldest] = load.prefilling
    load.computedTokens += turn.uncachedTokens
    if (turn.counted) this.#unqueue(load, turn)
    turn.phase = 'decode'
    load.version++
    if (!turn.counted) return this.#count(load, turn)
    if (oldest === undefined || oldest === turn || ++oldest.overtaken < OVERTAKEN) return
    const elapsed = this.#headSeconds(load)
    const due = oldest.prefillSeconds + oldest.overheadSeconds
    if (elapsed - due >= Math.max(due, OVERTAKEN_LATE_SECONDS)) this.#lose(load, oldest, 'overtaken')
  }

  #lose(load: BackendLoad, turn: TurnInFlight, why: keyof Ledger['lost']): void {
    this.#uncount(load, turn)
    this.lost[why]++
  }

  #unqueue(load: BackendLoad, turn: TurnInFlight): void {
    const [oldest] = load.prefilling
    load.prefilling.delete(turn)
    // The next in line has started, unless this one overtook it.
    const [next] = load.prefilling
    if (oldest === turn && next !== undefined) {
      load.oldestSinceMs = Math.max(next.sentAtMs, this.#nowMs() - 1000 * next.overheadSeconds)
    }
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

/** Work at a backend that is not ours. */
export interface OthersPort {
  waitSeconds(backendIndex: number): number
  running(backendIndex: number): number
  /** A turn of ours that was sent at this moment has its first token. */
  answered(backendIndex: number, sentAtMs: number): void
  version(backendIndex: number): number
}

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

export type WatchedCounts = {
  /** Turns that left unfinished within `LINGER_MS` are still among the most. */
  readonly mostRunning: number
  readonly mostPrefilling: number
  readonly leastRunning: number
  /** Since the process began: prompt tokens whose first token came, turns that ended. */
  readonly computedTokens: number
  readonly ended: number
}

const NOBODY: OthersPort = { waitSeconds: () => 0, running: () => 0, answered: () => undefined, version: () => 0 }

/** Engines notice within about a second that a client left (llama.cpp in a prefill), and end the step they are in. */
const LINGER_MS = 2000
/** More unfinished turns than this in `LINGER_MS` are counted as this many. */
const MOST_LEFT = 64
/** Running means of about so many: of prompts at one backend, of answers anywhere. */
const MEAN_PROMPTS = 50
const MEAN_ANSWERS = 200
/** Engines that compute several prompts at once let short ones pass a long one, a few and not for long. */
const OVERTAKEN = 3
const OVERTAKEN_LATE_SECONDS = 10
/** OpenAI's clients give up after 10 minutes by default: nobody waits for an answer that is later than that. */
const LOST_SECONDS = 600

type TurnInFlight = {
  readonly sentAtMs: number
  readonly uncachedTokens: number
  readonly prefillSeconds: number
  readonly overheadSeconds: number
  readonly contextTokens: number
  readonly answerTokens: number
  decodeTokens: number
  /** Turns sent after it that had their first token before it. */
  overtaken: number
  /** False once it is set aside, and after its end. */
  counted: boolean
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
  mostRunning: number
  mostPrefilling: number
  leastRunning: number
  computedTokens: number
  ended: number
  /** Requests that are nobody's turn. */
  beside: number
  /** When turns left unfinished, oldest first. */
  readonly left: number[]
  meanPromptTokens: number
  prompts: number
}

const newLoad = (): BackendLoad => ({
  prefilling: new Set(), oldestSinceMs: 0, running: 0, queuedTokens: 0, queuedSeconds: 0, decodeTokens: 0,
  contextTokens: 0, answerTokens: 0, version: 0, mostRunning: 0, mostPrefilling: 0, leastRunning: 0, computedTokens: 0, ended: 0,
  beside: 0, left: [], meanPromptTokens: 0, prompts: 0,
})

function leave(load: BackendLoad, nowMs: number): void {
  load.left.push(nowMs)
  if (load.left.length > MOST_LEFT) load.left.shift()
}
