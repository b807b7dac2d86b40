import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pageModule } from './page-module.ts'

type Told = (value: unknown) => string
const strict = await pageModule<{
  count: Told; weight: Told; tokens: Told; seconds: Told; secondsMore: Told; milliseconds: Told; percent: Told; quality: Told; qualityMore: Told
  range: (low: unknown, high: unknown) => string; interval: (mean: number, deviation: number) => [number, number]; ago: (at: number | null, nowMs: number) => string
}>('format.js')
/** A gap that does not break is a space here. */
const spaced = (tell: Told): Told => (value) => tell(value).replaceAll('\u00a0', ' ')
const format = { ...strict, seconds: spaced(strict.seconds), secondsMore: spaced(strict.secondsMore), milliseconds: spaced(strict.milliseconds), percent: spaced(strict.percent) }

test('lines do not break between a number and a short unit', () => {
  assert.deepEqual([strict.seconds(1), strict.milliseconds(3), strict.percent(0.5)], ['1.000\u00a0s', '3\u00a0ms', '50\u00a0%'])
})

test('numbers carry their units', () => {
  assert.equal(format.count(1234567), '1,234,567')
  assert.deepEqual([format.tokens(0), format.tokens(1), format.tokens(8192)], ['0 tokens', '1 token', '8,192 tokens'])
  assert.deepEqual([format.seconds(0.0124), format.seconds(12)], ['0.012 s', '12.000 s'])
  assert.deepEqual([3.14, 38.4, 999, 1730, 120_000].map(format.milliseconds), ['3.1 ms', '38 ms', '999 ms', '1.73 s', '2 min'])
  assert.deepEqual([format.percent(0.414), format.percent(1)], ['41 %', '100 %'])
  assert.deepEqual([format.quality(0.5), format.range(0.25, 0.75), format.weight(80.25)], ['0.500', '0.250 to 0.750', '80.3'])
})

test('a difference has its sign, and nothing is not less than nothing', () => {
  assert.deepEqual([format.secondsMore(0.914), format.secondsMore(-0.16), format.secondsMore(-0.0001)], ['+0.914 s', '−0.160 s', '+0.000 s'])
  assert.deepEqual([format.qualityMore(0.013), format.qualityMore(-0.2)], ['+0.013', '−0.200'])
})

test('what nobody told is a dash, never NaN or null', () => {
  const { count, weight, tokens, seconds, secondsMore, milliseconds, percent, quality, qualityMore } = format
  for (const tell of [count, weight, tokens, seconds, secondsMore, milliseconds, percent, quality, qualityMore])
    for (const value of [null, undefined, Number.NaN, Infinity, 'text']) assert.equal(tell(value), '–')
  assert.equal(format.range(null, 1), '–')
})

test('an interval of 90 % stays between 0 and 1', () => {
  const [low, high] = format.interval(0.5, 0.1)
  assert.deepEqual([low.toFixed(4), high.toFixed(4)], ['0.3355', '0.6645'])
  assert.deepEqual(format.interval(0.9, 0.5), [0.9 - 1.645 * 0.5, 1])
})

test('a moment is told by how long it is over', () => {
  const nowMs = 1_790_000_000_000
  const told = [0, 59, 61, 7200, 200_000, -5].map((passed) => format.ago(1_790_000_000 - passed, nowMs))
  assert.deepEqual(told, ['0 s ago', '59 s ago', '1 min ago', '2 h ago', '2 days ago', '0 s ago'])
  assert.equal(format.ago(null, nowMs), 'never')
})
