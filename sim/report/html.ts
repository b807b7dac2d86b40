/** The HTML report: one file, inline SVG and style, no script; opens from a mail attachment. */
import type { Cell, FleetResult } from '../experiment.ts'
import type { Replay } from '../replay.ts'
import { percentile } from '../summary.ts'
import type { Workload } from '../workload/workload.ts'
import { barChart, COLOURS, escapeHtml, lineChart, type Bar, type Series } from './chart.ts'
import { percent, seconds } from './table.ts'

export type ReportInput = {
  readonly workload: Workload
  readonly results: readonly FleetResult[]
  readonly command: string
  /** Why the trace was not read to its end, null when it was. */
  readonly partial: string | null
}

const STYLE = `body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2126;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem;border-top:1px solid #d9dee3;padding-top:1.2rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #e6eaee}
th:first-child,td:first-child{text-align:left}tr.ours{background:#eef5fc;font-weight:600}tr.reference{color:#68727c}
figure{margin:1.4rem 0}figcaption{font-weight:600;margin-bottom:.3rem}svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#3d454d}
.grid{stroke:#e6eaee}.axis{stroke:#8a949e}.legend{margin:.2rem 0;font-size:.85rem}.legend span{margin-right:1rem;white-space:nowrap}
.legend i{display:inline-block;width:.9rem;height:.3rem;margin-right:.35rem;vertical-align:middle}code{background:#f2f4f6;padding:.1rem .3rem}
.warning{background:#fdf1d6;padding:.6rem .8rem}.lead{font-size:1.1rem}`

const CDF_POINTS = 160

/** Share of turns that had their first token by then. */
const distribution = (run: Replay): [number, number][] => {
  const sorted = Float64Array.from(run.ttftMs).sort()
  return Array.from({ length: CDF_POINTS + 1 }, (_, index) => {
    const share = index / CDF_POINTS
    return [Math.max(0.001, percentile(sorted, share) / 1000), share]
  })
}

const BUCKETS = 60

/** A figure of turns by time of arrival, in equal slices of the trace. */
const overTime = (
  run: Replay,
  add: (index: number, promptTokens: number) => readonly [top: number, bottom: number],
): [number, number][] => {
  const { requests } = run.workload
  const spanMs = Math.max(1, requests.at(-1)?.atMs ?? 1)
  const top = new Float64Array(BUCKETS)
  const bottom = new Float64Array(BUCKETS)
  for (const { index, atMs, promptTokens } of requests) {
    const bucket = Math.min(BUCKETS - 1, Math.floor((atMs / spanMs) * BUCKETS))
    const [more, of] = add(index, promptTokens)
    top[bucket]! += more
    bottom[bucket]! += of
  }
  const points: [number, number][] = []
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    if (bottom[bucket]! > 0)
      points.push([((bucket + 0.5) / BUCKETS) * (spanMs / 60_000), top[bucket]! / bottom[bucket]!])
  }
  return points
}

/** How many turns wait for their first token, in the router or at a backend, over the trace. */
const waitingOverTime = (run: Replay): [number, number][] => {
  const { requests } = run.workload
  const spanMs = Math.max(1, requests.at(-1)?.atMs ?? 1)
  const waitedMs = new Float64Array(BUCKETS)
  for (const { index, atMs } of requests) {
    const endMs = Math.min(spanMs, atMs + run.ttftMs[index]!)
    for (let bucket = Math.floor((atMs / spanMs) * BUCKETS); bucket < BUCKETS; bucket++) {
      const [fromMs, toMs] = [(bucket * spanMs) / BUCKETS, ((bucket + 1) * spanMs) / BUCKETS]
      if (fromMs >= endMs) break
      waitedMs[bucket]! += Math.min(endMs, toMs) - Math.max(atMs, fromMs)
    }
  }
  return Array.from(waitedMs, (sum, bucket) => [
    ((bucket + 0.5) / BUCKETS) * (spanMs / 60_000),
    (sum * BUCKETS) / spanMs,
  ])
}

const LOAD_SLICES = 30

