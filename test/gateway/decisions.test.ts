import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JsonObject } from '../../src/model/json.ts'
import { errorOf, harness } from './support/gateway.ts'

const LIMIT = { timeout: 30_000 }
const PATH = '/homing/v1/decisions'
const KEYED = { config: { tenants: [{ id: 'acme', keys: ['a'] }, { id: 'zeta', keys: ['z'] }], admin: { keys: ['op'] } } }
const as = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` })
const listOf = (body: JsonObject): readonly JsonObject[] => body['data'] as readonly JsonObject[]

test('a tenant sees its own last decisions, newest first; an operator all, with their tenants', LIMIT, async (t) => {
  const { json } = await harness(t, KEYED)
  const asked: string[] = []
  for (const key of ['a', 'z', 'a']) asked.push(String((await json('/v1/responses', { model: 'm', input: 'Say hello.' }, as(key))).body['id']))
  const chat = (await json('/v1/chat/completions', { model: 'm', messages: [{ role: 'user', content: 'Say hello.' }] }, as('z'))).body['id']
  const seen = async (key: string): Promise<string[]> => listOf((await json(PATH, undefined, as(key))).body).map(({ tenant, id }) => `${String(tenant)} ${String(id)}`)
  assert.deepEqual(await seen('a'), [`acme ${asked[2]!}`, `acme ${asked[0]!}`])
  assert.deepEqual(await seen('z'), [`zeta ${String(chat)}`, `zeta ${asked[1]!}`])
  assert.deepEqual(await seen('op'), [`zeta ${String(chat)}`, `acme ${asked[2]!}`, `zeta ${asked[1]!}`, `acme ${asked[0]!}`])
  assert.equal((await json(PATH)).status, 401)
})

test('each is the receipt as its own route tells it, and holds no text', LIMIT, async (t) => {
  const { json } = await harness(t)
  const { body: answer } = await json('/v1/responses', { model: 'm', input: 'A secret about swordfish.' })
  const { body: alone } = await json(`/homing/v1/responses/${String(answer['id'])}/decision`)
  const { body } = await json(PATH)
  const [listed] = listOf(body)
  // what is of the moment of asking is asked for one by one
  const { forecast: _forecast, learned: _learned, ...receipt } = alone
  assert.deepEqual(listed, { object: 'decision', tenant: 'default', ...receipt })
  assert.doesNotMatch(JSON.stringify(body), /swordfish|Hello there/)
})

test('the number of decisions is bounded and checked', LIMIT, async (t) => {
  const { json } = await harness(t)
  for (let i = 0; i < 3; i++) await json('/v1/responses', { model: 'm', input: `Say hello ${i}.` })
  assert.equal(listOf((await json(`${PATH}?limit=2`)).body).length, 2)
  for (const limit of ['0', '101', '1.5', 'many', '']) {
    const refused = await json(`${PATH}?limit=${limit}`)
    assert.deepEqual([refused.status, errorOf(refused.body)['param']], [400, 'limit'], limit)
  }
})

test("the candidates of a group name their models; a named model's do not repeat it", LIMIT, async (t) => {
  const { json } = await harness(t, { models: ['coder', 'general'], config: { model_groups: { auto: ['coder', 'general'] } } })
  for (const model of ['auto', 'coder']) await json('/v1/responses', { model, input: 'Say hello.' })
  const [named, grouped] = listOf((await json(PATH)).body).map(({ candidates }) => (candidates as readonly JsonObject[]).map(({ model }) => model))
  assert.deepEqual([named, grouped!.toSorted()], [[undefined], ['coder', 'general']])
})
