// npm test [-- FILTER ...]: installs, builds, makes sure of the real engine, runs every test file with node:test.
// A filter is a part of a file's path (`conversation/`, `chain.test`); options (`--test-name-pattern=...`) go to node.
// The engine lands in .engines (HOMING_ENGINES_DIR). Where it truly cannot be had, HOMING_NO_ENGINE says why, the tests that
// need it skip themselves, and a banner says so before and after.
import { spawn } from 'node:child_process'
import { relative } from 'node:path'

import { enginesFolder, ensureEngine } from './engine/install.mjs'
import { EngineUnavailable } from './engine/unavailable.mjs'
import { ensureBuilt, files, ROOT } from './ensure-built.mjs'

/** Two cores are the common small machine; each test file is a process. */
const CONCURRENCY = 2
/** A test that hangs fails, and names itself, instead of hanging the run. */
const LONGEST_FILE_MS = 300_000
const say = text => process.stderr.write(`homing: ${text}\n`)

async function engineEnvironment() {
  if (process.env.HOMING_NO_ENGINE) return { HOMING_NO_ENGINE: process.env.HOMING_NO_ENGINE }
  try {
    await ensureEngine(say)
    return { HOMING_ENGINES_DIR: enginesFolder() }
  } catch (error) {
    if (!(error instanceof EngineUnavailable)) throw error
    return { HOMING_NO_ENGINE: error.message }
  }
}

function banner(why) {
  const bar = '!'.repeat(100)
  process.stderr.write(`\n${bar}\n!! The tests against a REAL ENGINE are SKIPPED: ${why}\n${bar}\n\n`)
}

async function main(argv) {
  await ensureBuilt({ say })
  const engine = await engineEnvironment()
  const options = argv.filter(arg => arg.startsWith('-'))
  const filters = argv.filter(arg => !arg.startsWith('-'))
  const all = files(`${ROOT}/dist/test`, path => path.endsWith('.test.js')).map(path => relative(ROOT, path)).sort()
  // `test/x.test.ts` is what people copy from the tree; its compiled form is what runs.
  const wanted = filters.map(filter => filter.replace(/\.ts$/, '.js'))
  const chosen = wanted.length === 0 ? all : all.filter(path => wanted.some(filter => path.includes(filter)))
  if (chosen.length === 0) throw new Error(filters.length === 0 ? 'there are no tests' : `no test file's path contains ${filters.join(' or ')}`)
  if (engine.HOMING_NO_ENGINE) banner(engine.HOMING_NO_ENGINE)
  const args = ['--test', `--test-concurrency=${CONCURRENCY}`, `--test-timeout=${LONGEST_FILE_MS}`, ...options, ...chosen]
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...engine } })
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => child.kill(name === 'SIGHUP' ? 'SIGTERM' : name))
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (status, signal) => resolve(status ?? (signal === 'SIGINT' ? 130 : 1)))
  })
  if (engine.HOMING_NO_ENGINE) banner(engine.HOMING_NO_ENGINE)
  return code
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  say(error.message)
  process.exitCode = 1
}
