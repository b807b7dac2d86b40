// Prompt tokens computed by a real llama.cpp fleet behind the gateway: `npm run bench:llamacpp`.
//
//   node bench/llamacpp-fleet.mjs [--conversations 12,20] [--rounds 1] [--out FILE]
//
// Interleaved conversations of four turns, two at a time, each with a system prompt of its own of about 250 tokens, on three
// engines of 4 slots x 2,048 tokens that keep nothing but their slots (`cache_ram_mib` 0). The load is almost idle, so work
// in flight says nothing about where to go; an engine drops a whole conversation when a fifth one comes.
//
//   perfect   every token computed once: a turn computes what its predecessor did not leave, prompt(t) - prompt(t-1) - answer(t-1) + 1
//             (the last generated token is never computed by the turn that generated it)
//
// Ways: `responses` sends the new question and `previous_response_id`, `chat` the whole history each time, both through the
// gateway; `round-robin` and `best` go past it, by turn and by conversation dealt out evenly. Every pass has prompts that no
// cache has seen and begins with engines that were just started. Ratios of tokens, no times: the machine does not matter.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'

import { startEngines, stopEngines } from '../scripts/engine/fleet.mjs'
import { ensureEngine } from '../scripts/engine/install.mjs'
import { ROOT } from '../scripts/ensure-built.mjs'

const ENGINES = 3
const SLOTS = 4
const TURNS = 4
const AT_ONCE = 2
const ANSWER_TOKENS = 12
const TURN_TIMEOUT_MS = 120_000

const today = new Date().toISOString().slice(0, 10)
const { values } = parseArgs({
  options: {
    conversations: { type: 'string', default: '12,20' },
    rounds: { type: 'string', default: '1' },
    ways: { type: 'string', default: 'responses,chat,best,round-robin' },
    out: { type: 'string', default: `bench/records/llamacpp-fleet-${today}.md` },
  },
})
const say = text => process.stderr.write(`llamacpp-fleet: ${text}\n`)

const WORDS = 'harbour map tide lamp rope ledger anchor pilot storm cargo signal bridge ferry island captain letter quay crane barrel compass'.split(' ')

function seeded(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

/** About 250 tokens in one pass's own words: distinct from the first word on. */
function conversation(pass, index) {
  const random = seeded(1000 * pass + index)
  const word = () => WORDS[Math.floor(random() * WORDS.length)]
  const sentences = Array.from({ length: 20 }, () => `The ${word()} keeps the ${word()} near the ${word()} of the ${word()}.`)
  const system = `Talk ${pass}-${index} about the ${word()}. ${sentences.join(' ')} You answer in one short sentence.`
  const questions = Array.from({ length: TURNS }, (_, turn) => `Question ${turn + 1}: what does the ${word()} know about the ${word()}?`)
  return { system, questions }
}

/** In each round every conversation has one turn, in an order of the round's own. */
function orderOf(count, random) {
  const order = Array.from({ length: count }, (_, index) => index)
  for (let at = count - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1))
    ;[order[at], order[other]] = [order[other], order[at]]
  }
  return order
}

