/** A stream of questions to one pool: choose, see one outcome of the chosen model only, learn. Learning frozen, judged on the rest. */
import { integerBelow, type Random } from '../../sim/random.ts'
import type { ExpectedQuality, Lesson, Subject } from '../../src/model/quality.ts'
import { bestSingle, mean, perfectLabels, scoreOf, type Pool, type Split } from './pools.ts'

export interface Learner {
  expect(tenant: string, models: readonly string[], subject: Subject): ExpectedQuality[]
  observe(lesson: Lesson): void
}
export type Course = {
  readonly outcomes: number
  readonly freezeAt: readonly number[]
  readonly subjects: 'shipped' | 'crossed'
  readonly flipped: number
  readonly random: Random
}
export type Run = {
  /** On the held-out half, over the best single model there. */
  readonly perfectGain: number
  readonly frozenGain: ReadonlyMap<number, number>
  /** The same with draws, as a client gets it while nobody grades. */
  readonly drawnGain: ReadonlyMap<number, number>
  /** Of each window of 500 requests: chosen over best single, and over the pool's average, exploration included. */
  readonly windows: readonly { readonly overBest: number; readonly overAverage: number }[]
}
export const WINDOW = 500

export function follow(pool: Pool, split: Split, learner: Learner, course: Course): Run {
  const { matrix, members } = pool
  const names = members.map((model) => matrix.models[model]!)
  const best = bestSingle(pool)
  const { random } = course
  const frozenGain = new Map<number, number>()
  const drawnGain = new Map<number, number>()
  const windows: { overBest: number; overAverage: number }[] = []
  let [overBest, overAverage] = [0, 0]
  for (let seen = 1; seen <= course.outcomes; seen++) {
    const question = split.learn[integerBelow(random, split.learn.length)]!
    const subject = question[course.subjects]
    const expected = learner.expect('t', names, subject)
    const chosen = members[most(expected, 'drawn')]!
    const truth = question.scores[chosen]!
    overBest += truth - question.scores[best]!
    overAverage += truth - mean(members.map((model) => question.scores[model]!))
    const outcome = truth === 0 || truth === 1 ? truth : random() < truth ? 1 : 0
    const score = random() < course.flipped ? 1 - outcome : outcome
    learner.observe({ tenant: 't', model: matrix.models[chosen]!, subject, score, weight: 1, atMs: 0 })
    if (seen % WINDOW === 0) {
      windows.push({ overBest: overBest / WINDOW, overAverage: overAverage / WINDOW })
      ;[overBest, overAverage] = [0, 0]
    }
    if (course.freezeAt.includes(seen)) {
      drawnGain.set(seen, frozen(pool, split, learner, course.subjects, 'drawn'))
      frozenGain.set(seen, frozen(pool, split, learner, course.subjects, 'mean'))
    }
  }
  return { perfectGain: perfectLabels(split, members) - scoreOf(split.test, best), frozenGain, drawnGain, windows }
}

function frozen(pool: Pool, split: Split, learner: Learner, subjects: 'shipped' | 'crossed', by: 'mean' | 'drawn'): number {
  const names = pool.members.map((model) => pool.matrix.models[model]!)
  const chosen = split.test.map((question) => question.scores[pool.members[most(learner.expect('t', names, question[subjects]), by)]!]!)
  return mean(chosen) - scoreOf(split.test, bestSingle(pool))
}

/** Everything about the learning half is told: the share that predicted topics keep. */
export function offLine(pool: Pool, split: Split, learner: Learner, subjects: 'shipped' | 'crossed'): number {
  const names = pool.members.map((model) => pool.matrix.models[model]!)
  for (const question of split.learn) learner.expect('t', names, question[subjects])
  for (const question of split.learn) {
    for (const model of pool.members) {
      learner.observe({ tenant: 't', model: pool.matrix.models[model]!, subject: question[subjects], score: question.scores[model]!, weight: 1, atMs: 0 })
    }
  }
  return frozen(pool, split, learner, subjects, 'mean')
}

function most(expected: readonly ExpectedQuality[], by: 'drawn' | 'mean'): number {
  let best = 0
  for (let at = 1; at < expected.length; at++) if (expected[at]![by] > expected[best]![by]) best = at
  return best
}
