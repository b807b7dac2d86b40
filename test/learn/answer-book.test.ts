import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { AnswerBook, type SegmentDisk } from '../../src/learn/outcomes/answer-book.ts'
import type { AnsweredTurn } from '../../src/model/choice.ts'

/** A disk that is written at once and may be cut, as a kill does. */
class MemoryDisk implements SegmentDisk {
  readonly files = new Map<number, Buffer>()
  get found(): readonly number[] {
    return [...this.files.keys()].sort((a, b) => a - b)
  }
  read(number: number): Promise<Buffer> {
    return Promise.resolve(this.files.get(number)!)
  }
  append(number: number, bytes: Uint8Array): void {
    this.files.set(number, Buffer.concat([this.files.get(number) ?? Buffer.alloc(0), bytes]))
  }
  remove(number: number): void {
    this.files.delete(number)
  }
}

const answer = (id: string, more: Partial<AnsweredTurn> = {}): AnsweredTurn => ({
  tenant: 'acme', id, model: 'coder', atMs: 1_000, choice: null,
  subject: { topics: [['coding', 0.75], ['math', 0.25]], intent: ['debug', 0.5], inScope: 1, complexity: 0.25 },
  ...more,
})
const open = (disk: SegmentDisk | null, more: { maxAnswers?: number; maxAgeMs?: number; nowMs?: () => number; unreadable?: (error: unknown) => void } = {}) =>
  AnswerBook.open({
    maxAnswers: more.maxAnswers ?? 1000, maxAgeMs: more.maxAgeMs ?? Infinity, wallMs: more.nowMs ?? (() => 2_000), disk,
    unreadable: more.unreadable ?? ((error) => assert.fail(String(error))),
  })
const near = (found: AnsweredTurn | null, wanted: AnsweredTurn): void => {
  assert.ok(found !== null)
  assert.deepEqual([found.tenant, found.id, found.model, found.atMs, found.choice?.group], [wanted.tenant, wanted.id, wanted.model, wanted.atMs, wanted.choice?.group])
  assert.deepEqual(found.subject.topics.map(([name]) => name), wanted.subject.topics.map(([name]) => name))
  found.subject.topics.forEach(([, probability], n) => assert.ok(Math.abs(probability - wanted.subject.topics[n]![1]) < 1e-4))
  assert.ok(Math.abs(found.subject.complexity - wanted.subject.complexity) < 1e-4)
}

test('an answer is found as soon as it is put, with all that is learned from, the newest under one id', async () => {
  const book = await open(null)
  const choice = {
    group: 'auto', secondsPerQuality: 100, drawn: true,
    considered: [{ model: 'coder', mean: 0.75, deviation: 0.0625, drawn: 0.8125, seconds: 1.5, propensity: 0.625 }, { model: 'general', mean: 0.5, deviation: 0.125, drawn: 0.25, seconds: 0.5, propensity: 0.375 }],
  }
  book.put(answer('resp_1'))
  book.put(answer('chatcmpl-1', { choice }))
  book.put(answer('resp_1', { model: 'general', atMs: 1_500 }))
  near(book.get('acme', 'resp_1'), answer('resp_1', { model: 'general', atMs: 1_500 }))
  near(book.get('acme', 'chatcmpl-1'), answer('chatcmpl-1', { choice }))
  assert.deepEqual(book.get('acme', 'chatcmpl-1')!.choice, choice)
  assert.equal(book.get('other', 'resp_1'), null)
  assert.equal(book.get('acme', 'resp_2'), null)
})

test('answers, grades and what was forgotten are there again after a restart; a cut record costs itself only', async () => {
  await fc.assert(fc.asyncProperty(
    fc.array(fc.record({ id: fc.constantFrom('a', 'b', 'c', 'd'), what: fc.constantFrom('put', 'grade', 'forget'), value: fc.integer({ min: 0, max: 100 }) }), { maxLength: 40 }),
    fc.nat({ max: 40 }), fc.nat({ max: 30 }),
    async (steps, restartAt, cut) => {
      const disk = new MemoryDisk()
      const model = new Map<string, { name: string; grade: number | null }>()
      let book = await open(disk)
      for (const [n, { id, what, value }] of steps.entries()) {
        if (n === restartAt) {
          // what a kill leaves: the next record begun
          const last = disk.found.at(-1)
          if (last !== undefined) disk.append(last, Buffer.alloc(cut, 7))
          book = await open(disk, { unreadable: () => {} })
        }
        if (what === 'put') {
          book.put(answer(id, { model: `m${value}` }))
          model.set(id, { name: `m${value}`, grade: null })
        } else if (what === 'grade') {
          book.grade('acme', id, { source: 'user', score: value / 100, atMs: n })
          const known = model.get(id)
          if (known !== undefined) known.grade = value / 100
        } else {
          book.forget('acme', id)
          model.delete(id)
        }
      }
      for (const each of [book, await open(disk, { unreadable: () => {} })]) {
        for (const id of ['a', 'b', 'c', 'd']) {
          assert.equal(each.get('acme', id)?.model ?? null, model.get(id)?.name ?? null)
          assert.equal(each.gradesOf('acme', id)[0]?.score ?? null, model.get(id)?.grade ?? null)
        }
        assert.equal(each.size, model.size)
      }
    },
  ), { numRuns: 150 })
})

