import assert from 'node:assert/strict'
import type { AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import { expertise } from '../../src/cli/expertise.ts'
import { run } from '../../src/cli/run.ts'
import type { Handler } from '../../src/http/call.ts'
import { expertiseRoutes, type EditableExpertise, type ModelBelief } from '../../src/http/expertise-routes.ts'
import { Router } from '../../src/http/router.ts'
import { createDoor } from '../../src/http/server.ts'
import { TenantLimits } from '../../src/http/tenant-limits.ts'
import { Tenants } from '../../src/http/tenants.ts'
import { HomingError } from '../../src/model/error.ts'
import type { JsonObject } from '../../src/model/json.ts'

const PATH = '/homing/v1/expertise'
const OPERATOR = { authorization: 'Bearer op' }

/** An expertise that keeps what it is told. */
function expertiseThatKeeps(): EditableExpertise {
  type Row = { tenant: string; model: string; topic: string | null; mean: number; observations: number; lastLessonMs: number | null; atMs?: number }
  let rows: Row[] = [['acme', 'coder', null, 0.7, 120], ['acme', 'coder', 'coding', 0.9, 80.25], ['acme', 'general', null, 0.6, 40], ['zeta', 'coder', null, 0.5, 0]].map(
    ([tenant, model, topic, mean, observations]) => ({ tenant, model, topic, mean, observations, lastLessonMs: observations === 0 ? null : 1_790_000_000_000 }) as Row,
  )
  return {
    table: (tenant) => [...new Set(rows.filter((row) => row.tenant === tenant).map(({ model }) => model))].map((model): ModelBelief => {
      const own = rows.filter((row) => row.tenant === tenant && row.model === model).map((row) => ({ ...row, low: row.mean - 0.0823, high: row.mean + 0.2 }))
      return {
        model,
        overall: own.find(({ topic }) => topic === null)!,
        topics: own.flatMap((row) => (row.topic === null ? [] : [{ ...row, topic: row.topic }])),
        edited: own.flatMap(({ topic, mean, observations, atMs }) => (atMs === undefined ? [] : [{ topic, quality: mean, outcomes: observations, atMs }])),
      }
    }),
    edit: (edit) => {
      const { tenant, model, topic = null } = edit
      rows = rows.filter((row) => row.tenant !== tenant || row.model !== model || row.topic !== topic)
      if ('quality' in edit) rows.push({ tenant, model, topic, mean: edit.quality, observations: edit.outcomes, lastLessonMs: null, atMs: 1_790_000_001_000 })
    },
  }
}

async function served(t: TestContext, shared = false): Promise<string> {
  const router = new Router<Handler>()
  expertiseRoutes(router, { expertise: expertiseThatKeeps(), tenants: ['acme', 'zeta'], shared, models: ['coder', 'general'], topics: ['coding', 'math'], written: async () => {} })
  const server = createDoor({
    router,
    tenants: new Tenants({ tenants: [{ id: 'acme', keys: ['a'] }], adminKeys: ['op'], loopback: true }),
    limits: new TenantLimits(() => ({ concurrency: null, requestsPerMinute: null, tokensPerMinute: null, tokensCounted: 'all' }), () => 0),
    bodyLimitBytes: 10_000, newRequestId: () => 'req_1', wallMs: () => 0, nowMs: () => 0, observe: () => {}, closing: () => false,
    onBug: (_, error) => assert.ok(error instanceof HomingError, String(error)),
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => new Promise((resolve) => {
    server.close(resolve)
    server.closeAllConnections()
  }))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
const ask = async (url: string, method = 'GET', body?: unknown, headers: Record<string, string> = OPERATOR): Promise<{ status: number; body: JsonObject }> => {
  const answer = await fetch(url, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
  return { status: answer.status, body: (await answer.json()) as JsonObject }
}
const rowsOf = (body: JsonObject): readonly JsonObject[] => body['data'] as readonly JsonObject[]

test('operators read what is believed, with its interval, sample and last change, by tenant, model and topic', async (t) => {
  const base = (await served(t)) + PATH
  const { status, body } = await ask(base)
  assert.deepEqual([status, rowsOf(body).length, body['has_more']], [200, 4, false])
  assert.deepEqual(rowsOf(body)[1], {
    object: 'expertise', tenant: 'acme', model: 'coder', topic: 'coding', mean: 0.9, low: 0.8177, high: 1, observations: 80.3, last_change: 1_790_000_000, edited: null,
  })
  assert.equal(rowsOf((await ask(`${base}?tenant=zeta`)).body).length, 1)
  assert.equal(rowsOf((await ask(`${base}?model=coder&topic=coding`)).body).length, 1)
  assert.equal(rowsOf((await ask(`${base}?model=coder`)).body).length, 3)
  assert.equal((await ask(`${base}?tenant=nobody`)).status, 400)
  assert.equal(rowsOf((await ask(`${base}?model=nobody`)).body).length, 0)
  assert.equal((await ask(base, 'GET', undefined, { authorization: 'Bearer a' })).status, 403)
  assert.equal((await ask(base, 'GET', undefined, {})).status, 401)
})

test('an operator sets a cell and takes it back; nobody else may', async (t) => {
  const base = (await served(t)) + PATH
  const cell = { tenant: 'acme', model: 'coder', topic: 'math' }
  assert.equal((await ask(base, 'PUT', { ...cell, mean: 0.2, observations: 50 }, { authorization: 'Bearer a' })).status, 403)
  const edited = await ask(base, 'PUT', { ...cell, mean: 0.2, observations: 50 })
  assert.deepEqual([edited.status, edited.body['mean'], edited.body['topic'], edited.body['edited'], edited.body['last_change']],
    [200, 0.2, 'math', { mean: 0.2, observations: 50, at: 1_790_000_001 }, 1_790_000_001])
  assert.equal((await ask(base, 'PUT', { ...cell, mean: 0.3 })).body['observations'], 20, 'as much as a word of the configuration, unless said')
  assert.equal(rowsOf((await ask(`${base}?topic=math`)).body).length, 1)
  const deleted = await ask(`${base}?tenant=acme&model=coder&topic=math`, 'DELETE')
  assert.deepEqual(deleted, { status: 200, body: { object: 'expertise', ...cell, mean: null } })
  assert.equal(rowsOf((await ask(`${base}?topic=math`)).body).length, 0)
})

test('cells that are none, and values that are none, are refused with their field', async (t) => {
  const base = (await served(t)) + PATH
  const good = { tenant: 'acme', model: 'coder', topic: 'math', mean: 0.2, observations: 50 }
  const cases: [JsonObject | string, string][] = [
    [{ ...good, tenant: 'nobody' }, 'tenant'], [{ ...good, tenant: null }, 'tenant'], [{ ...good, tenant: 3 }, 'tenant'],
    [{ ...good, model: 'codr' }, 'model'], [{ ...good, model: null }, 'model'], [{ ...good, topic: 'maths' }, 'topic'],
    [{ ...good, mean: 1.5 }, 'mean'], [{ ...good, mean: '1' }, 'mean'], [{ ...good, observations: -1 }, 'observations'],
    [{ tenant: 'acme', model: 'coder', topic: 'math' }, 'mean'], [{ ...good, observations: 1e9 }, 'observations'], [{ ...good, weight: 1 }, 'weight'], ['x', 'body'],
  ]
  for (const [body, param] of cases) {
    const told = await ask(base, 'PUT', body)
    assert.deepEqual([told.status, (told.body['error'] as JsonObject)['param']], [400, param], JSON.stringify(body))
  }
  for (const query of ['?model=coder&tenant=nobody', '?tenant=acme', '?tenant=acme&model=coder&topic=maths']) assert.equal((await ask(base + query, 'DELETE')).status, 400, query)
})

test('where all tenants teach one expertise there is one table, and no tenant need be named', async (t) => {
  const base = (await served(t, true)) + PATH
  assert.deepEqual(rowsOf((await ask(base)).body).map((row) => [row['tenant'], row['model'], row['topic']]), [[null, 'coder', null], [null, 'coder', 'coding'], [null, 'general', null]])
  assert.equal((await ask(base, 'PUT', { model: 'coder', topic: 'math', mean: 0.2 })).body['mean'], 0.2)
})

test('homing expertise prints the table of the route', async (t) => {
  const url = await served(t)
  const told = { out: '', error: '' }
  const command = (...args: string[]): Promise<number> => run(['expertise', '--url', url, ...args], [expertise], {
    env: { HOMING_API_KEY: 'op' }, version: '', print: (text) => void (told.out += `${text}\n`), complain: (text) => void (told.error += `${text}\n`),
  })
  assert.equal(await command('--tenant', 'acme'), 0)
  assert.equal(told.out, [
    'model    topic   quality            90 %  outcomes        last change',
    'coder    (all)     0.700  [0.618, 0.900]       120  2026-09-21T14:13Z',
    'coder    coding    0.900  [0.818, 1.000]        80  2026-09-21T14:13Z',
    'general  (all)     0.600  [0.518, 0.800]        40  2026-09-21T14:13Z',
    '',
  ].join('\n'))
  told.out = ''
  await command()
  assert.match(told.out, /^tenant +model.*\n[\s\S]*^zeta +coder +\(all\) +0\.500 .* +0 +never$/m)
  told.out = ''
  await command('--model', 'nobody')
  assert.equal(told.out, 'nothing is known of any model yet\n')
  assert.equal(await command('--key', 'a'), 1)
  assert.match(told.error, /This key may not use the operator routes/)
})
