// Proof against the real publisher: what KV events say of a cache, compared with `cached_tokens` of vLLM's own answers.
//
//   npm run build && node scripts/prove/vllm-events.mjs [--dir .engines/vllm] [--url URL --events tcp://.. --replay tcp://..]
//        [--fixture FILE]     writes the frames and questions of the first part, for the tests
//        [--record FILE]      writes what was found
//
// 1. Directly: sessions until blocks are evicted. Before each question its tokens are looked up among the blocks that events
//    have told of; the answer says what was really cached.
// 2. Through the gateway, with a second client that asks the engine past it: expected cached tokens of the receipts, with
//    events and by history alone, against the answers'.
import { writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { Subscriber } from 'zeromq'

import { startGateway } from '../../dist/src/compose.js'
import { loadConfig } from '../../dist/src/config.js'
import { BatchDecoder } from '../../dist/src/kv/events/decode-batch.js'
import { EngineBlocks } from '../../dist/src/kv/events/engine-blocks.js'
import { HeldBlocks } from '../../dist/src/kv/events/held-blocks.js'
import { GRAIN_TOKENS, statesOf } from '../../dist/src/kv/events/token-hash.js'
import { installVllm, startVllm } from './vllm.mjs'

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const BLOCK_TOKENS = 32
const say = text => process.stderr.write(`prove: ${text}\n`)
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))
const WORDS = 'river stone lantern meadow copper violin harbor winter basket thunder'.split(' ')
const words = (seed, count) => Array.from({ length: count }, (_, i) => WORDS[(seed * 7 + i * i * 3 + i * seed) % 10]).join(' ')
const session = (name, seed) => [
  { role: 'system', content: `You are a helpful assistant. ${words(0, 40)}` },
  { role: 'user', content: `Session ${name}: ${words(seed, 260)}` },
]

