import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../sim/random.ts'
import { Expertise } from '../../src/learn/expertise.ts'
import { AnswerBook } from '../../src/learn/outcomes/answer-book.ts'
import { Outcomes, type Learner } from '../../src/learn/outcomes/outcomes.ts'
import type { AnsweredTurn } from '../../src/model/choice.ts'
import type { Lesson, Subject } from '../../src/model/quality.ts'

const SUBJECT: Subject = { topics: [['coding', 0.75], ['math', 0.25]], intent: ['debug', 0.5], inScope: 1, complexity: 0.25 }
const answer = (id: string, tenant = 'acme'): AnsweredTurn => ({ tenant, id, model: 'coder', atMs: 1_000, choice: null, subject: SUBJECT })

async function outcomesOf(learner: Learner, stored: AnsweredTurn | null = null) {
  const book = await AnswerBook.open({ maxAnswers: 1000, maxAgeMs: Infinity, wallMs: () => 5_000, disk: null, unreadable: (error) => assert.fail(String(error)) })
  const failures: unknown[] = []
  const outcomes = new Outcomes({ book, learner, log: null, wallMs: () => 5_000, stored: () => Promise.resolve(stored), failed: (error) => failures.push(error) })
  return { book, outcomes, failures }
}
const recorder = (): { lessons: Lesson[]; learner: Learner } => {
  const lessons: Lesson[] = []
  return { lessons, learner: { observe: (lesson) => void lessons.push(lesson) } }
}
const expertise = (): Expertise =>
  new Expertise({ halfLifeMs: null, exploration: null, shareBetweenTenants: false, priors: {}, random: seededRandom(1), wallMs: () => 5_000 })

test('every accepted outcome is one lesson about the model and the subject of its answer, dated when it was given', async () => {
  const { lessons, learner } = recorder()
  const { book, outcomes } = await outcomesOf(learner)
  book.put(answer('resp_1'))
  await outcomes.say('acme', { id: 'resp_1', score: 0.5, source: 'user' })
  await outcomes.say('acme', { id: 'resp_1', score: 0.5, source: 'user' })
  await outcomes.say('other', { id: 'resp_1', score: 0.5, source: 'user' })
  assert.equal(lessons.length, 1)
  const { subject, ...rest } = lessons[0]!
  assert.deepEqual(rest, { tenant: 'acme', model: 'coder', score: 0.5, weight: 1, atMs: 1_000 })
  assert.deepEqual([subject.topics.map(([name]) => name), subject.intent[0]], [['coding', 'math'], 'debug'])
})

test('however often somebody changes his mind, the answer counts once: expertise ends where the last word alone had put it', async () => {
  const learnt = expertise()
  const straight = expertise()
  const { book, outcomes } = await outcomesOf(learnt)
  const random = seededRandom(5)
  for (let n = 0; n < 200; n++) {
    book.put(answer(`resp_${n}`))
    const score = random() < 0.7 ? 1 : 0
    await outcomes.say('acme', { id: `resp_${n}`, score, source: 'user' })
    straight.observe({ tenant: 'acme', model: 'coder', subject: SUBJECT, score, weight: 1, atMs: 1_000 })
  }
  book.put(answer('toggled'))
  for (let n = 0; n < 41; n++) await outcomes.say('acme', { id: 'toggled', score: n % 2, source: 'user' })
  straight.observe({ tenant: 'acme', model: 'coder', subject: SUBJECT, score: 0, weight: 1, atMs: 1_000 })
  const [toggled] = learnt.expect('acme', ['coder'], SUBJECT)
  const [once] = straight.expect('acme', ['coder'], SUBJECT)
  // the book keeps probabilities in steps
  assert.ok(Math.abs(toggled!.observations - once!.observations) < 0.5, `${toggled!.observations} outcomes instead of ${once!.observations}`)
  assert.ok(Math.abs(toggled!.mean - once!.mean) < 0.005, `${toggled!.mean} instead of ${once!.mean}`)
})

test('two outcomes of an answer that only the store remembers, at the same moment, are one lesson', async () => {
  const { lessons, learner } = recorder()
  const { outcomes } = await outcomesOf(learner, answer('resp_1'))
  const verdicts = await Promise.all([1, 2].map(() => outcomes.say('acme', { id: 'resp_1', score: 1, source: 'user' })))
  assert.deepEqual([verdicts.map(({ result }) => result), lessons.length], [['accepted', 'duplicate'], 1])
})

test('an outcome is kept where learning from it fails, which is told', async () => {
  const { book, outcomes, failures } = await outcomesOf({ observe: () => assert.fail('broken') })
  book.put(answer('resp_1'))
  assert.equal((await outcomes.say('acme', { id: 'resp_1', score: 1, source: 'user' })).result, 'accepted')
  assert.equal((await outcomes.say('acme', { id: 'resp_1', score: 1, source: 'user' })).result, 'duplicate')
  assert.equal(failures.length, 1)
})
