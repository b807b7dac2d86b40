import type { Backend } from '../model/backend.ts'
import { tokensOverCeiling, type InFlightTokens } from './token-ceiling.ts'

type LoadPort = InFlightTokens & {
  beforeFirstToken(backendIndex: number): number
  waitSeconds(backendIndex: number): number
  queuedPrefillTokens(backendIndex: number): number
  headOverSeconds(backendIndex: number): number
}

/**
 * Whether a backend is free for a turn: nothing waits for its first token there, it has a slot and room below its token
 * ceiling, and no turn was promised it. Short
 * turns may follow short turns up to a bound: they delay each other little, and a batching engine computes several in
 * one step but idles between steps when it is fed one at a time. What a first token costs beside its prompt tokens
 * (network, one step) keeps nobody from being sent, so the limit follows from the learned speed and nobody sets it.
 *
 * A backend is also free when the only turn before its first token should be done by its prediction: the token is on the
 * way back and the next prompt on its way there, and the engine would idle meanwhile. At five times the speed of the
 * trace over HTTP, where that is some 50 ms of trace time a turn, it is the difference between 2.1 and 1.2 times the
 * bound at N = 4 (`--network-delay 25`).
 *
 * A promise lies between a decision and its dispatch; one entry a backend.
 */
export class Readiness {
  readonly #ledger: LoadPort
  readonly #nowMs: () => number
  readonly #promises = new Map<number, { readonly atMs: number; readonly seconds: number }>()

  constructor(ledger: LoadPort, nowMs: () => number) {
    this.#ledger = ledger
    this.#nowMs = nowMs
  }

  /** `turnTokens`: all of the turn, its expected answer included. */
  isFree(backend: Backend, uncachedTokens: number, turnTokens: number): boolean {
    const { index, slots } = backend
    if (this.promisedSeconds(index) > 0) return false
    // Slots that others hold are priced, not waited for here: nobody tells when they come free.
    if (slots !== null && this.#ledger.ownCount(index) >= slots) return false
    if (this.isFull(backend, turnTokens)) return false
    const pending = this.#ledger.beforeFirstToken(index)
    if (pending === 0 || this.#ledger.waitSeconds(index) <= SLACK_SECONDS || this.secondsToFree(index) === 0) return true
    const pendingTokens = this.#ledger.queuedPrefillTokens(index)
    if (uncachedTokens > SHORT_TOKENS || pendingTokens > SHORT_TOKENS * pending) return false
    return pendingTokens + uncachedTokens <= PENDING_TOKENS
  }

  /** Seconds until a busy backend is as good as free; Infinity where that cannot be foreseen. */
  secondsToFree(backendIndex: number): number {
    return this.#ledger.headOverSeconds(backendIndex)
  }

  /** The turn would take the backend over its token ceiling. */
  isFull(backend: Backend, turnTokens: number): boolean {
    return tokensOverCeiling(backend, turnTokens, this.#ledger) > 0
  }

  /** A turn that will take so long to its first token goes there, and is not in the ledger yet. */
  promise(backendIndex: number, seconds: number): void {
    this.#promises.set(backendIndex, { atMs: this.#nowMs(), seconds })
  }

  /** It was sent, or it will not be. */
  settle(backendIndex: number): void {
    this.#promises.delete(backendIndex)
  }

  /** Seconds of work that were promised to the backend and are not in the ledger yet. */
  promisedSeconds(backendIndex: number): number {
    const promise = this.#promises.get(backendIndex)
    if (promise === undefined || this.#nowMs() - promise.atMs >= PROMISE_MS) return 0
    return Math.max(Number.MIN_VALUE, promise.seconds)
  }
}

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
/** Between a decision and its dispatch lie microseconds; a caller that never dispatches blocks a backend no longer. */
const PROMISE_MS = 1000
