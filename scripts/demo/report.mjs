// The tables of the demo. Only what was measured: a turn without a first token has no TTFT.

const COLUMNS = [['talk', 7], ['turn', 4], ['backend', 17], ['why', 14], ['cached / prompt', 15], ['TTFT ms', 8]]
const LEFT = new Set(['talk', 'backend', 'why'])

const cell = (text, [name, width]) => (LEFT.has(name) ? text.padEnd(width) : text.padStart(width))

export const heading = () => COLUMNS.map(column => cell(column[0], column)).join('  ')

export function line({ talk, turn, asked }) {
  const values = [talk, String(turn), asked.backend, asked.reason, `${asked.cachedTokens} / ${asked.promptTokens}`, ms(asked.ttftMs)]
  return values.map((value, i) => cell(value, COLUMNS[i])).join('  ')
}

/** @param {{ turn: number, asked: import('./ask.mjs').Asked }[]} turns `turn` counts from 1 */
export function summary(turns) {
  const sum = read => turns.reduce((total, { asked }) => total + read(asked), 0)
  const prompt = sum(({ promptTokens }) => promptTokens)
  const cached = sum(({ cachedTokens }) => cachedTokens)
  const continued = turns.filter(({ turn, asked }) => turn > 1 && asked.ttftMs !== null).map(({ asked }) => asked.ttftMs).sort((a, b) => a - b)
  return {
    promptTokens: prompt,
    computedTokens: prompt - cached,
    cachedShare: prompt === 0 ? 0 : cached / prompt,
    ttftP50Ms: continued.length === 0 ? null : (continued[(continued.length - 1) >> 1] + continued[continued.length >> 1]) / 2,
    ttftMeanMs: continued.length === 0 ? null : continued.reduce((a, b) => a + b, 0) / continued.length,
  }
}

export function sideBySide(homing, roundRobin) {
  const rows = [
    ['', 'Homing', 'round robin'],
    ['prompt tokens', ...[homing, roundRobin].map(({ promptTokens }) => String(promptTokens))],
    ['  computed by the engines', ...[homing, roundRobin].map(({ computedTokens }) => String(computedTokens))],
    ['  share taken from cache', ...[homing, roundRobin].map(({ cachedShare }) => `${(cachedShare * 100).toFixed(0)} %`)],
    ['TTFT of continued turns, p50', ...[homing, roundRobin].map(({ ttftP50Ms }) => `${ms(ttftP50Ms)} ms`)],
    ['TTFT of continued turns, mean', ...[homing, roundRobin].map(({ ttftMeanMs }) => `${ms(ttftMeanMs)} ms`)],
  ]
  return rows.map(([name, a, b]) => `${name.padEnd(31)}${a.padStart(12)}${b.padStart(14)}`).join('\n')
}

const ms = value => (value === null ? '-' : value.toFixed(0))
