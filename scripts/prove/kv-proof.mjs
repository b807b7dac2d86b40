// Proof of KV events against a real engine: what they say of a cache, compared with `cached_tokens` of the engine's own answers.
// An engine here is { name, url, endpoint, replay, blockTokens, version(), clear() }.
import { Subscriber } from 'zeromq'

import { startGateway } from '../../dist/src/compose.js'
import { loadConfig } from '../../dist/src/config.js'
import { BatchDecoder } from '../../dist/src/kv/events/decode-batch.js'
import { EngineBlocks } from '../../dist/src/kv/events/engine-blocks.js'
import { HeldBlocks } from '../../dist/src/kv/events/held-blocks.js'
import { GRAIN_TOKENS, statesOf } from '../../dist/src/kv/events/token-hash.js'

export const say = text => process.stderr.write(`prove: ${text}\n`)
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))
const WORDS = 'river stone lantern meadow copper violin harbor winter basket thunder'.split(' ')
const words = (seed, count) => Array.from({ length: count }, (_, i) => WORDS[(seed * 7 + i * i * 3 + i * seed) % 10]).join(' ')
const session = (name, seed) => [
  { role: 'system', content: `You are a helpful assistant. ${words(0, 40)}` },
  { role: 'user', content: `Session ${name}: ${words(seed, 260)}` },
]

