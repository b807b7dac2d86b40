// npm run bench:soak [-- --turns 20000 --build dist]
//
// Many short turns of all kinds through one gateway (in this process, memory store of 4 MiB, a scripted engine), some of
// them cancelled or failing. After each tenth part the heap is measured behind a full collection. What may grow is what
// /metrics counts, each with its bound; the script fails when a turn leaves more behind than those entries explain.
import { createServer } from 'node:http'
import { join, resolve, dirname } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const text = { type: 'string' }
const { values } = parseArgs({ options: { turns: text, build: text } })
const TURNS = Number(values.turns ?? 20_000)
const BUILD = resolve(ROOT, values.build ?? 'dist')
/** Sessions that the turns belong to: chains and histories are continued, not begun anew. */
const SESSIONS = 64
/** What the entries of the counted state may cost together, bytes per turn. A receipt is about 2 KB, a lineage entry 1 KB. */
const ALLOWED_BYTES_PER_TURN = 6144

const chunk = (delta, finish = null) => `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
const usage = `data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 40, completion_tokens: 2, total_tokens: 42, prompt_tokens_details: { cached_tokens: 32 } } })}\n\n`
let asked = 0
const engine = createServer((request, response) => {
  if (request.method === 'GET') {
    if (request.url === '/v1/models') return response.writeHead(200, { 'content-type': 'application/json' }).end('{"object":"list","data":[{"id":"m","owned_by":"vllm","max_model_len":8192}]}')
    return response.writeHead(request.url === '/health' ? 200 : request.url === '/v1/chat/completions' ? 405 : 404).end()
  }
  request.resume().on('end', () => {
    asked++
    if (asked % 50 === 0) return response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":{"message":"no"}}')
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    if (asked % 50 === 1) return response.end(chunk({ content: 'half' }))
    if (asked % 50 === 2) return response.write(chunk({ content: 'half, and then nothing more' }))
    response.end(chunk({ content: 'Yes.' }) + chunk({}, 'stop') + usage + 'data: [DONE]\n\n')
  })
})
await new Promise(done => engine.listen(0, '127.0.0.1', done))

const { startGateway } = await import(pathToFileURL(join(BUILD, 'src', 'compose.js')))
const { loadConfig } = await import(pathToFileURL(join(BUILD, 'src', 'config.js')))
const gateway = await startGateway(loadConfig({
  text: JSON.stringify({ listen: '127.0.0.1:0', store: { memory: true, max_bytes: '4MiB' }, log: { level: 'silent' }, backends: [{ url: `http://127.0.0.1:${engine.address().port}` }] }), env: {},
}), { version: 'soak' })
await gateway.fleet.firstProbeDone

const parents = Array.from({ length: SESSIONS }, () => null)
async function turn(i) {
  const session = i % SESSIONS
  const stream = i % 3 === 0
  const chat = i % 5 === 0
  const leave = new AbortController()
  const body = chat
    ? { model: 'm', stream, messages: [{ role: 'user', content: `session ${session}` }] }
    : { model: 'm', stream, input: `turn ${i % 8}`, store: i % 7 !== 0, ...(parents[session] === null ? {} : { previous_response_id: parents[session] }) }
  const patience = setTimeout(() => leave.abort(), 300)
  try {
    const response = await fetch(`${gateway.url}${chat ? '/v1/chat/completions' : '/v1/responses'}`, { method: 'POST', body: JSON.stringify(body), signal: leave.signal, headers: { 'x-homing-session': `s${session}` } })
    const answer = await response.text()
    if (!chat) {
      const id = /resp_[0-9a-f]{48}/.exec(answer)?.[0] ?? null
      // eight turns deep, then from the start: contexts stay short
      parents[session] = body.store && response.status === 200 && i % (SESSIONS * 8) >= SESSIONS && /"status":"completed"/.test(answer) ? id : null
    }
  } catch {
    parents[session] = null
  } finally {
    clearTimeout(patience)
  }
}

const sizes = async () => Object.fromEntries([...(await (await fetch(`${gateway.url}/metrics`)).text()).matchAll(/homing_state_size\{what="(\w+)"\} (\d+)/g)].map(([, what, value]) => [what, Number(value)]))
const rows = []
const part = Math.ceil(TURNS / 10)
let next = 0
for (let tenth = 0; tenth < 10; tenth++) {
  const end = Math.min(TURNS, next + part)
  await Promise.all(Array.from({ length: 16 }, async () => {
    while (next < end) await turn(next++)
  }))
  global.gc()
  global.gc()
  const state = await sizes()
  rows.push({ turns: next, heapMiB: process.memoryUsage().heapUsed / 2 ** 20, rssMiB: process.memoryUsage().rss / 2 ** 20, ...state })
}
console.log('| turns | heap, MiB | rss, MiB | responses | receipts | lineages | sessions | index blocks |\n|---|---|---|---|---|---|---|---|')
for (const row of rows) console.log(`| ${row.turns} | ${row.heapMiB.toFixed(1)} | ${row.rssMiB.toFixed(0)} | ${row.store_responses} | ${row.receipts} | ${row.lineages} | ${row.sessions} | ${row.block_index_blocks} |`)
const [first, last] = [rows[1], rows.at(-1)]
const perTurn = ((last.heapMiB - first.heapMiB) * 2 ** 20) / (last.turns - first.turns)
const running = (await (await fetch(`${gateway.url}/homing/v1/backends`)).json()).data[0].running_requests
console.log(`\n${perTurn.toFixed(0)} bytes of heap a turn (allowed ${ALLOWED_BYTES_PER_TURN}); ${running} requests still counted as running`)
gateway.abort()
await gateway.close(0)
engine.close()
engine.closeAllConnections()
process.exit(perTurn < ALLOWED_BYTES_PER_TURN && running === 0 ? 0 : 1)
