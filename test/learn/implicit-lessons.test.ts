import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { EvidenceCarry } from '../../src/learn/evidence-carry.ts'
import { ImplicitLessons } from '../../src/learn/implicit-lessons.ts'
import type { News } from '../../src/learn/next-turn-signals.ts'
import type { AwaitedAnswer } from '../../src/learn/pending-answers.ts'
import { sketchOf } from '../../src/learn/question-sketch.ts'
import { NO_EVIDENCE, PRIOR_RATES, SIGNALS, withSign } from '../../src/learn/signals.ts'
import type { Lesson, Subject } from '../../src/model/quality.ts'

const SUBJECT: Subject = { topics: [['coding', 0.9]], intent: ['ask', 0.9], inScope: 0.9, complexity: 0.4 }
const QUESTION = sketchOf('How do I sort a list in Python?', 1)
const MINUTE = 60_000

function setUp(options: { readonly maxAnswers?: number } = {}) {
  const given: Lesson[] = []
  const lessons = new ImplicitLessons({ maxAnswers: options.maxAnswers ?? 100, observe: (lesson) => void given.push(lesson) })
  const answered = (id: string, more: Partial<AwaitedAnswer> = {}): void =>
    lessons.answered({
      tenant: 't', sessionId: 's', id, model: 'm', subject: SUBJECT, evidence: withSign(NO_EVIDENCE, 'refusal', false),
      mark: Number(id.replace(/\D/g, '')) || 1, contextItems: 1, question: QUESTION, atMs: 1000, ...more,
    })
  const news = (more: Partial<News> = {}): News => ({ answerMark: 1, historyItems: 2, question: null, spoken: true, asks: false, toolError: null, ...more })
  const follows = (more: { readonly news?: Partial<News>; readonly sessionId?: string; readonly tenant?: string; readonly contextItems?: number; readonly receivedAtMs?: number; readonly namesSession?: boolean } = {}, intent: readonly [string, number] | null = ['ask', 0.9]) =>
    lessons.followed(
      { tenant: more.tenant ?? 't', sessionId: more.sessionId ?? 's', contextItems: more.contextItems ?? 3, receivedAtMs: more.receivedAtMs ?? 5000, namesSession: more.namesSession ?? true, news: news(more.news) },
      intent,
    )
  return { lessons, given, answered, follows }
}

test('a lesson waits for the next turn of the session, and is of the model that answered', () => {
  const { lessons, given, answered, follows } = setUp()
  answered('a1', { model: 'small' })
  assert.equal(given.length, 0)
  assert.equal(lessons.conclusion('t', 'a1'), null)
  follows({}, ['complain', 0.95])
  assert.equal(given.length, 1)
  const [lesson] = given
  assert.equal(lesson!.model, 'small')
  assert.equal(lesson!.tenant, 't')
  assert.equal(lesson!.subject, SUBJECT)
  assert.equal(lesson!.atMs, 1000)
  assert.equal(lesson!.score, 0)
  assert.ok(lesson!.weight > 0 && lesson!.weight < 1)
  const { found, settledBy, probability } = lessons.conclusion('t', 'a1')!
  assert.deepEqual(found, ['complaint', 'went_on'])
  assert.equal(settledBy, 'next_turn')
  assert.ok(probability < 0.5)
})

test('nobody comes in time: the answer is settled by that, once', () => {
  const { lessons, given, answered, follows } = setUp()
  answered('a1')
  lessons.sweep(1000 + 9 * MINUTE)
  assert.equal(lessons.sizes['waiting'], 1)
  lessons.sweep(1000 + 10 * MINUTE)
  assert.equal(lessons.conclusion('t', 'a1')!.settledBy, 'no_next_turn')
  const after = given.length
  follows({}, ['complain', 0.95])
  lessons.sweep(1000 + 60 * MINUTE)
  assert.equal(given.length, after)
})

test('an outcome that comes first is the only lesson; its signs are learned from', () => {
  const { lessons, given, answered, follows } = setUp()
  answered('a1')
  assert.equal(lessons.outcome('t', 'a1', 0), true)
  follows({}, ['complain', 0.95])
  assert.equal(given.length, 0)
  assert.equal(lessons.conclusion('t', 'a1')!.settledBy, 'outcome')
  assert.equal(lessons.conclusion('t', 'a1')!.lesson, null)
  assert.equal(lessons.counts.settled.outcome, 1)
})

test('an outcome that comes late takes the lesson back, to the last digit, once', () => {
  const { lessons, given, answered, follows } = setUp()
  answered('a1')
  follows({}, ['complain', 0.95])
  assert.equal(lessons.outcome('t', 'a1', 1), true)
  assert.equal(lessons.outcome('t', 'a1', 0), true)
  assert.equal(given.length, 2)
  assert.deepEqual(given[1], { ...given[0], weight: -given[0]!.weight })
  assert.deepEqual(lessons.conclusion('t', 'a1')!.lesson, null)
  assert.equal(lessons.conclusion('t', 'a1')!.settledBy, 'outcome')
  assert.equal(lessons.counts.withdrawn, 1)
})

