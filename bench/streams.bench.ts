/**
 * Event lag of many Chat streams through one gateway process, beside the same streams without it.
 *
 *   npm run bench:streams [-- --streams 300 --tokens-per-second 50 --seconds 10]
 *
 * Backend, gateway and load are processes of their own; each event carries the time of its writing.
 */
import { fork, spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const HERE = dirname(fileURLToPath(import.meta.url))
const { values } = parseArgs({
  options: { streams: { type: 'string', default: '300' }, 'tokens-per-second': { type: 'string', default: '50' }, seconds: { type: 'string', default: '10' } },
})
const count = Number(values.streams)
const children: ChildProcess[] = []

const message = <T>(child: ChildProcess): Promise<T> =>
  new Promise((resolve, reject) => {
    child.once('message', (value: T) => resolve(value))
    child.once('exit', (code) => reject(new Error(`a bench process ended with ${code}`)))
  })
const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => resolve(port))
    })
  })
const quantile = (sorted: readonly number[], share: number): string => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!.toFixed(1)
const cpuSeconds = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

async function main(): Promise<void> {
  const upstream = fork(join(HERE, 'streams/upstream.js'), [values['tokens-per-second'], values.seconds])
  const load = fork(join(HERE, 'streams/load.js'))
  children.push(upstream, load)
  const direct = `http://127.0.0.1:${(await message<{ port: number }>(upstream)).port}`
  const port = await freePort()
  const gateway = spawn(process.execPath, [join(HERE, '../src/main.js'), 'serve', '--listen', `127.0.0.1:${port}`, '--store', 'memory', '--backend', direct], { stdio: ['ignore', 'ignore', 'inherit'] })
  children.push(gateway)
  const through = `http://127.0.0.1:${port}`
  for (let tries = 0; !(await fetch(`${through}/readyz`).then((answer) => answer.ok, () => false)); tries++) {
    if (tries > 100) throw new Error('the gateway did not become ready')
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  console.log(`| ${count} Chat streams, ${values['tokens-per-second']} tokens/s each, ${values.seconds} s | events | event lag p50, ms | p99 | max | CPU of the gateway |\n|---|---|---|---|---|---|`)
  for (const [name, origin] of [['without a gateway', direct], ['through Homing', through], ['through Homing, again', through]] as const) {
    const before = cpuSeconds(gateway.pid!)
    load.send({ origin, count })
    const { lagsMs, failed } = await message<{ lagsMs: number[]; failed: number }>(load)
    if (failed > 0) throw new Error(`${name}: ${failed} streams failed`)
    const sorted = lagsMs.toSorted((a, b) => a - b)
    console.log(`| ${name} | ${sorted.length} | ${quantile(sorted, 0.5)} | ${quantile(sorted, 0.99)} | ${quantile(sorted, 1)} | ${origin === direct ? '' : `${(cpuSeconds(gateway.pid!) - before).toFixed(1)} s`} |`)
  }
}

await main().finally(() => {
  for (const child of children) child.kill()
})
