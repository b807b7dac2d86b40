// Private fleets of real engines, for tests and by hand.
//
//   node scripts/engines.mjs install
//   node scripts/engines.mjs up --dir DIR [--n 3] [--slots 4] [--context 8192] [--base-port 0] [--stop-with PID] [--embeddings]
//   node scripts/engines.mjs status --dir DIR
//   node scripts/engines.mjs down --dir DIR
//
// `up` prints one JSON object a line, {"url","pid","port","model","slots","contextTokens"}, once all engines answer; all else goes to
// stderr. --context is shared by the slots. --base-port 0 (the default) takes any free ports. With --stop-with the
// engines end by themselves when that process is gone; with --embeddings they serve /v1/embeddings and
// nothing else. Exit codes: 0 done, 1 failed, 2 wrong use, 3 no engine possible.
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'

import { livingEngines, readRecord, startEngines, stopEngines } from './engine/fleet.mjs'
import { ensureEngine } from './engine/install.mjs'
import { EngineUnavailable } from './engine/unavailable.mjs'

const say = text => process.stderr.write(`engines: ${text}\n`)
const DEFAULTS = { n: '3', slots: '4', context: '8192', 'base-port': '0' }

function read(argv) {
  const text = { type: 'string' }
  const options = { dir: text, n: text, slots: text, context: text, 'base-port': text, 'stop-with': text, embeddings: { type: 'boolean' } }
  const { values, positionals } = parseArgs({ args: argv, options, allowPositionals: true })
  const [command, ...rest] = positionals
  if (!['install', 'up', 'status', 'down'].includes(command) || rest.length > 0) {
    throw new TypeError('say one of: install, up, status, down')
  }
  if (command !== 'install' && values.dir === undefined) throw new TypeError('--dir DIR is needed')
  const number = name => {
    const value = Number(values[name] ?? DEFAULTS[name])
    if (!Number.isInteger(value) || value < 0) throw new TypeError(`--${name} needs a whole number`)
    return value
  }
  const stopWith = values['stop-with'] === undefined ? undefined : number('stop-with')
  return { command, dir: resolve(values.dir ?? '.'), count: number('n'), slots: number('slots'), contextTokens: number('context'),
    basePort: number('base-port'), stopWith, embeddings: values.embeddings === true }
}

async function main(argv) {
  const { command, ...options } = read(argv)
  if (command === 'install') {
    await ensureEngine(say)
    return
  }
  if (command === 'down') {
    say(`stopped ${await stopEngines(options.dir)} engine(s)`)
    return
  }
  const record = readRecord(options.dir)
  const living = await livingEngines(record)
  if (command === 'status') {
    for (const engine of record.engines) print({ ...engine, up: living.includes(engine) })
    return
  }
  if (living.length > 0) throw new Error('engines already run in this folder; end them with: down')
  await stopEngines(options.dir)
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => stop.abort(new Error(`stopped by ${name}`)))
  const engine = await ensureEngine(say, { signal: stop.signal })
  for (const entry of await startEngines({ ...options, engine, say, signal: stop.signal })) print(entry)
}

function print({ url, pid, port, model, slots, contextTokens, up }) {
  process.stdout.write(`${JSON.stringify({ url, pid, port, model, slots, contextTokens, up })}\n`)
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  say(error.message)
  if (error instanceof TypeError) say('usage: engines.mjs install | up|status|down --dir DIR [--n 3] [--slots 4] [--context 8192] [--base-port 0] [--stop-with PID] [--embeddings]')
  process.exitCode = error instanceof EngineUnavailable ? 3 : error instanceof TypeError ? 2 : 1
}
