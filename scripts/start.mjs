// npm start [-- FLAGS]: from a fresh clone to a gateway that answers.
//
// With a configuration (--config, --backend, or homing.yaml in this folder) it is `homing serve` with these flags.
// With none it looks for a fleet, in this order: the one that an earlier `npm start` left running (adopted if it is the
// very same processes), local engines on their usual ports, else three llama.cpp servers that it installs and starts.
// --simulated starts simulated engines instead. Other flags go to `homing serve`.
//
// Who ends what: Ctrl-C or SIGTERM ends the gateway and then the fleet of this data folder, adopted or not. When the
// gateway is killed, or this program is, the engines stay, with the conversations in their KV caches. One that dies
// meanwhile is started again.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { join, resolve } from 'node:path'

import { livingEngines, readRecord, startEngines, stopEngines, writeRecord } from './engine/fleet.mjs'
import { ensureEngine } from './engine/install.mjs'
import { findLocalEngines, isHoming } from './engine/probe.mjs'
import { startSimulated } from './engine/simulated.mjs'
import { EngineUnavailable } from './engine/unavailable.mjs'
import { ensureBuilt, ROOT } from './ensure-built.mjs'
import { tryLock } from './machine/lock.mjs'
import { anyFreePort, isFree } from './machine/port.mjs'
import { endProcesses, isSameProcess, processIdentity } from './machine/process.mjs'
import { help, readFlags } from './start/flags.mjs'
import { howToTry } from './start/how-to-try.mjs'
import { keepEngines } from './start/keep-engines.mjs'

const PROGRAM = join(ROOT, 'dist', 'src', 'main.js')
/** Four conversations an engine, 2,048 tokens of context each. */
const FLEET = { count: 3, slots: 4, contextTokens: 8192 }
/** One Ctrl-C can arrive twice, from the terminal and from npm. Within this time it is the same one. */
const SAME_SIGNAL_MS = 400
const READY_WITHIN_MS = 60_000

const say = text => process.stderr.write(`homing: ${text}\n`)
const stop = new AbortController()
let gateway = null
let lastSignalAt = 0
let stoppedBy = null

function onSignal(name) {
  const now = Date.now()
  if (now - lastSignalAt < SAME_SIGNAL_MS) return
  lastSignalAt = now
  stoppedBy ??= name
  if (gateway !== null) gateway.kill(name === 'SIGHUP' ? 'SIGTERM' : name)
  stop.abort(new Error(`stopped by ${name}`))
}

async function main(argv) {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, onSignal)
  const flags = readFlags(argv, existsSync('homing.yaml'))
  await ensureBuilt({ say })
  if (flags.help) {
    process.stdout.write(help())
    return serve(['--help'])
  }
  if (flags.configured) {
    return serve(flags.serve, flags.address === null ? undefined : async () => announce({ flags, text: 'the backends you named' }))
  }
  return withFleet(flags)
}

async function withFleet(flags) {
  const dir = resolve(flags.store === null || flags.store === 'memory' ? 'homing-data' : flags.store)
  const lock = tryLock(join(dir, 'start.lock'))
  if ('heldBy' in lock) return alreadyStarted(dir, lock.heldBy)
  try {
    await endOrphan(dir)
    const address = await freeAddress(flags.address)
    let ended = null
    let kept = null
    try {
      const fleet = await chooseFleet(dir, flags)
      stop.signal.throwIfAborted()
      const args = [...flags.serve, '--listen', `${address.host}:${address.port}`, ...fleet.urls.flatMap(url => ['--backend', url])]
      const ready = async () => {
        writeRecord(dir, { ...readRecord(dir), gateway: { ...gatewayEntry(address), backends: fleet.urls, fleet: fleet.text } })
        await announce({ flags: { ...flags, address }, text: fleet.text })
        kept = fleet.restart === undefined ? null : keepEngines({ engines: () => readRecord(dir).engines, isAlive: isSameProcess, restart: fleet.restart, say, signal: stop.signal })
      }
      ended = await serve(args, ready)
    } finally {
      await kept
      await tidyUp(dir, ended)
    }
    return ended
  } finally {
    lock.release()
  }
}

async function alreadyStarted(dir, holder) {
  const { gateway: running } = readRecord(dir)
  if (running !== null && isSameProcess(running)) {
    say(`already running at ${running.url} (process ${running.pid}); nothing to do`)
    process.stdout.write(await howToTry(running.url, running.fleet))
    return 0
  }
  say(`another npm start (process ${holder.pid}) is still at work here; its terminal will show the address`)
  return 1
}

/** A gateway whose `npm start` was killed would hold the port and the store. */
async function endOrphan(dir) {
  const record = readRecord(dir)
  if (record.gateway === null) return
  if (isSameProcess(record.gateway)) {
    say(`ending the gateway that an earlier npm start left behind (process ${record.gateway.pid})`)
    await endProcesses([record.gateway], 10_000)
  }
  writeRecord(dir, { ...readRecord(dir), gateway: null })
}

async function freeAddress({ host, port }) {
  if (port === 0) return { host, port: await anyFreePort(host) }
  if (await isFree(port, host)) return { host, port }
  const url = baseUrl({ host, port })
  const what = (await isHoming(url)) ? 'another Homing' : 'another program'
  throw new Error(`${what} already listens on ${host}:${port}; choose another address: npm start -- --listen ${host}:${port + 1}`)
}