test('an outcome of another tenant, or of an answer that is not known, is none', () => {
  const { lessons, given, answered, follows } = setUp()
  answered('a1')
  assert.equal(lessons.outcome('other', 'a1', 0), false)
  assert.equal(lessons.outcome('t', 'a2', 0), false)
  follows()
  assert.equal(given.length, 1)
})

test('explicit always wins: whatever comes in whatever order, nothing is left of a lesson beside the outcome of its answer', () => {
  const steps = fc.array(fc.oneof(fc.constant('answer'), fc.constant('follow'), fc.constant('outcome'), fc.constant('sweep')), { maxLength: 30 })
  fc.assert(
    fc.property(steps, (order) => {
      const { lessons, given, answered, follows } = setUp()
      let answers = 0
      const graded = new Set<string>()
      for (const step of order) {
        if (step === 'answer') answered(`a${++answers}`, { model: `a${answers}` })
        else if (step === 'outcome' && answers > 0 && lessons.outcome('t', `a${answers}`, 1)) graded.add(`a${answers}`)
        else if (step === 'follow') follows({ news: { answerMark: answers } })
        else lessons.sweep(1e9)
      }
      const perAnswer = new Map<string, number>()
      for (const { model, weight } of given) perAnswer.set(model, (perAnswer.get(model) ?? 0) + weight)
      for (const [model, left] of perAnswer) {
        if (graded.has(model)) assert.equal(left, 0, 'the outcome stands alone')
        else assert.ok(left > 0 && left < 1)
      }
    }),
  )
})

test('a side request of the same session settles nothing that it has not seen', () => {
  const { lessons, given, answered, follows } = setUp()
  answered('a1', { contextItems: 3 })
  follows({ news: { answerMark: 0, historyItems: 0, question: sketchOf('Give this conversation a title', 1) }, contextItems: 2 })
  assert.equal(given.length, 0)
  answered('a2', { contextItems: 2 })
  follows({ news: { answerMark: 1 } }, ['thank', 0.99])
  assert.deepEqual(lessons.conclusion('t', 'a1')!.found, ['thanks', 'went_on'])
  assert.equal(lessons.conclusion('t', 'a2'), null)
})

test('a fork goes by the answer that it follows, not by the latest', () => {
  const { lessons, answered, follows } = setUp()
  answered('a1')
  answered('a2')
  follows({ news: { answerMark: 1 } }, ['correct', 0.99])
  assert.deepEqual(lessons.conclusion('t', 'a1')!.found, ['correction', 'went_on'])
  assert.equal(lessons.conclusion('t', 'a2'), null)
})

test('a client that changes what it sends back is still followed, by the length of its history', () => {
  const { lessons, answered, follows } = setUp()
  answered('a1', { contextItems: 1 })
  follows({ news: { answerMark: 999, historyItems: 2 } }, ['thank', 0.99])
  assert.equal(lessons.conclusion('t', 'a1')!.settledBy, 'next_turn')
})

test('the same question sent once more without its answer asks for another one', () => {
  const { lessons, answered, follows } = setUp()
  answered('a1', { contextItems: 1 })
  follows({ news: { answerMark: 0, historyItems: 0, question: QUESTION }, contextItems: 1 })
  assert.deepEqual(lessons.conclusion('t', 'a1')!.found, ['asked_again'])
})

test('asked at the same time it is a second sample, asked by somebody unnamed it may be another client: no sign', () => {
  for (const more of [{ receivedAtMs: 500 }, { namesSession: false }]) {
    const { lessons, answered, follows } = setUp()
    answered('a1', { contextItems: 1 })
    follows({ news: { answerMark: 0, historyItems: 0, question: QUESTION }, contextItems: 1, ...more })
    assert.equal(lessons.conclusion('t', 'a1'), null)
  }
})

test('the question of a tool loop is the one that a person asked', () => {
  const { answered, follows } = setUp()
  answered('a1')
  assert.equal(follows({ news: { spoken: false, toolError: false } }), QUESTION)
})

test('an answer that its client left is settled at once', () => {
  const { lessons, given, answered } = setUp()
  answered('a1', { mark: null, evidence: withSign(NO_EVIDENCE, 'abandoned', true) })
  assert.equal(given.length, 1)
  assert.equal(lessons.conclusion('t', 'a1')!.settledBy, 'client_left')
})

test('a turn that nothing read teaches no model, and how far signs are to be believed all the same', () => {
  const { lessons, given, answered, follows } = setUp()
  answered('a1', { subject: null })
  follows({}, ['complain', 0.95])
  assert.equal(given.length, 0)
  assert.equal(lessons.counts.found.complaint, 1)
})