async function post(url, path, body) {
  const response = await fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`)
  const text = await response.text()
  return text === '' ? null : JSON.parse(text)
}

/** The events' picture of one engine, kept in this process. */
function watch(endpoint, onFrame) {
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
    /** Tokens of the prompt that are held; an engine computes at least the last one. */
    residentTokens(tokens, salt) {
      const states = statesOf(tokens, salt)
      const step = BLOCK_TOKENS / GRAIN_TOKENS
      let resident = 0
      for (let grain = step - 1; 2 * grain < states.length; grain += step) {
        if (held.tiersOf(states[2 * grain], states[2 * grain + 1]) === 0) break
        resident = (grain + 1) * GRAIN_TOKENS
      }
      return Math.min(resident, Math.floor((tokens.length - 1) / BLOCK_TOKENS) * BLOCK_TOKENS)
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

async function directly({ url, endpoint }) {
  const lines = [{ engine: `vllm ${(await (await fetch(`${url}/version`)).json()).version}`, blockTokens: BLOCK_TOKENS }]
  const picture = watch(endpoint, (seq, payload) => lines.push({ seq, payload: payload.toString('base64') }))
  await pause(500)
  // What an engine that was used before holds is unknown here.
  await post(url, '/reset_prefix_cache', {})
  await picture.settled()
  const rows = []
  const ask = async (messages, name, extra = {}) => {
    const { tokens } = await post(url, '/tokenize', { model: 'smollm2', messages })
    const line = { ask: name, tokens, salt: extra.cache_salt ?? null, cachedTokens: 0 }
    lines.push(line)
    const expected = picture.residentTokens(tokens, line.salt)
    const { usage, choices } = await post(url, '/v1/chat/completions', { model: 'smollm2', messages, max_tokens: 16, temperature: 0, ...extra })
    line.cachedTokens = usage.prompt_tokens_details.cached_tokens
    rows.push({ name, promptTokens: usage.prompt_tokens, expected, actual: line.cachedTokens })
    await picture.settled()
    return choices[0].message.content
  }
  const sessions = Array.from({ length: 8 }, (_, at) => session(at, at + 1))
  for (const at of [0, 1, 2, 0, 3, 4, 5, 0, 6, 7, 1, 5, 0, 2, 7, 3]) {
    const messages = sessions[at]
    const content = await ask(messages, `session ${at}, turn ${messages.length / 2}`)
    messages.push({ role: 'assistant', content }, { role: 'user', content: `Go on: ${words(at + 5, 30)}` })
  }
  for (let round = 0; round < 2; round++) await ask(session(0, 1), `with a salt, ${round + 1}`, { cache_salt: 'tenantA' })
  await post(url, '/reset_prefix_cache', {})
  await picture.settled()
  // vLLM tells of the clear with its next step, so the first question after it is answered before we know.
  await ask(session(0, 1), 'cleared, first question')
  await ask(session(0, 1), 'cleared, second question')
  const { counts } = picture.blocks
  await picture.close()
  return { rows, lines, counts }
}

async function throughGateway({ url, endpoint, replay }, withEvents) {
  await post(url, '/reset_prefix_cache', {})
  const backends = [{ id: 'vllm', url, ...(withEvents ? { kv_events: { endpoint, replay, topic: 'kv-events' } } : {}) }]
  const text = JSON.stringify({ listen: '127.0.0.1:0', store: 'memory', log: { level: 'silent' }, backends })
  const gateway = await startGateway(loadConfig({ text, env: {} }), { version: 'prove' })
  await gateway.fleet.firstProbeDone
  await pause(1000)
  const rows = []
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
  const last = []
  for (const at of [0, 1, 2]) last[at] = await ask(`conversation ${at}, turn 1`, `Session ${at}: ${words(at + 1, 200)}`, null)
  for (const at of [0, 1, 2]) last[at] = await ask(`conversation ${at}, turn 2`, `Go on: ${words(at + 5, 30)}`, last[at])
  for (let foreign = 0; foreign < 5; foreign++) {
    await post(url, '/v1/chat/completions', { model: 'smollm2', messages: session(`foreign ${foreign}`, 20 + foreign), max_tokens: 4, temperature: 0 })
  }
  await pause(700)
  for (const at of [0, 1, 2]) last[at] = await ask(`conversation ${at}, turn 3, after foreign load`, `And: ${words(at + 9, 30)}`, last[at])
  for (const at of [0, 1, 2]) last[at] = await ask(`conversation ${at}, turn 4`, `Then: ${words(at + 2, 20)}`, last[at])
  const { data } = await (await fetch(`${gateway.url}/homing/v1/backends`)).json()
  await gateway.close(0)
  return { rows, events: data[0].kv_events }
}

const table = rows => [
  '| question | prompt tokens | expected cached | cached |', '|---|---|---|---|',
  ...rows.map(({ name, promptTokens, expected, actual }) => `| ${name} | ${promptTokens} | ${expected} | ${actual} |`),
].join('\n')
const errorOf = rows => rows.reduce((sum, { expected, actual }) => sum + Math.abs(expected - actual), 0) / rows.reduce((sum, { promptTokens }) => sum + promptTokens, 0)
const percent = share => `${(100 * share).toFixed(1)} %`

async function main() {
  const option = { type: 'string' }
  const { values } = parseArgs({ options: { dir: option, url: option, events: option, replay: option, fixture: option, record: option, port: option } })
  const directory = resolve(values.dir ?? `${ROOT}/.engines/vllm`)
  const engine = values.url === undefined
    ? await startVllm({ directory, root: ROOT, model: installVllm(directory, ROOT, say), port: Number(values.port ?? 9101), say })
    : { url: values.url, endpoint: values.events, replay: values.replay, stop: async () => undefined }
  try {
    say('asking vLLM directly ...')
    const direct = await directly(engine)
    if (values.fixture !== undefined) writeFileSync(values.fixture, `${direct.lines.map(line => JSON.stringify(line)).join('\n')}\n`)
    say('through the gateway, with events ...')
    const exact = await throughGateway(engine, true)
    say('through the gateway, by history ...')
    const history = await throughGateway(engine, false)
    const text = [
      `# KV events of a real engine, ${new Date().toISOString().slice(0, 10)}`, '',
      `Command: \`node scripts/prove/vllm-events.mjs\`. ${direct.lines[0].engine} on the CPU, SmolLM2-135M, 70 blocks of ${BLOCK_TOKENS} tokens.`, '',
      '## Asked directly', '',
      `Tokens found among the blocks that events told of, before each question, against the answer's \`cached_tokens\`.`,
      `Mean absolute error ${percent(errorOf(direct.rows))} (without the first question after a clear, of which vLLM tells with its next step only: ${percent(errorOf(direct.rows.filter(({ name }) => name !== 'cleared, first question')))}) of prompt tokens; ${direct.counts.stored} blocks stored, ${direct.counts.removed} removed.`, '',
      table(direct.rows), '', '## Through the gateway', '',
      'Expected cached tokens of the receipts; five foreign sessions go to the engine directly before turn 3.',
      `Mean absolute error with events ${percent(errorOf(exact.rows))}, by history ${percent(errorOf(history.rows))} of prompt tokens. State at the end: ${exact.events.state}.`, '',
      'With events:', '', table(exact.rows), '', 'By history:', '', table(history.rows), '',
    ].join('\n')
    process.stdout.write(text)
    if (values.record !== undefined) writeFileSync(values.record, text)
  } finally {
    await engine.stop()
  }
}

await main()
process.exit(0)
