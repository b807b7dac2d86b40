import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { startFleetServer, type FleetServer } from '../../sim/http/fleet-server.ts'
import { uniformFleet } from '../../sim/profile.ts'
import { startGateway, type Gateway } from '../../src/compose.ts'
import { loadConfig } from '../../src/config.ts'
import type { JsonObject } from '../../src/model/json.ts'
import { client, eventually } from './support/gateway.ts'

const BLOCK_TOKENS = 16
const CACHE_BLOCKS = 128

const words = (seed: number, count: number): string =>
  Array.from({ length: count }, (_, at) => `w${((seed * 7919 + at * 31) % 997).toString(36).padStart(2, '0')}`).join(' ')

type Setup = { readonly fleet: FleetServer; readonly gateway: Gateway } & ReturnType<typeof client>

async function setup(
  test: TestContext,
  options: { readonly events: boolean; readonly backends?: number; readonly tokenize?: 'observe' },
): Promise<Setup> {
  const fleet = await startFleetServer({
    fleet: uniformFleet('realistic', options.backends ?? 2, { blockTokens: BLOCK_TOKENS, cacheBlocks: CACHE_BLOCKS }),
    port: 0,
    timeFactor: 100,
    maxModelTokens: 2000,
    kvEvents: { port: 0 },
  })
  let gateway: Gateway | null = null
  test.after(async () => {
    gateway?.abort()
    await gateway?.close(0)
    await fleet.close()
  })
  const backends = fleet.urls.map((url, index) => {
    const { endpoint, replay } = fleet.kvEndpoints[index]!
    return { id: `b${index}`, url, ...(options.events ? { kv_events: { endpoint, replay, tokenize: options.tokenize ?? 'auto' } } : {}) }
  })
  const text = JSON.stringify({ listen: '127.0.0.1:0', store: 'memory', log: { level: 'silent' }, backends })
  gateway = await startGateway(loadConfig({ text, env: {} }), { version: 'test' })
  await gateway.fleet.firstProbeDone
  const here: Setup = { fleet, gateway, ...client(gateway.url) }
  if (options.events) await eventually(async () => (await events(here)).every((state) => state?.['state'] === 'waiting'))
  return here
}

type Answer = { readonly id: string; readonly prompt: number; readonly expected: number; readonly actual: number; readonly backend: string }

async function ask({ json }: Setup, input: string, previous?: string): Promise<Answer> {
  const body = { model: 'homing-sim', input, max_output_tokens: 32, instructions: words(1, 200) }
  const { status, body: answer } = await json('/v1/responses', { ...body, ...(previous === undefined ? {} : { previous_response_id: previous }) })
  assert.equal(status, 200, JSON.stringify(answer))
  const { body: decision } = await json(`/homing/v1/responses/${String(answer['id'])}/decision`)
  const { expected, actual } = decision['cached_tokens'] as { expected: number; actual: number }
  const { actual: prompt } = decision['prompt_tokens'] as { actual: number }
  return { id: String(answer['id']), prompt, expected, actual, backend: String(decision['backend_id']) }
}

async function events(setup: Setup): Promise<(JsonObject | null)[]> {
  const { body } = await setup.json('/homing/v1/backends')
  return (body['data'] as readonly JsonObject[]).map((backend) => backend['kv_events'] as JsonObject | null)
}

/** A metric's value. */
async function exactness({ url }: Setup, what: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return Number(new RegExp(`homing_kv_exactness\\{what="${what}"\\} (\\d+)`).exec(text)?.[1] ?? 0)
}

/** Everything asked so far is known as tokens. */
const settled = (setup: Setup, count: number): Promise<void> =>
  eventually(async () => (await exactness(setup, 'tokens_known')) >= count)

/** The gateway has heard of all that the engines hold. */
const heard = (setup: Setup): Promise<void> =>
  eventually(async () => {
    const states = await events(setup)
    return setup.fleet.servers.every(({ engine }, index) => states[index]?.['blocks'] === engine.cache.size)
  })

/** A client that does not go through the gateway and fills every cache of the fleet. */
async function foreignLoad(fleet: FleetServer, seed: number): Promise<void> {
  for (const url of fleet.urls) {
    for (let round = 0; round < 4; round++) {
      const prompt = words(seed + round, 800)
      const response = await fetch(`${url}/completions`, {
        method: 'POST',
        body: JSON.stringify({ model: 'homing-sim', prompt, max_tokens: 4, ignore_eos: true }),
      })
      assert.equal(response.status, 200)
      await response.text()
    }
  }
}

const within = (answer: Answer): void =>
  assert.ok(Math.abs(answer.expected - answer.actual) <= BLOCK_TOKENS, `expected ${answer.expected}, was ${answer.actual}`)

