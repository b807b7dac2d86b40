/**
 * CPU per request and per SSE event of the gateway, beside a bare relay and nginx in the same run.
 *
 *   npm run bench:relay [-- --rounds 5 --requests 400]
 *
 * Each relay is a process of its own; its CPU time is read from /proc before and after a batch. A batch of short
 * streams (1 token) and one of long ones (64 tokens) give cost per event (slope) and per request (intercept). Rounds
 * alternate between the relays, so that a slow minute of the machine hits all of them; medians over rounds are printed.
 */
import { fork, spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const HERE = dirname(fileURLToPath(import.meta.url))
const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' }, requests: { type: 'string', default: '400' }, only: { type: 'string' } } })
const rounds = Number(values.rounds)
const requests = Number(values.requests)
const SHORT = 1
const LONG = 64
const TICKS_PER_SECOND = 100

type Target = { readonly name: string; readonly pids: readonly number[]; readonly origin: string; readonly path: string; readonly body: (tokens: number) => string }

const children: ChildProcess[] = []
const folder = mkdtempSync(join(tmpdir(), 'homing-bench-'))

const started = (child: ChildProcess): Promise<number> =>
  new Promise((resolve, reject) => {
    child.once('message', (message: { port: number }) => resolve(message.port))
    child.once('exit', (code) => reject(new Error(`a bench process ended with ${code}`)))
  })
const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => resolve(port))
    })
  })
const cpuSeconds = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}
const median = (list: readonly number[]): number => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]!

/** About 4 KB of conversation. */
const filler = 'The quick brown fox jumps over the lazy dog while the band plays on. '.repeat(54)
const chatBody = (tokens: number): string =>
  JSON.stringify({ model: 'bench', seed: tokens, stream: true, stream_options: { include_usage: true }, messages: [{ role: 'system', content: 'You are a bench.' }, { role: 'user', content: filler }] })
const responsesBody = (tokens: number): string =>
  JSON.stringify({ model: 'bench', seed: tokens, stream: true, instructions: 'You are a bench.', input: filler })

async function startNginx(upstream: number): Promise<Target | null> {
  const port = await freePort()
  const file = join(folder, 'nginx.conf')
  writeFileSync(file, `daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log stderr crit;
events { worker_connections 1024; }
http { access_log off; client_body_temp_path ${folder}; proxy_temp_path ${folder}; fastcgi_temp_path ${folder}; uwsgi_temp_path ${folder}; scgi_temp_path ${folder};
  upstream backend { server 127.0.0.1:${upstream}; keepalive 64; }
  server { listen 127.0.0.1:${port}; location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; client_body_buffer_size 64k; } } }`)
  const nginx = spawn('nginx', ['-c', file], { stdio: ['ignore', 'ignore', 'inherit'] })
  const gone = new Promise<boolean>((resolve) => nginx.once('error', () => resolve(true)))
  if (await Promise.race([gone, new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 700))])) {
    console.error('nginx is not installed: its row is left out')
    return null
  }
  children.push(nginx)
  const workers = readFileSync(`/proc/${nginx.pid}/task/${nginx.pid}/children`, 'utf8').trim().split(' ').map(Number)
  return { name: 'nginx', pids: [nginx.pid!, ...workers], origin: `http://127.0.0.1:${port}`, path: '/v1/chat/completions', body: chatBody }
}

