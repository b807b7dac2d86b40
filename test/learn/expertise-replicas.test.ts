import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '../../sim/random.ts'
import { Expertise, type ExpertiseOptions } from '../../src/learn/expertise.ts'
import { ExpertiseSnapshotError } from '../../src/learn/expertise-snapshot.ts'
import { SAMPLE } from '../../src/learn/expertise-kinds.ts'
import type { Subject } from '../../src/model/quality.ts'

const TOPICS = ['coding', 'law', 'math']
let questions = 0
/** No two questions are the same one. */
const another = (): number => (++questions % 16_000) / 16_000
const about = (topic: string): Subject => ({ topics: [[topic, 0.8], ['other', 0.2]], intent: ['ask', 1], inScope: 1, complexity: another() })
const replica = (name: string, changes: Partial<ExpertiseOptions> = {}): Expertise =>
  new Expertise({ halfLifeMs: null, exploration: null, shareBetweenTenants: false, priors: {}, random: seededRandom(1), wallMs: () => 10, replica: name, ...changes })
type Told = { readonly model: string; readonly topic: string; readonly score: number }
const tell = (to: Expertise, told: readonly Told[]): void => {
  for (const { model, topic, score } of told) to.observe({ tenant: 'a', model, subject: about(topic), score, weight: 1, atMs: 10 })
}
const some = (seed: number, count: number): Told[] => {
  const random = seededRandom(seed)
  return Array.from({ length: count }, () => {
    const [model, topic] = [random() < 0.5 ? 'one' : 'two', TOPICS[Math.floor(3 * random())]!]
    return { model, topic, score: random() < (model === 'one' ? 0.7 : 0.5) ? 1 : 0 }
  })
}
const counted = (of: Expertise): number[] => ['one', 'two'].map((model) => of.expect('a', [model], about('law'))[0]!.observations)
const believed = (of: Expertise): number[] =>
  ['one', 'two'].flatMap((model) => TOPICS.map((topic) => of.expect('a', [model], about(topic))[0]!.mean))
const near = (one: readonly number[], other: readonly number[], within: number): void =>
  one.forEach((value, at) => assert.ok(Math.abs(value - other[at]!) <= within, `${one.join(' ')} is not ${other.join(' ')}`))

describe('snapshots', () => {
  test('what is restored believes what was stored, and goes on learning as if nothing had happened', () => {
    const before = replica('r')
    tell(before, some(1, 300))
    const after = replica('r')
    after.restore(before.snapshot())
    near(counted(after), counted(before), 1e-3)
    near(believed(after), believed(before), 0.02)
    tell(after, some(2, 10))
    assert.equal(Math.round(counted(after)[0]! + counted(after)[1]!), 310)
  })

  test('evidence goes on ageing while nobody is there', () => {
    let now = 10
    const options = { halfLifeMs: 1000, wallMs: () => now }
    const before = replica('r', options)
    tell(before, some(1, 100))
    const bytes = before.snapshot()
    now = 1010
    const after = replica('r', options)
    after.restore(bytes)
    near([counted(after)[0]! + counted(after)[1]!], [50], 0.5)
  })

  test('bytes that are no snapshot are refused as a whole', () => {
    const expertise = replica('r')
    tell(expertise, some(1, 50))
    const [before, bytes] = [believed(expertise), expertise.snapshot()]
    for (const bad of [Buffer.from('nonsense'), Buffer.alloc(0), bytes.subarray(0, bytes.length - 9)]) {
      assert.throws(() => expertise.restore(bad), ExpertiseSnapshotError)
      assert.throws(() => expertise.merge(bad), ExpertiseSnapshotError)
    }
    assert.deepEqual(believed(expertise), before)
  })

  test('50 models and 20 topics are less than 1 MB', () => {
    const expertise = replica('r')
    const random = seededRandom(1)
    for (let n = 0; n < 50 * 20 * 2; n++) {
      const topics = Array.from({ length: 4 }, () => [`topic ${Math.floor(20 * random())}`, 0.25] as const)
      const subject: Subject = { topics, intent: [`intent ${n % 12}`, 0.9], inScope: 1, complexity: 0.5, embedding: noise(256, random), shape: noise(13, random) }
      if (n < 2 * SAMPLE) expertise.expect('a', ['m0'], subject)
      expertise.observe({ tenant: 'a', model: `m${n % 50}`, subject, score: 1, weight: 1, atMs: 10 })
    }
    const bytes = expertise.snapshot().length
    assert.ok(bytes < 1_000_000 && bytes > 100_000, String(bytes))
  })
})
const noise = (length: number, random: () => number): Float32Array => Float32Array.from({ length }, () => random() - 0.5)

