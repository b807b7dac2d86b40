import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../sim/random.ts'
import { Expectations, type Asked } from '../../src/learn/expectations.ts'
import { ENDED_AFTER_MS } from '../../src/learn/session-ends.ts'
import type { Outcome } from '../../src/model/outcome.ts'
import type { Lesson } from '../../src/model/quality.ts'

const embedding = Float32Array.from({ length: 8 }, (_, at) => (at === 0 ? 1 : 0))
const asked = (parts: Partial<Asked> = {}): Asked => ({
  tenant: 'acme',
  sessionId: 's',
  model: 'qwen',
  topic: 'coding',
  intent: 'code',
  embedding,
  complexity: 0.5,
  expectedOutputTokens: 200,
  expectedOutputTokensP90: 600,
  expectedRemainingTurns: 1,
  ...parts,
})
const outcome = (parts: Partial<Outcome> & { readonly outputTokens?: number } = {}): Outcome =>
  ({
    tenant: 'acme',
    sessionId: 's',
    model: 'qwen',
    status: 'completed',
    usage: { promptTokens: 10, cachedTokens: null, outputTokens: parts.outputTokens ?? 800, reasoningTokens: null },
    awaits: 'person',
    ...parts,
  }) as Outcome
const lesson = (parts: Partial<Lesson> = {}): Lesson => ({
  tenant: 'acme',
  model: 'small',
  subject: { topics: [['coding', 0.9]], intent: ['code', 0.9], inScope: 1, complexity: 0.5 },
  score: 0,
  weight: 1,
  atMs: 0,
  ...parts,
})

const learner = (returns = true) => {
  const clock = { nowMs: 1_000_000 }
  const expectations = new Expectations({ wallMs: () => clock.nowMs, random: seededRandom(1), returns: () => returns })
  const turn = (parts: Partial<Asked> = {}, answer: Partial<Outcome> & { readonly outputTokens?: number } = {}): void => {
    expectations.arrived(asked(parts), clock.nowMs)
    clock.nowMs += 1000
    expectations.answered(outcome({ sessionId: parts.sessionId ?? 's', ...answer }))
  }
  return { clock, expectations, turn }
}
const quantityOf = (expectations: Expectations, name: string) => expectations.errors().find(({ quantity }) => quantity === name)

test('without outcomes everything is what the fingerprint and the gaps say', () => {
  const { complexity, expectedOutputTokens, expectedOutputTokensP90, expectedRemainingTurns, expectedReturnGapSeconds } = learner().expectations.expect(asked())
  assert.deepEqual([complexity, Math.round(expectedOutputTokens), Math.round(expectedOutputTokensP90), Math.round(expectedRemainingTurns)], [0.5, 200, 600, 1])
  assert.equal(Math.round(expectedReturnGapSeconds!), 123)
})

test('answers teach their length, cut and failed ones do not', () => {
  const { expectations, turn } = learner()
  for (let at = 0; at < 40; at++) turn({}, { status: at % 2 === 0 ? 'incomplete' : 'failed', outputTokens: 1 })
  assert.equal(quantityOf(expectations, 'outputTokens'), undefined)
  for (let at = 0; at < 100; at++) turn({}, { outputTokens: 800 })
  const { expectedOutputTokens, expectedOutputTokensP90 } = expectations.expect(asked())
  assert.ok(expectedOutputTokens > 600 && expectedOutputTokens < 950, `${expectedOutputTokens}`)
  assert.ok(expectedOutputTokensP90 >= expectedOutputTokens)
  assert.ok(expectations.expect(asked({ model: 'other' })).expectedOutputTokens > 300, 'another model leans on everyone')
})

test('a look learns nothing, and an answer without its turn neither', () => {
  const { expectations } = learner()
  for (let at = 0; at < 100; at++) expectations.expect(asked())
  for (let at = 0; at < 100; at++) expectations.answered(outcome())
  assert.deepEqual(expectations.errors(), [])
})

test('the time until a conversation returns is learned by tenant, topic and by what it waits for', () => {
  const { clock, expectations, turn } = learner()
  for (let at = 0; at < 120; at++) {
    turn({ sessionId: 'agent' }, { awaits: 'tool' })
    clock.nowMs += 500
    turn({ sessionId: 'reader', topic: 'law' }, { awaits: 'person' })
    clock.nowMs += 500
  }
  // the agent is away for its tool's 500 ms, the reader's turn and his 500 ms
  const tool = expectations.expect(asked({ sessionId: 'agent' })).expectedReturnGapSeconds!
  const person = expectations.expect(asked({ sessionId: 'reader', topic: 'law' })).expectedReturnGapSeconds!
  assert.ok(Math.abs(tool - 2) < 0.5 && Math.abs(person - 2) < 0.5, `${tool} ${person}`)
  const unheard = expectations.expect(asked({ sessionId: 'new', topic: 'history' })).expectedReturnGapSeconds!
  assert.ok(unheard > person && unheard < 123, `a topic that nobody knows leans on the others of its kind: ${unheard}`)
})

