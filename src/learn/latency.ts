import type { Outcome } from '../model/outcome.ts'
import { RelativeRegression } from './relative-regression.ts'
import { PaceFactor } from './pace-factor.ts'
import type { PeerLevel } from './peer-level.ts'
import { SpeedFactor } from './speed-factor.ts'

/**
 * Seconds to the first token and seconds per output token of each backend, learned from every answer.
 *
 *   ttft(b) = speed(b) * (base + slope * (uncached + queued) + bend * uncached^2) + others(b)      tokens in thousands
 *   step(b) = pace(b)  * (step + crowd * others in flight)
 *
 * The shape in brackets is shared by all backends of a model and learned slowly (weighted recursive least squares on
 * relative error); the factor in front is each backend's own and follows quickly: a quantile of its last answers
 * (`SpeedFactor`), so that a backend that turns slow is seen within about twelve turns and one odd answer is not. A
 * backend without data has the mean factor of the others that serve the model, and the widest uncertainty.
 *
 * `bend` is attention's quadratic part. Queued work of our own counts at the same price a token as own work; `others` is
 * what the engine's metrics told of work that is not ours, and no speed is learned from it. Errors are those of the
 * prediction at dispatch, with the cached tokens that the engine reported afterwards.
 * O(1) per turn, about 4 kB a backend.
 */
export class LatencyModel {
  readonly #models = new Map<string, ModelLatency>()
  readonly #features = new Float64Array(3)
  readonly #stepFeatures = new Float64Array(2)

