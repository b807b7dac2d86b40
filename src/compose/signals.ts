/**
 * Learning from what nobody says: signs of good and bad answers in what the gateway sees anyway (`learn/signals.ts`), from turns to
 * lessons. `notice` is called once for every turn that a backend answered, when it has ended: first the turn says what it has to
 * say about the answer before it, then its own answer waits.
 *
 * Some microseconds a turn; with `enabled` false nothing is looked at and nothing is kept.
 */
import { ImplicitLessons } from '../learn/implicit-lessons.ts'
import { markOfAnswer, newsOf } from '../learn/next-turn-signals.ts'
import type { Conclusion } from '../learn/pending-answers.ts'
import { signsOfAnswer } from '../learn/answer-signals.ts'
import type { Outcome } from '../model/outcome.ts'
import type { Lesson, Subject } from '../model/quality.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import type { SnapshotPart } from '../snapshots.ts'
import type { Answer } from '../stages.ts'
import type { TotalsCounter } from '../turn-totals.ts'

export type SignalParts = {
  /** `learning.implicit_signals`. */
  readonly enabled: boolean
  readonly observe: (lesson: Lesson) => void
  /** What a lesson keeps of its subject, so that it can be taken back. */
  readonly compact: (subject: Subject) => Subject
  readonly wallMs: () => number
  /** Of sketches: differs from process to process. */
  readonly salt: number
  /** Policy: degrade. A turn whose signs could not be read, or a lesson that could not be learned, is told here. */
  readonly failed: (error: unknown) => void
}

export type ImplicitSignals = {
  readonly notice: (outcome: Outcome, turn: ResolvedTurn, answer: Answer) => void
  /** An outcome was given for an answer: it counts instead of its signs. */
  readonly outcome: (tenant: string, id: string, score: number) => void
  /** What was concluded of an answer without being told; null while it waits and where it is not known. */
  readonly conclusion: (tenant: string, id: string) => Conclusion | null
  readonly counters: readonly TotalsCounter[]
  readonly rates: () => readonly { tenant: string; signal: string; good: number; bad: number }[]
  readonly sizes: () => Readonly<Record<string, number>>
  readonly evictions: () => Readonly<Record<string, number>>
  /** How far signs are to be believed. */
  readonly snapshot: SnapshotPart
  readonly close: () => void
}

/** Receipts of as many answers are kept by default; outcomes of older ones teach the models, not the signs. */
const MOST_ANSWERS = 10_000
/** A lesson may be as much later than its answer's patience; learning does not hang on seconds. */
const SWEEP_EVERY_MS = 5000

export function buildSignals(parts: SignalParts): ImplicitSignals {
  const { enabled, observe, compact, wallMs, salt, failed } = parts
  const lessons = new ImplicitLessons({ maxAnswers: MOST_ANSWERS, observe, compact })
  let unchecked = 0
  const guarded = (work: () => void): void => {
    try {
      work()
    } catch (error) {
      failed(error)
    }
  }
  const notice = (outcome: Outcome, turn: ResolvedTurn, answer: Answer): void => {
    const { tenant, session, context, receivedAtMs } = turn
    const news = newsOf(context, salt)
    const question = lessons.followed(
      {
        tenant, sessionId: session.id, news, contextItems: context.length, receivedAtMs,
        namesSession: session.source !== 'prefix' && session.source !== 'new',
      },
      turn.fingerprint?.intent ?? null,
    )
    const { status } = outcome
    // an answer that failed is its backend's fault, and one that nobody saw has no reader
    if (status === 'failed' || (status === 'cancelled' && (outcome.ttftMs === null || !turn.stream))) return
    const signs = signsOfAnswer(turn, { status, cut: answer.cut, output: answer.output })
    if (signs.unchecked) unchecked++
    lessons.answered({
      tenant, sessionId: session.id, id: answer.id, model: outcome.model, subject: turn.subject ?? null,
      evidence: signs.evidence, mark: status === 'cancelled' ? null : markOfAnswer(answer.output), contextItems: context.length, question, atMs: wallMs(),
    })
  }
  const sweep = enabled ? setInterval(() => guarded(() => lessons.sweep(wallMs())), SWEEP_EVERY_MS).unref() : undefined
  return {
    notice: (outcome, turn, answer) => {
      if (enabled) guarded(() => notice(outcome, turn, answer))
    },
    outcome: (tenant, id, score) => guarded(() => void lessons.outcome(tenant, id, score)),
    conclusion: (tenant, id) => lessons.conclusion(tenant, id),
    counters: countersOf(lessons, () => unchecked),
    rates: () => lessons.reliabilities().map(({ tenant, signal, rates }) => ({ tenant, signal, ...rates })),
    sizes: () => lessons.sizes,
    evictions: () => lessons.evictions,
    snapshot: { name: 'signal-reliability', save: () => lessons.snapshot(), restore: (bytes) => lessons.restore(bytes) },
    close: () => clearInterval(sweep),
  }
}

function countersOf(lessons: ImplicitLessons, unchecked: () => number): readonly TotalsCounter[] {
  const byName = (name: string, help: string, label: string, read: () => Readonly<Record<string, number>>): TotalsCounter => ({
    name, help, labelNames: [label],
    read: () => Object.entries(read()).map(([what, value]) => ({ labels: { [label]: what }, value })),
  })
  return [
    byName('homing_signals_found_total', 'Signs that were found on settled answers.', 'signal', () => lessons.counts.found),
    byName('homing_signals_sought_total', 'Settled answers on which a sign could have been found.', 'signal', () => lessons.counts.sought),
    byName(
      'homing_implicit_answers_total',
      'Answers by what settled them: their next turn, none in time, a client that left, an outcome, the bound on what waits.',
      'settled_by',
      () => lessons.counts.settled,
    ),
    {
      name: 'homing_implicit_lessons_total',
      help: 'Lessons that signs gave, by the model that answered.',
      labelNames: ['model'],
      read: () => [...lessons.counts.lessons].map(([model, sums]) => ({ labels: { model }, value: sums.lessons })),
    },
    {
      name: 'homing_implicit_lesson_weight_total',
      help: 'What those lessons weigh, in outcomes, for (good) and against (bad) the model.',
      labelNames: ['model', 'says'],
      read: () =>
        [...lessons.counts.lessons].flatMap(([model, sums]) =>
          (['good', 'bad'] as const).map((says) => ({ labels: { model, says }, value: sums[says] })),
        ),
    },
    {
      name: 'homing_implicit_lessons_withdrawn_total',
      help: 'Lessons taken back because an outcome came after them.',
      labelNames: [],
      read: () => [{ labels: {}, value: lessons.counts.withdrawn }],
    },
    {
      name: 'homing_signals_unchecked_total',
      help: 'Answers whose JSON was too long to be checked.',
      labelNames: [],
      read: () => [{ labels: {}, value: unchecked() }],
    },
  ]
}