test('with events the gateway knows that a foreign client evicted a conversation; by history alone it does not', { timeout: 60_000 }, async (t) => {
  const wrong: number[] = []
  for (const withEvents of [true, false]) {
    const here = await setup(t, { events: withEvents })
    const first = await ask(here, words(2, 120))
    if (withEvents) await settled(here, 2)
    const second = await ask(here, words(3, 20), first.id)
    assert.ok(second.actual > 100, `a conversation that goes on finds its prefix (${second.actual})`)
    if (withEvents) {
      within(second)
      await settled(here, 3)
    }
    await foreignLoad(here.fleet, 50)
    if (withEvents) await heard(here)
    const third = await ask(here, words(4, 20), second.id)
    assert.equal(third.actual, 0, 'the foreign client has filled the caches')
    wrong.push(third.expected)
    if (withEvents) within(third)
  }
  assert.ok(wrong[0]! <= BLOCK_TOKENS && wrong[1]! > 100, `expected with events ${wrong[0]}, by history ${wrong[1]}`)
})

test('over many conversations and evictions expected cached tokens are the actual ones, wherever a turn goes', { timeout: 60_000 }, async (t) => {
  const here = await setup(t, { events: true })
  const last: (string | undefined)[] = []
  let asked = 0
  let error = 0
  let prompt = 0
  for (let turn = 0; turn < 4; turn++) {
    for (let conversation = 0; conversation < 8; conversation++) {
      const answer = await ask(here, words(100 * conversation + turn, turn === 0 ? 150 : 30), last[conversation])
      last[conversation] = answer.id
      asked++
      if (turn === 0) continue // what conversations share at their start is known once their head is
      error += Math.abs(answer.expected - answer.actual)
      prompt += answer.prompt
      await settled(here, asked)
      await heard(here)
    }
    if (turn === 1) await foreignLoad(here.fleet, 70)
    await settled(here, asked)
    await heard(here)
  }
  assert.ok(error <= 0.02 * prompt, `${error} of ${prompt} tokens were expected wrongly`)
  assert.ok((await exactness(here, 'residency_stale')) <= 1)
  // on a slow machine one of them may have been given no turn that proves it
  const states = (await events(here)).map((state) => state?.['state'])
  assert.ok(states.includes('exact') && states.every((state) => state === 'exact' || state === 'waiting'), String(states))
})

test('a stream that is lost is said so, in the admin API and a metric, and history decides again', { timeout: 60_000 }, async (t) => {
  const here = await setup(t, { events: true, backends: 1 })
  const first = await ask(here, words(2, 120))
  await eventually(async () => (await events(here))[0]?.['state'] === 'exact')
  for (const publisher of here.fleet.publishers) publisher.close()
  await eventually(async () => (await events(here))[0]?.['state'] === 'lost')
  const text = await (await fetch(`${here.url}/metrics`)).text()
  assert.ok(text.includes('homing_kv_events_state{backend="b0",state="lost"} 1'))
  assert.ok(text.includes('homing_fallbacks_total{what="kv_events_not_exact"} 1'))
  const second = await ask(here, words(3, 20), first.id)
  assert.ok(second.expected > 100 && second.actual > 100)
})

test('without /tokenize the tokens are taken from the blocks that a turn stored', { timeout: 60_000 }, async (t) => {
  const here = await setup(t, { events: true, tokenize: 'observe' })
  const first = await ask(here, words(2, 120))
  await settled(here, 1)
  const second = await ask(here, words(3, 20), first.id)
  assert.ok(second.actual > 100)
  within(second)
  await settled(here, 2)
  await foreignLoad(here.fleet, 50)
  await heard(here)
  const third = await ask(here, words(4, 20), second.id)
  assert.equal(third.actual, 0)
  within(third)
  assert.equal(await exactness(here, 'tokens_asked'), 0, 'nobody was asked')
})

test('a Chat client that sends its whole history is followed the same way', { timeout: 60_000 }, async (t) => {
  const here = await setup(t, { events: true, backends: 1 })
  const messages: JsonObject[] = [{ role: 'system', content: words(1, 200) }, { role: 'user', content: words(2, 100) }]
  for (let turn = 0; turn < 3; turn++) {
    const { body } = await here.json('/v1/chat/completions', { model: 'homing-sim', messages, max_tokens: 32 })
    const { body: decision } = await here.json(`/homing/v1/responses/${String(body['id'])}/decision`)
    const { expected, actual } = decision['cached_tokens'] as { expected: number; actual: number }
    if (turn > 0) assert.ok(Math.abs(expected - actual) <= BLOCK_TOKENS, `turn ${turn}: expected ${expected}, was ${actual}`)
    const [choice] = body['choices'] as readonly { readonly message: JsonObject }[]
    messages.push(choice!.message, { role: 'user', content: words(3 + turn, 30) })
    await settled(here, turn + 2)
    if (turn === 1) await foreignLoad(here.fleet, 90)
    await heard(here)
  }
})
