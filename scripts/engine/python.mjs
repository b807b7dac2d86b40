// Finding a Python that can run the engine (3.10 or newer). Python is needed because that is how the engine is packaged.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

import { EngineUnavailable } from './unavailable.mjs'

const CANDIDATES = ['python3', 'python3.14', 'python3.13', 'python3.12', 'python3.11', 'python3.10', 'python']
const ASK = 'import sys; print(sys.executable if sys.version_info >= (3, 10) else "")'

export function findPython(candidates = CANDIDATES) {
  for (const name of candidates) {
    const answer = spawnSync(name, ['-c', ASK], { encoding: 'utf8', timeout: 20_000 })
    const path = answer.status === 0 ? answer.stdout.trim() : ''
    if (path !== '') return path
  }
  return null
}

/** Debian as root: the package manager may be asked. Anywhere else a person decides what is installed. */
export function mayUseApt() {
  return process.getuid?.() === 0 && existsSync('/etc/debian_version') && existsSync('/usr/bin/apt-get')
}

export function aptInstall(packages, say) {
  say(`installing ${packages.join(', ')} with apt-get ...`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const run = args => spawnSync('apt-get', args, { env, stdio: ['ignore', 'ignore', 'inherit'] }).status === 0
  const install = ['install', '-y', '-qq', '--no-install-recommends', ...packages]
  return run(install) || (run(['update', '-qq']) && run(install))
}

/** @returns {string} path of the interpreter */
export function requirePython(say) {
  const found = findPython()
  if (found !== null) return found
  if (mayUseApt() && aptInstall(['python3', 'python3-pip', 'ca-certificates'], say)) {
    const installed = findPython()
    if (installed !== null) return installed
  }
  throw new EngineUnavailable('the packaged engine needs Python 3.10 or newer: install python3 and run this again')
}
