import type { Backend } from '../model/backend.ts'
import type { Outcome } from '../model/outcome.ts'

/**
 * A long prompt is computed in pieces: requests for a growing part of it, one token each, so that the next piece, and at
 * last the turn itself, finds the rest cached. Between two pieces the turn waits in the room like any other and shorter
 * ones go first: least remaining work first with interruption, which no queue of whole prompts can give (Schrage 1968).
 * Nothing is computed twice where the engine caches prefixes, and a backend is only trusted with it after one of its
 * answers showed that.
 *
 *   piece = max(COST * o, sqrt(2 o / rate))   seconds, and tokens: max(FEWEST, prompt / MOST) at least
 *
 * `o` is what a request costs beside its tokens (learned), `rate` the turns a second that arrive for each backend. A
 * turn that arrives in a piece of length q waits q/2 of it on average, so a second of pieces costs others rate * q/2 and
 * itself o/q: least at sqrt(2 o / rate). `COST` keeps what is paid in requests below a twentieth.
 *
 * O(1), a few numbers a backend.
 */
export class ChunkedPrefill {
  readonly #latency: { prefillSeconds(uncachedTokens: number, backendIndex: number, model: string): number }
  readonly #nowMs: () => number
  readonly #trust: { proven: boolean; lost: number; offUntilMs: number }[] = []
  #arrivals = 0
  #arrivalsAtMs = 0
  readonly counts = { pieces: 0, tokens: 0, failed: 0, lost: 0, turnedOff: 0 }

  constructor(
    latency: { prefillSeconds(uncachedTokens: number, backendIndex: number, model: string): number },
    nowMs: () => number,
  ) {
    this.#latency = latency
    this.#nowMs = nowMs
  }

  /** A turn arrived for the fleet. */
  arrived(): void {
    this.#decay()
    this.#arrivals++
  }

  /** Tokens of the next piece; 0 where the rest is better sent as it is. */
  pieceTokens(
    backend: Backend,
    candidates: number,
    turn: { readonly model: string; readonly promptTokens: number; readonly uncachedTokens: number },
  ): number {
    const { model, promptTokens, uncachedTokens } = turn
    if (uncachedTokens < 1.5 * FEWEST_TOKENS || backend.slots !== null || !this.#trusts(backend.index)) return 0
    this.#decay()
    const rate = this.#arrivals / RATE_SECONDS / Math.max(1, candidates)
    const seconds = this.#latency.prefillSeconds(uncachedTokens, backend.index, model)
    if (rate * candidates * seconds < EXPECTED_ARRIVALS) return 0
    const overhead = Math.min(seconds / 2, this.#latency.prefillSeconds(0, backend.index, model))
    const piece = Math.max(COST * overhead, Math.sqrt((2 * overhead) / rate))
    const bySeconds = (uncachedTokens * piece) / (seconds - overhead)
    const tokens = Math.max(FEWEST_TOKENS, promptTokens / MOST_PIECES, bySeconds)
    return uncachedTokens < 1.5 * tokens ? 0 : Math.round(tokens)
  }

  /** An answer, to a piece or a whole turn, says whether what was expected to be cached is. */
  observe(outcome: Outcome): void {
    const cached = outcome.usage?.cachedTokens ?? null
    if (cached === null || outcome.expectedCachedTokens < PROOF_TOKENS) return
    const trust = this.#at(outcome.backend.index)
    const prepared = outcome.preparedTokens ?? 0
    const found = cached >= outcome.expectedCachedTokens - Math.max(prepared, outcome.expectedCachedTokens) / 2
    if (found) {
      trust.proven = true
      trust.lost = 0
    } else if (prepared > 0) {
      this.counts.lost++
      if (++trust.lost < STRIKES) return
      trust.lost = 0
      trust.offUntilMs = this.#nowMs() + OFF_MS
      this.counts.turnedOff++
    }
  }

  /** The backend may be another engine now. */
  forget(backendIndex: number): void {
    Object.assign(this.#at(backendIndex), { proven: false, lost: 0, offUntilMs: 0 })
  }

  #trusts(backendIndex: number): boolean {
    const trust = this.#at(backendIndex)
    return trust.proven && this.#nowMs() >= trust.offUntilMs
  }

  #decay(): void {
    const now = this.#nowMs()
    this.#arrivals *= Math.exp((this.#arrivalsAtMs - now) / 1000 / RATE_SECONDS)
    this.#arrivalsAtMs = now
  }

  #at(backendIndex: number): { proven: boolean; lost: number; offUntilMs: number } {
    for (let next = this.#trust.length; next <= backendIndex; next++) {
      this.#trust.push({ proven: false, lost: 0, offUntilMs: -Infinity })
    }
    return this.#trust[backendIndex]!
  }
}

/** One step of a batching engine (vLLM's `--max-num-batched-tokens` is 2,048 by default): less is no shorter for others. */
const FEWEST_TOKENS = 2048
/**
 * Each piece sends the text before it again, so a prompt in 8 pieces is sent 4 times over. On the Mooncake trace 16 give
 * the same mean TTFT and a p99 10 % higher at N = 4.
 */
const MOST_PIECES = 8
const COST = 20
/** Fewer turns than this expected during the whole prefill: nobody to let pass. */
const EXPECTED_ARRIVALS = 0.5
/** The rate of arrivals is a mean over about this long. */
const RATE_SECONDS = 60
/** A cached prefix of this many tokens is no accident of a template. */
const PROOF_TOKENS = 256
const STRIKES = 3
const OFF_MS = 600_000
