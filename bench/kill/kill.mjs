// npm run bench:kill [-- --kills 120 --workers 24 --seed 1]
//
// The gateway is killed with SIGKILL at random moments under load and started again with the same store. Checked after
// each start, over HTTP and against what clients saw before: every response whose terminal event a client saw is there,
// unchanged, with its whole input, and can be continued; a response that nobody saw end is there whole or not at all; a
// conversation holds whole turns in order. At the end the store's file is checked by SQLite and read from end to end.
// The fleet is simulated (`homing simulate`); the gateway, its store and the kills are real.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const text = { type: 'string' }
const { values } = parseArgs({ options: { kills: text, workers: text, seed: text, build: text } })
const KILLS = Number(values.kills ?? 120)
const WORKERS = Number(values.workers ?? 24)
const BUILD = resolve(ROOT, values.build ?? 'dist')
/** Older responses that are looked at again after each kill, beside all new ones. */
const SAMPLE = 20

let state = Number(values.seed ?? 1) >>> 0
/** mulberry32 */
const random = () => {
  state = (state + 0x6d2b79f5) >>> 0
  let x = Math.imul(state ^ (state >>> 15), state | 1)
  x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
  return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
}
const pick = list => list[Math.floor(random() * list.length)]

const children = new Set()
function start(args, { lines = 1 } = {}) {
  const child = spawn(process.execPath, [join(BUILD, 'src', 'main.js'), ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  children.add(child)
  let complaint = ''
  child.stderr.on('data', data => (complaint += data))
  const exited = new Promise(done => child.once('exit', (code, signal) => {
    children.delete(child)
    done(signal ?? code)
  }))
  const said = []
  const ready = new Promise((done, fail) => {
    createInterface({ input: child.stdout }).on('line', line => {
      said.push(line)
      if (said.length === lines) done(said)
    })
    void exited.then(how => fail(new Error(`it ended (${how}) before it was ready: ${complaint}`)))
  })
  return { child, exited, ready }
}

const problems = { lost: 0, changed: 0, 'input differs': 0, 'not continued': 0, 'half written': 0, 'conversation broken': 0 }
const examples = []
function problem(kind, what) {
  problems[kind]++
  if (examples.length < 10) examples.push(`${kind}: ${what}`)
}

/** What clients saw. id -> { resource, input: item ids } */
const seen = new Map()
/** Ids of responses that began and whose end nobody saw. */
const unseen = new Set()
const conversations = new Map()
const count = { turns: 0, streams: 0, wholes: 0, cut: 0, keptThoughUnseen: 0, retrieved: 0, continued: 0 }

let url = ''
const call = async (method, path, body) => {
  const response = await fetch(url + path, { method, ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }) })
  const answer = await response.json()
  return { status: response.status, body: answer }
}

async function turn(body) {
  if (body.stream !== true) {
    const { status, body: resource } = await call('POST', '/v1/responses', body)
    if (status !== 200) throw new Error(`HTTP ${status}: ${JSON.stringify(resource)}`)
    count.wholes++
    return resource
  }
  const response = await fetch(`${url}/v1/responses`, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } })
  if (response.status !== 200) throw new Error(`HTTP ${response.status}: ${await response.text()}`)
  let rest = ''
  let id = null
  const decoder = new TextDecoder()
  try {
    for await (const bytes of response.body) {
      rest += decoder.decode(bytes, { stream: true })
      for (let end = rest.indexOf('\n\n'); end !== -1; end = rest.indexOf('\n\n')) {
        const data = rest.slice(0, end).split('\n').find(line => line.startsWith('data: '))?.slice(6)
        rest = rest.slice(end + 2)
        if (data === undefined || data === '[DONE]') continue
        const event = JSON.parse(data)
        if (event.type === 'response.created') unseen.add(id = event.response.id)
        if (/^response\.(completed|failed|incomplete)$/.test(event.type)) {
          count.streams++
          unseen.delete(id)
          return event.response
        }
      }
    }
  } catch {
    count.cut++
  }
  throw new Error('the stream broke')
}

