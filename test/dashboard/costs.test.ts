import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pageModule } from './page-module.ts'

type Candidate = { backend_id: string; model?: string; expected_cached_tokens: number; cost_seconds: number } & Record<string, unknown>
type Receipt = { backend_id: string; model: string; group?: { incumbent: string | null }; candidates: Candidate[] }
type Switching = { stayed: boolean; other: Candidate; more: Record<string, number>; total: number } | null
const { switching } = await pageModule<{ switching: (receipt: Receipt) => Switching }>('costs.js')

const candidate = (backend: string, cached: number, wait: number, prefill: number, more: object = {}): Candidate => ({
  backend_id: backend, expected_cached_tokens: cached, wait_seconds: wait, prefill_seconds: prefill, decode_seconds: 1, regret_seconds: 0, cost_seconds: wait + 1.5 * prefill + 0.1, ...more,
})

test('where a turn stayed, the cheapest other place tells the price of switching', () => {
  const found = switching({ backend_id: 'home', model: 'm', candidates: [candidate('home', 900, 0, 0.1), candidate('near', 0, 0, 1), candidate('far', 0, 3, 1)] })!
  assert.deepEqual([found.stayed, found.other.backend_id], [true, 'near'])
  assert.equal(found.more['prefill']!.toFixed(3), '0.900')
  assert.equal(found.total.toFixed(3), '1.350')
})

test('where it left what was warm, staying is what is priced', () => {
  const found = switching({ backend_id: 'idle', model: 'm', candidates: [candidate('idle', 0, 0, 1), candidate('home', 900, 5, 0.1)] })!
  assert.deepEqual([found.stayed, found.other.backend_id, found.more['wait']!.toFixed(1), found.more['prefill']!.toFixed(1)], [false, 'home', '5.0', '-0.9'])
})

test('in a group staying is with the model that served before, wherever it is cheapest', () => {
  const of = (model: string, quality: number) => ({ model, quality_seconds: quality })
  const candidates = [candidate('a', 0, 0, 1, of('new', 0)), candidate('b', 0, 1, 1, of('old', 2)), candidate('c', 900, 0, 0.1, of('old', 2))]
  const left = switching({ backend_id: 'a', model: 'new', group: { incumbent: 'old' }, candidates })!
  assert.deepEqual([left.stayed, left.other.backend_id, left.more['quality']], [false, 'c', 2])
  const stayed = switching({ backend_id: 'c', model: 'old', group: { incumbent: 'old' }, candidates })!
  assert.deepEqual([stayed.stayed, stayed.other.backend_id], [true, 'a'])
})

test('there is no such price where nothing is warm, nobody else could answer, or the answer came from elsewhere', () => {
  assert.equal(switching({ backend_id: 'a', model: 'm', candidates: [candidate('a', 0, 0, 1), candidate('b', 0, 0, 1)] }), null)
  assert.equal(switching({ backend_id: 'a', model: 'm', candidates: [candidate('a', 900, 0, 1)] }), null)
  assert.equal(switching({ backend_id: 'z', model: 'm', candidates: [candidate('a', 900, 0, 1)] }), null)
})
