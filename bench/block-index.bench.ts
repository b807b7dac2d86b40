/**
 * What the block index costs: `npm run bench:index` writes bench/records/block-index-DATE.md. One core, no engine, no data.
 *
 *   block look-ups   hash -> held or not, of blocks drawn at random
 *   prefix search    how much of a 100k-token prompt each of 200 backends holds: one decision's worth of questions
 *   inserts          new blocks into a growing index, and into a full one where each evicts another
 *   memory           bytes of typed arrays a block, and their growth over 10 million inserts under eviction
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { BlockIndex } from '../src/kv/block-index.ts'
import type { BlockChain } from '../src/model/turn.ts'

const today = new Date().toISOString().slice(0, 10)
const { values } = parseArgs({
  options: { out: { type: 'string', default: `bench/records/block-index-${today}.md` } },
})
/** 128 characters, about 32 tokens: kv/chain.ts. */
const BLOCK_TOKENS = 32
const nowMs = (): number => performance.now()
/** Time on a processor: others share the machine. */
const cpuMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

let state = 1
const random32 = (): number => {
  state = (Math.imul(state, 0x2c1b3c6d) + 0x297a2d39) >>> 0
  return (state ^ (state >>> 15)) >>> 0
}

function chain(blocks: number, from?: BlockChain): BlockChain {
  const hashes = new Uint32Array(2 * blocks)
  for (let i = 0; i < hashes.length; i++) hashes[i] = random32()
  if (from !== undefined) hashes.set(from.hashes.subarray(0, 2 * from.length))
  return { hashes, length: blocks, blockCharacters: 128, totalCharacters: 128 * blocks }
}

const rows: [what: string, figure: string, target: string][] = []
const millions = (count: number, startedMs: number): number => count / (cpuMs() - startedMs) / 1000
const perSecond = (rate: number): string => `${rate.toFixed(1)} M/s`

/** 2 million blocks of 4,000 conversations on 8 backends. */
const index = new BlockIndex({ maxBytes: 2 ** 27, nowMs })
const chains = Array.from({ length: 4000 }, () => chain(500))
let startedMs = cpuMs()
for (const [at, each] of chains.entries()) index.insert(each, at % 8)
rows.push(['inserts, growing', perSecond(millions(chains.length * 500, startedMs)), '>= 1 M/s'])

// A chain of one block is one look-up; which one is drawn at random, among 20,000 of 2 million.
const drawn = Array.from({ length: 20_000 }, () => {
  const backend = random32() % 8
  const { hashes } = chains[8 * (random32() % 500) + backend]!
  const block = random32() % 500
  return { backend, one: { hashes: hashes.subarray(2 * block, 2 * block + 2), length: 1, blockCharacters: 128, totalCharacters: 128 } }
})
let found = 0
startedMs = cpuMs()
for (let round = 0; round < 100; round++) for (const { backend, one } of drawn) found += index.cachedBlocks(one, backend)
rows.push(['block look-ups, blocks drawn at random', perSecond(millions(100 * drawn.length, startedMs)), '>= 1 M/s'])
if (found !== 100 * drawn.length) throw new Error('a held block was not found')
startedMs = cpuMs()
for (let round = 0; round < 400_000; round++) found += index.cachedBlocks(chains[(round * 7) % chains.length]!, round % 8)
rows.push(['prefix searches along 500 blocks, one in eight held', perSecond(millions(400_000, startedMs)), ''])
const { blocks, bytes } = index.stats
rows.push(['bytes a block, arrays full (they double, so up to twice that while growing)', (bytes / blocks).toFixed(1), '<= 32'])

/** A 100k-token prompt: a quarter of 200 backends hold parts of it, the rest its system prompt. */
const fleet = new BlockIndex({ maxBytes: 2 ** 28, nowMs })
const system = chain(Math.ceil(2000 / BLOCK_TOKENS))
const prompt = chain(Math.ceil(100_000 / BLOCK_TOKENS), system)
for (let backend = 0; backend < 200; backend++) {
  const held = backend % 4 === 0 ? Math.floor((prompt.length * (backend + 1)) / 200) : system.length
  fleet.insert({ ...prompt, length: Math.max(system.length, held) }, backend)
}
const micros: number[] = []
for (let round = 0; round < 3000; round++) {
  startedMs = nowMs()
  for (let backend = 0; backend < 200; backend++) found += fleet.cachedBlocks(prompt, backend)
  if (round >= 1000) micros.push(1000 * (nowMs() - startedMs))
}
micros.sort((one, other) => one - other)
const at = (share: number): string => `${micros[Math.floor(share * (micros.length - 1))]!.toFixed(0)} us`
rows.push(['100k-token prompt on 200 backends, median', at(0.5), 'well below 1 ms'])
rows.push(['the same, p99', at(0.99), ''])

const small = new BlockIndex({ maxBytes: 2 ** 22, nowMs })
for (const [place, each] of chains.entries()) small.insert(each, place % 8)
const before = process.memoryUsage().arrayBuffers
const bytesBefore = small.stats.bytes
startedMs = cpuMs()
for (let round = 0; round < 20_000; round++) small.insert(chains[round % chains.length]!, round % 8)
rows.push(['inserts, each evicting another', perSecond(millions(1e7, startedMs)), '>= 1 M/s'])
const grown = Math.max(0, process.memoryUsage().arrayBuffers - before) + small.stats.bytes - bytesBefore
rows.push(['growth over these 10 M inserts', `${grown} bytes`, 'flat'])
small.checkIntegrity()
index.checkIntegrity()
fleet.checkIntegrity()
rows.push(['integrity walk over all three afterwards', 'holds', ''])
if (found === 0) throw new Error('nothing was found')

const text = `# Block index, ${today}

\`npm run bench:index\`: ${blocks.toLocaleString('en')} blocks of ${chains.length.toLocaleString('en')} conversations on 8 backends. Node ${process.version},
${cpus()[0]?.model ?? 'unknown processor'}, rates by processor time; other work shared the memory and caches.

| what | measured | target |
|---|---|---|
${rows.map((row) => `| ${row.join(' | ')} |`).join('\n')}
`
mkdirSync(dirname(values.out), { recursive: true })
writeFileSync(values.out, text)
process.stdout.write(`${values.out}\n`)