async function startHoming(upstream: number): Promise<ChildProcess & { origin: string }> {
  const port = await freePort()
  const child = spawn(process.execPath, [join(HERE, '../src/main.js'), 'serve', '--listen', `127.0.0.1:${port}`, '--store', join(folder, 'store'), '--backend', `http://127.0.0.1:${upstream}`], { stdio: ['ignore', 'ignore', 'inherit'] })
  children.push(child)
  for (let i = 0; i < 100; i++) {
    const ready = await fetch(`http://127.0.0.1:${port}/readyz`).then((answer) => answer.ok, () => false)
    if (ready) return Object.assign(child, { origin: `http://127.0.0.1:${port}` })
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('the gateway did not become ready')
}

async function main(): Promise<void> {
  const upstreamProcess = fork(join(HERE, 'relay/upstream.js'))
  children.push(upstreamProcess)
  const upstream = await started(upstreamProcess)
  const bare = fork(join(HERE, 'relay/bare-relay.js'), [`http://127.0.0.1:${upstream}`])
  children.push(bare)
  const bareOrigin = `http://127.0.0.1:${await started(bare)}`
  const homing = await startHoming(upstream)
  const load = fork(join(HERE, 'relay/load.js'))
  children.push(load)
  const nginx = await startNginx(upstream)
  const targets: Target[] = [
    ...(nginx === null ? [] : [nginx]),
    { name: 'bare relay', pids: [bare.pid!], origin: bareOrigin, path: '/v1/chat/completions', body: chatBody },
    { name: 'Homing, Chat', pids: [homing.pid!], origin: homing.origin, path: '/v1/chat/completions', body: chatBody },
    { name: 'Homing, stored Responses', pids: [homing.pid!], origin: homing.origin, path: '/v1/responses', body: responsesBody },
  ].filter((target) => values.only === undefined || target.name.includes(values.only) || target.name === 'bare relay')

  const batch = (target: Target, tokens: number, count: number, concurrency: number): Promise<{ cpu: number; ttftMs: number[] }> =>
    new Promise((resolve, reject) => {
      const before = target.pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
      load.once('message', (result: { ttftMs: number[]; failed: number }) => {
        if (result.failed > 0) return reject(new Error(`${target.name}: ${result.failed} of ${count} requests failed`))
        resolve({ cpu: target.pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0) - before, ttftMs: result.ttftMs })
      })
      load.send({ origin: target.origin, path: target.path, body: target.body(tokens), count, concurrency })
    })

  for (const target of targets) await batch(target, SHORT, 5000, 16) // a gateway runs for days: V8 has settled
  for (const target of targets) await batch(target, LONG, 300, 16)
  const rows = new Map(targets.map((target) => [target.name, { request: [] as number[], event: [] as number[] }]))
  for (let round = 0; round < rounds; round++) {
    for (const target of targets) {
      const short = (await batch(target, SHORT, requests * 3, 16)).cpu / (requests * 3)
      const long = (await batch(target, LONG, requests, 16)).cpu / requests
      const event = (long - short) / (LONG - SHORT)
      rows.get(target.name)!.event.push(event * 1e6)
      rows.get(target.name)!.request.push((short - event * SHORT) * 1e6)
    }
  }
  const direct: Target = { name: 'direct', pids: [], origin: `http://127.0.0.1:${upstream}`, path: '/v1/chat/completions', body: chatBody }
  const ttft = new Map<string, number>()
  for (const target of [direct, ...targets]) {
    const all: number[] = []
    for (let round = 0; round < 3; round++) all.push(...(await batch(target, LONG, 150, 1)).ttftMs)
    ttft.set(target.name, median(all))
  }

  const yardstick = rows.get('bare relay')!
  console.log(`\n| relay | us CPU per request | ratio | us CPU per event | ratio | TTFT p50 ms (added to direct, 1 at a time) |\n|---|---|---|---|---|---|`)
  for (const [name, { request, event }] of rows) {
    const ratio = (list: readonly number[], base: readonly number[]): string => median(list.map((value, i) => value / base[i]!)).toFixed(2)
    console.log(`| ${name} | ${median(request).toFixed(0)} | ${ratio(request, yardstick.request)} | ${median(event).toFixed(1)} | ${ratio(event, yardstick.event)} | ${ttft.get(name)!.toFixed(2)} (+${(ttft.get(name)! - ttft.get('direct')!).toFixed(2)}) |`)
  }
  console.log(`\nNode ${process.version}, ${rounds} rounds of ${requests * 3} short and ${requests} long streams, 16 at a time; ratios are medians of per-round ratios.`)
}

await main().finally(() => {
  for (const child of children) child.kill()
  rmSync(folder, { recursive: true, force: true })
})
