/** Pools of models to choose from, and what the best single model and perfect labels would bring on held-out questions. */
import { integerBelow, type Random } from '../../sim/random.ts'
import { shuffled } from '../../src/fingerprint/shuffled.ts'
import type { OutcomeMatrix, Question } from './subjects.ts'

export type Pool = { readonly kind: string; readonly matrix: OutcomeMatrix; readonly members: readonly number[] }
export type Split = { readonly learn: readonly Question[]; readonly test: readonly Question[] }

/** The pools that benches draw: by size, and three that lie close together. `only`: names with commas between. */
export const poolKinds = (only: string | undefined) =>
  [
    { name: '2', size: 2, within: null },
    { name: '3', size: 3, within: null },
    { name: '4', size: 4, within: null },
    { name: '6', size: 6, within: null },
    { name: '3 close', size: 3, within: 0.02 },
  ].filter(({ name }) => only === undefined || only.split(',').includes(name))

export const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)
export const scoreOf = (questions: readonly Question[], model: number): number => mean(questions.map(({ scores }) => scores[model]!))

export function splitOf(matrix: OutcomeMatrix, random: Random): Split {
  const order = shuffled(matrix.questions, random)
  const half = order.length >> 1
  return { learn: order.slice(0, half), test: order.slice(half) }
}

/** `LABEL_LEAN` questions of a label count as the model's overall score. */
const LABEL_LEAN = 10

/** Score on `test` of choosing by true label, everything about `learn` known. */
export function perfectLabels({ learn, test }: Split, members: readonly number[]): number {
  const overall = members.map((model) => scoreOf(learn, model))
  const best = new Map<string, number>()
  for (const label of new Set(learn.map((question) => question.label))) {
    const own = learn.filter((question) => question.label === label)
    const scores = members.map((model, at) => (own.length * scoreOf(own, model) + LABEL_LEAN * overall[at]!) / (own.length + LABEL_LEAN))
    best.set(label, members[scores.indexOf(Math.max(...scores))]!)
  }
  const fallback = members[overall.indexOf(Math.max(...overall))]!
  return mean(test.map(({ label, scores }) => scores[best.get(label) ?? fallback]!))
}

/** The member that is best over all questions. */
export const bestSingle = ({ matrix, members }: Pool): number =>
  members.reduce((best, model) => (scoreOf(matrix.questions, model) > scoreOf(matrix.questions, best) ? model : best))

/** What labels gain, averaged over splits: pools without it have nothing to learn. */
export function headroom(pool: Pool, splits: readonly Split[]): number {
  const best = bestSingle(pool)
  return mean(splits.map((split) => perfectLabels(split, pool.members) - scoreOf(split.test, best)))
}

/** Different pools of `size` whose headroom is at least `least`; `within` bounds how far their overall scores lie apart. */
export function drawPools(
  matrix: OutcomeMatrix,
  splits: readonly Split[],
  asked: { readonly size: number; readonly count: number; readonly within: number | null; readonly least: number },
  random: Random,
): Pool[] {
  const { size, count, within, least } = asked
  const tried = new Set<string>()
  const found: Pool[] = []
  const kind = within === null ? String(size) : `${size} close`
  for (let tries = 0; tries < 3000 && tried.size < 400 && found.length < count; tries++) {
    const members = new Set<number>()
    while (members.size < size) members.add(integerBelow(random, matrix.models.length))
    const pool = { kind, matrix, members: [...members].sort((left, right) => left - right) }
    const key = pool.members.join(' ')
    if (tried.has(key)) continue
    const scores = pool.members.map((model) => scoreOf(matrix.questions, model))
    if (within !== null && Math.max(...scores) - Math.min(...scores) > within) continue
    tried.add(key)
    if (headroom(pool, splits) >= least) found.push(pool)
  }
  return found
}
