/** The table on standard output: one block a fleet, policies by mean TTFT, the bound, the floor and the pooled cache below. */
import type { Estimate } from '../summary.ts'
import type { FleetResult } from '../experiment.ts'

export const seconds = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value >= 0.1 ? value.toFixed(2) : value.toFixed(3)

export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`

const withInterval = ({ mean, half }: Estimate): string =>
  half === 0 ? seconds(mean) : `${seconds(mean)} ±${seconds(half)}`

const HEADINGS = [
  'policy',
  'TTFT mean',
  'x bound',
  'p50',
  'p90',
  'p99',
  'hit',
  'moved',
  'max/mean work',
  'longest held',
] as const

export const renderTable = (results: readonly FleetResult[]): string => {
  const lines: string[] = []
  for (const { backends, bound, floor, pooledHitRate, cells } of results) {
    const rows = [...cells]
      .sort((a, b) => a.estimates.meanTtftSeconds.mean - b.estimates.meanTtftSeconds.mean)
      .map(({ policy, estimates }) => [
        policy.kind === 'lab' ? `${policy.name} (lab)` : policy.name,
        withInterval(estimates.meanTtftSeconds),
        (estimates.meanTtftSeconds.mean / bound.meanTtftSeconds).toFixed(2),
        seconds(estimates.p50TtftSeconds.mean),
        seconds(estimates.p90TtftSeconds.mean),
        seconds(estimates.p99TtftSeconds.mean),
        percent(estimates.hitRate.mean),
        percent(estimates.movedShare.mean),
        estimates.workSkew.mean.toFixed(2),
        seconds(estimates.maxHeldSeconds.mean),
      ])
    for (const [name, figures] of [
      ['bound', bound],
      ['floor (no queue)', floor],
    ] as const) {
      rows.push([
        name,
        seconds(figures.meanTtftSeconds),
        (figures.meanTtftSeconds / bound.meanTtftSeconds).toFixed(2),
        seconds(figures.p50TtftSeconds),
        seconds(figures.p90TtftSeconds),
        seconds(figures.p99TtftSeconds),
        percent(figures.hitRate),
        '',
        '',
        '',
      ])
    }
    rows.push(['one pooled LRU', '', '', '', '', '', percent(pooledHitRate), '', '', ''])
    const widths = HEADINGS.map((heading, column) =>
      Math.max(heading.length, ...rows.map((row) => row[column]!.length)),
    )
    const line = (row: readonly string[]): string =>
      row
        .map((text, column) => (column === 0 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!)))
        .join('  ')
        .trimEnd()
    lines.push(
      `${backends} backends, seconds`,
      line(HEADINGS),
      widths.map((width) => '-'.repeat(width)).join('  '),
      ...rows.map(line),
      '',
    )
  }
  return lines.join('\n').trimEnd()
}