  /** Expected seconds from dispatch to the first output. */
  predictTtftSeconds(
    work: { readonly uncachedTokens: number; readonly queuedTokens: number },
    backendIndex: number,
    model: string,
  ): number {
    const own = this.#latency(backendIndex, model)
    return own.speed.factor * own.shape.ttft.predict(this.#prefillFeatures(work.uncachedTokens, work.queuedTokens))
  }

  /** Expected seconds to compute this many prompt tokens with nothing before them. */
  prefillSeconds(uncachedTokens: number, backendIndex: number, model: string): number {
    return this.predictTtftSeconds({ uncachedTokens, queuedTokens: 0 }, backendIndex, model)
  }

  /** Expected seconds from one output token to the next, beside `others` sequences in flight. */
  stepSeconds(others: number, backendIndex: number, model: string): number {
    const own = this.#latency(backendIndex, model)
    this.#stepFeatures[0] = 1
    this.#stepFeatures[1] = others
    return own.pace.factor * own.shape.step.predict(this.#stepFeatures)
  }

  /** Standard deviation of log(measured / predicted): 0.1 means that a prediction is usually within 10 %. */
  uncertainty(backendIndex: number, model: string): number {
    return this.#latency(backendIndex, model).speed.uncertainty
  }

  observe(outcome: Outcome): void {
    if (outcome.status === 'failed' || outcome.ttftMs === null) return
    const own = this.#latency(outcome.backend.index, outcome.model)
    const promptTokens = outcome.usage?.promptTokens ?? outcome.expectedPromptTokens
    const cachedTokens = outcome.usage?.cachedTokens ?? outcome.expectedCachedTokens
    const uncachedTokens = Math.max(0, promptTokens - cachedTokens)
    const ttft = Math.max(1e-4, outcome.ttftMs / 1000)
    const features = this.#prefillFeatures(uncachedTokens, outcome.queuedTokensAtDispatch)
    const predicted = (outcome.othersSecondsAtDispatch ?? 0) + own.speed.factor * own.shape.ttft.predict(features)
    own.errors.add(Math.abs(predicted - ttft) / ttft)
    // The shape first, against the speed as it was: the factor may not take what the shape explains.
    if (own.speed.settled) own.shape.ttft.observe(features, ttft / own.speed.aroundOne)
    own.speed.observe(features, ttft)
    const outputTokens = outcome.usage?.outputTokens ?? 0
    if (outcome.decodeMs === null || outputTokens < 4) return
    const step = Math.max(1e-5, outcome.decodeMs / 1000 / (outputTokens - 1))
    this.#stepFeatures[0] = 1
    this.#stepFeatures[1] = outcome.inFlightAtDispatch
    const stepShape = own.shape.step.predict(this.#stepFeatures)
    own.stepErrors.add(Math.abs(own.pace.factor * stepShape - step) / step)
    if (own.pace.settled) own.shape.step.observe(this.#stepFeatures, step / own.pace.factor)
    own.pace.observe(step / stepShape)
  }

  /** Relative error |predicted - measured| / measured of the last TTFTs, null before the first. */
  error(backendIndex: number, model: string): PredictionError | null {
    return this.#latency(backendIndex, model).errors.summary()
  }

  /** The same of the last times per output token. */
  stepError(backendIndex: number, model: string): PredictionError | null {
    return this.#latency(backendIndex, model).stepErrors.summary()
  }

  /** A restarted backend may be another machine: its speed is learned anew, from its peers' mean. */
  forget(backendIndex: number): void {
    for (const { backends } of this.#models.values()) {
      backends[backendIndex]?.speed.unsettle()
      backends[backendIndex]?.pace.unsettle()
    }
  }

  #prefillFeatures(uncachedTokens: number, queuedTokens: number): Float64Array {
    const own = uncachedTokens / 1000
    this.#features[0] = 1
    this.#features[1] = own + queuedTokens / 1000
    this.#features[2] = own * own
    return this.#features
  }

  #latency(backendIndex: number, model: string): BackendLatency {
    let pool = this.#models.get(model)
    if (pool === undefined) {
      pool = {
        shape: { ttft: new RelativeRegression(FIRST_TTFT), step: new RelativeRegression(FIRST_STEP) },
        speed: { sum: 0, count: 0 },
        pace: { sum: 0, count: 0 },
        backends: [],
      }
      if (this.#models.size < MAX_MODELS) this.#models.set(model, pool)
    }
    const known = pool.backends[backendIndex]
    if (known !== undefined) return known
    for (let next = pool.backends.length; next <= backendIndex; next++) {
      pool.backends.push({
        shape: pool.shape,
        speed: new SpeedFactor(pool.shape.ttft, pool.speed),
        pace: new PaceFactor(pool.pace),
        errors: new RecentErrors(),
        stepErrors: new RecentErrors(),
      })
    }
    return pool.backends[backendIndex]!
  }
}

/**
 * Before anything was measured: 20 ms, 8,000 tokens/s and next to no bend, the order of a 7B model on one data-centre
 * GPU. Only ratios between candidates matter then, and the first answer replaces the level.
 */
const FIRST_TTFT = [
  { value: 0.02, deviation: 0.02 },
  { value: 0.125, deviation: 0.1 },
  { value: 0.0005, deviation: 0.001 },
]
const FIRST_STEP = [
  { value: 0.02, deviation: 0.01 },
  { value: 0.0005, deviation: 0.001 },
]
const MAX_MODELS = 1000

export type PredictionError = { readonly median: number; readonly p90: number }

type Shape = { readonly ttft: RelativeRegression; readonly step: RelativeRegression }

type ModelLatency = {
  readonly shape: Shape
  readonly speed: PeerLevel
  readonly pace: PeerLevel
  readonly backends: BackendLatency[]
}

type BackendLatency = {
  readonly shape: Shape
  readonly speed: SpeedFactor
  readonly pace: PaceFactor
  readonly errors: RecentErrors
  readonly stepErrors: RecentErrors
}

/** The last 128 relative errors. */
class RecentErrors {
  readonly #ring = new Float64Array(128)
  #count = 0

  add(error: number): void {
    this.#ring[this.#count % this.#ring.length] = error
    this.#count++
  }

  summary(): PredictionError | null {
    const kept = Math.min(this.#count, this.#ring.length)
    if (kept === 0) return null
    const sorted = this.#ring.slice(0, kept).sort()
    return { median: sorted[Math.floor(0.5 * (kept - 1))]!, p90: sorted[Math.floor(0.9 * (kept - 1))]! }
  }
}