/** @returns {Promise<{ urls: string[], text: string, restart?: (living: object[]) => Promise<unknown> }>} */
async function chooseFleet(dir, flags) {
  const kind = engine => (engine.kind === 'simulated') === flags.simulated
  const record = readRecord(dir)
  const living = (await livingEngines(record)).filter(kind)
  if (living.length < record.engines.length) {
    await endProcesses(record.engines.filter(engine => !living.includes(engine)))
    writeRecord(dir, { ...record, engines: living })
  }
  if (living.length > 0) {
    say(`adopted ${living.length} engine(s) of the last start: ${living.map(({ port, pid }) => `port ${port} (process ${pid})`).join(', ')}`)
  }
  if (flags.simulated) return simulatedFleet(dir, living)
  if (living.length === 0) {
    const found = await findLocalEngines()
    if (found.length > 0) {
      for (const { url, engine, models } of found) say(`found ${url} (the usual port of ${engine}) with ${models.slice(0, 3).join(', ')}`)
      return { urls: found.map(({ url }) => url), text: `${found.length} local engine(s) found running` }
    }
    say('no configuration, and no engine on the usual ports: starting a small real fleet')
  }
  return realFleet(dir, living)
}

async function realFleet(dir, living) {
  const text = `${FLEET.count} llama.cpp engines on this machine's CPU`
  const restart = async keep => {
    const engine = await ensureEngine(say, { signal: stop.signal })
    return startEngines({ ...FLEET, dir, keep, engine, say, signal: stop.signal })
  }
  if (living.length >= FLEET.count) return { urls: living.map(({ url }) => url), text, restart }
  try {
    say(`starting ${FLEET.count - living.length} engine(s) ...`)
    const engines = await restart(living)
    return { urls: engines.map(({ url }) => url), text, restart }
  } catch (error) {
    if (!(error instanceof EngineUnavailable)) throw error
    const offer = canSimulate() ? 'A simulated fleet (no real model) can be had with: npm start -- --simulated;' : 'This build has no simulated fleet to offer instead;'
    throw new Error(`${error.message}. ${offer} your own engine with: npm start -- --backend http://HOST:PORT`, { cause: error })
  }
}

const canSimulate = () => existsSync(join(ROOT, 'dist', 'src', 'cli', 'simulate.js'))

async function simulatedFleet(dir, living) {
  const text = `${FLEET.count} SIMULATED engines: no real model, the text is invented`
  if (!canSimulate()) throw new Error('this build has no simulated fleet')
  if (living.length === FLEET.count) return { urls: living.map(({ url }) => url), text }
  await stopEngines(dir)
  const engines = await startSimulated({ dir, count: FLEET.count, program: PROGRAM, signal: stop.signal })
  return { urls: engines.map(({ url }) => url), text }
}

/**
 * Runs the gateway until it ends and gives its exit code. It is in its own process group, so that a Ctrl-C reaches it
 * once, from here: a second one would cut its turns short.
 */
async function serve(args, onStarted) {
  gateway = spawn(process.execPath, [PROGRAM, 'serve', ...args], { detached: true, stdio: ['ignore', 'inherit', 'inherit'] })
  const ended = new Promise((done, fail) => {
    gateway.once('error', fail)
    gateway.once('exit', (code, signal) => done({ code, signal }))
  })
  const settled = onStarted?.().catch(error => {
    if (!stop.signal.aborted) say(error.message)
  })
  const { code, signal } = await ended
  stop.abort(new Error('the gateway ended'))
  await settled
  return signal === null ? code : 128 + constants.signals[signal]
}

const gatewayEntry = address => ({ pid: gateway.pid, identity: processIdentity(gateway.pid) ?? '', url: baseUrl(address) })

const baseUrl = ({ host, port }) => {
  const reachable = { '0.0.0.0': '127.0.0.1', '::': '[::1]' }[host] ?? (host.includes(':') ? `[${host}]` : host)
  return `http://${reachable}:${port}`
}

async function announce({ flags, text }) {
  const url = baseUrl(flags.address)
  await untilReady(url)
  process.stdout.write(await howToTry(url, text))
}

async function untilReady(url) {
  const deadline = Date.now() + READY_WITHIN_MS
  let missing = 'no answer'
  while (Date.now() < deadline) {
    stop.signal.throwIfAborted()
    try {
      const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2000) })
      missing = (await answer.text()).slice(0, 500)
      if (answer.status === 200) return
    } catch (error) {
      missing = error.cause?.message ?? error.message
    }
    await new Promise(done => setTimeout(done, 100))
  }
  throw new Error(`the gateway runs but is not ready after ${READY_WITHIN_MS / 1000} s: ${missing}`)
}

/** `ended`: the gateway's exit code, null when it never ran. */
async function tidyUp(dir, ended) {
  writeRecord(dir, { ...readRecord(dir), gateway: null })
  const { engines } = readRecord(dir)
  if (engines.length === 0) return
  if (ended !== null && ended > 128 && stoppedBy === null) {
    const name = Object.keys(constants.signals).find(key => constants.signals[key] === ended - 128)
    say(`the gateway was killed (${name}); its ${engines.length} engines keep running and the next npm start adopts them`)
    say(`to end them instead: node scripts/engines.mjs down --dir ${dir}`)
    return
  }
  const stopped = await stopEngines(dir)
  say(`stopped ${stopped} engine(s)`)
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  say(error.message)
  process.exitCode = stoppedBy !== null ? 128 + constants.signals[stoppedBy] : error instanceof TypeError ? 2 : 1
}