async function worker(name, alive) {
  let parent = null
  let conversation = null
  const kind = name % 3 // 0: chain, streamed; 1: chain, whole; 2: conversation, streamed
  try {
    for (let i = 0; alive(); i++) {
      if (kind === 2 && (conversation === null || i % 20 === 0)) {
        conversation = (await call('POST', '/v1/conversations', {})).body.id
        conversations.set(conversation, [])
      } else if (kind !== 2 && i % 12 === 0) parent = random() < 0.5 && seen.size > 0 ? pick([...seen].slice(-200).filter(([, { depth }]) => depth !== null).map(([id]) => id)) ?? null : null
      const marker = `worker ${name} turn ${i} ${random()}`
      const resource = await turn({
        model: 'homing-sim', input: `${marker} ${'and so on '.repeat(Math.floor(random() * 40))}`, max_output_tokens: 1 + Math.floor(random() * 24), stream: kind !== 1,
        ...(kind === 2 ? { conversation } : parent === null ? {} : { previous_response_id: parent }),
      })
      count.turns++
      seen.set(resource.id, { resource, marker, parent: kind === 2 ? null : parent, depth: kind === 2 ? null : 1 + (parent === null ? 0 : (seen.get(parent)?.depth ?? 0)) })
      if (kind === 2) conversations.get(conversation).push(resource.id)
      if (resource.status === 'failed') throw new Error('failed')
      parent = resource.id
    }
  } catch (error) {
    if (alive()) problem('not continued', `worker ${name}: ${error.message}`)
  }
}

async function inputOf(id) {
  const items = []
  for (let after = ''; ;) {
    const { status, body } = await call('GET', `/v1/responses/${id}/input_items?order=asc&limit=100${after}`)
    if (status !== 200) return null
    items.push(...body.data)
    if (!body.has_more) return items
    after = `&after=${body.last_id}`
  }
}

const textsOf = items => items.flatMap(item => (item.content ?? []).map(part => part.text))

async function check(id) {
  const { resource, marker, parent, depth } = seen.get(id)
  const { status, body } = await call('GET', `/v1/responses/${id}`)
  if (status !== 200) return problem('lost', id)
  count.retrieved++
  try {
    assert.deepEqual(body, resource)
  } catch {
    return problem('changed', id)
  }
  const input = await inputOf(id)
  if (input === null || !input.at(-1)?.content?.[0]?.text.startsWith(marker)) return problem('input differs', id)
  if (depth !== null && input.length !== 2 * depth - 1) return problem('input differs', `${id} has ${input.length} items at depth ${depth}`)
  if (parent !== null && JSON.stringify(textsOf(seen.get(parent).resource.output)) !== JSON.stringify(textsOf(input.slice(-2, -1)))) return problem('input differs', id)
  if (resource.status === 'failed') return
  const next = await call('POST', '/v1/responses', { model: 'homing-sim', input: 'more', previous_response_id: id, max_output_tokens: 1, store: false })
  if (next.status !== 200) return problem('not continued', `${id}: ${JSON.stringify(next.body)}`)
  count.continued++
}

async function checkUnseen(id) {
  const { status, body } = await call('GET', `/v1/responses/${id}`)
  if (status === 404) return
  count.keptThoughUnseen++
  const input = await inputOf(id)
  const next = await call('POST', '/v1/responses', { model: 'homing-sim', input: 'more', previous_response_id: id, max_output_tokens: 1, store: false })
  const whole = ['completed', 'incomplete'].includes(body.status) && body.output.length > 0 && body.usage !== null && input?.length > 0 && next.status === 200
  if (!whole && body.status !== 'failed') problem('half written', `${id} is ${body.status}`)
}

async function checkConversation(id, turns) {
  const items = []
  for (let after = ''; ;) {
    const { status, body } = await call('GET', `/v1/conversations/${id}/items?order=asc&limit=100${after}`)
    if (status !== 200) return problem('conversation broken', `${id}: HTTP ${status}`)
    items.push(...body.data)
    if (!body.has_more) break
    after = `&after=${body.last_id}`
  }
  if (items.length % 2 !== 0 || items.some((item, index) => item.role !== (index % 2 === 0 ? 'user' : 'assistant'))) return problem('conversation broken', `${id} holds part of a turn`)
  const expected = turns.flatMap(turn => seen.get(turn).resource.output.map(item => item.id))
  const there = items.filter((_, index) => index % 2 === 1).map(item => item.id)
  // one more than the client saw is right: that turn was stored, and the kill came before its last event
  if (JSON.stringify(there.slice(0, expected.length)) !== JSON.stringify(expected) || there.length > expected.length + 1) problem('conversation broken', `${id} has other turns`)
}

async function inParallel(list, width, work) {
  const queue = [...list]
  await Promise.all(Array.from({ length: width }, async () => {
    while (queue.length > 0) await work(queue.pop())
  }))
}

async function until(holds) {
  while (!(await holds().catch(() => false))) await new Promise(done => setTimeout(done, 10))
}