export async function post(url, path, body) {
  const response = await fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`)
  return response.headers.get('content-type')?.includes('json') ? response.json() : response.text()
}

/** The events' picture of one engine, kept in this process. */
function watch({ endpoint, blockTokens }, onFrame) {
  const held = new HeldBlocks(1_000_000)
  const changes = { held: (low, high, tier) => held.hold(low, high, tier), gone: (low, high, tier) => held.release(low, high, tier), allGone: () => held.clear() }
  const blocks = new EngineBlocks({ changes, maxBlocks: 1_000_000 })
  const decoder = new BatchDecoder()
  const subscriber = new Subscriber({ linger: 0 })
  let lastMs = 0
  subscriber.connect(endpoint)
  subscriber.subscribe('kv-events')
  const reading = (async () => {
    for await (const [, seq, payload] of subscriber) {
      lastMs = Date.now()
      decoder.decode(payload, blocks)
      onFrame(Number(seq.readBigUInt64BE()), payload)
    }
  })()
  return {
    blocks,
    /** Tokens of the prompt that are held, known at ends of whole blocks and grains; an engine computes at least the last one. */
    residentTokens(tokens, salt) {
      const states = statesOf(tokens, salt)
      const step = stepOf(blockTokens) / GRAIN_TOKENS
      let resident = 0
      for (let grain = step - 1; 2 * grain < states.length; grain += step) {
        if (held.tiersOf(states[2 * grain], states[2 * grain + 1]) === 0) break
        resident = (grain + 1) * GRAIN_TOKENS
      }
      return Math.min(resident, wholeSteps(tokens.length - 1, blockTokens))
    },
    /** Nothing came for a while. */
    async settled() {
      const sinceMs = Date.now()
      while (Date.now() - Math.max(lastMs, sinceMs) < 250) await pause(20)
    },
    async close() {
      subscriber.close()
      await reading.catch(() => undefined)
    },
  }
}

/** Blocks of 1, 2, 4, ... tokens: the picture is known at every GRAIN_TOKENS, or at every block where these are larger. */
const stepOf = blockTokens => Math.max(blockTokens, GRAIN_TOKENS)
const wholeSteps = (tokens, blockTokens) => Math.floor(tokens / stepOf(blockTokens)) * stepOf(blockTokens)

/** Sessions in `order`, until blocks are evicted, then a salt and a clear. Before each question its tokens are looked up. */
export async function askDirectly(engine, order) {
  const { url, blockTokens } = engine
  const lines = [{ engine: `${engine.name} ${await engine.version()}`, blockTokens }]
  const picture = watch(engine, (seq, payload) => lines.push({ seq, payload: payload.toString('base64') }))
  await pause(500)
  // What an engine that was used before holds is unknown here.
  await engine.clear()
  await picture.settled()
  const rows = []
  const ask = async (messages, name, extra = {}) => {
    const { tokens } = await post(url, '/tokenize', { model: 'smollm2', messages })
    const line = { ask: name, tokens, salt: extra.cache_salt ?? null, cachedTokens: 0 }
    lines.push(line)
    const expected = picture.residentTokens(tokens, line.salt)
    const { usage, choices } = await post(url, '/v1/chat/completions', { model: 'smollm2', messages, max_tokens: 16, temperature: 0, ...extra })
    line.cachedTokens = usage.prompt_tokens_details?.cached_tokens ?? 0
    rows.push({ name, promptTokens: usage.prompt_tokens, expected, actual: line.cachedTokens, known: wholeSteps(line.cachedTokens, blockTokens) })
    await picture.settled()
    return choices[0].message.content
  }
  const sessions = Array.from({ length: 1 + Math.max(...order) }, (_, at) => session(at, at + 1))
  for (const at of order) {
    const messages = sessions[at]
    const content = await ask(messages, `session ${at}, turn ${messages.length / 2}`)
    messages.push({ role: 'assistant', content }, { role: 'user', content: `Go on: ${words(at + 5, 30)}` })
  }
  for (let round = 0; round < 2; round++) await ask(session(0, 1), `with a salt, ${round + 1}`, { cache_salt: 'tenantA' })
  await engine.clear()
  await picture.settled()
  await ask(session(0, 1), 'cleared, first question')
  await ask(session(0, 1), 'cleared, second question')
  const { counts } = picture.blocks
  await picture.close()
  return { rows, lines, counts }
}

/**
 * A gateway before the engine. `kvEvents` is what the backend's section adds to the address of its events, null for none:
 * history decides; `more` are other keys of it.
 */
async function gatewayBefore({ url, endpoint, replay, clear, name }, kvEvents, more) {
  await clear()
  const backends = [{ id: name, url, ...(kvEvents === null ? {} : { kv_events: { endpoint, replay, topic: 'kv-events', ...kvEvents } }), ...more }]
  const text = JSON.stringify({ listen: '127.0.0.1:0', store: 'memory', log: { level: 'silent' }, backends })
  const gateway = await startGateway(loadConfig({ text, env: {} }), { version: 'prove' })
  await gateway.fleet.firstProbeDone
  await pause(1000)
  const rows = []
  /** Asks, adds what the receipt says to `rows`, and returns the answer's id. */
  const ask = async (name, input, previous) => {
    const answer = await post(gateway.url, '/v1/responses', {
      model: 'smollm2', input, max_output_tokens: 16, temperature: 0, instructions: `You are a helpful assistant. ${words(0, 40)}`,
      ...(previous === null ? {} : { previous_response_id: previous }),
    })
    const decision = await (await fetch(`${gateway.url}/homing/v1/responses/${answer.id}/decision`)).json()
    rows.push({ name, promptTokens: decision.prompt_tokens.actual, expected: decision.cached_tokens.expected, actual: decision.cached_tokens.actual })
    await pause(400)
    return answer.id
  }
  const end = async () => {
    const { data } = await (await fetch(`${gateway.url}/homing/v1/backends`)).json()
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
    await gateway.close(0)
    return { rows, engine: data[0].engine, events: data[0].kv_events, exactness: metrics.split('\n').filter(line => line.startsWith('homing_kv_exactness')) }
  }
  return { ask, end }
}

/**
 * Conversations through the gateway, with a second client that asks the engine past it: expected cached tokens of the
 * receipts against the answers'.
 */
export async function askThroughGateway(engine, kvEvents, more = {}) {
  const { url } = engine
  const { ask, end } = await gatewayBefore(engine, kvEvents, more)
  const last = []
  for (const at of [0, 1, 2]) last[at] = await ask(`conversation ${at}, turn 1`, `Session ${at}: ${words(at + 1, 200)}`, null)
  for (const at of [0, 1, 2]) last[at] = await ask(`conversation ${at}, turn 2`, `Go on: ${words(at + 5, 30)}`, last[at])
  for (let foreign = 0; foreign < 5; foreign++) {
    await post(url, '/v1/chat/completions', { model: 'smollm2', messages: session(`foreign ${foreign}`, 20 + foreign), max_tokens: 4, temperature: 0 })
  }
  await pause(700)
  for (const at of [0, 1, 2]) last[at] = await ask(`conversation ${at}, turn 3, after foreign load`, `And: ${words(at + 9, 30)}`, last[at])
  for (const at of [0, 1, 2]) last[at] = await ask(`conversation ${at}, turn 4`, `Then: ${words(at + 2, 20)}`, last[at])
  return end()
}

/** Three conversations whose turns are asked at the same time: their blocks are stored among each other's. */
export async function askAtOnce(engine, kvEvents) {
  const { ask, end } = await gatewayBefore(engine, kvEvents, {})
  const last = [null, null, null]
  for (let turn = 1; turn <= 4; turn++) {
    const asked = last.map((previous, at) => ask(`conversation ${at}, turn ${turn}`, turn === 1 ? `Session ${at}: ${words(at + 1, 100 + 20 * at)}` : `Go on: ${words(at + turn, 25)}`, previous))
    last.splice(0, 3, ...await Promise.all(asked))
  }
  return end()
}

export const table = rows => [
  '| question | prompt tokens | expected cached | cached |', '|---|---|---|---|',
  ...rows.map(({ name, promptTokens, expected, actual }) => `| ${name} | ${promptTokens} | ${expected} | ${actual} |`),
].join('\n')
export const errorOf = rows => rows.reduce((sum, { expected, actual }) => sum + Math.abs(expected - actual), 0) / rows.reduce((sum, { promptTokens }) => sum + promptTokens, 0)
export const percent = share => `${(100 * share).toFixed(1)} %`
