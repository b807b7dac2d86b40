// Proof on a real engine: a long prompt computed in pieces is cached where the turn finds it, and short turns pass meanwhile.
//
//   npm run build && node scripts/prove/vllm-pieces.mjs [--dir .engines/vllm] [--url URL] [--record FILE]
//
// One vLLM on the CPU and `homing serve` before it, once as it is and once with `chunked_prefill: false`, each from an
// empty cache: conversations continue (a backend is trusted with pieces once it has shown cached tokens), short turns come
// every 300 ms, and among them a document by Chat and another one by Responses. Exits with 1 where a check fails.
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { post, say } from './kv-proof.mjs'
import { installVllm, startVllm } from './vllm.mjs'

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const BLOCK_TOKENS = 32
const PROMPT_TOKENS = 6900
const EVERY_MS = 300
const WARM_MS = 20_000
const pause = ms => new Promise(done => setTimeout(done, ms))

const SYSTEM = 'You are a careful assistant. You read what you are given, answer in plain sentences, and say so where a text does not tell what was asked.'
const pages = names => names.map(name => readFileSync(join(ROOT, 'docs', name), 'utf8')).join('\n\n')
const STEM = pages(['operations.md']).slice(0, 1400)
/** What the short turns have in common: about 350 tokens, asked first by the conversations. */
const short = at => [
  { role: 'system', content: SYSTEM },
  { role: 'user', content: `${STEM}\n\nQuestion ${at}: what is line ${at * 7 % 19} about?` },
]

/** Two turns before a document that ends where the prompt has about `PROMPT_TOKENS`. */
async function longPrompt(url, text) {
  const messages = document => [
    { role: 'system', content: SYSTEM },
    { role: 'user', content: 'I have a document about a gateway. Can you help me to read it?' },
    { role: 'assistant', content: 'Yes. Send me the text, and tell me what you want to know.' },
    { role: 'user', content: `${document}\n\nSummarize the document in one sentence.` },
  ]
  const count = async document => (await post(url, '/tokenize', { model: 'smollm2', messages: messages(document) })).tokens.length
  let length = Math.min(text.length, 3 * PROMPT_TOKENS)
  for (let round = 0; round < 4; round++) length = Math.min(text.length, Math.floor(length * PROMPT_TOKENS / await count(text.slice(0, length))))
  return messages(text.slice(0, length))
}

/** A streamed answer by Chat: its text, usage, id and the time to its first token. */
async function stream(url, path, body) {
  const sentMs = performance.now()
  const response = await fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ ...body, stream: true }) })
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`)
  const answer = { text: '', usage: null, id: null, ttftMs: null, headers: response.headers }
  const read = event => {
    const delta = event.choices?.[0]?.delta?.content
    if (typeof delta === 'string' && delta !== '') {
      answer.ttftMs ??= performance.now() - sentMs
      answer.text += delta
    }
    answer.id ??= event.id ?? null
    answer.usage = event.usage ?? answer.usage
  }
  let rest = ''
  const decoder = new TextDecoder()
  for await (const chunk of response.body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop()
    for (const line of lines) if (line.startsWith('data: ') && !line.includes('[DONE]')) read(JSON.parse(line.slice(6)))
  }
  return answer
}

/** The same of an answer that comes at once: its head is written when everything is known. */
async function ask(url, path, body) {
  const sentMs = performance.now()
  const response = await fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
  const { id, usage, output, error } = await response.json()
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${JSON.stringify(error)}`)
  const text = output.flatMap(({ content }) => content ?? []).map(part => part.text ?? '').join('')
  return { text, usage, id, ttftMs: performance.now() - sentMs, headers: response.headers }
}

const chatBody = (messages, tokens) => ({ model: 'smollm2', messages, max_tokens: tokens, temperature: 0, stream_options: { include_usage: true } })
const responsesBody = ([system, ...messages], tokens) => ({
  model: 'smollm2', instructions: system.content, input: messages.map(message => ({ type: 'message', ...message })), max_output_tokens: tokens, temperature: 0,
})
const ANSWER_TOKENS = 24

