/**
 * What clients say of answers, on its way to what learns from it.
 *
 *   (tenant, id, score, source) -> the book, or the receipt of a stored response -> lesson -> log
 *
 * Said again, the same is a `duplicate` and changes nothing. Another score of the same source corrects the first: the learner is
 * told to take the first lesson back (weight -1) and is given the second, so an answer counts once for each source however often
 * somebody changes his mind. Unknown, foreign, deleted and expired ids cannot be told apart.
 */
import type { AnsweredTurn } from '../../model/choice.ts'
import type { Lesson } from '../../model/quality.ts'
import { MOST_GRADES, MOST_SOURCES, type AnswerBook } from './answer-book.ts'

export interface Learner {
  observe(lesson: Lesson): void
}

export type OutcomePorts = {
  readonly book: AnswerBook
  /** What can still be known of an answer that left the book, or came to no book. */
  readonly stored: (tenant: string, id: string) => Promise<AnsweredTurn | null>
  readonly learner: Learner
  readonly graded?: (tenant: string, id: string, score: number) => void
  readonly log: { outcome(answer: AnsweredTurn, grade: LoggedGrade): void } | null
  readonly wallMs: () => number
  /** Learning went wrong; the outcome is kept all the same. */
  readonly failed: (error: unknown) => void
}

export type LoggedGrade = { readonly source: string; readonly score: number; readonly atMs: number }
export type Said = { readonly id: string; readonly score: number; readonly source: string }
export type Verdict =
  | { readonly result: 'accepted' | 'corrected' | 'duplicate'; readonly model: string }
  | { readonly result: 'unknown' | 'too_many_sources' | 'too_many_corrections' }

/** Sources are the clients' words; metrics know these. */
const SOURCE_CLASSES = ['user', 'grader', 'other'] as const
export type SourceClass = (typeof SOURCE_CLASSES)[number]
const RESULTS = ['accepted', 'corrected', 'duplicate', 'unknown', 'too_many_sources', 'too_many_corrections', 'rate_limited'] as const
export type OutcomeResult = (typeof RESULTS)[number]

export class Outcomes {
  readonly #ports: OutcomePorts
  readonly #counts = new Map<string, { readonly source: SourceClass; readonly result: OutcomeResult; count: number }>()

  constructor(ports: OutcomePorts) {
    this.#ports = ports
  }

  /** By class of source and result; only what happened. */
  get counts(): readonly { readonly source: SourceClass; readonly result: OutcomeResult; readonly count: number }[] {
    return [...this.#counts.values()]
  }

  async say(tenant: string, said: Said): Promise<Verdict> {
    const verdict = await this.#judge(tenant, said)
    this.count(said.source, verdict.result)
    return verdict
  }

  /** Teaches again what was said since. */
  relearn(sinceMs: number): void {
    for (const { answer, grade, instead } of this.#ports.book.gradedSince(sinceMs)) {
      if (instead !== undefined) this.#teach(answer, instead, -1)
      this.#teach(answer, grade.score, 1)
    }
  }

  count(source: string, result: OutcomeResult, by = 1): void {
    const named: SourceClass = source === 'user' || source === 'grader' ? source : 'other'
    const key = `${named} ${result}`
    const known = this.#counts.get(key)
    if (known === undefined) this.#counts.set(key, { source: named, result, count: by })
    else known.count += by
  }

  async #judge(tenant: string, { id, score, source }: Said): Promise<Verdict> {
    const { book } = this.#ports
    const answer = book.get(tenant, id) ?? (await this.#takeUp(tenant, id))
    if (answer === null) return { result: 'unknown' }
    const grades = book.gradesOf(tenant, id)
    const before = grades.find((grade) => grade.source === source)
    const { model } = answer
    if (before?.score === score) return { result: 'duplicate', model }
    if (before === undefined && grades.length >= MOST_SOURCES) return { result: 'too_many_sources' }
    if (book.timesGraded(tenant, id) >= MOST_GRADES) return { result: 'too_many_corrections' }
    const grade = { source, score, atMs: this.#ports.wallMs() }
    book.grade(tenant, id, grade)
    if (before !== undefined) this.#teach(answer, before.score, -1)
    this.#teach(answer, score, 1)
    this.#ports.graded?.(tenant, id, score)
    this.#ports.log?.outcome(answer, grade)
    return { result: before === undefined ? 'accepted' : 'corrected', model }
  }

  async #takeUp(tenant: string, id: string): Promise<AnsweredTurn | null> {
    const { book, stored } = this.#ports
    const answer = await stored(tenant, id)
    // another outcome of the same answer may have been quicker
    if (answer !== null && book.get(tenant, id) === null) book.put(answer)
    return answer
  }

  #teach({ tenant, model, subject, atMs }: AnsweredTurn, score: number, weight: 1 | -1): void {
    try {
      this.#ports.learner.observe({ tenant, model, subject, score, weight, atMs })
    } catch (error) {
      this.#ports.failed(error)
    }
  }
}
