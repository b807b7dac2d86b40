/** Line and bar charts as inline SVG: no script, no font, nothing fetched. Colours are told apart by lightness too. */
export const COLOURS = [
  '#0b5fa5',
  '#d1495b',
  '#2e933c',
  '#8b5fbf',
  '#e08e0b',
  '#128a8a',
  '#7a4f2b',
  '#5b6770',
  '#c2559f',
  '#9aa500',
  '#2f2f2f',
] as const

export const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

export type Series = {
  readonly name: string
  readonly colour: string
  readonly points: readonly (readonly [x: number, y: number])[]
}

export type ChartOptions = {
  readonly title: string
  readonly xLabel: string
  readonly yLabel: string
  readonly logX?: boolean
  readonly yMax?: number
  readonly formatX?: (value: number) => string
  readonly formatY?: (value: number) => string
}

const WIDTH = 720
const HEIGHT = 300
const LEFT = 62
const RIGHT = 12
const TOP = 12
const BOTTOM = 44

const short = (value: number): string =>
  value >= 10_000
    ? `${(value / 1000).toFixed(0)}k`
    : value >= 10 || Number.isInteger(value)
      ? value.toFixed(0)
      : value.toPrecision(2)

/** Round steps that give about `count` ticks. */
const ticks = (max: number, count: number): number[] => {
  const raw = max / count
  const magnitude = 10 ** Math.floor(Math.log10(raw))
  const step = ([1, 2, 5, 10].find((factor) => factor * magnitude >= raw) ?? 10) * magnitude
  return Array.from({ length: Math.floor(max / step + 1e-9) + 1 }, (_, index) => index * step)
}

const decades = (least: number, most: number): number[] => {
  const values: number[] = []
  for (let power = Math.ceil(Math.log10(least) - 1e-9); power <= Math.log10(most) + 1e-9; power++)
    values.push(10 ** power)
  return values
}

export const lineChart = (series: readonly Series[], options: ChartOptions): string => {
  const all = series.flatMap((one) => one.points)
  const yMax = Math.max(1e-9, options.yMax ?? all.reduce((most, [, y]) => Math.max(most, y), 0))
  const xMost = all.reduce((most, [x]) => Math.max(most, x), 1e-9)
  const xLeast = options.logX === true ? all.reduce((least, [x]) => Math.min(least, Math.max(x, 1e-3)), xMost) : 0
  const position =
    options.logX === true
      ? (x: number): number => Math.log(Math.max(x, xLeast) / xLeast) / Math.max(1e-9, Math.log(xMost / xLeast))
      : (x: number): number => x / xMost
  const toX = (x: number): string => (LEFT + position(x) * (WIDTH - LEFT - RIGHT)).toFixed(1)
  const toY = (y: number): string => (HEIGHT - BOTTOM - Math.min(1, y / yMax) * (HEIGHT - TOP - BOTTOM)).toFixed(1)
  const formatX = options.formatX ?? short
  const formatY = options.formatY ?? short
  const grid = ticks(yMax, 5).map(
    (value) =>
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${toY(value)}" y2="${toY(value)}" class="grid"/>` +
      `<text x="${LEFT - 6}" y="${toY(value)}" dy="4" text-anchor="end">${escapeHtml(formatY(value))}</text>`,
  )
  const xTicks = (options.logX === true ? decades(xLeast, xMost) : ticks(xMost, 8)).map(
    (value) =>
      `<line x1="${toX(value)}" x2="${toX(value)}" y1="${HEIGHT - BOTTOM}" y2="${HEIGHT - BOTTOM + 4}" class="axis"/>` +
      `<text x="${toX(value)}" y="${HEIGHT - BOTTOM + 17}" text-anchor="middle">${escapeHtml(formatX(value))}</text>`,
  )
  const lines = series.map(
    ({ name, colour, points }) =>
      `<polyline fill="none" stroke="${colour}" stroke-width="1.8" points="${points.map(([x, y]) => `${toX(x)},${toY(y)}`).join(' ')}">` +
      `<title>${escapeHtml(name)}</title></polyline>`,
  )
  return (
    `<figure><figcaption>${escapeHtml(options.title)}</figcaption>` +
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(options.title)}">${grid.join('')}${xTicks.join('')}` +
    `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${HEIGHT - BOTTOM}" y2="${HEIGHT - BOTTOM}" class="axis"/>` +
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 6}" text-anchor="middle">${escapeHtml(options.xLabel)}</text>` +
    `<text transform="translate(14 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${escapeHtml(options.yLabel)}</text>` +
    `${lines.join('')}</svg>${legend(series)}</figure>`
  )
}

const legend = (series: readonly { readonly name: string; readonly colour: string }[]): string =>
  `<p class="legend">${series.map(({ name, colour }) => `<span><i style="background:${colour}"></i>${escapeHtml(name)}</span>`).join('')}</p>`

export type Bar = { readonly name: string; readonly value: number; readonly text: string; readonly colour: string }

export const barChart = (title: string, bars: readonly Bar[]): string => {
  const most = bars.reduce((max, { value }) => Math.max(max, Math.abs(value)), 1e-9)
  const rowHeight = 24
  const nameWidth = 210
  const room = WIDTH - nameWidth - 90
  const rows = bars.map(({ name, value, text, colour }, index) => {
    const y = index * rowHeight + 4
    const length = Math.max(1, (Math.abs(value) / most) * room)
    return (
      `<text x="${nameWidth - 8}" y="${y + 12}" text-anchor="end">${escapeHtml(name)}</text>` +
      `<rect x="${nameWidth}" y="${y}" width="${length.toFixed(1)}" height="16" fill="${colour}"${value < 0 ? ' opacity="0.45"' : ''}/>` +
      `<text x="${(nameWidth + length + 6).toFixed(1)}" y="${y + 12}">${escapeHtml(text)}</text>`
    )
  })
  return (
    `<figure><figcaption>${escapeHtml(title)}</figcaption><svg viewBox="0 0 ${WIDTH} ${bars.length * rowHeight + 8}" role="img" ` +
    `aria-label="${escapeHtml(title)}">${rows.join('')}</svg></figure>`
  )
}
