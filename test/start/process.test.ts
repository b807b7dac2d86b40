import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadScript } from './scripts.ts'

type Recorded = { readonly pid: number; readonly identity: string }
type ProcessModule = {
  processIdentity(pid: number): string | null
  isSameProcess(recorded: Recorded): boolean
  endProcesses(recorded: readonly Recorded[], graceMs?: number): Promise<void>
}
type LockModule = { tryLock(path: string): { release(): void } | { heldBy: { pid: number } } }
const { processIdentity, isSameProcess, endProcesses } = await loadScript<ProcessModule>('machine/process.mjs')
const { tryLock } = await loadScript<LockModule>('machine/lock.mjs')

/** A process that waits; with `stubborn` it ignores TERM. Resolves once its handlers are in place. */
const waiting = async (stubborn = false): Promise<{ child: ChildProcess; recorded: Recorded; ended: Promise<unknown[]> }> => {
  const code = `${stubborn ? "process.on('SIGTERM', () => {});" : ''} setInterval(() => {}, 1000); console.log('up')`
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'ignore'] })
  assert.ok(child.stdout)
  await once(child.stdout, 'data')
  const pid = child.pid ?? 0
  return { child, recorded: { pid, identity: processIdentity(pid) ?? '' }, ended: once(child, 'exit') }
}

const inFolder = (use: (folder: string) => void): void => {
  const folder = mkdtempSync(join(tmpdir(), 'homing-start-'))
  try {
    use(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('a running process is known again, and a finished one is not', async () => {
  const { child, recorded, ended } = await waiting()
  assert.equal(isSameProcess(recorded), true)
  child.kill('SIGKILL')
  await ended
  assert.equal(isSameProcess(recorded), false)
})

test('a process with the recorded pid that started at another time is a stranger, and is not ended', async () => {
  const { child, recorded, ended } = await waiting()
  const stranger = { ...recorded, identity: `${recorded.identity}1` }
  assert.equal(isSameProcess(stranger), false)
  await endProcesses([stranger], 50)
  assert.equal(isSameProcess(recorded), true)
  child.kill('SIGKILL')
  await ended
})

test('ending sends TERM first, and KILL to those that do not go', async () => {
  const [gentle, stubborn] = [await waiting(), await waiting(true)]
  await endProcesses([gentle.recorded, stubborn.recorded], 500)
  assert.deepEqual(await gentle.ended, [null, 'SIGTERM'])
  assert.deepEqual(await stubborn.ended, [null, 'SIGKILL'])
})

test('impossible pids are nobody', () => {
  for (const pid of [0, -1, 1.5, Number.NaN, 2 ** 30]) assert.equal(processIdentity(pid), null)
})

test('a lock has one holder, who is named to the next', () => inFolder((folder) => {
  const path = join(folder, 'deep', 'x.lock')
  const first = tryLock(path)
  assert.ok('release' in first)
  const second = tryLock(path)
  assert.ok('heldBy' in second && second.heldBy.pid === process.pid)
  first.release()
  assert.ok('release' in tryLock(path))
}))

test('the lock of a process that is gone, or whose pid was given away, is taken over', () => inFolder((folder) => {
  const path = join(folder, 'x.lock')
  for (const holder of [{ pid: 2 ** 22 + 1, identity: 'gone' }, { pid: process.pid, identity: 'another start' }, 'damaged']) {
    writeFileSync(path, typeof holder === 'string' ? holder : JSON.stringify(holder))
    const lock = tryLock(path)
    assert.ok('release' in lock)
    lock.release()
  }
}))