describe('replicas', () => {
  test('however often and in whatever order snapshots are merged, every outcome counts once everywhere', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(2), fc.nat(2), fc.integer({ min: 0, max: 12 })), { maxLength: 25 }), (steps) => {
        const names = ['x', 'y', 'z']
        const replicas = names.map((name) => replica(name))
        let told = 0
        steps.forEach(([from, to, count], at) => {
          tell(replicas[from]!, some(at, count))
          told += count
          if (from !== to) replicas[to]!.merge(replicas[from]!.snapshot())
        })
        for (let round = 0; round < 2; round++) for (const of of replicas) for (const other of replicas) if (of !== other) of.merge(other.snapshot())
        const totals = replicas.map((each) => counted(each))
        for (const each of totals) near([each[0]! + each[1]!], [told], 1e-3 * (1 + told))
        near(totals[0]!, totals[1]!, 1e-3 * (1 + told))
      }),
      { numRuns: 25 },
    )
  })

  test('replicas that share what they saw believe what one that saw everything believes', () => {
    const [x, y, all] = [replica('x'), replica('y'), replica('all')]
    tell(x, some(1, 400))
    tell(y, some(2, 400))
    tell(all, [...some(1, 400), ...some(2, 400)])
    x.merge(y.snapshot())
    near(believed(x), believed(all), 0.03)
  })

  test('a change that one replica noticed makes what the others saw before count little there and with them', () => {
    const [x, y] = [replica('x'), replica('y')]
    const steady = Array.from({ length: 600 }, (_, n): Told => ({ model: 'one', topic: 'law', score: n % 10 < 8 ? 1 : 0 }))
    tell(x, steady)
    tell(y, steady)
    x.merge(y.snapshot())
    tell(x, Array.from({ length: 300 }, (_, n) => ({ model: 'one', topic: 'law', score: n % 10 < 4 ? 1 : 0 })))
    assert.equal(x.counts.changes, 1)
    y.merge(x.snapshot())
    near([believed(y)[1]!], [believed(x)[1]!], 0.05)
    assert.ok(believed(y)[1]! < 0.55, String(believed(y)[1]))
  })

  test('replicas that found different kinds agree on the older ones, and forget what they learned of the others', () => {
    let now = 1
    const replicas = ['x', 'y'].map((name, at) => {
      const made = replica(name, { wallMs: () => now })
      const random = seededRandom(at)
      for (let n = 0; n < SAMPLE + 10; n++) {
        const subject = { ...about('law'), embedding: noise(16, random), shape: noise(4, random) }
        made.expect('a', ['one'], subject)
        made.observe({ tenant: 'a', model: 'one', subject, score: n % 2, weight: 1, atMs: now })
      }
      now = 2
      return made
    })
    const [x, y] = replicas as [Expertise, Expertise]
    const probe = { ...about('law'), embedding: noise(16, seededRandom(9)), shape: noise(4, seededRandom(8)) }
    assert.notDeepEqual(x.compact(probe).kinds, y.compact(probe).kinds)
    x.merge(y.snapshot())
    y.merge(x.snapshot())
    assert.ok(x.compact(probe).kinds!.length > 0)
    assert.deepEqual(x.compact(probe).kinds, y.compact(probe).kinds)
    near([x.expect('a', ['one'], probe)[0]!.mean], [y.expect('a', ['one'], probe)[0]!.mean], 0.02)
  })
})

describe("the operator's table", () => {
  test('shows what is believed of each model and topic, from how many outcomes, and when it last learned', () => {
    const expertise = replica('r')
    tell(expertise, some(1, 600))
    const one = expertise.table('a').find(({ model }) => model === 'one')!
    const law = one.topics.find(({ topic }) => topic === 'law')!
    assert.ok(law.low < 0.7 && law.high > 0.7 && law.high - law.low < 0.25 && law.observations > 60 && law.lastLessonMs === 10, JSON.stringify(law))
    assert.equal(Math.round(one.overall.observations), counted(expertise)[0])
    assert.deepEqual(expertise.table('nobody'), [])
  })

  test('a cell that is set is believed at once, and outcomes go on from there', () => {
    const expertise = replica('r')
    tell(expertise, some(1, 300))
    const [, before, math] = believed(expertise) as [number, number, number]
    expertise.edit({ tenant: 'a', model: 'one', topic: 'law', quality: 0.1, outcomes: 200 })
    assert.equal(expertise.table('a').find(({ model }) => model === 'one')!.edited[0]!.topic, 'law')
    const [, law, still] = believed(expertise)
    assert.ok(law! < before - 0.2, `${before} ${law}`)
    assert.ok(Math.abs(still! - math) < 0.12, 'another topic hardly moves')
    tell(expertise, Array.from({ length: 600 }, () => ({ model: 'one', topic: 'law', score: 1 })))
    assert.ok(believed(expertise)[1]! > 0.6)
  })

  test('a cell that is reset is like the others again; a model that is reset is as if it had never been seen', () => {
    const expertise = replica('r')
    tell(expertise, some(1, 400).map((told) => (told.model === 'one' && told.topic === 'coding' ? { ...told, score: 0 } : told)))
    const before = expertise.expect('a', ['one'], about('coding'))[0]!
    expertise.edit({ tenant: 'a', model: 'one', topic: 'coding', reset: true })
    const after = expertise.expect('a', ['one'], about('coding'))[0]!
    assert.ok(after.mean > before.mean + 0.1 && after.deviation > before.deviation, `${before.mean} ${after.mean}`)
    expertise.edit({ tenant: 'a', model: 'one', reset: true })
    const fresh = expertise.expect('a', ['one', 'new'], about('coding'))
    assert.equal(fresh[0]!.observations, 0)
    assert.ok(Math.abs(fresh[0]!.mean - fresh[1]!.mean) < 1e-6)
  })

  test('edits outlive a restart and reach other replicas, a reset too', () => {
    const [x, y] = [replica('x'), replica('y')]
    x.edit({ tenant: 'a', model: 'one', topic: 'law', quality: 0.9, outcomes: 100 })
    y.merge(x.snapshot())
    const again = replica('x')
    again.restore(x.snapshot())
    for (const each of [y, again]) near([believed(each)[1]!], [believed(x)[1]!], 0.01)
    assert.throws(() => x.edit({ tenant: 'a', model: 'one', topic: 'law', quality: 2 }), RangeError)
  })
})
