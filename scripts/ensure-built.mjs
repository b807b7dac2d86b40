// Installs the packages and compiles the sources when, and only when, something they depend on changed.
//
// What was done is remembered as a SHA-256 of its inputs: of package-lock.json (with Node's module ABI and platform) in
// node_modules/.homing-install, of all sources in dist/.homing-build. Contents are hashed, not times, so a fresh checkout of
// the same files compiles nothing; it costs some 20 ms. A lock keeps two commands from building into each other.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

import { withLock } from './machine/lock.mjs'

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')
const SOURCE_FOLDERS = ['src', 'sim', 'test', 'bench', 'training']
const OLDEST_NODE = [20, 19]

const sayOnStderr = text => process.stderr.write(`homing: ${text}\n`)

/**
 * @param {{ root?: string, say?: (text: string) => void, run?: (command: string, args: string[], cwd: string) => Promise<number> }} options
 * @returns {Promise<{ installed: boolean, built: boolean }>} what had to be done
 */
export async function ensureBuilt({ root = ROOT, say = sayOnStderr, run = runQuietly } = {}) {
  requireNode()
  // An installed package brings its compiled form and no sources.
  if (!existsSync(join(root, 'tsconfig.json'))) return { installed: false, built: false }
  if (isCurrent(root)) return { installed: false, built: false }
  return withLock(join(root, '.cache', 'build.lock'), async () => {
    const installed = await ensureInstalled(root, say, run)
    const built = await ensureCompiled(root, say, run)
    return { installed, built }
  }, holder => say(`another process (${holder.pid}) installs or builds; waiting ...`))
}

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return
  throw new Error(`Node ${OLDEST_NODE.join('.')} or newer is needed; this is ${process.versions.node}`)
}

const isCurrent = root =>
  readStamp(installStamp(root)) === installInputs(root) && readStamp(buildStamp(root)) === buildInputs(root)

const installStamp = root => join(root, 'node_modules', '.homing-install')
const buildStamp = root => join(root, 'dist', '.homing-build')

function readStamp(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT') return null
    throw error
  }
}

function installInputs(root) {
  return createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .update(`${process.platform} ${process.arch} ${process.versions.modules}`)
    .digest('hex')
}

function buildInputs(root) {
  const hash = createHash('sha256')
  for (const path of [...sources(root), join(root, 'tsconfig.json'), join(root, 'package-lock.json')]) {
    const content = readFileSync(path)
    hash.update(`${relative(root, path)} ${content.length}\n`).update(content)
  }
  return hash.digest('hex')
}

function sources(root) {
  return SOURCE_FOLDERS.flatMap(folder => files(join(root, folder), path => /\.(ts|mts|json)$/.test(path))).sort()
}

/** Files below a folder that `wanted` accepts. */
export function files(folder, wanted) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name)
    return entry.isDirectory() ? files(path, wanted) : wanted(path) ? [path] : []
  })
}

async function ensureInstalled(root, say, run) {
  const inputs = installInputs(root)
  if (readStamp(installStamp(root)) === inputs) return false
  say('installing packages (npm ci) ...')
  const began = Date.now()
  // No package here needs its install script; the compiler is needed whatever NODE_ENV says.
  const code = await run(...npm(['ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund']), root)
  if (code !== 0) throw new Error(`npm ci failed (exit code ${code}): see above; check the network and the npm registry setting`)
  writeFileSync(installStamp(root), inputs)
  say(`packages installed in ${seconds(began)}`)
  return true
}

async function ensureCompiled(root, say, run) {
  // Taken before compiling: what changes meanwhile is compiled next time.
  const inputs = buildInputs(root)
  if (readStamp(buildStamp(root)) === inputs) return false
  say('compiling ...')
  const began = Date.now()
  const code = await run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.json'], root)
  if (code !== 0) throw new Error(`the sources do not compile (tsc exit code ${code}): see above`)
  removeOrphans(root)
  writeFileSync(buildStamp(root), inputs)
  say(`compiled in ${seconds(began)}`)
  return true
}

/** Compiled files whose source is gone would still be run as tests. */
function removeOrphans(root) {
  for (const folder of SOURCE_FOLDERS) {
    for (const path of files(join(root, 'dist', folder), name => /\.(js|d\.ts)$/.test(name))) {
      const source = join(root, relative(join(root, 'dist'), path).replace(/(\.d\.ts|\.js)$/, '.ts'))
      if (!existsSync(source)) rmSync(path)
    }
  }
}

const seconds = began => `${((Date.now() - began) / 1000).toFixed(0)} s`

/** npm as it was called, else from the path. */
function npm(args) {
  const path = process.env.npm_execpath
  return path !== undefined && /npm-cli\.c?js$/.test(path) ? [process.execPath, [path, ...args]] : ['npm', args]
}

/** Standard output stays free for what the command itself prints. */
function runQuietly(command, args, cwd) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'inherit'] })
    child.stdout.pipe(process.stderr, { end: false })
    child.once('error', error => reject(error.code === 'ENOENT' ? new Error(`${command} was not found; install it and run this again`) : error))
    child.once('exit', (code, signal) => resolve(code ?? signal))
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await ensureBuilt()
  } catch (error) {
    sayOnStderr(error.message)
    process.exitCode = 1
  }
}