const folder = mkdtempSync(join(tmpdir(), 'homing-kill-'))
const startMs = []
const killedAfterMs = []
const began = performance.now()
try {
  const fleet = start(['simulate', '--backends', '3', '--port', '0', '--time-factor', '100'], { lines: 3 })
  const backends = (await fleet.ready).flatMap(line => ['--backend', line.trim()])
  let checked = 0
  let conversationsChecked = 0
  for (let kill = 0; kill <= KILLS; kill++) {
    const startedAt = performance.now()
    const gateway = start(['serve', '--listen', '127.0.0.1:0', '--store', folder, '--log-level', 'silent', ...backends])
    url = /http:\/\/\S+/.exec((await gateway.ready)[0])[0]
    await until(async () => (await fetch(`${url}/readyz`)).ok)
    startMs.push(performance.now() - startedAt)

    const ids = [...seen.keys()]
    await inParallel([...ids.slice(checked), ...Array.from({ length: Math.min(SAMPLE, checked) }, () => ids[Math.floor(random() * checked)])], 8, check)
    checked = ids.length
    await inParallel(unseen, 8, checkUnseen)
    unseen.clear()
    const talks = [...conversations]
    await inParallel(talks.slice(conversationsChecked), 8, ([id, turns]) => checkConversation(id, turns))
    conversationsChecked = talks.length
    if (kill === KILLS) {
      gateway.child.kill('SIGTERM')
      assert.equal(await gateway.exited, 0)
      break
    }

    let running = true
    const workers = Array.from({ length: WORKERS }, (_, name) => worker(name, () => running))
    const patience = 20 + random() * 600
    killedAfterMs.push(patience)
    await Promise.race([new Promise(done => setTimeout(done, patience)), Promise.all(workers)])
    running = false
    gateway.child.kill('SIGKILL')
    assert.equal(await gateway.exited, 'SIGKILL')
    await Promise.all(workers)
    if ((kill + 1) % 10 === 0) process.stderr.write(`${kill + 1} kills, ${seen.size} responses seen, ${examples.length} problems\n`)
  }
  fleet.child.kill('SIGTERM')
  await fleet.exited

  const { openSqliteStore } = await import(pathToFileURL(join(BUILD, 'src', 'conversation', 'sqlite-store.js')))
  const store = await openSqliteStore({ directory: folder, nowMs: Date.now })
  const all = await store.recentResponses(1_000_000)
  for (const response of all) {
    const items = await store.getItems(response.tenant, [...response.inputItemIds, ...response.outputItemIds])
    if (items.includes(null)) problem('half written', `${response.id} names an item that is not there`)
  }
  const stats = store.stats()
  await store.close()
  const { DatabaseSync } = await import('@photostructure/sqlite')
  const { readdirSync } = await import('node:fs')
  const integrity = readdirSync(folder).filter(file => /\.(db|sqlite3?)$/.test(file)).map(file => {
    const database = new DatabaseSync(join(folder, file))
    const [row] = database.prepare('PRAGMA integrity_check').all()
    database.close()
    return `${file}: ${Object.values(row)[0]}`
  })
  if (integrity.length === 0 || integrity.some(line => !line.endsWith(': ok'))) problem('half written', `integrity check: ${integrity.join(', ')}`)

  const at = (list, share) => Math.round(list.toSorted((a, b) => a - b)[Math.floor(share * (list.length - 1))])
  const rows = [
    ['kills (SIGKILL), after 20-620 ms of load', KILLS],
    ['clients at once', WORKERS],
    ['turns whose end a client saw', `${count.turns} (${count.streams} streamed, ${count.wholes} whole)`],
    ['responses looked up after a restart', count.retrieved],
    ['of these continued', count.continued],
    ['streams cut by a kill', count.cut],
    ['of these stored whole before the kill', count.keptThoughUnseen],
    ['conversations checked', conversations.size],
    ['responses and items in the store at the end', `${stats.responses}, ${stats.items}`],
    ['start to ready, p50 / max', `${at(startMs, 0.5)} / ${at(startMs, 1)} ms`],
    ['SQLite integrity check', integrity.join(', ')],
    ...Object.entries(problems),
  ]
  console.log(`node ${process.version}, ${cpus().length} x ${cpus()[0].model}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform}; ${Math.round((performance.now() - began) / 1000)} s; seed ${values.seed ?? 1}\n`)
  console.log('| what | figure |\n|---|---|')
  for (const [what, figure] of rows) console.log(`| ${what} | ${figure} |`)
  for (const example of examples) console.log(example)
  process.exitCode = examples.length === 0 ? 0 : 1
} finally {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
}
