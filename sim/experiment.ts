/**
 * A grid of replays: fleets x policies x seeds, with the bound and the floor of each fleet beside them. Cells are
 * finished one by one, so whoever stops early has what is done.
 */
import { boundOf, floorOf, pooledHitRate } from './bound.ts'
import type { Policy } from './policy/policy.ts'
import type { BackendSpec } from './profile.ts'
import { replay, type Fault, type Replay } from './replay.ts'
import { estimate, summarise, summariseBound, type BoundSummary, type Estimate, type Summary } from './summary.ts'
import type { Workload } from './workload/workload.ts'

export type Cell = {
  readonly policy: Policy
  readonly seeds: readonly Summary[]
  /** Each figure over the seeds. */
  readonly estimates: { readonly [Name in keyof Summary]: Estimate }
  /** The run of the first seed, with its columns. */
  readonly first: Replay
  readonly wallMs: number
}

export type FleetResult = {
  readonly backends: number
  readonly fleet: readonly BackendSpec[]
  readonly bound: BoundSummary
  readonly floor: BoundSummary
  /** Hit rate of one LRU as large as all caches together, prompts only. */
  readonly pooledHitRate: number
  readonly cells: readonly Cell[]
}

export type ExperimentOptions = {
  readonly workload: Workload
  readonly fleets: readonly (readonly BackendSpec[])[]
  readonly policies: readonly Policy[]
  readonly seeds: number
  readonly faults?: readonly Fault[]
  readonly eventDelayMs?: number
  readonly networkDelayMs?: number
  /** `done` of `total` turns replayed. */
  readonly onProgress?: (done: number, total: number, what: string) => void
  /** Asked between cells; true ends the experiment with what there is. */
  readonly stopped?: () => boolean
}

const estimatesOf = (summaries: readonly Summary[]): Cell['estimates'] => {
  const names = Object.keys(summaries[0]!) as (keyof Summary)[]
  return Object.fromEntries(
    names.map((name) => [name, estimate(summaries.map((one) => one[name]))]),
  ) as Cell['estimates']
}

export const runExperiment = async (options: ExperimentOptions): Promise<FleetResult[]> => {
  const { workload, fleets, policies, seeds } = options
  const turns = workload.requests.length
  const total = turns * fleets.length * policies.length * seeds
  const results: FleetResult[] = []
  let done = 0
  for (const fleet of fleets) {
    const cells: Cell[] = []
    const rate =
      fleet.reduce((sum, spec) => sum + spec.speed.prefillTokensPerSecond * spec.speedFactor, 0) / fleet.length
    const result: FleetResult = {
      backends: fleet.length,
      fleet,
      cells,
      bound: summariseBound(workload, boundOf(workload, fleet)),
      floor: summariseBound(workload, floorOf(workload, fleet)),
      pooledHitRate: pooledHitRate(workload, fleet),
    }
    results.push(result)
    for (const policy of policies) {
      const summaries: Summary[] = []
      let first: Replay | null = null
      let wallMs = 0
      for (let seed = 1; seed <= seeds && options.stopped?.() !== true; seed++) {
        const what = `${policy.name}, ${fleet.length} backends${seeds > 1 ? `, seed ${seed}` : ''}`
        const run = await replay({
          workload,
          fleet,
          policy,
          seed,
          ...(options.faults === undefined ? {} : { faults: options.faults }),
          ...(options.eventDelayMs === undefined ? {} : { eventDelayMs: options.eventDelayMs }),
          ...(options.networkDelayMs === undefined ? {} : { networkDelayMs: options.networkDelayMs }),
          onProgress: (answered) => options.onProgress?.(done + answered, total, what),
        })
        done += turns
        first ??= run
        wallMs += run.wallMs
        summaries.push(summarise(run, rate))
      }
      if (first === null) return results
      cells.push({ policy, seeds: summaries, estimates: estimatesOf(summaries), first, wallMs })
    }
  }
  return results
}
