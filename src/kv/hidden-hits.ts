/**
 * What was cached, where an engine does not say: read off the time to the first token.
 *
 *   TTFT measured, with its deviation      [ fastest ............ slowest ]
 *   the latency model, turned round        most cached ...... least cached
 *
 * The learned latency model is inverted at both ends of the interval. If all that was held lies inside, and half of it
 * does not, it was a hit; if the whole interval lies below half of it and is narrow, it was a miss; anything else is left
 * alone and counted. Slower than with nothing cached is a stall, or somebody else's work.
 *
 * A turn of which nothing is held is never judged, so it goes on teaching the model. O(1): 48 evaluations.
 */
import type { Outcome } from '../model/outcome.ts'

export interface TtftPort {
  predictTtftSeconds(
    work: { readonly uncachedTokens: number; readonly queuedTokens: number },
    backendIndex: number,
    model: string,
  ): number
  /** Standard deviation of log(measured / predicted). */
  uncertainty(backendIndex: number, model: string): number
}

export class HiddenHits {
  readonly #latency: TtftPort
  readonly counts = { hit: 0, miss: 0, untold: 0 }

  constructor(latency: TtftPort) {
    this.#latency = latency
  }

  /** Cached tokens as the time tells them, null where it cannot tell. `held`: those that would be there without loss. */
  read(outcome: Outcome, held: number): number | null {
    const { backend, model, queuedTokensAtDispatch: queuedTokens, othersSecondsAtDispatch: others = 0, ttftMs } = outcome
    if (ttftMs === null || held <= 0) return null
    const promptTokens = outcome.usage?.promptTokens ?? outcome.expectedPromptTokens
    const seconds = (cached: number): number =>
      others +
      this.#latency.predictTtftSeconds({ uncachedTokens: promptTokens - cached, queuedTokens }, backend.index, model)
    const spread = DEVIATIONS * Math.max(LEAST_DEVIATION, this.#latency.uncertainty(backend.index, model))
    const fastest = (ttftMs / 1000) * Math.exp(-spread) - JITTER_SECONDS
    const slowest = (ttftMs / 1000) * Math.exp(spread) + JITTER_SECONDS
    const none = seconds(0)
    const most = none < fastest ? -1 : cachedAt(fastest, promptTokens, seconds)
    const least = none <= slowest ? 0 : cachedAt(slowest, promptTokens, seconds)
    if (least > LOST * held && most >= held) {
      this.counts.hit++
      return held
    }
    if (most >= 0 && most < LOST * held && most - least <= NARROW * promptTokens) {
      this.counts.miss++
      return none <= ttftMs / 1000 ? 0 : cachedAt(ttftMs / 1000, promptTokens, seconds)
    }
    this.counts.untold++
    return null
  }
}

/** The cached tokens at which the first token is predicted for this time, to a 65,536th of the prompt. */
function cachedAt(wanted: number, promptTokens: number, seconds: (cached: number) => number): number {
  let [low, high] = [0, promptTokens]
  for (let step = 0; step < 16; step++) {
    const middle = (low + high) / 2
    if (seconds(middle) > wanted) low = middle
    else high = middle
  }
  return low
}

/** Two deviations on either side: one answer in twenty is misread by chance. */
const DEVIATIONS = 2
/** Below 5 % a latency model flatters itself: one step more in a batch is as much. */
const LEAST_DEVIATION = 0.05
/** Network, event loop, one step of a batch: what a prediction of a first token is never better than. */
const JITTER_SECONDS = 0.01
/** Smaller shortfalls (a lost answer, a block of the engine's) are within what delays a first token otherwise. */
const LOST = 0.5
/** A miss is believed when it is known to a fifth of the prompt: the interval that `LEAST_DEVIATION` leaves. */
const NARROW = 0.2
