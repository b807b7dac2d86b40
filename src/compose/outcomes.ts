/**
 * What clients say of answers: the book of those that can be graded, the log of choices, and the way from an outcome to what
 * learns. Answers come in when their receipts are written; nothing here waits for a disk.
 */
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import type { ResponseStore } from '../conversation/response-store.ts'
import { systemAfter } from '../fleet/timers.ts'
import type { Handler } from '../http/call.ts'
import { outcomeRoutes } from '../http/outcome-routes.ts'
import type { Router } from '../http/router.ts'
import { OPEN_TENANT } from '../http/tenants.ts'
import { AnswerBook } from '../learn/outcomes/answer-book.ts'
import { ChoiceLog, LOG_PREFIX, LOG_SUFFIX } from '../learn/outcomes/choice-log.ts'
import { NumberedFiles } from '../learn/outcomes/numbered-files.ts'
import { Outcomes, type Learner } from '../learn/outcomes/outcomes.ts'
import type { AnsweredTurn, ChoiceRecord } from '../model/choice.ts'
import { UNREAD_SUBJECT, type Subject } from '../model/quality.ts'
import type { Receipt } from '../model/receipt.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import { outcomeCounters } from '../outcome-totals.ts'
import type { SnapshotPart } from '../snapshots.ts'

export type OutcomeParts = {
  readonly config: Pick<Config, 'learning' | 'store' | 'tenants'>
  readonly store: ResponseStore
  readonly learner: Learner
  /** What expertise needs of a subject, in short; without `kinds` while nothing short stands for its embedding. */
  readonly compact: (subject: Subject) => Subject
  /** Null where the client named the model itself. */
  readonly choiceOf: (receipt: Receipt) => ChoiceRecord | null
  /** An answer was graded: what was concluded of it without being told counts no more. */
  readonly graded: (tenant: string, id: string, score: number) => void
  readonly nowMs: () => number
  readonly wallMs: () => number
  readonly log: Logger
  readonly fallback: (what: string) => void
}

export type OutcomeLearning = Awaited<ReturnType<typeof buildOutcomes>>

export async function buildOutcomes(parts: OutcomeParts) {
  const { config, store, learner, compact, choiceOf, graded, nowMs, wallMs, log, fallback } = parts
  const { learning, tenants } = config
  const failing = (what: string, message: string) => (error: unknown) => {
    fallback(what)
    log.error({ err: error }, message)
  }
  const files = (folder: string, prefix: string, suffix: string): NumberedFiles =>
    new NumberedFiles({
      folder, prefix, suffix,
      after: systemAfter,
      onFailure: failing('learning_unwritten', 'what is kept for learning could not be written'),
    })
  const answerFiles = config.store.path === null ? null : files(join(config.store.path, 'answers'), 'answers-', '.bin')
  const logFiles = learning.log === null ? null : files(learning.log.path, LOG_PREFIX, LOG_SUFFIX)
  const book = await AnswerBook.open({
    maxAnswers: learning.answers,
    maxAgeMs: config.store.retentionMs ?? Infinity,
    wallMs,
    disk: answerFiles,
    unreadable: (error) => log.error({ err: error }, 'answers of an earlier process cannot be read and graded'),
  })
  const choices = logFiles === null ? null : new ChoiceLog(logFiles, learning.log!.maxBytes)
  const outcomes = new Outcomes({
    book,
    learner,
    graded,
    log: choices,
    wallMs,
    failed: failing('learning_failed', 'learning from an outcome failed'),
    stored: async (tenant, id) => {
      if (!id.startsWith(STORED_IDS)) return null
      const receipt = (await store.getResponse(tenant, id))?.receipt ?? null
      return receipt === null || !gradable(receipt) ? null : answerOf(tenant, receipt, subjectOf(receipt.fingerprint), choiceOf(receipt))
    },
  })
  let learnedUntilMs = -Infinity
  const known = new Set(tenants.length === 0 ? [OPEN_TENANT] : tenants.map(({ id }) => id))
  return {
    book,
    /** The turn's answer has its id; called before its last byte is sent. */
    answered: (turn: ResolvedTurn, receipt: Receipt): void => {
      if (!gradable(receipt)) return
      const { subject } = turn
      const short = subject === undefined ? undefined : compact(subject)
      const answer = answerOf(turn.tenant, receipt, short?.kinds === undefined ? subject : short, choiceOf(receipt))
      book.put(answer)
      choices?.choice(answer)
    },
    /** The snapshot of what learns, dated. */
    dated: (part: SnapshotPart): SnapshotPart => ({
      ...part,
      save: () => Buffer.concat([stampOf(wallMs()), part.save()]),
      restore: (bytes) => {
        part.restore(bytes.subarray(STAMP_BYTES))
        learnedUntilMs = Buffer.from(bytes.buffer, bytes.byteOffset, STAMP_BYTES).readDoubleLE()
      },
    }),
    /** Once snapshots are restored: outcomes that are in none are learned again, so a kill loses none that the book knows. */
    catchUp: (): void => outcomes.relearn(learnedUntilMs),
    addRoutes: (router: Router<Handler>): void =>
      outcomeRoutes(router, {
        say: ({ tenant, id, score, source }) => outcomes.say(tenant, { id, score, source }),
        written: async () => answerFiles?.flush(),
        rateLimited: (count) => outcomes.count('', 'rate_limited', count),
        isTenant: (tenant) => known.has(tenant),
        perMinute: learning.outcomesPerMinute,
        nowMs,
      }),
    counters: outcomeCounters({
      said: () => outcomes.counts,
      written: () => ({
        ...(answerFiles === null ? {} : { answers: answerFiles.counts }),
        ...(logFiles === null ? {} : { choices: logFiles.counts }),
      }),
      rotations: () => choices?.counts.rotations ?? 0,
    }),
    close: async (): Promise<void> => {
      await Promise.all([answerFiles?.flush(), logFiles?.flush()])
    },
    flushSync: (): void => {
      answerFiles?.flushSync()
      logFiles?.flushSync()
    },
  }
}

/** What responses are called; nothing else is stored. */
const STORED_IDS = 'resp_'
const STAMP_BYTES = 8
function stampOf(ms: number): Buffer {
  const stamp = Buffer.alloc(STAMP_BYTES)
  stamp.writeDoubleLE(ms)
  return stamp
}

/** Something of a model was seen; a backend that broke off says nothing of it. */
const gradable = ({ outcome, ttftMs }: Receipt): boolean =>
  outcome === 'completed' || outcome === 'incomplete' || (outcome === 'cancelled' && ttftMs !== null)

const answerOf = (
  tenant: string,
  { id, model, createdAtMs }: Receipt,
  subject: Subject = UNREAD_SUBJECT,
  choice: ChoiceRecord | null,
): AnsweredTurn => ({ tenant, id, model, subject, choice, atMs: createdAtMs })

/** Subjects hold what the shipped model says; receipts of earlier versions hold nothing else. */
const subjectOf = (note: Receipt['fingerprint']): Omit<Subject, 'embedding'> | undefined =>
  note === undefined ? undefined : { ...note, complexity: note.shippedComplexity ?? note.complexity }
