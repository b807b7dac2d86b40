/**
 * What answers that can be graded cost: CPU of booking, finding and reading them again, of a line of the log of choices, and memory.
 * Beside it JSON.stringify of the same answer, as a measure of the machine.
 *
 *   npm run bench:outcomes
 */
import { AnswerBook, type SegmentDisk } from '../src/learn/outcomes/answer-book.ts'
import { ChoiceLog } from '../src/learn/outcomes/choice-log.ts'
import type { AnsweredTurn } from '../src/model/choice.ts'

const ANSWERS = 100_000
const TOPICS = [
  'coding', 'math', 'writing', 'law', 'history', 'science', 'health', 'finance', 'sports', 'travel', 'food', 'art', 'music', 'politics',
  'religion', 'education', 'technology', 'other',
]
const MODELS = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((letter) => `model-${letter}-7b-instruct`)

class MemoryDisk implements SegmentDisk {
  readonly #files = new Map<number, Buffer[]>()
  get found(): readonly number[] {
    return [...this.#files.keys()].sort((a, b) => a - b)
  }
  read(number: number): Promise<Buffer> {
    return Promise.resolve(Buffer.concat(this.#files.get(number)!))
  }
  append(number: number, bytes: Uint8Array): void {
    const parts = this.#files.get(number) ?? []
    parts.push(Buffer.from(bytes))
    this.#files.set(number, parts)
  }
  remove(number: number): void {
    this.#files.delete(number)
  }
}

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
/** Buffers are given back some time after they were collected. */
const heapBytes = async (): Promise<number> => {
  for (let round = 0; round < 3; round++) {
    globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
const idOf = (n: number): string => `resp_0192${n.toString(16).padStart(44, '0')}`

function answer(n: number, models: number): AnsweredTurn {
  const considered = MODELS.slice(0, models).map((model) => ({ model, mean: 0.7, deviation: 0.1, drawn: 0.72, seconds: 1.5, propensity: 1 / models }))
  return {
    tenant: 'acme', id: idOf(n), model: MODELS[0]!, atMs: 1_790_000_000_000 + n,
    subject: { topics: TOPICS.map((topic, at) => [topic, at === 0 ? 0.6 : 0.4 / 17]), intent: ['debug', 0.7], inScope: 0.9, complexity: 0.3 },
    choice: models === 0 ? null : { group: 'auto', secondsPerQuality: 100, drawn: true, considered },
  }
}
const open = (disk: SegmentDisk | null): Promise<AnswerBook> =>
  AnswerBook.open({ maxAnswers: ANSWERS, maxAgeMs: Infinity, wallMs: () => 0, disk, unreadable: (error) => console.error(error) })

/** Microseconds of CPU for each of `count` calls, what is made for them not counted. */
function each(count: number, work: (n: number) => void): string {
  const started = cpuMs()
  for (let n = 0; n < count; n++) work(n)
  return ((1000 * (cpuMs() - started)) / count).toFixed(1)
}

async function measured(models: number): Promise<readonly (string | number)[]> {
  const samples = Array.from({ length: 1000 }, (_, n) => answer(n, models))
  const made = (n: number): AnsweredTurn => {
    const { tenant, model, atMs, subject, choice } = samples[n % 1000]!
    return { tenant, id: idOf(n), model, atMs, subject, choice }
  }
  const warm = await open(null)
  for (let n = 0; n < 5000; n++) warm.put(made(n))
  let length = 0
  const json = each(50_000, (n) => (length += JSON.stringify(made(n)).length))
  if (length === 0) throw new Error('nothing was written')
  const book = await open(null)
  const put = each(ANSWERS, (n) => book.put(made(n)))
  const bytes = Math.round(book.bytes / book.size)
  const full = each(50_000, (n) => book.put(made(ANSWERS + n)))
  const get = each(50_000, (n) => void book.get('acme', idOf(ANSWERS + n)))
  const log = new ChoiceLog({ found: [], sizeOf: () => 0, append: () => {}, remove: () => {} }, 64 * 2 ** 20)
  const line = each(20_000, (n) => log.choice(made(n)))
  return [json, put, full, get, models === 0 ? '-' : line, bytes]
}

async function heldBytes(): Promise<number> {
  const before = await heapBytes()
  const book = await open(null)
  for (let n = 0; n < ANSWERS; n++) book.put(answer(n, 3))
  return Math.round(((await heapBytes()) - before) / book.size)
}

const held = await heldBytes()
console.log(`${new Date().toISOString()}, Node ${process.versions.node}; microseconds of CPU, all 18 topics likely enough to be kept\n`)
console.log('| models considered | JSON.stringify | put | put when full | get | line of the log | bytes in its segment |')
console.log('|---|---|---|---|---|---|---|')
for (const models of [0, 3, 8]) console.log(`| ${models} | ${(await measured(models)).join(' | ')} |`)
const disk = new MemoryDisk()
const written = await open(disk)
for (let n = 0; n < ANSWERS; n++) written.put(answer(n, 3))
const started = cpuMs()
const { size } = await open(disk)
console.log(`\n${held} bytes of memory an answer with three models, index and segment together`)
console.log(`reading ${size} answers at the start: ${Math.round(cpuMs() - started)} ms of CPU`)
