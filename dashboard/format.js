/** Numbers as people read them, with their units. Null and undefined mean that nobody told. */

const UNTOLD = '–'
/** Lines do not break between a number and its short unit. */
const GAP = '\u00a0'
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const oneDigit = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })

const isNumber = (value) => typeof value === 'number' && Number.isFinite(value)

/** @param {unknown} value */
export const count = (value) => (isNumber(value) ? whole.format(value) : UNTOLD)

/** Outcomes are weighed and decay, so there may be a part of one. */
export const weight = (value) => (isNumber(value) ? oneDigit.format(value) : UNTOLD)

export const tokens = (value) => (isNumber(value) ? `${whole.format(value)} token${Math.round(value) === 1 ? '' : 's'}` : UNTOLD)

/** Seconds that are compared with each other: the same digits for all. */
export const seconds = (value) => (isNumber(value) ? `${value.toFixed(3)}${GAP}s` : UNTOLD)

/** The same with its sign, for what is dearer or cheaper. */
export const secondsMore = (value) => (isNumber(value) ? `${value < -0.0005 ? '−' : '+'}${Math.abs(value).toFixed(3)}${GAP}s` : UNTOLD)

export const milliseconds = (value) => {
  if (!isNumber(value)) return UNTOLD
  if (value < 1000) return `${value < 10 ? oneDigit.format(value) : whole.format(value)}${GAP}ms`
  return value < 60_000 ? `${(value / 1000).toFixed(2)}${GAP}s` : `${whole.format(value / 60_000)}${GAP}min`
}

export const percent = (share) => (isNumber(share) ? `${whole.format(100 * share)}${GAP}%` : UNTOLD)

/** Expected quality, 0 to 1. */
export const quality = (value) => (isNumber(value) ? value.toFixed(3) : UNTOLD)

/** How a figure of quality changed; its minus is as wide as its plus. */
export const qualityMore = (value) => (isNumber(value) ? `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}` : UNTOLD)

export const range = (low, high) => (isNumber(low) && isNumber(high) ? `${quality(low)} to ${quality(high)}` : UNTOLD)

/** Of a normal belief 90 % lies within so many standard deviations: the interval that the gateway tells too. */
const NINETY_PER_CENT = 1.645

/** @returns {[low: number, high: number]} */
export const interval = (mean, deviation) => [Math.max(0, mean - NINETY_PER_CENT * deviation), Math.min(1, mean + NINETY_PER_CENT * deviation)]

/** @param {number | null | undefined} atSeconds since 1970 @param {number} nowMs */
export function ago(atSeconds, nowMs) {
  if (!isNumber(atSeconds)) return 'never'
  const passed = Math.max(0, nowMs / 1000 - atSeconds)
  if (passed < 60) return `${whole.format(passed)} s ago`
  if (passed < 3600) return `${whole.format(passed / 60)} min ago`
  if (passed < 86_400) return `${whole.format(passed / 3600)} h ago`
  return `${whole.format(passed / 86_400)} days ago`
}
