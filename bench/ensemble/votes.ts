/**
 * What asking several models is worth on outcome matrices, half of the questions to learn from and half to test on.
 *
 * A vote needs answers, and the matrices hold only whether each was right (a score of one half or more counts as right).
 * So what wrong answers say is assumed, in three ways: `agree`: all of them are the same one, so the right one needs more
 * ballots; `scatter`: no two are the same, so one right ballot is enough for a tie, which goes to the model of which most is
 * expected; `half`: two models that both err agree half of the time. The first and the last bound the truth.
 */
import type { Random } from '../../sim/random.ts'
import { integerBelow } from '../../sim/random.ts'
import { countVotes, weightOf } from '../../src/upstream/ensemble/vote.ts'
import { mean, type Matrix, type Question } from './matrix.ts'

const WRONG = ['agree', 'half', 'scatter'] as const
type Wrong = (typeof WRONG)[number]
const VOTES = ['vote of 3 best', 'vote of 3 complementary', 'vote of 5 best', 'weighted vote of 3 best', 'weighted vote of 5 best'] as const
export type Arm = 'best single' | 'best of by topic' | 'perfect choice of 3' | `${(typeof VOTES)[number]}, ${Wrong}`
export const ARMS: readonly Arm[] = [
  'best single', 'best of by topic', ...VOTES.flatMap((vote) => WRONG.map((wrong) => `${vote}, ${wrong}` as const)), 'perfect choice of 3',
]

/** So many questions of a topic weigh as much as a model's score over all. */
const LEAN = 10

type Learned = { readonly overall: readonly number[]; readonly quality: (model: number, topic: string) => number }

export function playPool(matrix: Matrix, pool: readonly number[], random: Random): Record<Arm, number> {
  const order = [...matrix.questions]
  for (let at = order.length - 1; at > 0; at--) {
    const other = integerBelow(random, at + 1)
    const held = order[at]!
    order[at] = order[other]!
    order[other] = held
  }
  const half = order.length >> 1
  const learn = order.slice(0, half)
  const test = order.slice(half)
  const learned = learnFrom(learn, pool)
  const ranked = [...pool].sort((a, b) => learned.overall[b]! - learned.overall[a]!)
  const complementary = complementaryThree(learn, pool)
  const three = ranked.slice(0, 3)
  const five = ranked.slice(0, 5)
  const over = (score: (question: Question) => number): number => mean(test.map(score))
  const result: Partial<Record<Arm, number>> = {
    'best single': over(({ scores }) => scores[ranked[0]!]!),
    'best of by topic': over(({ scores, topic }) => scores[bestOf(pool, topic, learned)]!),
    'perfect choice of 3': over(({ scores }) => Math.max(...three.map((model) => scores[model]!))),
  }
  for (const name of VOTES) {
    const members = name.includes('complementary') ? complementary : name.includes('5') ? five : three
    for (const wrong of WRONG)
      result[`${name}, ${wrong}`] = over((question) => vote(question, members, learned, wrong, name.startsWith('weighted'), random))
  }
  return result as Record<Arm, number>
}

function learnFrom(learn: readonly Question[], pool: readonly number[]): Learned {
  const overall: number[] = []
  const byTopic = new Map<string, Question[]>()
  for (const question of learn) byTopic.set(question.topic, [...(byTopic.get(question.topic) ?? []), question])
  const tables = new Map<number, Map<string, number>>()
  for (const model of pool) {
    overall[model] = mean(learn.map(({ scores }) => scores[model]!))
    const table = new Map<string, number>()
    for (const [topic, own] of byTopic)
      table.set(topic, (own.reduce((sum, { scores }) => sum + scores[model]!, 0) + LEAN * overall[model]!) / (own.length + LEAN))
    tables.set(model, table)
  }
  return { overall, quality: (model, topic) => tables.get(model)!.get(topic) ?? overall[model]! }
}

const bestOf = (pool: readonly number[], topic: string, { quality }: Learned): number =>
  pool.reduce((best, model) => (quality(model, topic) > quality(best, topic) ? model : best))

const isRight = (score: number): boolean => score >= 0.5

/** So probable is the popular wrong answer among the wrong ones that two models agree in half of their common errors. */
const POPULAR = Math.SQRT1_2

function vote({ scores, topic }: Question, members: readonly number[], { quality }: Learned, wrong: Wrong, weighted: boolean, random: Random): number {
  const voters = members.map((model) => {
    const popular = wrong === 'agree' || (wrong === 'half' && random() < POPULAR)
    return {
      ballot: isRight(scores[model]!) ? 'right' : popular ? 'wrong' : `wrong ${model}`,
      quality: quality(model, topic),
      weight: weighted ? weightOf(quality(model, topic)) : 1,
    }
  })
  return scores[members[countVotes(voters)!.winner]!]!
}

/** The three whose majority is right most often on what was learned from. */
function complementaryThree(learn: readonly Question[], pool: readonly number[]): readonly number[] {
  let best: readonly number[] = pool.slice(0, 3)
  let most = -1
  for (let a = 0; a < pool.length; a++) {
    for (let b = a + 1; b < pool.length; b++) {
      for (let c = b + 1; c < pool.length; c++) {
        const three = [pool[a]!, pool[b]!, pool[c]!]
        const right = learn.filter(({ scores }) => three.filter((model) => isRight(scores[model]!)).length >= 2).length
        if (right > most) {
          most = right
          best = three
        }
      }
    }
  }
  return best
}
