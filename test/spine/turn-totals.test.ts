import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Receipt } from '../../src/model/receipt.ts'
import { TurnTotals } from '../../src/turn-totals.ts'

const receipt = (changes: Partial<Receipt>): Receipt => ({
  id: 'resp_1', requestId: 'req_1', createdAtMs: 0, endpoint: 'responses', model: 'm', session: { id: 's', source: 'new' }, backendId: 'a', servedModel: 'm',
  protocol: 'chat', reason: 'home', promptTokens: { expected: 90, actual: 100 }, cachedTokens: { expected: 70, actual: 80 }, cache: { why: 'hit', reusableTokens: 80, missedTokens: 0, inferred: false }, outputTokens: 5, ttftMs: 10,
  totalMs: 20, queuedMs: 0, decideMicroseconds: 5, candidates: [], filteredOut: [], failovers: [], omitted: [], outcome: 'completed', trouble: null, ...changes,
})

const read = (totals: TurnTotals, name: string) => totals.counters.find((counter) => counter.name === name)!.read()

test('turns add up per backend, model, reason and outcome', () => {
  const totals = new TurnTotals()
  totals.add(receipt({}))
  totals.add(receipt({ reason: 'load', backendId: 'b' }))
  totals.add(receipt({}))
  assert.deepEqual(read(totals, 'homing_turns_total'), [
    { labels: { backend: 'a', model: 'm', reason: 'home', outcome: 'completed' }, value: 2 },
    { labels: { backend: 'b', model: 'm', reason: 'load', outcome: 'completed' }, value: 1 },
  ])
  assert.deepEqual(read(totals, 'homing_prompt_tokens_total').map(({ value }) => value), [200, 100])
  assert.deepEqual(read(totals, 'homing_cached_tokens_absolute_error_total').map(({ value }) => value), [20, 10])
})

test('an engine that hides its cached tokens adds neither hits nor error', () => {
  const totals = new TurnTotals()
  totals.add(receipt({ cachedTokens: { expected: 70, actual: null }, promptTokens: { expected: 90, actual: null }, outputTokens: null }))
  assert.deepEqual(read(totals, 'homing_prompt_tokens_cached_total').map(({ value }) => value), [0])
  assert.deepEqual(read(totals, 'homing_cached_tokens_absolute_error_total').map(({ value }) => value), [0])
  assert.deepEqual(read(totals, 'homing_prompt_tokens_cached_expected_total').map(({ value }) => value), [70])
})

test('what became of the cached prefix is counted by why, over the models of a backend', () => {
  const totals = new TurnTotals()
  const evicted = { why: 'evicted', reusableTokens: 90, missedTokens: 60, inferred: false } as const
  for (const changes of [{}, { cache: evicted }, { cache: evicted, model: 'other' }]) totals.add(receipt(changes))
  const byWhy = (name: string) => Object.fromEntries(read(totals, name).map(({ labels, value }) => [labels['why'], value]))
  assert.deepEqual(byWhy('homing_cache_verdicts_total'), { hit: 1, evicted: 2 })
  assert.deepEqual(byWhy('homing_prompt_tokens_missed_total'), { hit: 0, evicted: 120 })
})
