/**
 * Which tokens an answer consists of, found among the blocks its engine stored meanwhile: for engines that do not tell
 * tokens for conversations. Each `BlockStored` is a run from a parent to an end; runs that continue each other are one
 * prompt. Of all runs since the turn was sent, that one is the turn's whose end lies between its prompt and its answer, and
 * whose beginning is where the cached part ended:
 *
 *   engine's chain   |--- cached (K) ---|=== run ===|=== run ===|.
 *                    0                  K           P           up to P + O     (prompt, output tokens)
 *
 * Where two fit, or none, nothing is said. A ring of `RUNS` entries a backend; a look takes a pass over the recent ones.
 */
import type { EngineBlocks } from './engine-blocks.ts'

export type Run = {
  readonly atMs: number
  /** Tokens in front of it, and at its end. */
  readonly from: number
  readonly to: number
  readonly parent: bigint | null
  readonly end: bigint
}

export type Observation = {
  /** How long ago the turn was sent. */
  readonly ageMs: number
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly outputTokens: number
}

export class RunLog {
  readonly #runs: Run[] = []
  #next = 0

  add(run: Run): void {
    this.#runs[this.#next] = run
    this.#next = (this.#next + 1) % RUNS
  }

  clear(): void {
    this.#runs.length = 0
    this.#next = 0
  }

  /** The end of the one chain that fits; null where none or several do. */
  endOf({ ageMs, promptTokens, cachedTokens, outputTokens }: Observation, nowMs: number, blockTokens: number): Run | null {
    if (blockTokens <= 0) return null
    const recent = this.#runs.filter((run) => run.atMs >= nowMs - ageMs - SLACK_MS)
    const byEnd = new Map(recent.map((run) => [run.end, run]))
    const whole = (tokens: number): number => Math.floor(tokens / blockTokens) * blockTokens
    const fits = recent.filter((run) => {
      if (run.to < whole(promptTokens) || run.to > promptTokens + outputTokens) return false
      let first = run
      for (let steps = 0; first.parent !== null && steps < RUNS; steps++) {
        const before = byEnd.get(first.parent)
        if (before === undefined) break
        first = before
      }
      return first.from === whole(cachedTokens)
    })
    const parents = new Set(fits.map(({ parent }) => parent))
    const ends = new Map(fits.filter(({ end }) => !parents.has(end)).map((run) => [run.end, run]))
    return ends.size === 1 ? [...ends.values()][0]! : null
  }
}

/** The states of the chain that ends with the run, at every grain; null where a block of it is not known any more. */
export function statesOfRun(run: Run, blocks: EngineBlocks): Uint32Array | null {
  return blocks.statesTo(Number(run.end & 0xffff_ffffn), Number(run.end >> 32n))
}

/** At 200 batches a second with a run each, 20 s of an engine's life. */
const RUNS = 4096
/** The event may leave before our clock says that the turn was sent: two processes, one clock. */
const SLACK_MS = 20