async function serve(backendUrl, chunked) {
  const directory = mkdtempSync(join(tmpdir(), 'homing-pieces-'))
  const file = join(directory, 'homing.json')
  writeFileSync(file, JSON.stringify({ chunked_prefill: chunked, backends: [{ id: 'vllm', url: backendUrl }] }))
  const child = spawn(process.execPath, [join(ROOT, 'dist/src/main.js'), 'serve', '-c', file, '--store', 'memory', '--listen', '127.0.0.1:0', '--log-level', 'warn'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise(done => child.once('exit', done))
  const url = await new Promise((found, failed) => {
    let text = ''
    child.once('exit', code => failed(new Error(`homing ended with ${code}`)))
    child.stdout.on('data', chunk => {
      text += chunk
      const match = /serves (\S+) from/.exec(text)
      if (match !== null) found(match[1])
    })
  })
  const stop = async () => {
    child.kill('SIGTERM')
    await ended
    rmSync(directory, { recursive: true })
  }
  return { url, stop }
}

const countersOf = async url => Object.fromEntries((await (await fetch(`${url}/metrics`)).text()).split('\n')
  .filter(line => line.startsWith('homing_prefill_piece')).map(line => line.replace('homing_prefill_', '').split(' ')).map(([name, value]) => [name, Number(value)]))

/** The whole course through one gateway. */
async function course(engine, chunked, prompts) {
  await post(engine.url, '/reset_prefix_cache', {})
  const gateway = await serve(engine.url, chunked)
  try {
    await pause(1500)
    for (let conversation = 0; conversation < 2; conversation++) {
      const messages = short(conversation)
      for (let turn = 0; turn < 3; turn++) {
        const { text } = await stream(gateway.url, '/v1/chat/completions', chatBody(messages, 8))
        messages.push({ role: 'assistant', content: text }, { role: 'user', content: 'Go on.' })
      }
    }
    const turns = []
    const running = new Set()
    let at = 2
    const timer = setInterval(() => {
      const turn = { atMs: performance.now(), ttftMs: null, failed: null }
      turns.push(turn)
      const asked = stream(gateway.url, '/v1/chat/completions', chatBody(short(at++), 2))
        .then(({ ttftMs }) => { turn.ttftMs = ttftMs }, error => { turn.failed = error.message })
        .finally(() => running.delete(asked))
      running.add(asked)
    }, EVERY_MS)
    const long = []
    await pause(WARM_MS)
    for (const { api, messages } of prompts) {
      const fromMs = performance.now()
      const answer = api === 'Chat'
        ? await stream(gateway.url, '/v1/chat/completions', chatBody(messages, ANSWER_TOKENS))
        : await ask(gateway.url, '/v1/responses', responsesBody(messages, ANSWER_TOKENS))
      const untilMs = fromMs + answer.ttftMs
      long.push({ api, fromMs, untilMs, ...answer })
      await pause(3000)
    }
    clearInterval(timer)
    await Promise.all(running)
    for (const answer of long) {
      answer.receipt = await (await fetch(`${gateway.url}/homing/v1/responses/${answer.id}/decision`)).json()
      answer.beside = turns.filter(({ atMs }) => atMs >= answer.fromMs && atMs < answer.untilMs)
    }
    const alone = turns.filter(({ atMs }) => long.every(({ fromMs, untilMs }) => atMs < fromMs - 3000 || atMs > untilMs))
    return { long, alone, failed: turns.filter(({ failed }) => failed !== null), counters: await countersOf(gateway.url) }
  } finally {
    await gateway.stop()
  }
}

const cachedIn = usage => (usage.prompt_tokens_details ?? usage.input_tokens_details)?.cached_tokens ?? null
const sorted = turns => turns.map(({ ttftMs }) => ttftMs).filter(ms => ms !== null).sort((a, b) => a - b)
const mean = turns => sorted(turns).reduce((sum, ms) => sum + ms, 0) / Math.max(1, sorted(turns).length)
const quantile = (turns, q) => sorted(turns)[Math.max(0, Math.ceil(q * sorted(turns).length) - 1)] ?? NaN
const ms = value => `${Math.round(value)} ms`

async function main() {
  const option = { type: 'string' }
  const { values } = parseArgs({ options: { dir: option, url: option, record: option, port: option } })
  const directory = resolve(values.dir ?? `${ROOT}/.engines/vllm`)
  const engine = values.url === undefined
    ? await startVllm({ directory, root: ROOT, model: installVllm(directory, ROOT, say), port: Number(values.port ?? 9111), say, contextTokens: 8192, blocks: 800, sequences: 16 })
    : { url: values.url, stop: async () => undefined }
  try {
    const version = (await (await fetch(`${engine.url}/version`)).json()).version
    const prompts = [
      { api: 'Chat', messages: await longPrompt(engine.url, pages(['architecture.md', 'errors.md', 'api.md', 'cache.md'])) },
      { api: 'Responses', messages: await longPrompt(engine.url, pages(['scorers.md', 'configuration.md', 'operations.md'])) },
    ]
    say('in pieces ...')
    const pieces = await course(engine, true, prompts)
    say(JSON.stringify({ counters: pieces.counters, long: pieces.long.map(({ api, usage, ttftMs, receipt, text }) => ({ api, usage, ttftMs, text, receipt })) }))
    say('whole ...')
    const whole = await course(engine, false, prompts)
    say('asking vLLM directly ...')
    await post(engine.url, '/reset_prefix_cache', {})
    const direct = []
    for (const { messages } of prompts) direct.push(await stream(engine.url, '/v1/chat/completions', chatBody(messages, ANSWER_TOKENS)))

    const checks = []
    const texts = []
    const check = (name, holds, detail) => checks.push({ name, holds, detail })
    const { counters } = pieces
    check('pieces were computed', counters.pieces_total > 0, `${counters.pieces_total} pieces of ${Math.round(counters.piece_tokens_total)} tokens`)
    check('none was lost', counters.pieces_lost_total === 0, `lost ${counters.pieces_lost_total}, turned off ${counters.pieces_turned_off_total}`)
    check('none failed', counters.pieces_failed_total === 0, `failed ${counters.pieces_failed_total}`)
    check('without them none', whole.counters.pieces_total === 0, `${whole.counters.pieces_total}`)
    check('no short turn failed', pieces.failed.length + whole.failed.length === 0, [...pieces.failed, ...whole.failed].map(({ failed }) => failed).join('; ') || '0')
    pieces.long.forEach((answer, at) => {
      const { api, receipt, headers, usage, text } = answer
      const prepared = receipt.prepared?.tokens ?? 0
      const header = headers.get('x-homing-prepared-tokens')
      check(`${api}: the receipt tells of pieces`, prepared > 0, `${prepared} of ${receipt.prompt_tokens.actual} tokens in ${receipt.prepared?.pieces} pieces, ${ms(receipt.prepared?.ms)}`)
      check(`${api}: x-homing-prepared-tokens`, header === null || Number(header) === prepared, header ?? 'not sent: the head left before the turn had its place')
      const asked = direct[at]
      check(`${api}: the prompt is as long as that of the engine asked directly`, receipt.prompt_tokens.actual === asked.usage.prompt_tokens, `${receipt.prompt_tokens.actual}, ${asked.usage.prompt_tokens}`)
      // No check: where two tokens are equally likely in bfloat16 the engine itself answers either, by what is in its batch.
      texts.push(`| ${api} | ${JSON.stringify(text)} | ${JSON.stringify(whole.long[at].text)} | ${JSON.stringify(asked.text)} |`)
      check(`${api}: cached_tokens are those before the turn`, cachedIn(usage) === cachedIn(whole.long[at].usage), `${cachedIn(usage)}, with whole prompts ${cachedIn(whole.long[at].usage)}`)
      check(`${api}: so says the receipt`, receipt.cached_tokens.actual === cachedIn(usage), `${receipt.cached_tokens.actual}`)
      const { why } = whole.long[at].receipt.cache
      check(`${api}: the account of the cache is that of a whole prompt`, receipt.cache.why === why, `${receipt.cache.why}, with whole prompts ${why}`)
    })
    const row = (name, of) => `| ${name} | ${of(whole)} | ${of(pieces)} |`
    const rows = [0, 1].flatMap(at => [
      row(`${prompts[at].api}: ${at === 0 ? 'time to first token' : 'time to the answer'} of the long turn`, ({ long }) => ms(long[at].ttftMs)),
      row(`${prompts[at].api}: short turns beside it, number`, ({ long }) => long[at].beside.length),
      row(`${prompts[at].api}: mean time to their first token`, ({ long }) => ms(mean(long[at].beside))),
      row(`${prompts[at].api}: the slowest tenth of them from`, ({ long }) => ms(quantile(long[at].beside, 0.9))),
    ])
    const besides = ({ long }) => long.flatMap(({ beside }) => beside)
    const ratio = mean(besides(whole)) / mean(besides(pieces))
    const longRatio = pieces.long.reduce((sum, { ttftMs }) => sum + ttftMs, 0) / whole.long.reduce((sum, { ttftMs }) => sum + ttftMs, 0)
    const text = [
      `# Long prompts in pieces on a real engine, ${new Date().toISOString().slice(0, 10)}`, '',
      `Command: \`node scripts/prove/vllm-pieces.mjs\`. vllm ${version} on the CPU (one thread), SmolLM2-135M, 800 blocks of ${BLOCK_TOKENS} tokens, one engine behind one gateway.`,
      `A prompt of about ${PROMPT_TOKENS} tokens by Chat and another one by Responses, beside a short turn every ${EVERY_MS} ms. The Chat answer is streamed, the Responses answer comes at once.`, '',
      '| check | holds | found |', '|---|---|---|',
      ...checks.map(({ name, holds, detail }) => `| ${name} | ${holds ? 'yes' : 'NO'} | ${detail} |`), '',
      '| text at temperature 0 | in pieces | whole | the engine asked directly |', '|---|---|---|---|', ...texts, '',
      '| | whole prompts | in pieces |', '|---|---|---|', ...rows,
      row('short turns at other times, mean', ({ alone }) => ms(mean(alone))), '',
      `Short turns beside a long prompt wait ${ratio.toFixed(2)} times as long for their first token where it is sent whole; the long turns take ${longRatio.toFixed(2)} times as long in pieces.`, '',
    ].join('\n')
    process.stdout.write(text)
    if (values.record !== undefined) writeFileSync(values.record, text)
    return checks.every(({ holds }) => holds)
  } finally {
    await engine.stop()
  }
}

process.exit(await main() ? 0 : 1)