async function post(url, body) {
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body), signal: AbortSignal.timeout(TURN_TIMEOUT_MS) })
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}: ${text.slice(0, 300)}`)
  return { backend: response.headers.get('x-homing-backend'), reason: response.headers.get('x-homing-reason'), body: JSON.parse(text) }
}

async function askChat(url, model, messages) {
  const { backend, reason, body } = await post(`${url}/v1/chat/completions`, { model, messages, temperature: 0, max_tokens: ANSWER_TOKENS })
  const { usage } = body
  return { backend, reason, prompt: usage.prompt_tokens, cached: usage.prompt_tokens_details.cached_tokens, output: usage.completion_tokens, text: body.choices[0].message.content ?? '' }
}

async function askResponses(url, model, talk, turn, previousId) {
  const { backend, reason, body } = await post(`${url}/v1/responses`, {
    model, instructions: talk.system, input: talk.questions[turn], temperature: 0, max_output_tokens: ANSWER_TOKENS,
    ...(previousId === undefined ? {} : { previous_response_id: previousId }),
  })
  const { usage } = body
  return { backend, reason, prompt: usage.input_tokens, cached: usage.input_tokens_details.cached_tokens, output: usage.output_tokens, id: body.id }
}

/** One way of asking: `(talk, index, turn) => answer`; it keeps what it needs of earlier turns. */
function wayOf(name, gateway, engines, model) {
  const histories = new Map()
  const previous = new Map()
  let next = 0
  const chat = async (url, talk, index, turn) => {
    const messages = histories.get(index) ?? [{ role: 'system', content: talk.system }]
    messages.push({ role: 'user', content: talk.questions[turn] })
    const answer = await askChat(url, model, messages)
    messages.push({ role: 'assistant', content: answer.text })
    histories.set(index, messages)
    return answer
  }
  if (name === 'chat') return (talk, index, turn) => chat(gateway, talk, index, turn)
  if (name === 'best') return async (talk, index, turn) => ({ ...(await chat(engines[index % ENGINES].url, talk, index, turn)), backend: `engine ${index % ENGINES}` })
  if (name === 'round-robin') return (talk, index, turn) => chat(engines[next++ % ENGINES].url, talk, index, turn)
  if (name !== 'responses') throw new Error(`unknown way '${name}'`)
  return async (talk, index, turn) => {
    const answer = await askResponses(gateway, model, talk, turn, previous.get(index))
    previous.set(index, answer.id)
    return answer
  }
}

async function pass(name, count, number, setup) {
  const folder = mkdtempSync(join(tmpdir(), 'homing-llamacpp-'))
  const { installed } = setup
  try {
    const engines = await startEngines({ dir: folder, count: ENGINES, slots: SLOTS, contextTokens: SLOTS * 2048, engine: installed, stopWith: process.pid })
    const through = name === 'responses' || name === 'chat'
    const gateway = through ? await startGateway(engines) : null
    try {
      return await talkAll(wayOf(name, gateway?.url, engines, engines[0].model), count, number)
    } finally {
      await gateway?.stop()
    }
  } finally {
    await stopEngines(folder)
    rmSync(folder, { recursive: true, force: true })
  }
}

async function talkAll(ask, count, number) {
  const talks = Array.from({ length: count }, (_, index) => conversation(number, index))
  const random = seeded(number)
  const last = new Map()
  const sums = { prompt: 0, computed: 0, perfect: 0, moves: 0, firsts: new Map() }
  for (let turn = 0; turn < TURNS; turn++) {
    const order = orderOf(count, random)
    for (let at = 0; at < count; at += AT_ONCE) {
      await Promise.all(order.slice(at, at + AT_ONCE).map(async index => {
        const answer = await ask(talks[index], index, turn)
        const before = last.get(index)
        sums.prompt += answer.prompt
        sums.computed += answer.prompt - answer.cached
        sums.perfect += before === undefined ? answer.prompt : Math.max(1, answer.prompt - before.prompt - before.output + 1)
        if (before === undefined) sums.firsts.set(answer.backend, (sums.firsts.get(answer.backend) ?? 0) + 1)
        else if (before.backend !== answer.backend) sums.moves++
        if (process.env.BENCH_VERBOSE) say(`turn ${turn + 1} of talk ${index}: ${answer.backend} ${answer.reason} prompt ${answer.prompt} cached ${answer.cached}`)
        last.set(index, answer)
      }))
    }
  }
  return { ...sums, ratio: sums.computed / sums.perfect, spread: [...sums.firsts.values()].sort((a, b) => b - a).join('/') }
}

async function startGateway(engines) {
  const child = spawn(process.execPath, [join(ROOT, 'dist/src/main.js'), 'serve', '--listen', '127.0.0.1:0', '--store', 'memory', '--log-level', 'silent', ...engines.flatMap(({ url }) => ['--backend', url])], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = new Promise(resolve => child.once('exit', resolve))
  let said = ''
  child.stdout.on('data', data => (said += String(data)))
  const deadline = Date.now() + TURN_TIMEOUT_MS
  for (;;) {
    const url = /serves (http:\/\/[\d.:]+)/.exec(said)?.[1]
    if (url !== undefined && (await fetch(`${url}/readyz`)).status === 200) return { url, stop: async () => { child.kill('SIGTERM'); await exited } }
    if (child.exitCode !== null || Date.now() > deadline) throw new Error('the gateway did not start')
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}

const installed = await ensureEngine(say)
const rows = []
let number = 0
for (const count of values.conversations.split(',').map(Number)) {
  for (const name of values.ways.split(',')) {
    for (let round = 0; round < Number(values.rounds); round++) {
      const result = await pass(name, count, ++number, { installed })
      say(`${count} conversations, ${name}: ${result.computed} of ${result.prompt} computed, ${result.ratio.toFixed(2)}x of perfect (${result.perfect}), spread ${result.spread}, ${result.moves} moves`)
      rows.push(`| ${count} | ${name} | ${result.prompt} | ${result.computed} | ${result.perfect} | ${result.ratio.toFixed(2)} | ${result.spread} | ${result.moves} |`)
    }
  }
}
const text = `# llama.cpp fleet, ${today}

\`npm run bench:llamacpp -- --conversations ${values.conversations} --rounds ${values.rounds}\`: ${ENGINES} engines of ${SLOTS} slots x 2,048 tokens (SmolLM2-135M, llama.cpp's own server), conversations of
${TURNS} turns, ${AT_ONCE} at a time, system prompts of their own. *Perfect*: every token computed once. \`best\` deals conversations out evenly and
\`round-robin\` turns, both past the gateway. Node ${process.version}, ${cpus()[0]?.model ?? 'unknown processor'}.

| conversations | way | prompt tokens | computed | perfect | ratio | first turns an engine | moves |
|---|---|---|---|---|---|---|---|
${rows.join('\n')}
`
mkdirSync(dirname(values.out), { recursive: true })
writeFileSync(values.out, text)
process.stdout.write(`${values.out}\n`)
