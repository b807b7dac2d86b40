// Knowing a process again. A pid alone proves nothing: it may have been given to another program, or the machine may
// have been restarted. Identity = pid + moment of start: on Linux the boot id and the start time in clock ticks from
// /proc/PID/stat, elsewhere what `ps -o lstart=` says (the command line is left out: a Python on macOS replaces it
// while it starts).
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** A text that no other process shares while this machine is up and after it; null when the process is gone. */
export function processIdentity(pid) {
  if (!Number.isInteger(pid) || pid <= 0) return null
  return process.platform === 'linux' ? linuxIdentity(pid) : psIdentity(pid)
}

function linuxIdentity(pid) {
  let stat
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return null
    throw error
  }
  // The command in parentheses may hold spaces and parentheses; the fields after the last one are fixed.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  if (fields[0] === 'Z' || fields[0] === 'X') return null
  return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}:${fields[19]}`
}

function psIdentity(pid) {
  try {
    const options = { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], env: { ...process.env, LC_ALL: 'C' } }
    const [state, ...rest] = execFileSync('ps', ['-o', 'state=,lstart=', '-p', String(pid)], options)
      .trim()
      .split(/\s+/)
    return state === undefined || state === '' || state.startsWith('Z') ? null : rest.join(' ')
  } catch (error) {
    if (error.status === 1) return null
    throw error
  }
}

/** True only for the very process that was recorded. @param {{ pid: number, identity: string }} recorded */
export function isSameProcess(recorded) {
  const now = processIdentity(recorded.pid)
  return now !== null && now === recorded.identity
}

const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

/** TERM, and KILL for those that are still there after `graceMs`. Never signals a process that is not the recorded one. */
export async function endProcesses(recorded, graceMs = 5000) {
  let left = recorded.filter(isSameProcess)
  for (const entry of left) signal(entry.pid, 'SIGTERM')
  const deadline = Date.now() + graceMs
  while (left.length > 0 && Date.now() < deadline) {
    await pause(50)
    left = left.filter(isSameProcess)
  }
  for (const entry of left) signal(entry.pid, 'SIGKILL')
  while (left.length > 0 && Date.now() < deadline + 5000) {
    await pause(50)
    left = left.filter(isSameProcess)
  }
}

function signal(pid, name) {
  try {
    process.kill(pid, name)
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}