/** Prefill seconds that each backend was given per second, in equal slices of the trace. */
const loadSeries = (run: Replay, fleet: FleetResult['fleet']): Series[] => {
  const { requests } = run.workload
  const spanMs = Math.max(1, requests.at(-1)?.atMs ?? 1)
  const given = Array.from({ length: run.backends }, () => new Float64Array(LOAD_SLICES))
  for (const { index, atMs, promptTokens } of requests) {
    const slice = Math.floor(((atMs + run.heldMs[index]!) / spanMs) * LOAD_SLICES)
    const backend = run.backendOf[index]!
    const { speed, speedFactor } = fleet[backend]!
    const prefillSeconds = (promptTokens - run.cachedTokens[index]!) / (speed.prefillTokensPerSecond * speedFactor)
    given[backend]![Math.min(LOAD_SLICES - 1, slice)]! += prefillSeconds
  }
  return given.map((slices, backend) => ({
    name: `backend ${backend}`,
    colour: COLOURS[backend % COLOURS.length]!,
    points: Array.from(slices, (sum, slice): [number, number] => [
      ((slice + 0.5) / LOAD_SLICES) * (spanMs / 60_000),
      (sum * LOAD_SLICES * 1000) / spanMs,
    ]),
  }))
}

const tableOf = ({ bound, floor, pooledHitRate, cells }: FleetResult): string => {
  const row = (name: string, kind: string, fields: readonly string[]): string =>
    `<tr class="${kind}"><td>${escapeHtml(name)}</td>${fields.map((field) => `<td>${escapeHtml(field)}</td>`).join('')}</tr>`
  const rows = [...cells]
    .sort((a, b) => a.estimates.meanTtftSeconds.mean - b.estimates.meanTtftSeconds.mean)
    .map(({ policy, estimates }) =>
      row(policy.name, policy.kind === 'homing' ? 'ours' : policy.kind === 'lab' ? 'reference' : '', [
        seconds(estimates.meanTtftSeconds.mean) +
          (estimates.meanTtftSeconds.half > 0 ? ` ± ${seconds(estimates.meanTtftSeconds.half)}` : ''),
        (estimates.meanTtftSeconds.mean / bound.meanTtftSeconds).toFixed(2),
        seconds(estimates.p50TtftSeconds.mean),
        seconds(estimates.p99TtftSeconds.mean),
        percent(estimates.hitRate.mean),
        percent(estimates.movedShare.mean),
        estimates.workSkew.mean.toFixed(2),
      ]),
    )
  for (const [name, figures] of [
    ['bound: pooled queue, shortest first, one infinite shared cache', bound],
    ['floor: the same cache, no queue', floor],
  ] as const) {
    rows.push(
      row(name, 'reference', [
        seconds(figures.meanTtftSeconds),
        (figures.meanTtftSeconds / bound.meanTtftSeconds).toFixed(2),
        seconds(figures.p50TtftSeconds),
        seconds(figures.p99TtftSeconds),
        percent(figures.hitRate),
        '',
        '',
      ]),
    )
  }
  rows.push(
    row('one LRU as large as all caches together', 'reference', ['', '', '', '', percent(pooledHitRate), '', '']),
  )
  return (
    `<table><thead><tr><th>policy</th><th>mean TTFT, s</th><th>× bound</th><th>median</th><th>p99</th><th>hit rate</th><th>moved</th>` +
    `<th>max/mean work</th></tr></thead><tbody>${rows.join('')}</tbody></table>`
  )
}

