import type { Job } from '../request.ts'
import type { BlockCache } from './block-cache.ts'

/** How fast one simulated backend is and how much it holds. Sources of the figures: docs/laboratory.md. */
export type EngineSpeed = {
  readonly prefillTokensPerSecond: number
  readonly decodeMsPerToken: number
  readonly cacheBlocks: number
  readonly blockTokens: number
}

export const scaled = <Speed extends EngineSpeed>(speed: Speed, factor: number): Speed => ({
  ...speed,
  prefillTokensPerSecond: speed.prefillTokensPerSecond * factor,
  decodeMsPerToken: speed.decodeMsPerToken / factor,
})

/**
 * One simulated inference server. Jobs report through their listener; time passes on the timeline it was built with.
 */
export interface SimulatedEngine {
  readonly speed: EngineSpeed
  readonly cache: BlockCache
  submit(job: Job): void
  cancel(job: Job): void
  /** Output tokens of the job until now. */
  produced(job: Job): number
  /** Fails all jobs and forgets the cache, as a crash does. The engine takes new jobs at once. */
  restart(why: string): void
  /** Nothing moves for so long. */
  stall(durationMs: number): void
  /** So many times as fast, from the next prefill or step on. */
  slow(factor: number): void
  readonly running: number
  readonly waiting: number
  readonly totals: EngineTotals
}

export type EngineTotals = {
  promptTokens: number
  cachedTokens: number
  outputTokens: number
  finished: number
  failed: number
  cancelled: number
  preemptions: number
  /** Milliseconds in which a prefill was under way (fifo) or a step ran (batching). */
  busyMs: number
}

export const newTotals = (): EngineTotals => ({
  promptTokens: 0,
  cachedTokens: 0,
  outputTokens: 0,
  finished: 0,
  failed: 0,
  cancelled: 0,
  preemptions: 0,
  busyMs: 0,
})
