import { writeFile } from 'node:fs/promises'
import {
  FLEET_FLAGS,
  FlagError,
  type FleetFlags,
  fleetFromFlags,
  integerList,
  positive,
  positiveInteger,
} from '../../sim/fleet-flags.ts'
import type { Fault } from '../../sim/replay.ts'
import type { ReadTrace } from '../../sim/workload/read-trace.ts'
import { textOption, UsageError, type Command, type CommandInput } from './command.ts'
import { asUsage } from './simulate.ts'

export const replay: Command = {
  name: 'replay',
  summary: 'replay a trace against simulated fleets and compare policies',
  description:
    'Replays TRACE in virtual time: Mooncake JSONL, Azure csv, a JSONL log of Responses or Chat requests (one a line with\n' +
    '"timestamp" and "body"), or "agents" (agents:sessions=N,seed=N,...) for generated agent loops. Prints mean and tail\n' +
    'time to first token, hit rate and moves of each policy, beside the bound (one pooled queue, shortest first, one\n' +
    'infinite shared cache). A bad line ends the reading with its file and number; what came before it is still replayed.',
  positionals: ['TRACE'],
  options: {
    policies: { type: 'string', value: 'A,B', help: 'which policies, or all (an unknown name lists them)' },
    backends: { type: 'string', value: 'N[,N]', help: 'fleet sizes (default 8)' },
    rate: { type: 'string', value: 'X', help: 'arrivals X times as fast (default 1)' },
    seeds: { type: 'string', value: 'K', help: 'runs per policy; 95 % intervals over them (default 1)' },
    first: { type: 'string', value: 'SECONDS', help: 'only the first so many seconds' },
    'shared-prompt': { type: 'string', value: 'TOKENS', help: 'the same prompt in front of every request' },
    'network-delay': { type: 'string', value: 'MS', help: 'one way between router and engines (default 0)' },
    'event-delay': { type: 'string', value: 'MS', help: 'KV events reach policies so much later (default 0: exact)' },
    fault: {
      type: 'string',
      multiple: true,
      value: 'KIND:BACKEND@S[+S]',
      help: 'die, restart, stall or slow, from when and how long (s)',
    },
    report: { type: 'string', value: 'FILE', help: 'write a self-contained HTML report' },
    json: { type: 'boolean', help: 'print figures as JSON instead of a table' },
    ...FLEET_FLAGS,
  },
  async run(input, terminal) {
    const { runExperiment } = await import('../../sim/experiment.ts')
    const { DEFAULT_POLICIES, policiesNamed, UnknownPolicy } = await import('../../sim/policy/catalogue.ts')
    const { newProgress } = await import('../../sim/report/progress.ts')
    const { renderTable } = await import('../../sim/report/table.ts')
    const { atRate, firstMilliseconds, withSharedPrompt } = await import('../../sim/workload/workload.ts')
    const plan = await asUsage(() => {
      try {
        return {
          ...readPlan(input),
          policies: policiesNamed(textOption(input, 'policies')?.split(',') ?? DEFAULT_POLICIES),
        }
      } catch (cause) {
        if (cause instanceof UnknownPolicy) throw new UsageError(cause.message)
        throw cause
      }
    })
    const { workload: whole, error } = await readWorkload(input.positionals[0] ?? '')
    if (error !== null) terminal.complain(`homing replay: ${error.message}`)
    if (whole.requests.length === 0) return 1
    if (error !== null)
      terminal.complain(`homing replay: partial: only the ${whole.requests.length} requests before that line`)
    let workload = atRate(
      plan.firstSeconds === null ? whole : firstMilliseconds(whole, plan.firstSeconds * 1000),
      plan.rate,
    )
    if (plan.sharedTokens > 0) workload = withSharedPrompt(workload, plan.sharedTokens)
    const fleets = await asUsage(() =>
      plan.backends.map((count) => fleetFromFlags(input.values as FleetFlags, count, workload.blockTokens)),
    )
    for (const notice of workload.notices) terminal.complain(`note: ${notice}`)

    let stopped = false
    const stop = (): void => {
      stopped = true
    }
    process.once('SIGINT', stop)
    const progress = newProgress(process.stderr, () => performance.now())
    const results = await runExperiment({
      workload,
      fleets,
      policies: plan.policies,
      seeds: plan.seeds,
      faults: plan.faults,
      eventDelayMs: plan.eventDelayMs,
      networkDelayMs: plan.networkDelayMs,
      onProgress: (done, total, what) => progress.update(done, total, what),
      stopped: () => stopped,
    })
    progress.end()
    process.off('SIGINT', stop)
    if (stopped) terminal.complain('homing replay: stopped; these are the finished runs')
    if (input.values['json'] === true) {
      terminal.print(
        JSON.stringify(
          {
            trace: workload.name,
            requests: workload.requests.length,
            partial: error !== null || stopped,
            fleets: results.map(({ backends, bound, floor, pooledHitRate, cells }) => ({
              backends,
              bound,
              floor,
              pooledHitRate,
              policies: cells.map(({ policy, estimates, wallMs }) => ({
                name: policy.name,
                kind: policy.kind,
                figures: estimates,
                wallMs,
              })),
            })),
          },
          null,
          2,
        ),
      )
    } else terminal.print(renderTable(results))
    const report = textOption(input, 'report')
    if (report !== undefined) {
      const { renderReport } = await import('../../sim/report/html.ts')
      const command = `homing replay ${process.argv.slice(3).join(' ')}`
      await writeFile(report, renderReport({ workload, results, command, partial: error?.message ?? null }))
      terminal.complain(`report: ${report}`)
    }
    return error !== null || stopped ? 1 : 0
  },
}