test('where hardly any conversation returns no gap is told', () => {
  assert.equal(learner(false).expectations.expect(asked()).expectedReturnGapSeconds, null)
})

test('conversations that ended teach how many turns of the user were still to come; tool turns are none', () => {
  const { clock, expectations, turn } = learner()
  for (let session = 0; session < 150; session++) {
    const sessionId = `s${session}`
    for (let user = 0; user < 4; user++) {
      turn({ sessionId, expectedRemainingTurns: 3 }, { awaits: 'tool' })
      turn({ sessionId, expectedRemainingTurns: 3 }, { awaits: 'person' })
    }
    clock.nowMs += ENDED_AFTER_MS
  }
  const errors = quantityOf(expectations, 'remainingTurns')!
  assert.ok(errors.judged >= 140, `${errors.judged}`)
  // one of four turns is drawn, with 3, 2, 1 or none to come
  const told = expectations.expect(asked({ sessionId: 's', expectedRemainingTurns: 3 })).expectedRemainingTurns
  assert.ok(told > 0.8 && told < 1.8, `${told}`)
  assert.ok(errors.learned < errors.prior)
})

test('a conversation that is only away for a while has not ended', () => {
  const { clock, expectations, turn } = learner()
  for (let session = 0; session < 30; session++) turn({ sessionId: `s${session}` })
  clock.nowMs += ENDED_AFTER_MS - 60_000
  turn({ sessionId: 's1' })
  assert.equal(quantityOf(expectations, 'remainingTurns'), undefined)
  assert.equal(expectations.sizes['expectation_sessions'], 30)
})

test('complexity is learned from grades of the weakest model, judged by its squared error', () => {
  const { expectations } = learner()
  const random = seededRandom(9)
  for (let at = 0; at < 300; at++) {
    const topic = at % 2 === 0 ? 'coding' : 'chit-chat'
    const subject = { ...lesson().subject, topics: [[topic, 0.9]] as const }
    expectations.observe(lesson({ model: 'large', subject, score: 1 }))
    expectations.observe(lesson({ model: 'small', subject, score: random() < (topic === 'coding' ? 0.1 : 0.9) ? 1 : 0 }))
  }
  const of = (topic: string): number => expectations.expect(asked({ topic })).complexity
  assert.ok(of('coding') > 0.75 && of('chit-chat') < 0.25, `${of('coding')} ${of('chit-chat')}`)
  const { learned, prior, judged } = quantityOf(expectations, 'complexity')!
  assert.ok(learned < prior && judged < 320, JSON.stringify({ learned, prior, judged }))
})

test('grades that are taken back, and those of turns that nothing read, teach nothing', () => {
  const { expectations } = learner()
  for (let at = 0; at < 60; at++) {
    expectations.observe(lesson({ weight: -1 }))
    expectations.observe(lesson({ subject: { ...lesson().subject, topics: [] } }))
  }
  assert.equal(quantityOf(expectations, 'complexity'), undefined)
})

test('everything learned is there after a restart, and a snapshot of another version is refused', () => {
  const before = learner()
  for (let at = 0; at < 60; at++) {
    before.turn({}, { awaits: 'tool' })
    before.expectations.observe(lesson({ score: 0.3 }))
  }
  const after = learner()
  before.expectations.snapshots.forEach(({ name, save }, part) => {
    assert.match(name, /^learned-[a-z]+$/)
    after.expectations.snapshots[part]!.restore(save())
  })
  const apart = asked({ sessionId: 'another' })
  assert.deepEqual(after.expectations.expect(apart), before.expectations.expect(apart))
  assert.deepEqual(after.expectations.errors(), before.expectations.errors())
  assert.throws(() => after.expectations.snapshots[0]!.restore(Buffer.from('{"version":9}')), /version 9/)
})

test('what is not answered yet is bounded, and the oldest leaves first', () => {
  const { clock, expectations } = learner()
  for (let at = 0; at < 25_000; at++) expectations.arrived(asked({ sessionId: `s${at}` }), (clock.nowMs += 1))
  assert.deepEqual([expectations.sizes['expectation_pending'], expectations.sizes['expectation_sessions']], [4000, 20_000])
  assert.deepEqual([expectations.evictions['expectation_pending_size'], expectations.evictions['expectation_sessions_size']], [21_000, 5000])
})
