/**
 * From signs to lessons: what nobody said about an answer, concluded from what was seen, and handed on as a weak `Lesson`.
 *
 *   an answer ends        -> its own signs; it waits
 *   its next turn comes   -> signs of the reaction; settled            \
 *   nobody comes in time  -> that sign; settled                         > verdict -> lesson, unless an outcome came first
 *   its client left       -> settled at once                           /
 *   an outcome comes      -> no lesson from here; one that was given is taken back (weight below 0); its signs teach how far
 *                            signs are to be believed
 *
 * Score and weight: `estimate` is 1 for good and 0 for bad answers in the mean, and `informativeness` is how much of an outcome it is
 * worth: the precision of the estimate in units of an outcome's. Only what varies teaches (`estimate-level.ts`), and the
 * carry keeps scores within 0..1 (`evidence-carry.ts`).
 *
 * Every tenant has reliabilities of its own: what its clients do moves nobody else's. At most `MOST_TENANTS`, the longest silent leaves
 * first and is counted. Sums by model are bounded by the models that answered. No text is kept.
 */
import type { Labelled } from '../model/fingerprint.ts'
import type { Lesson, Subject } from '../model/quality.ts'
import { EstimateLevel, type Worth } from './estimate-level.ts'
import { EvidenceCarry } from './evidence-carry.ts'
import { NOBODY_CAME, signsOfNextTurn } from './next-turn-signals.ts'
import {
  PendingAnswers,
  type AwaitedAnswer,
  type BookedAnswer,
  type Conclusion,
  type Follower,
  type SettledBy,
} from './pending-answers.ts'
import { asksAgain, type QuestionSketch } from './question-sketch.ts'
import { SignalReliability } from './signal-reliability.ts'
import { both, foundSigns, NO_EVIDENCE, PRIOR_RATES, SIGNALS, withSign, type Evidence, type Signal, type SignalRates } from './signals.ts'

export type ImplicitLessonsOptions = {
  readonly maxAnswers: number
  readonly observe: (lesson: Lesson) => void
  /** What a lesson keeps of its subject; left out: all. */
  readonly compact?: (subject: Subject) => Subject
  readonly patienceMs?: number
}

export type LessonCounts = {
  /** Lessons taken back because an outcome came after them. */
  readonly withdrawn: number
  /** By model: lessons, and their weight in outcomes for and against it. */
  readonly lessons: ReadonlyMap<string, { readonly lessons: number; readonly good: number; readonly bad: number }>
  readonly settled: Readonly<Record<SettledBy, number>>
  readonly found: Readonly<Record<Signal, number>>
  readonly sought: Readonly<Record<Signal, number>>
}

/**
 * Chat users answer within minutes. Learning should not lag behind, and one who comes back later is not counted as gone on.
 */
const PATIENCE_MS = 10 * 60_000
/** 20 KB each. */
const MOST_TENANTS = 500
/** Two samples for each sign of each. */
const MOST_SHOWN = 20
/** A hundredth of an outcome is not worth the call, nor is it known that well. */
const LEAST_WEIGHT = 0.01

type Judge = { readonly reliability: SignalReliability; readonly level: EstimateLevel }

export class ImplicitLessons {
  readonly #observe: (lesson: Lesson) => void
  readonly #compact: (subject: Subject) => Subject
  readonly #pending: PendingAnswers
  readonly #tenants = new Map<string, Judge>()
  readonly #carry = new EvidenceCarry()
  readonly #settled: Record<SettledBy, number> = { next_turn: 0, no_next_turn: 0, client_left: 0, outcome: 0, size: 0 }
  readonly #found = new Float64Array(SIGNALS.length)
  readonly #sought = new Float64Array(SIGNALS.length)
  readonly #lessons = new Map<string, { lessons: number; good: number; bad: number }>()
  #withdrawn = 0
  #tenantsEvicted = 0
  /** Of tenants that left, so that counters never fall. */
  #patternsEvicted = 0
  #setsRefused = 0