const readPlan = (input: CommandInput) => {
  const text = (name: string, otherwise: string): string => textOption(input, name) ?? otherwise
  const backends = integerList('backends', text('backends', '8'))
  const first = textOption(input, 'first')
  const delayOf = (name: string): number => {
    const delay = Number(text(name, '0'))
    if (!(delay >= 0)) throw new FlagError(`--${name} must be milliseconds, not '${text(name, '')}'`)
    return delay
  }
  const faults = ((input.values['fault'] as readonly string[] | undefined) ?? []).map((fault) => {
    const match = /^(die|restart|stall|slow|drain):(\d+)@(\d+(?:\.\d+)?)(?:\+(\d+(?:\.\d+)?))?$/.exec(fault)
    if (match === null)
      throw new FlagError(`--fault '${fault}' is not KIND:BACKEND@SECONDS[+SECONDS] with die, restart, stall, slow or drain`)
    const backend = Number(match[2])
    if (backend >= Math.min(...backends))
      throw new FlagError(`--fault '${fault}': backends count from 0 to ${Math.min(...backends) - 1}`)
    return {
      kind: match[1] as Fault['kind'],
      backend,
      atMs: 1000 * Number(match[3]),
      forMs: 1000 * Number(match[4] ?? 0),
    }
  })
  return {
    backends,
    faults,
    eventDelayMs: delayOf('event-delay'),
    networkDelayMs: delayOf('network-delay'),
    rate: positive('rate', text('rate', '1')),
    seeds: positiveInteger('seeds', text('seeds', '1')),
    firstSeconds: first === undefined ? null : positive('first', first),
    sharedTokens:
      textOption(input, 'shared-prompt') === undefined
        ? 0
        : positiveInteger('shared-prompt', text('shared-prompt', '')),
  }
}

const readWorkload = async (trace: string): Promise<ReadTrace> => {
  const { agentLoops, parseAgentLoops } = await import('../../sim/workload/agent-loops.ts')
  try {
    const generated = parseAgentLoops(trace)
    if (generated !== null) return { workload: agentLoops(generated), error: null }
  } catch (cause) {
    if (cause instanceof RangeError) throw new UsageError(cause.message)
    throw cause
  }
  const { readTrace } = await import('../../sim/workload/read-trace.ts')
  return await readTrace(trace)
}
