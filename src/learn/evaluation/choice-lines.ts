/**
 * The log of choices (learn/outcomes/choice-log.ts) as it is evaluated: each graded choice once, with what was considered and
 * what it was worth. The last word of each source counts; an answer that several sources graded is worth their mean.
 */
import type { ConsideredRecord } from '../../model/choice.ts'

export type GradedChoice = {
  readonly tenant: string
  readonly group: string
  /** Most probable topic; empty where nothing was read. */
  readonly topic: string
  readonly considered: readonly ConsideredRecord[]
  /** False: the conversation went on with its model, so the choice tells nothing of the others. */
  readonly drawn: boolean
  /** Place of the model that answered. */
  readonly chosen: number
  /** 0..1. */
  readonly score: number
}

export type LineCounts = {
  choices: number
  outcomes: number
  /** No JSON: where a process was killed, or damage. */
  unread: number
  /** JSON that cannot be evaluated: of another form, or with propensities that are none. */
  unusable: number
}

/** Probabilities are logged with five digits and rounded expectations. */
const NEARLY_ONE = 0.02

type Entry = { readonly choice: Omit<GradedChoice, 'score'>; readonly scores: Map<string, number> }

export class ChoiceLines {
  readonly #entries = new Map<string, Entry>()
  readonly #source: string | null
  readonly counts: LineCounts = { choices: 0, outcomes: 0, unread: 0, unusable: 0 }
  /** Where the first line that is no JSON, or unusable, stands. */
  firstBad: string | null = null

  /** `source`: only what this source said; null: everything. */
  constructor(source: string | null) {
    this.#source = source
  }

  add(line: string, at: string): void {
    if (line.trim() === '') return
    let value: unknown
    try {
      value = JSON.parse(line)
    } catch {
      return this.#bad('unread', at)
    }
    const fields = fieldsOf(value)
    if (fields === null) return this.#bad('unusable', at)
    if (fields['kind'] === 'choice') {
      this.counts.choices++
      return
    }
    const choice = choiceOf(fields)
    const { id, at: answeredAt, source, score } = fields
    const whole = typeof id === 'string' && typeof source === 'string' && isShare(score)
    if (fields['kind'] !== 'outcome' || choice === null || !whole) return this.#bad('unusable', at)
    this.counts.outcomes++
    if (this.#source !== null && source !== this.#source) return
    const key = `${choice.tenant}\n${id}\n${String(answeredAt)}`
    const known = this.#entries.get(key)
    if (known === undefined) this.#entries.set(key, { choice, scores: new Map([[source, score]]) })
    else known.scores.set(source, score)
  }

  graded(): readonly GradedChoice[] {
    return [...this.#entries.values()].map(({ choice, scores }) => ({
      ...choice,
      score: [...scores.values()].reduce((sum, score) => sum + score, 0) / scores.size,
    }))
  }

  #bad(why: 'unread' | 'unusable', at: string): void {
    this.counts[why]++
    this.firstBad ??= at
  }
}

function choiceOf(fields: Fields): Omit<GradedChoice, 'score'> | null {
  const { tenant, group, model, topics, considered } = fields
  if (typeof tenant !== 'string' || typeof group !== 'string' || !Array.isArray(considered)) return null
  const models = considered.map(consideredOf)
  if (!models.every((one) => one !== null)) return null
  const chosen = models.findIndex((one) => one.model === model)
  const sum = models.reduce((total, { propensity }) => total + propensity, 0)
  if (chosen === -1 || models[chosen]!.propensity <= 0 || Math.abs(sum - 1) > NEARLY_ONE) return null
  const first: unknown = Array.isArray(topics) ? topics[0] : null
  const topic: unknown = Array.isArray(first) ? first[0] : ''
  return { tenant, group, topic: typeof topic === 'string' ? topic : '', drawn: fields['drawn'] === true, considered: models, chosen }
}

function consideredOf(value: unknown): ConsideredRecord | null {
  const fields = fieldsOf(value)
  if (fields === null) return null
  const { model, mean, deviation, drawn, seconds, propensity } = fields
  const numbers = [mean, deviation, drawn, seconds].every((each) => typeof each === 'number' && Number.isFinite(each))
  if (typeof model !== 'string' || !numbers || !isShare(propensity)) return null
  return { model, mean: mean as number, deviation: deviation as number, drawn: drawn as number, seconds: seconds as number, propensity }
}

type Fields = Readonly<Record<string, unknown>>
const fieldsOf = (value: unknown): Fields | null =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : null
const isShare = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value <= 1