const section = (result: FleetResult): string => {
  const { cells, backends } = result
  if (cells.length === 0) return ''
  const colourOf = new Map<Cell, string>(cells.map((cell, index) => [cell, COLOURS[index % COLOURS.length]!]))
  const lines = (points: (run: Replay) => [number, number][]): Series[] =>
    cells.map((cell) => ({ name: cell.policy.name, colour: colourOf.get(cell)!, points: points(cell.first) }))
  const bars = (value: (cell: Cell) => number, text: (value: number) => string): Bar[] =>
    cells.map((cell) => ({
      name: cell.policy.name,
      value: value(cell),
      text: text(value(cell)),
      colour: colourOf.get(cell)!,
    }))
  const ours = cells.find(({ policy }) => policy.kind === 'homing') ?? cells.at(-1)!
  const reference = cells.find(({ policy }) => policy.name === 'round-robin') ?? cells[0]!
  const turns = reference.first.workload.requests.length
  const saved = (cell: Cell): number =>
    turns * (reference.estimates.meanTtftSeconds.mean - cell.estimates.meanTtftSeconds.mean)
  const hours = (value: number): string =>
    Math.abs(value) >= 7200 ? `${(value / 3600).toFixed(1)} h` : `${value.toFixed(0)} s`
  return (
    `<h2>${backends} backends</h2>${tableOf(result)}` +
    lineChart(lines(distribution), {
      title: 'Time to first token: share of turns answered by then',
      xLabel: 'seconds (logarithmic)',
      yLabel: 'share of turns',
      logX: true,
      yMax: 1,
      formatX: (value) => `${value}`,
      formatY: percentWhole,
    }) +
    barChart(`Seconds of waiting saved against ${reference.policy.name}, all turns together`, bars(saved, hours)) +
    barChart(
      'Prefill seconds saved by caches',
      bars((cell) => cell.estimates.prefillSavedSeconds.mean, hours),
    ) +
    lineChart(
      lines((run) => overTime(run, (index, promptTokens) => [run.cachedTokens[index]!, promptTokens])),
      {
        title: 'Hit rate over the trace: cached share of prompt tokens',
        xLabel: 'minutes',
        yLabel: 'hit rate',
        yMax: 1,
        formatY: percentWhole,
      },
    ) +
    lineChart(
      lines((run) => overTime(run, (index) => [run.ttftMs[index]! / 1000, 1])),
      {
        title: 'Mean time to first token over the trace',
        xLabel: 'minutes',
        yLabel: 'seconds',
      },
    ) +
    barChart(
      'Turns that moved away from the turn they continue',
      bars((cell) => cell.estimates.movedShare.mean, percent),
    ) +
    lineChart(lines(waitingOverTime), {
      title: 'Load over time: turns waiting for their first token, in the router and at all backends',
      xLabel: 'minutes',
      yLabel: 'turns',
    }) +
    [...new Set([ours, reference])]
      .map((cell) =>
        lineChart(loadSeries(cell.first, result.fleet), {
          title: `Load over time by backend, ${cell.policy.name}: prefill work given, share of what it can do`,
          xLabel: 'minutes',
          yLabel: 'share of capacity',
          formatY: percentWhole,
        }),
      )
      .join('')
  )
}

const percentWhole = (share: number): string => `${Math.round(100 * share)} %`

const lead = (results: readonly FleetResult[]): string => {
  const parts = results.flatMap(({ backends, cells, bound }) => {
    const ours = cells.find(({ policy }) => policy.name === 'homing')
    const other = cells.find(({ policy }) => policy.name === 'round-robin')
    if (ours === undefined || other === undefined) return []
    const mine = ours.estimates.meanTtftSeconds.mean
    const theirs = other.estimates.meanTtftSeconds.mean
    return [
      `With ${backends} backends the first token comes after ${seconds(mine)} s on average, with round robin after ${seconds(theirs)} s ` +
        `(${(theirs / mine).toFixed(1)} times as long); ${((100 * mine) / bound.meanTtftSeconds - 100).toFixed(0)} % above the bound.`,
    ]
  })
  return parts.map((text) => `<p class="lead">${escapeHtml(text)}</p>`).join('')
}

export const renderReport = ({ workload, results, command, partial }: ReportInput): string => {
  const spanMinutes = (workload.requests.at(-1)?.atMs ?? 0) / 60_000
  const tokens = workload.requests.reduce((sum, { promptTokens }) => sum + promptTokens, 0)
  const profile = results[0]?.fleet[0]?.profile ?? ''
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
    `<title>Homing: ${escapeHtml(workload.name)}</title><style>${STYLE}</style></head><body>` +
    `<h1>Where turns go: ${escapeHtml(workload.name)}</h1>` +
    `<p>${workload.requests.length} requests, ${(tokens / 1e6).toFixed(1)} million prompt tokens, ${spanMinutes.toFixed(1)} minutes; simulated fleet, ` +
    `profile <code>${escapeHtml(profile)}</code>. Every policy meets the same requests at the same times. Virtual time: ratios between policies ` +
    `carry over to real engines, absolute seconds only as far as the profile resembles them.</p>` +
    (partial === null ? '' : `<p class="warning">Partial: ${escapeHtml(partial)}</p>`) +
    workload.notices.map((notice) => `<p>Note: ${escapeHtml(notice)}.</p>`).join('') +
    lead(results) +
    results.map(section).join('') +
    `<h2>How to get this again</h2><p><code>${escapeHtml(command)}</code></p>` +
    `<p>The first seed's run is drawn; tables give means over all seeds and, with several, 95 % intervals.</p></body></html>\n`
  )
}
