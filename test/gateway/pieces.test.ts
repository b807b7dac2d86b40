import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { startFleetServer } from '../../sim/http/fleet-server.ts'
import { uniformFleet } from '../../sim/profile.ts'
import { startGateway } from '../../src/compose.ts'
import { loadConfig } from '../../src/config.ts'
import { isObject, type JsonObject } from '../../src/model/json.ts'

const LIMIT = { timeout: 60_000 }
const LONG_CHARACTERS = 240_000

/** A gateway before one simulated engine that has answered enough turns to be known. */
async function busyGateway(t: TestContext, config: JsonObject = {}) {
  const fleet = await startFleetServer({ fleet: uniformFleet('prefill-fifo', 1, { blockTokens: 16, cacheBlocks: 20_000 }), port: 0, timeFactor: 4 })
  const text = JSON.stringify({
    listen: '127.0.0.1:0', store: 'memory', log: { level: 'silent' }, backends: fleet.urls.map((url) => ({ url })),
    // half a millisecond a turn of the gateway's own is two of the engine's, which runs four times as fast as the clock
    fingerprint: { enabled: false }, ...config,
  })
  const gateway = await startGateway(loadConfig({ text, env: {} }), { version: 'test' })
  t.after(async () => {
    gateway.abort()
    await gateway.close(0)
    await fleet.close()
  })
  while ((await fetch(`${gateway.url}/readyz`)).status !== 200);
  const post = (path: string, body: JsonObject): Promise<Response> =>
    fetch(`${gateway.url}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  const text512 = 'same words again '.repeat(240)
  for (let round = 0; round < 40; round++) {
    const asks = Array.from({ length: 8 }, (_, i) =>
      post('/v1/chat/completions', { model: 'homing-sim', max_tokens: 4, messages: [{ role: 'user', content: `${text512} ${round} ${i}` }] }))
    for (const answer of await Promise.all(asks)) await answer.text()
  }
  const pieces = async (): Promise<number> => {
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
    return Number(/^homing_prefill_pieces_total (\d+)/m.exec(metrics)![1])
  }
  return { post, pieces, gateway }
}

const long = (name: string): string => `${name} ${'a long document with many words in it '.repeat(LONG_CHARACTERS / 38)}`
const cachedOf = (usage: unknown, details: string): unknown =>
  isObject(usage) && isObject(usage[details]) ? usage[details]['cached_tokens'] : undefined

test('a long prompt is computed in pieces, and its answer says what it found cached when it came', LIMIT, async (t) => {
  const { post, pieces, gateway } = await busyGateway(t)
  const before = await pieces()
  const response = await post('/v1/chat/completions', {
    model: 'homing-sim', max_tokens: 4, stream: true, stream_options: { include_usage: true },
    messages: [{ role: 'user', content: long('chat') }],
  })
  assert.ok(Number(response.headers.get('x-homing-prepared-tokens')) > 10_000)
  const stream = await response.text()
  const usage = stream.split('\n').filter((line) => line.includes('"usage":{')).map((line) => (JSON.parse(line.slice(6)) as JsonObject)['usage'])
  assert.equal(usage.length, 1)
  assert.ok(Number(cachedOf(usage[0], 'prompt_tokens_details')) < 2000, 'the pieces were no find')
  assert.ok((await pieces()) > before)

  const answer = (await (await post('/v1/responses', { model: 'homing-sim', max_output_tokens: 16, input: long('responses') })).json()) as JsonObject
  assert.equal(answer['status'] === 'completed' || answer['status'] === 'incomplete', true)
  assert.ok(Number(cachedOf(answer['usage'], 'input_tokens_details')) < 2000)
  const receipt = (await (await fetch(`${gateway.url}/homing/v1/responses/${String(answer['id'])}/decision`)).json()) as JsonObject
  assert.ok(isObject(receipt['prepared']) && Number(receipt['prepared']['pieces']) >= 1)
  assert.ok(isObject(receipt['cached_tokens']) && Number(receipt['cached_tokens']['actual']) < 2000)
})

test('the configuration turns pieces off', LIMIT, async (t) => {
  const { post, pieces } = await busyGateway(t, { chunked_prefill: false })
  const response = await post('/v1/chat/completions', { model: 'homing-sim', max_tokens: 4, messages: [{ role: 'user', content: long('chat') }] })
  assert.equal(response.status, 200)
  await response.text()
  assert.equal(await pieces(), 0)
})
