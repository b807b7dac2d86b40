/**
 * One request as an engine sees it. Block i of `blocks` names tokens [0, (i + 1) * blockTokens) of the prompt, so equal
 * ids mean equal text up to there; the last one may be partial. `answerBlocks` are the full blocks that prompt and
 * answer fill together beyond the prompt's own full blocks.
 */
export type SimulatedRequest = {
  readonly index: number
  readonly atMs: number
  readonly promptTokens: number
  readonly outputTokens: number
  readonly blocks: ArrayLike<number>
  readonly answerBlocks: ArrayLike<number>
  /** The conversation, where the log tells it or the prefixes do; one number a session. */
  readonly session: number
  /** Index of the request that this one continues, -1 for none. */
  readonly parent: number
  /** Its answer calls a tool, so that the next turn is near. Left out where the log does not tell. */
  readonly endsInCall?: boolean
}

/** What becomes of a job; each accepted job ends in exactly one of `finished`, `failed` or a cancel by its owner. */
export interface JobListener {
  firstToken(job: Job): void
  finished(job: Job): void
  failed(job: Job, why: string): void
}

/** A request in an engine. The engine writes the mutable part. */
export type Job = {
  readonly request: SimulatedRequest
  readonly listener: JobListener
  state: 'waiting' | 'prefill' | 'decode' | 'finished' | 'failed' | 'cancelled'
  submittedAtMs: number
  startedAtMs: number
  firstTokenAtMs: number
  endedAtMs: number
  /** Prompt tokens found in the cache when its prefill started. */
  cachedTokens: number
  producedTokens: number
  preemptions: number
  /** Prompt (and, after a preemption, answer) tokens whose keys and values are in its pages. */
  computedTokens: number
  pages: number
  /** The first so many of its pages are full and named. */
  namedPages: number
}

/** The first `promptTokens` tokens of a prompt, in whole blocks, and one token of answer. */
export const startOf = (request: SimulatedRequest, promptTokens: number, blockTokens: number): SimulatedRequest => {
  const length = Math.floor(Math.min(promptTokens, request.promptTokens) / blockTokens)
  const blocks = Array.prototype.slice.call(request.blocks, 0, length) as number[]
  return { ...request, promptTokens: length * blockTokens, outputTokens: 1, blocks, answerBlocks: [] }
}

export const newJob = (request: SimulatedRequest, listener: JobListener): Job => ({
  request,
  listener,
  state: 'waiting',
  submittedAtMs: -1,
  startedAtMs: -1,
  firstTokenAtMs: -1,
  endedAtMs: -1,
  cachedTokens: 0,
  producedTokens: 0,
  preemptions: 0,
  computedTokens: 0,
  pages: 0,
  namedPages: 0,
})
