import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Escalations, type Step } from '../../src/learn/escalations.ts'

const step = (changes: Partial<Step> = {}): Step => ({ from: 'small', to: 'large', topic: 'maths', why: 'low_confidence', confidence: 0.9, secondsPerQuality: 100, ...changes })
const NEVER = (): number => 1
/** As many as it takes for what was measured to outweigh what was assumed. */
const many = (account: Escalations, at: Step, changed: (n: number) => boolean, seconds = 5, times = 200): void => {
  for (let n = 0; n < times; n++) account.escalated(at, changed(n), seconds)
}

test('before anything is known a doubtful answer is worth asking again, and a sure one is not', () => {
  const account = new Escalations(NEVER)
  assert.equal(account.pays(step({ confidence: 0.3 })), true)
  assert.equal(account.pays(step({ confidence: 0.99 })), false)
})

test('it stops where the next model keeps saying the same, and goes on where it does not', () => {
  const account = new Escalations(NEVER)
  const doubtful = step({ confidence: 0.3 })
  many(account, doubtful, () => false)
  assert.equal(account.pays(doubtful), false)
  many(account, doubtful, () => true, 5, 600)
  assert.equal(account.pays(doubtful), true, 'a model that was replaced is noticed')
})

test('the same odds pay for a quick model and not for a slow one', () => {
  const account = new Escalations(NEVER)
  many(account, step({ confidence: 0.5 }), (n) => n % 5 === 0, 2)
  assert.equal(account.pays(step({ confidence: 0.5 })), true)
  many(account, step({ confidence: 0.5 }), (n) => n % 5 === 0, 60)
  assert.equal(account.pays(step({ confidence: 0.5 })), false)
})

test('a topic of which little is known is judged by the pair, then by itself', () => {
  const account = new Escalations(NEVER)
  many(account, step({ topic: 'law', confidence: 0.5 }), () => false)
  assert.ok(account.changes(step({ topic: 'maths', confidence: 0.5 })) < 0.1)
  many(account, step({ topic: 'maths', confidence: 0.5 }), () => true, 5, 50)
  assert.ok(account.changes(step({ topic: 'maths', confidence: 0.5 })) > 0.8)
  assert.ok(account.changes(step({ topic: 'law', confidence: 0.5 })) < 0.1)
})

test('one in twenty of what would not pay is asked all the same', () => {
  let seed = 1
  const random = (): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
    return seed / 2 ** 31
  }
  const account = new Escalations(random)
  let asked = 0
  for (let n = 0; n < 4000; n++) if (account.pays(step({ confidence: 0.999 }))) asked++
  assert.ok(asked > 140 && asked < 260, String(asked))
  assert.equal(account.counts.explored, asked)
})

test('what it holds is bounded, and what it lets go is counted', () => {
  const account = new Escalations(NEVER)
  for (let n = 0; n < 6000; n++) account.escalated(step({ from: `small-${n}` }), true, 1)
  assert.ok(account.size <= 5000)
  assert.ok(account.evictions.size > 0)
})

test('what was learned outlives the process, and a damaged snapshot leaves it as it was', () => {
  const account = new Escalations(NEVER)
  const doubtful = step({ confidence: 0.3 })
  many(account, doubtful, () => false)
  assert.equal(account.snapshotPart.changed(), true)
  const bytes = account.snapshotPart.save()
  assert.equal(account.snapshotPart.changed(), false)
  const next = new Escalations(NEVER)
  next.snapshotPart.restore(bytes)
  assert.equal(next.changes(doubtful), account.changes(doubtful))
  assert.equal(next.pays(doubtful), false)
  for (const bad of ['', '{}', '{"version":2,"cells":[],"seconds":[]}', '{"version":1,"cells":[["x",{"changed":2,"escalated":1}]],"seconds":[]}'])
    assert.throws(() => next.snapshotPart.restore(Buffer.from(bad)))
  assert.equal(next.changes(doubtful), account.changes(doubtful))
})

test('who values quality more asks more often', () => {
  const account = new Escalations(NEVER)
  const sure = step({ confidence: 0.95 })
  assert.equal(account.pays(sure), false)
  assert.equal(account.pays({ ...sure, secondsPerQuality: 1000 }), true)
})
