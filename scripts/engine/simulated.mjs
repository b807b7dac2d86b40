// A simulated fleet for machines where no engine runs: `homing simulate` in one process of its own. It answers like
// engines do and invents the text; everything that shows it says so. Recorded like a real fleet, one entry a port.
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'

import { isFree } from '../machine/port.mjs'
import { endProcesses, processIdentity } from '../machine/process.mjs'
import { readRecord, writeRecord } from './fleet.mjs'
import { askModels } from './probe.mjs'

const FIRST_PORT = 18_851

/** @param {{ dir: string, count: number, program: string, signal?: AbortSignal }} options */
export async function startSimulated({ dir, count, program, signal }) {
  const before = readRecord(dir)
  const base = await firstOfFree(count, before.simulatedPort ?? FIRST_PORT)
  const ports = Array.from({ length: count }, (_, i) => base + i)
  mkdirSync(join(dir, 'engines'), { recursive: true })
  const log = openSync(join(dir, 'engines', 'simulated.log'), 'w')
  const args = [program, 'simulate', '--backends', String(count), '--port', String(base)]
  const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', log, log] })
  closeSync(log)
  let ended = false
  child.once('exit', () => (ended = true))
  const identity = processIdentity(child.pid) ?? ''
  const engines = ports.map(port => ({ id: `127.0.0.1:${port}`, port, url: `http://127.0.0.1:${port}`, pid: child.pid, identity, kind: 'simulated' }))
  // The ports of the real fleet stay remembered: they are its backends' ids.
  writeRecord(dir, { ...before, simulatedPort: base, engines })
  try {
    for (const engine of engines) {
      while ((await askModels(engine.url)) === null) {
        signal?.throwIfAborted()
        if (ended) throw new Error(`the simulated fleet ended while starting; its log: ${join(dir, 'engines', 'simulated.log')}`)
        await new Promise(resolve => setTimeout(resolve, 100))
      }
    }
  } catch (error) {
    await endProcesses(engines)
    writeRecord(dir, { ...before, engines: [] })
    throw error
  }
  child.unref()
  return engines
}

async function firstOfFree(count, wanted) {
  for (let base = wanted; base < wanted + 2000; base += count) {
    const free = await Promise.all(Array.from({ length: count }, (_, i) => isFree(base + i)))
    if (free.every(Boolean)) return base
  }
  throw new Error(`no ${count} free ports in a row above ${wanted}`)
}
