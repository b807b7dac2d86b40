// A small fleet of real engines (llama.cpp servers on the CPU) and the record of it: DIR/fleet.json.
//
// The record names each engine's pid and moment of start, so a later process can tell whether the fleet still runs and
// adopt or end it. It is written before an engine is ready: an interrupted start leaves nothing that is not recorded.
// Engines are in their own process groups, so they outlive whoever started them; `stopWith` ties them to a process.
// Cost: about 0.5 GB of memory and one thread each; ready in 1-3 s.
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { freePorts } from '../machine/port.mjs'
import { endProcesses, isSameProcess, processIdentity } from '../machine/process.mjs'
import { MODEL_ALIAS } from './install.mjs'
import { askModels } from './probe.mjs'
import { EngineUnavailable } from './unavailable.mjs'

const HERE = dirname(fileURLToPath(import.meta.url))
const READY_WITHIN_MS = 120_000
/** Below the ephemeral range of Linux and macOS, so the same ports are usually free again at the next start. */
export const FIRST_PORT = 18_801
const EMPTY = { version: 1, engines: [], ports: [], gateway: null }

export const recordPath = dir => join(dir, 'fleet.json')

/** @returns {{ version: number, engines: object[], ports: number[], gateway: object | null }} */
export function readRecord(dir) {
  let text
  try {
    text = readFileSync(recordPath(dir), 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT') return EMPTY
    throw error
  }
  try {
    const record = JSON.parse(text)
    return record.version === 1 && Array.isArray(record.engines) ? { ...EMPTY, ...record } : EMPTY
  } catch {
    return EMPTY // damaged by hand: nothing can be adopted from it
  }
}

export function writeRecord(dir, record) {
  mkdirSync(dir, { recursive: true })
  const part = `${recordPath(dir)}.${process.pid}`
  writeFileSync(part, `${JSON.stringify(record, null, 2)}\n`)
  renameSync(part, recordPath(dir))
}

/** The recorded engines that are the very processes that were started and answer with a model. */
export async function livingEngines(record) {
  const same = record.engines.filter(isSameProcess)
  const models = await Promise.all(same.map(engine => askModels(engine.url, 2000)))
  return same.filter((_, i) => models[i] !== null)
}

function parameters(engine, model, options) {
  return {
    model: { path: model },
    model_alias: [options.alias ?? MODEL_ALIAS],
    hostnames: ['127.0.0.1'],
    port: engine.port,
    n_ctx: options.contextTokens,
    n_parallel: options.slots,
    n_batch: 512,
    kv_unified: false,
    n_gpu_layers: 0,
    verbosity: 1, // errors only: at the default every request adds lines to a log that nobody trims
    // More threads than cores in all make the engines wait for each other.
    cpuparams: { n_threads: 1 },
    cpuparams_batch: { n_threads: 1 },
    cache_ram_mib: 0,
    // With the default of 0.1 two conversations that share a system prompt evict each other from one slot.
    slot_prompt_similarity: 0.5,
    endpoint_metrics: true,
    endpoint_slots: true,
    use_jinja: true,
    chat_template: readFileSync(join(HERE, 'chatml-tools.jinja'), 'utf8'),
    ...(options.embeddings ? { embedding: true, pooling_type: 1 } : {}), // the mean of the tokens
    ...options.parameters,
  }
}

/**
 * Starts engines and waits until each answers; on any failure, or when `signal` aborts, ends those it started.
 * `keep`: engines of this folder that already run and count towards `count`. `alias` and `parameters` (fields of CommonParams)
 * are of those started now. `embeddings`: they serve /v1/embeddings and nothing else.
 * @param {{ dir: string, count: number, keep?: object[], slots: number, contextTokens: number, basePort?: number, stopWith?: number, embeddings?: boolean,
 *   alias?: string, parameters?: object, engine: { python: string, library: string, model: string }, say?: (text: string) => void, signal?: AbortSignal }} options
 */
export async function startEngines(options) {
  const { dir, engine: installed, keep = [], say = () => {}, signal } = options
  const before = readRecord(dir)
  const kept = keep.map(({ port }) => port)
  const missing = Math.max(0, options.count - kept.length)
  const ports = await freePorts(missing, before.ports.filter(port => !kept.includes(port)), options.basePort ?? FIRST_PORT)
  const folder = join(dir, 'engines')
  mkdirSync(folder, { recursive: true })
  let record = { ...before, ports: [...kept, ...ports], engines: [...keep] }
  const children = []
  const began = Date.now()
  try {
    for (const port of ports) {
      signal?.throwIfAborted()
      const { child, entry } = spawnEngine({ port, folder, installed, options })
      children.push({ child, entry })
      record = { ...record, engines: [...record.engines, entry] }
      writeRecord(dir, record)
    }
    await Promise.all(children.map(async ({ child, entry }) => {
      await untilReady(child, entry, signal)
      say(`engine ${entry.url} is ready (${((Date.now() - began) / 1000).toFixed(1)} s)`)
    }))
  } catch (error) {
    await endProcesses(children.map(({ entry }) => entry))
    writeRecord(dir, { ...record, engines: [...keep] })
    throw error
  }
  for (const { child } of children) child.unref()
  return record.engines
}

function spawnEngine({ port, folder, installed, options }) {
  const settings = join(folder, `${port}.json`)
  writeFileSync(settings, JSON.stringify(parameters({ port }, installed.model, options)))
  const log = openSync(join(folder, `${port}.log`), 'w')
  const tie = options.stopWith === undefined ? [] : ['--stop-with', String(options.stopWith)]
  const args = [join(HERE, 'serve.py'), installed.library, settings, ...tie]
  const child = spawn(installed.python, args, { detached: true, stdio: ['ignore', log, log] })
  closeSync(log)
  if (child.pid === undefined) throw new EngineUnavailable(`${installed.python} could not be started`)
  const entry = { id: `127.0.0.1:${port}`, port, url: `http://127.0.0.1:${port}`, pid: child.pid, identity: processIdentity(child.pid) ?? '',
    model: options.alias ?? MODEL_ALIAS, slots: options.slots, contextTokens: options.contextTokens, log: join(folder, `${port}.log`) }
  return { child, entry }
}

async function untilReady(child, entry, signal) {
  let ended = null
  child.once('exit', (code, by) => (ended = { code, by }))
  child.once('error', error => (ended = { code: error.message, by: null }))
  const deadline = Date.now() + READY_WITHIN_MS
  while (Date.now() < deadline) {
    signal?.throwIfAborted()
    if (ended !== null) throw whyEnded(ended, entry)
    if ((await askModels(entry.url, 1000)) !== null) return
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  throw new Error(`the engine on port ${entry.port} did not answer within ${READY_WITHIN_MS / 1000} s; its log: ${entry.log}`)
}

function whyEnded({ code, by }, entry) {
  if (by === 'SIGILL' || code === 132) {
    return new EngineUnavailable('the packaged engine needs a CPU with AVX2 instructions, and this one has none')
  }
  const log = readFileSync(entry.log, 'utf8').trim().slice(-1500)
  if (/ImportError|cannot open shared object|GLIBC/.test(log)) {
    return new EngineUnavailable(`the packaged engine cannot be loaded here: ${log.split('\n').at(-1)}`)
  }
  return new Error(`the engine on port ${entry.port} ended while starting (${by ?? `exit code ${code}`}):\n${log}`)
}

/** Ends the recorded engines (TERM, KILL after 5 s) and remembers only their ports. Returns how many were running. */
export async function stopEngines(dir) {
  const record = readRecord(dir)
  const running = record.engines.filter(isSameProcess)
  await endProcesses(running)
  if (record.engines.length > 0) writeRecord(dir, { ...readRecord(dir), engines: [] })
  return running.length
}
