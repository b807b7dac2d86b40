import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Gauge } from 'prom-client'
import { Metrics } from '../../src/metrics.ts'

test('what was never measured is not published: a sample that is no number leaves the page, its neighbours stay', async () => {
  const metrics = new Metrics({ backends: () => [], counters: [], tokensLeft: () => [], pieces: () => ({ pieces: 0, tokens: 0, failed: 0, lost: 0, turnedOff: 0 }), predictionErrors: () => [], expectations: () => [], survival: () => null, hidden: () => ({}), kvEvents: () => [], exactness: () => ({}), sizes: () => ({}), evictions: () => ({}) })
  const lag = new Gauge({ name: 'lag_seconds', help: 'Nan is no help', labelNames: ['of'], registers: [metrics.registry] })
  lag.set({ of: 'never' }, Number.NaN)
  lag.set({ of: 'often' }, 2)
  const { text } = await metrics.page()
  assert.deepEqual(text.split('\n').filter((line) => line.includes('lag_seconds{') || line.includes('no help')), [
    '# HELP lag_seconds Nan is no help', 'lag_seconds{of="often"} 2',
  ])
  assert.doesNotMatch(text, /Nan$/m)
})