test('beyond its bound the oldest leave, in memory and on disk, and are counted', async () => {
  const disk = new MemoryDisk()
  const book = await open(disk, { maxAnswers: 4000 })
  for (let n = 0; n < 12_000; n++) book.put(answer(`resp_${n}`))
  assert.ok(book.size <= 4000 && book.size > 1000, String(book.size))
  assert.equal(book.evictions.size, 12_000 - book.size)
  assert.equal(book.get('acme', 'resp_0'), null)
  near(book.get('acme', 'resp_11999'), answer('resp_11999'))
  const again = await open(disk, { maxAnswers: 4000 })
  assert.equal(again.size, book.size)
  assert.ok(disk.files.size <= 5)
})

test('answers older than the store keeps any are unknown, and their segments leave', async () => {
  const disk = new MemoryDisk()
  let now = 2_000
  const book = await open(disk, { maxAgeMs: 10_000, nowMs: () => now })
  book.put(answer('old'))
  now = 11_500
  assert.equal(book.get('acme', 'old'), null)
  const again = await open(disk, { maxAgeMs: 10_000, nowMs: () => now })
  assert.deepEqual([again.size, again.evictions.expired, disk.files.size], [0, 1, 0])
})

test('a segment that is damaged or of another program is told, and the others are read', async () => {
  const disk = new MemoryDisk()
  const first = await open(disk)
  first.put(answer('one'))
  const second = await open(disk)
  second.put(answer('two'))
  const third = await open(disk)
  third.put(answer('three'))
  const [one, two] = disk.found as [number, number]
  disk.files.set(one, Buffer.from('not ours at all'))
  disk.files.get(two)![30]! ^= 0xff
  const told: string[] = []
  const book = await open(disk, { unreadable: (error) => told.push(String(error)) })
  assert.equal(told.length, 2)
  assert.equal(book.evictions.unreadable_segments, 2)
  near(book.get('acme', 'three'), answer('three'))
})

test('the last answers have their embedding, in memory alone; what stands for it is kept for all', async () => {
  const disk = new MemoryDisk()
  const book = await open(disk, { maxAnswers: 10_000 })
  const embedding = Float32Array.from({ length: 256 }, (_, n) => Math.sin(n))
  const subject = { ...answer('').subject, embedding, shape: Float32Array.of(1, 2) }
  const kinds = [['7/3', 0.75], ['7/21', 0.25]] as const
  for (let n = 0; n < 2001; n++) book.put(answer(`e${n}`, { subject }))
  book.put(answer('k', { subject: { ...answer('').subject, kinds } }))
  assert.equal(book.get('acme', 'e0')!.subject.embedding, undefined)
  assert.deepEqual([book.get('acme', 'e2000')!.subject.embedding, book.get('acme', 'e2000')!.subject.shape], [embedding, subject.shape])
  for (const each of [book, await open(disk, { maxAnswers: 10_000 })]) {
    assert.deepEqual(each.get('acme', 'k')!.subject.kinds?.map(([name, share]) => [name, Math.round(share * 1000) / 1000]), kinds)
    assert.equal(each.get('acme', 'k')!.subject.embedding, undefined)
  }
  assert.equal((await open(disk, { maxAnswers: 10_000 })).get('acme', 'e2000')!.subject.embedding, undefined)
})

test('what was graded since a moment is told with its answer: a learner restored from an older state catches up', async () => {
  const book = await open(null)
  book.put(answer('a'))
  book.put(answer('b'))
  book.grade('acme', 'a', { source: 'user', score: 1, atMs: 100 })
  book.grade('acme', 'b', { source: 'user', score: 0, atMs: 200 })
  book.grade('acme', 'b', { source: 'user', score: 0.5, atMs: 300 })
  const since = (ms: number): unknown => [...book.gradedSince(ms)].map(({ answer: { id }, grade, instead }) => [id, grade.score, instead])
  assert.deepEqual(since(99), [['a', 1, undefined], ['b', 0.5, undefined]])
  assert.deepEqual(since(100), [['b', 0.5, undefined]], 'both of its grades are news')
  assert.deepEqual(since(200), [['b', 0.5, 0]], 'the first was learned and gives way')
  assert.deepEqual(since(300), [])
})

test('an id longer than any API has cannot be graded, and is counted', async () => {
  const book = await open(null)
  book.put(answer('é'.repeat(300)))
  assert.deepEqual([book.size, book.evictions.too_large], [0, 1])
})