test('what waits and what was concluded is bounded; what leaves is settled with what is known, and counted', () => {
  const { lessons, given, answered } = setUp({ maxAnswers: 10 })
  for (let at = 1; at <= 25; at++) answered(`a${at}`)
  assert.equal(lessons.sizes['answers'], 10)
  assert.ok(lessons.sizes['waiting']! <= 10)
  assert.equal(lessons.counts.settled.size, 15)
  assert.equal(given.length, 15)
  assert.equal(lessons.conclusion('t', 'a1'), null)
  assert.equal(lessons.evictions['waiting'], 15)
})

test('an application that shows no signs moves no model: silence is not praise', () => {
  const { lessons, given, answered } = setUp()
  const quiet = withSign(withSign(NO_EVIDENCE, 'refusal', false), 'truncated', false)
  for (let at = 1; at <= 3000; at++) {
    answered(`a${at}`, { evidence: quiet, sessionId: `s${at}`, atMs: at })
    lessons.sweep(at + 10 * MINUTE)
  }
  const moved = given.reduce((sum, { score, weight }) => sum + weight * (score - 0.7), 0)
  assert.ok(Math.abs(moved) < 6, `${moved} outcomes`)
  assert.ok(given.slice(-100).every(({ weight }) => weight < 0.02))
})

test('what clients of one tenant do moves the reliabilities of no other', () => {
  const { lessons, answered, follows } = setUp()
  answered('b1', { tenant: 'calm' })
  follows({ tenant: 'calm' })
  const before = lessons.reliabilities().filter(({ tenant }) => tenant === 'calm')
  for (let at = 2; at < 500; at++) {
    answered(`a${at}`)
    lessons.outcome('t', `a${at}`, at % 2)
    follows({ news: { answerMark: at } }, at % 2 === 1 ? ['complain', 0.99] : ['ask', 0.9])
  }
  assert.deepEqual(lessons.reliabilities().filter(({ tenant }) => tenant === 'calm'), before)
  const complaint = lessons.reliabilities().find(({ tenant, signal }) => tenant === 't' && signal === 'complaint')!
  assert.ok(complaint.rates.good > 0.5, 'here good answers are complained about')
})

test('reliabilities survive a restart; another table of signs is refused and changes nothing', () => {
  const { lessons, answered, follows } = setUp()
  for (let at = 2; at < 300; at++) {
    answered(`a${at}`)
    lessons.outcome('t', `a${at}`, at % 2)
    follows({ news: { answerMark: at } }, at % 2 === 0 ? ['complain', 0.99] : ['ask', 0.9])
  }
  const { lessons: restored } = setUp()
  restored.restore(lessons.snapshot())
  const rates = (of: ImplicitLessons, signal: string) => of.reliabilities().find((entry) => entry.signal === signal)!.rates
  assert.ok(Math.abs(rates(lessons, 'complaint').bad - rates(restored, 'complaint').bad) < 0.02)
  assert.ok(rates(restored, 'complaint').bad > 0.8)
  for (const bytes of ['', '{}', 'null', '{"version":1,"signals":["other"],"tenants":[]}', `{"version":1,"signals":${JSON.stringify(SIGNALS)},"tenants":[["t",[7]]]}`]) {
    const { lessons: fresh } = setUp()
    assert.throws(() => fresh.restore(Buffer.from(bytes)), Error, bytes)
    assert.deepEqual(fresh.reliabilities(), [])
  }
})

test('a carry keeps every score within 0 and 1 and loses nothing of the sum', () => {
  // weights small enough that the bound on what is carried is never met
  const estimates = fc.array(fc.tuple(fc.double({ min: -3, max: 4, noNaN: true }), fc.double({ min: 0.001, max: 0.02, noNaN: true })), { minLength: 1, maxLength: 30 })
  fc.assert(
    fc.property(estimates, (lessons) => {
      const carry = new EvidenceCarry()
      let [wanted, given] = [0, 0]
      // one heavy lesson in the middle of the scale takes up all that is left
      for (const [estimate, weight] of [...lessons, [0.5, 10] as const]) {
        const score = carry.score('place', estimate, weight)
        assert.ok(score >= 0 && score <= 1)
        wanted += weight * estimate
        given += weight * score
      }
      assert.ok(Math.abs(wanted - given) < 1e-9)
    }),
  )
  const carry = new EvidenceCarry()
  let sum = 0
  for (let at = 0; at < 1000; at++) sum += carry.score('place', at % 10 === 0 ? -2.3 : 1.2, 0.05)
  assert.ok(Math.abs(sum / 1000 - 0.85) < 0.01, 'the mean of the estimates is the mean of the scores')
})

test('carries are bounded by the places that they are kept for', () => {
  const carry = new EvidenceCarry(2)
  for (const place of ['a', 'b', 'c']) carry.score(place, 2, 0.1)
  assert.equal(carry.size, 2)
  assert.equal(carry.evicted, 1)
})

test('priors are of as many signs as there are', () => assert.equal(PRIOR_RATES.length, SIGNALS.length))
