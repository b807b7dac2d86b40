// A lock between processes: a file that names its holder. It appears by link(2), so it is never seen half-written,
// and a lock whose holder is gone (killed, or the machine restarted) is taken over.
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

import { isSameProcess, processIdentity } from './process.mjs'

/** @returns {{ release(): void } | { heldBy: { pid: number } }} */
export function tryLock(path) {
  mkdirSync(dirname(path), { recursive: true })
  const mine = JSON.stringify({ pid: process.pid, identity: processIdentity(process.pid) })
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, mine)
  try {
    for (let attempt = 0; attempt < 5; attempt += 1) {
      try {
        linkSync(draft, path)
        return { release: () => releaseLock(path, mine) }
      } catch (error) {
        if (error.code !== 'EEXIST') throw error
      }
      const holder = readHolder(path)
      if (holder === null) continue
      if (isSameProcess(holder)) return { heldBy: holder }
      // Renaming picks one winner among several that see the same dead holder.
      const dead = `${draft}.dead`
      try {
        renameSync(path, dead)
      } catch (error) {
        if (error.code !== 'ENOENT') throw error
        continue
      }
      const moved = readHolder(dead)
      if (moved !== null && isSameProcess(moved)) renameSync(dead, path)
      else rmSync(dead, { force: true })
    }
    return { heldBy: readHolder(path) ?? { pid: 0 } }
  } finally {
    rmSync(draft, { force: true })
  }
}

function readHolder(path) {
  let text
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT') return null
    throw error
  }
  try {
    return JSON.parse(text)
  } catch {
    return { pid: 0, identity: '' } // damaged: nobody holds it
  }
}

function releaseLock(path, mine) {
  try {
    if (readFileSync(path, 'utf8') === mine) rmSync(path, { force: true })
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
}

/** Waits for the lock, runs `work`, releases it. `onWait` is called once when another process holds it. */
export async function withLock(path, work, onWait = () => {}) {
  let waited = false
  for (;;) {
    const lock = tryLock(path)
    if ('release' in lock) {
      try {
        return await work()
      } finally {
        lock.release()
      }
    }
    if (!waited) onWait(lock.heldBy)
    waited = true
    await new Promise(resolve => setTimeout(resolve, 200))
  }
}
