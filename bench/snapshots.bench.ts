/**
 * `npm run bench:snapshots`: what it costs to write and read the fingerprints of 20,000 conversations, and for how long one write
 * holds the event loop. Prints a table; `--record FILE` writes it.
 */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSqliteStore } from '../src/conversation/sqlite-store.ts'
import { FingerprintCache } from '../src/fingerprint/fingerprint-cache.ts'
import { loadFingerprintModel } from '../src/fingerprint/fingerprint-model.ts'
import { Fingerprinter } from '../src/fingerprint/fingerprinter.ts'
import type { ConversationItem } from '../src/model/item.ts'
import { Snapshots } from '../src/snapshots.ts'
import { projectRoot } from '../test/house/root.ts'

const CONVERSATIONS = 20_000
const model = loadFingerprintModel(join(projectRoot(), 'assets/fingerprint/model.homing'))
const cacheOf = (): FingerprintCache =>
  new FingerprintCache({ fingerprinter: new Fingerprinter(model), maxConversations: CONVERSATIONS, deadlineMs: 1e9, nowMs: () => 0 })
const says = (text: string): ConversationItem => ({ type: 'message', role: 'user', content: [{ type: 'input_text', text }] })

const folder = mkdtempSync(join(tmpdir(), 'homing-bench-'))
const store = await openSqliteStore({ directory: folder, nowMs: Date.now })
/** The times between two turns of the event loop, while something is written or read. */
let holds: number[] = []
let turning = true
const turn = (lastMs: number): void => {
  const nowMs = performance.now()
  holds.push(nowMs - lastMs)
  if (turning) setImmediate(() => turn(nowMs))
}
turn(performance.now())
const rest = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const snapshotsOf = (cache: FingerprintCache): Snapshots =>
  new Snapshots(cache.snapshots, {
    store,
    failed: (what, part, error) => {
      throw new Error(`${what} ${part}`, { cause: error })
    },
  })
type Timed = { readonly allMs: number; readonly cpuMs: number; readonly holds: readonly number[] }
const timed = async (work: () => Promise<void>): Promise<Timed> => {
  await rest()
  holds = []
  const started = performance.now()
  const cpu = process.cpuUsage()
  await work()
  await rest()
  const { user, system } = process.cpuUsage(cpu)
  return { allMs: performance.now() - started, cpuMs: (user + system) / 1000, holds: holds.filter((ms) => ms > 0.2).sort((left, right) => left - right) }
}

const rows: string[] = []
const row = (what: string, { allMs, cpuMs, holds: sorted }: Timed, more: string): void => {
  const at = (share: number): string => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(1)
  rows.push(`| ${what} | ${allMs.toFixed(0)} ms | ${cpuMs.toFixed(0)} ms | ${at(0.5)}, ${at(0.9)}, ${at(1)} ms | ${more} |`)
}
const cache = cacheOf()
const key = (at: number): string => `tenant\nheader:0123456789abcdef0123456789abcdef-${at}`
for (let at = 0; at < CONVERSATIONS; at++) cache.update(key(at), [says(`look into src/room/file-${at}.ts for order W${1_000_000 + at}`)])
const snapshots = snapshotsOf(cache)
const all = await timed(() => snapshots.write(rest))
const bytes = snapshots.counts.bytesWritten
row(`all of ${cache.size} conversations written`, all, `${(bytes / 2 ** 20).toFixed(1)} MiB, ${Math.round(bytes / cache.size)} bytes each`)
row('nothing changed', await timed(() => snapshots.write(rest)), `${snapshots.counts.bytesWritten - bytes} bytes`)
const before = snapshots.counts.bytesWritten
for (let at = 0; at < 600; at++) cache.update(key(at), [says('and now something else')])
row('600 of them changed, written', await timed(() => snapshots.write(rest)), `${((snapshots.counts.bytesWritten - before) / 2 ** 20).toFixed(1)} MiB`)
const again = cacheOf()
row('all read at the start', await timed(() => snapshotsOf(again).load()), `${again.size} conversations`)
turning = false
await store.close()
const onDisk = statSync(join(folder, 'homing.sqlite')).size
rmSync(folder, { recursive: true })
const table = ['| what | in all | processor | holds of the event loop: median, p90, longest | |', '|---|---|---|---|---|', ...rows, '', `On disk: ${(onDisk / 2 ** 20).toFixed(1)} MiB.`].join('\n')
console.log(table)
const at = process.argv.indexOf('--record')
if (at > 0) {
  const { scripts } = JSON.parse(readFileSync(join(projectRoot(), 'package.json'), 'utf8')) as { scripts: Record<string, string> }
  const head = `# Snapshots\n\n\`npm run bench:snapshots\` (\`${scripts['bench:snapshots']}\`), ${new Date().toISOString().slice(0, 10)}, Node ${process.versions.node}, two shared cores.\n\n`
  writeFileSync(process.argv[at + 1]!, `${head}${table}\n`)
}
