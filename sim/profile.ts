/**
 * Fleet profiles: what one backend is made of. `prefill-fifo` is the profile of the published figures; `realistic` adds
 * chunked prefill, continuous batching, pages, preemption and cached answers. Sources of the figures:
 *
 *   8,000 prefill tokens/s, 20 ms a token, 6,000 blocks   the fleet of the recorded policy table (docs/laboratory.md)
 *   2,048 tokens a step                                   vLLM `--max-num-batched-tokens`, online default of V1
 *   256 sequences                                         vLLM `--max-num-seqs`, default of V1
 *   full batch at twice the step time of one sequence     llm-d-inference-sim `--time-factor-under-load 2`
 */
import { BatchingEngine, type BatchingSpeed } from './engine/batching-engine.ts'
import { scaled, type SimulatedEngine } from './engine/engine.ts'
import { FifoEngine } from './engine/fifo-engine.ts'
import type { Timeline } from './timeline.ts'

export const PROFILE_NAMES = ['prefill-fifo', 'realistic'] as const
export type ProfileName = (typeof PROFILE_NAMES)[number]

export const isProfileName = (name: string): name is ProfileName => (PROFILE_NAMES as readonly string[]).includes(name)

/** One backend of a fleet; `speedFactor` 0.5 is half as fast in prefill and decode. */
export type BackendSpec = {
  readonly profile: ProfileName
  readonly speed: BatchingSpeed
  readonly speedFactor: number
}

export const DEFAULT_SPEED: BatchingSpeed = {
  prefillTokensPerSecond: 8000,
  decodeMsPerToken: 20,
  cacheBlocks: 6000,
  blockTokens: 512,
  maxBatchTokens: 2048,
  maxSequences: 256,
  batchSlowdown: 2,
}

export const uniformFleet = (
  profile: ProfileName,
  backends: number,
  changes: Partial<BatchingSpeed> = {},
): BackendSpec[] =>
  Array.from({ length: backends }, () => ({ profile, speed: { ...DEFAULT_SPEED, ...changes }, speedFactor: 1 }))

export const buildEngine = (spec: BackendSpec, timeline: Timeline): SimulatedEngine => {
  const speed = scaled(spec.speed, spec.speedFactor)
  return spec.profile === 'prefill-fifo' ? new FifoEngine(speed, timeline) : new BatchingEngine(speed, timeline)
}
