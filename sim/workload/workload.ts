/** A trace in memory: requests in order of time, with ids of their blocks, sessions and parents. */
import type { SimulatedRequest } from '../request.ts'

export type Workload = {
  readonly name: string
  readonly blockTokens: number
  readonly requests: readonly SimulatedRequest[]
  /** What a reader of the results should know of how this was read. */
  readonly notices: readonly string[]
}

/** A line that cannot be read; what came before it was read and is kept. */
export class TraceError extends Error {
  readonly file: string
  readonly line: number
  constructor(file: string, line: number, why: string) {
    super(`${file}:${line}: ${why}`)
    this.name = 'TraceError'
    this.file = file
    this.line = line
  }
}

/** What a reader hands over before lineage is known. */
export type RawRequest = {
  readonly atMs: number
  readonly promptTokens: number
  readonly outputTokens: number
  readonly blocks: ArrayLike<number>
  /** Exact where the reader knows them, else null: they are inferred from the request that continues this one. */
  readonly answerBlocks: ArrayLike<number> | null
  /** The client's name for the session, null where the log has none. */
  readonly session: string | null
  readonly endsInCall?: boolean
}

/** The same workload, arriving `rate` times as fast. */
export const atRate = (workload: Workload, rate: number): Workload => ({
  ...workload,
  requests:
    rate === 1 ? workload.requests : workload.requests.map((request) => ({ ...request, atMs: request.atMs / rate })),
})

/** The first so many milliseconds. */
export const firstMilliseconds = (workload: Workload, milliseconds: number): Workload => ({
  ...workload,
  requests: workload.requests.filter((request) => request.atMs < milliseconds),
})

/** The same prompt in front of every request, rounded down to whole blocks. */
export const withSharedPrompt = (workload: Workload, tokens: number): Workload => {
  const count = Math.floor(tokens / workload.blockTokens)
  if (count === 0) return workload
  const shared = Array.from({ length: count }, (_, index) => -1 - index) // no reader gives negative ids
  return {
    ...workload,
    requests: workload.requests.map((request) => ({
      ...request,
      promptTokens: request.promptTokens + count * workload.blockTokens,
      blocks: Float64Array.from([...shared, ...Array.from(request.blocks)]),
    })),
  }
}

/** The same requests of somebody else: no block of theirs is one of ours. */
export const ofStrangers = (workload: Workload): Workload => ({
  ...workload,
  requests: workload.requests.map((request) => ({
    ...request,
    blocks: Float64Array.from(request.blocks, strange),
    answerBlocks: Float64Array.from(request.answerBlocks, strange),
  })),
})

/** Above all ids of the readers, below 2^53. */
const strange = (id: number): number => id + 2 ** 50