  constructor({ maxAnswers, observe, compact = (subject) => subject, patienceMs = PATIENCE_MS }: ImplicitLessonsOptions) {
    this.#observe = observe
    this.#compact = compact
    this.#pending = new PendingAnswers({
      maxAnswers,
      patienceMs,
      settle: (answer, by) => this.#settle(answer, by === 'no_next_turn' ? NOBODY_CAME : NO_EVIDENCE, by),
    })
  }

  /** A turn that was asked, whatever becomes of it. Returns the question it goes on with: its own, or that of its tools' turn. */
  followed(follower: Follower, intent: Labelled | null): QuestionSketch | null {
    const { news } = follower
    const taken = this.#pending.take(follower)
    if (taken === null) return news.question
    const { answer, turn, sawAnswer } = taken
    if (sawAnswer) {
      this.#settle(answer, signsOfNextTurn(turn.question, news, intent), 'next_turn')
      return news.spoken ? news.question : turn.question
    }
    // of a turn that has not seen the answer only one thing can be told: somebody wants another one
    if (turn.question !== null && news.question !== null && asksAgain(turn.question, news.question)) {
      this.#pending.release(answer)
      this.#settle(answer, withSign(NO_EVIDENCE, 'asked_again', true), 'next_turn')
    }
    return news.question
  }

  answered(turn: AwaitedAnswer): void {
    this.#pending.add(turn)
  }

  /** What somebody who knows said of an answer; false where it is not known here (any more). The first outcome counts. */
  outcome(tenant: string, id: string, score: number): boolean {
    const answer = this.#pending.find(tenant, id)
    if (answer === undefined) return false
    if (answer.outcome !== null) return true
    answer.outcome = score
    if (answer.waiting !== null) return true
    this.#judgeOf(tenant).reliability.correct(answer.evidence, score)
    const { lesson, conclusion } = answer
    answer.lesson = null
    if (conclusion !== null) answer.conclusion = { ...conclusion, settledBy: 'outcome', lesson: null }
    if (lesson !== null) {
      this.#withdrawn++
      this.#observe({ ...lesson, weight: -lesson.weight })
    }
    return true
  }

  sweep(nowMs: number): void {
    this.#pending.sweep(nowMs)
  }

  /** Null while it waits, and where the answer is not known here (any more). */
  conclusion(tenant: string, id: string): Conclusion | null {
    return this.#pending.find(tenant, id)?.conclusion ?? null
  }

  get counts(): LessonCounts {
    return {
      withdrawn: this.#withdrawn,
      lessons: this.#lessons,
      settled: this.#settled,
      found: bySignal(this.#found),
      sought: bySignal(this.#sought),
    }
  }

  get sizes(): Readonly<Record<string, number>> {
    return { answers: this.#pending.size, waiting: this.#pending.waiting, tenants: this.#tenants.size, carries: this.#carry.size }
  }

  get evictions(): Readonly<Record<string, number>> {
    let [patterns, sets] = [this.#patternsEvicted, this.#setsRefused]
    for (const { reliability, level } of this.#tenants.values()) {
      patterns += reliability.evicted
      sets += level.refused
    }
    return { ...this.#pending.evictions, tenants: this.#tenantsEvicted, carries: this.#carry.evicted, patterns, sets }
  }

  /** Of the tenants that were active last: metrics show no more. */
  reliabilities(): { readonly tenant: string; readonly signal: Signal; readonly rates: SignalRates }[] {
    return [...this.#tenants].slice(-MOST_SHOWN).flatMap(([tenant, { reliability }]) =>
      SIGNALS.map((signal, sign) => ({ tenant, signal, rates: reliability.rates(sign) })),
    )
  }

  /** What was learned of signs; a few KB a tenant. Answers that wait are not kept: after a restart nobody asks for them. */
  snapshot(): Buffer {
    const tenants = [...this.#tenants].map(([tenant, { reliability }]) => [tenant, reliability.state()])
    return Buffer.from(JSON.stringify({ version: 1, signals: SIGNALS, tenants }))
  }

  /** Throws, and changes nothing, where the bytes are of other signs or no snapshot at all. */
  restore(bytes: Uint8Array): void {
    for (const [tenant, patterns] of readSnapshot(bytes)) this.#judgeOf(tenant).reliability.restore(patterns)
  }

  #settle(answer: BookedAnswer, reaction: Evidence, by: SettledBy): void {
    const turn = answer.waiting
    if (turn === null) return
    answer.waiting = null
    answer.evidence = both(turn.evidence, reaction)
    this.#count(answer.evidence)
    const { outcome, evidence } = answer
    const { reliability, level } = this.#judgeOf(turn.tenant)
    const verdict = reliability.verdict(evidence)
    const lesson = outcome === null ? this.#teach(turn, level.worth(evidence.sought, verdict, reliability.share)) : null
    reliability.add(evidence, outcome)
    const settledBy = outcome === null ? by : 'outcome'
    this.#settled[settledBy]++
    answer.lesson = lesson
    const told = lesson === null ? null : { score: lesson.score, weight: lesson.weight }
    answer.conclusion = { model: turn.model, settledBy, found: foundSigns(evidence), probability: verdict.probability, lesson: told }
  }

  #teach(turn: AwaitedAnswer, { estimate, weight }: Worth): Lesson | null {
    const { tenant, model, subject, atMs } = turn
    if (subject === null || weight < LEAST_WEIGHT) return null
    const score = this.#carry.score(`${tenant}\n${model}\n${subject.topics[0]?.[0] ?? ''}`, estimate, weight)
    let sums = this.#lessons.get(model)
    if (sums === undefined) this.#lessons.set(model, (sums = { lessons: 0, good: 0, bad: 0 }))
    sums.lessons++
    sums.good += weight * score
    sums.bad += weight * (1 - score)
    const lesson = { tenant, model, subject: this.#compact(subject), score, weight, atMs }
    this.#observe(lesson)
    return lesson
  }

  #judgeOf(tenant: string): Judge {
    const judge = this.#tenants.get(tenant) ?? {
      reliability: new SignalReliability({ priors: PRIOR_RATES }),
      level: new EstimateLevel(),
    }
    this.#tenants.delete(tenant)
    this.#tenants.set(tenant, judge)
    if (this.#tenants.size > MOST_TENANTS) {
      const [oldest, { reliability, level }] = this.#tenants.entries().next().value!
      this.#tenants.delete(oldest)
      this.#tenantsEvicted++
      this.#patternsEvicted += reliability.evicted
      this.#setsRefused += level.refused
    }
    return judge
  }

  #count({ sought, found }: Evidence): void {
    for (let sign = 0; sign < SIGNALS.length; sign++) {
      this.#sought[sign]! += (sought >> sign) & 1
      this.#found[sign]! += (found >> sign) & 1
    }
  }
}

const bySignal = (numbers: Float64Array): Record<Signal, number> =>
  Object.fromEntries(SIGNALS.map((signal, sign) => [signal, numbers[sign]!])) as Record<Signal, number>

type Snapshot = readonly (readonly [tenant: string, patterns: readonly (readonly number[])[]])[]

function readSnapshot(bytes: Uint8Array): Snapshot {
  const read = JSON.parse(Buffer.from(bytes).toString('utf8')) as unknown
  const { version, signals, tenants } = (read ?? {}) as { version?: unknown; signals?: unknown; tenants?: unknown }
  if (version !== 1 || JSON.stringify(signals) !== JSON.stringify(SIGNALS) || !Array.isArray(tenants)) {
    throw new Error('holds the reliability of other signs than this version looks for')
  }
  const whole = (tenants as readonly unknown[]).every(
    (entry) =>
      Array.isArray(entry) && typeof entry[0] === 'string' && Array.isArray(entry[1]) &&
      (entry[1] as readonly unknown[]).every((pattern) => Array.isArray(pattern)),
  )
  if (!whole) throw new Error('is no table of signs')
  return tenants as Snapshot
}
