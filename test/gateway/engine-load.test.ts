import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { JsonObject } from '../../src/model/json.ts'
import { startFleetServer } from '../../sim/http/fleet-server.ts'
import { uniformFleet } from '../../sim/profile.ts'
import { startGateway } from '../../src/compose.ts'
import { loadConfig } from '../../src/config.ts'
import { client, eventually } from './support/gateway.ts'

/** A gateway before two simulated engines: 2,000 prompt tokens a second, one at a time. */
async function fleetOfTwo(t: TestContext) {
  const fleet = await startFleetServer({ fleet: uniformFleet('prefill-fifo', 2, { prefillTokensPerSecond: 2000 }), port: 0 })
  t.after(() => fleet.close())
  const text = JSON.stringify({ listen: '127.0.0.1:0', store: 'memory', log: { level: 'silent' }, backends: fleet.urls.map((url, index) => ({ id: `b${index}`, url })) })
  const gateway = await startGateway(loadConfig({ text, env: {} }), { version: 'test' })
  t.after(() => {
    gateway.abort()
    return gateway.close(0)
  })
  await gateway.fleet.firstProbeDone
  return { fleet, ...client(gateway.url) }
}

/** Somebody who knows the engine's own address: prompts of ten seconds each, until the test ends. */
function stranger(t: TestContext, url: string, prompts: number): void {
  const leave = new AbortController()
  t.after(() => leave.abort())
  for (let n = 0; n < prompts; n++) {
    const messages = [{ role: 'user', content: `${n} ${'batch job '.repeat(8000)}` }]
    fetch(`${url}/chat/completions`, { method: 'POST', body: JSON.stringify({ messages, max_tokens: 4 }), signal: leave.signal }).catch(() => undefined)
  }
}

const LIMIT = { timeout: 60_000 }
const ask = (name: string) => ({ model: 'homing-sim', max_tokens: 2, messages: [{ role: 'user', content: `${name} asks something` }] })

test('turns go around an engine that somebody else keeps busy past the gateway, and operators see why', LIMIT, async (t) => {
  const { fleet, url, json } = await fleetOfTwo(t)
  stranger(t, fleet.urls[0]!, 6)
  const backends = async (): Promise<readonly JsonObject[]> => (await json('/homing/v1/backends')).body['data'] as readonly JsonObject[]
  await eventually(async () => {
    const [busy, idle] = await backends()
    return Number(busy!['others_wait_seconds']) >= 2 && idle!['load_source'] === 'engine'
  })
  const [busy, idle] = await backends()
  assert.deepEqual([busy!['load_source'], busy!['engine_waiting_requests'], busy!['running_requests'], idle!['others_waiting_requests']], ['engine', 5, 0, 0])
  const metrics = await (await fetch(`${url}/metrics`)).text()
  assert.match(metrics, /homing_backend_others_wait_seconds\{backend="b0"\} [1-9]/)
  assert.match(metrics, /homing_backend_load_corrected\{backend="b1"\} 1/)
  const chosen: (string | null)[] = []
  for (let turn = 0; turn < 12; turn++) {
    const { status, headers } = await json('/v1/chat/completions', ask(`turn ${turn}`))
    assert.equal(status, 200)
    chosen.push(headers.get('x-homing-backend'))
  }
  assert.deepEqual(new Set(chosen), new Set(['b1']))
})

test('what this gateway sent itself is nobody else\'s: its own load shows no others', LIMIT, async (t) => {
  const { json } = await fleetOfTwo(t)
  const long = (n: number) => json('/v1/chat/completions', { ...ask(`own ${n}`), messages: [{ role: 'user', content: `${n} ${'our own words '.repeat(600)}` }] })
  const answers = Promise.all(Array.from({ length: 6 }, (_, n) => long(n)))
  const seen: JsonObject[] = []
  let done = false
  void answers.then(() => (done = true))
  await eventually(async () => {
    seen.push(...((await json('/homing/v1/backends')).body['data'] as readonly JsonObject[]))
    return done
  })
  assert.ok(seen.some((backend) => Number(backend['engine_running_requests']) > 0), 'a page was read while turns ran')
  assert.deepEqual(new Set(seen.map((backend) => Number(backend['others_running_requests']) + Number(backend['others_waiting_requests']))), new Set([0]))
})
