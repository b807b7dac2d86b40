/**
 * Answers that wait for what the next turn of their session says of them, and what was concluded of those that waited.
 *
 *   waiting      by (tenant, session, mark of the answer): a next turn shows the answer that it follows, so a fork or a side
 *                request of the same session settles only what it has seen
 *   newest       by (tenant, session): the same question sent again without the answer, and clients that change what they send back
 *   by id        by (tenant, id): outcomes and receipts find an answer here, waiting or concluded
 *
 * At most `maxAnswers`, waiting and concluded together; the oldest leaves first, settled with what is known where it still waited, and
 * counted. While it waits an answer costs some 3 KB, its subject with an embedding and a sketch, then 1 KB. O(1) a turn.
 */
import type { Lesson, Subject } from '../model/quality.ts'
import type { News } from './next-turn-signals.ts'
import type { QuestionSketch } from './question-sketch.ts'
import type { Evidence, Signal } from './signals.ts'

export type AwaitedAnswer = {
  readonly tenant: string
  readonly sessionId: string
  readonly id: string
  readonly model: string
  /** Null where nothing read the turn: its signs are learned from, but teach nothing about the model. */
  readonly subject: Subject | null
  readonly evidence: Evidence
  /** Of the answer, 0 where it says nothing; null: its client left, and nothing follows. */
  readonly mark: number | null
  /** Items of the prompt. */
  readonly contextItems: number
  readonly question: QuestionSketch | null
  /** When the answer had ended. Milliseconds since 1970. */
  readonly atMs: number
}

export type SettledBy = 'next_turn' | 'no_next_turn' | 'client_left' | 'outcome' | 'size'

/** What was concluded of an answer. */
export type Conclusion = {
  readonly model: string
  readonly settledBy: SettledBy
  readonly found: readonly Signal[]
  /** That it was good, by its signs. */
  readonly probability: number
  /** The lesson that was given; null where there was an outcome first or the signs tell nothing. */
  readonly lesson: { readonly score: number; readonly weight: number } | null
}

export type BookedAnswer = {
  readonly tenant: string
  readonly id: string
  /** Null once it is settled. */
  waiting: AwaitedAnswer | null
  evidence: Evidence
  outcome: number | null
  conclusion: Conclusion | null
  /** The lesson that was given, to be taken back where an outcome comes late. */
  lesson: Lesson | null
}

/** What a turn says by its place; `contextItems` are all items of its prompt. */
export type Follower = {
  readonly tenant: string
  readonly sessionId: string
  readonly news: News
  readonly contextItems: number
  readonly receivedAtMs: number
  /** The client names the session. One that was recognised by its text may be another client with the same prompt. */
  readonly namesSession: boolean
}

export type PendingAnswersOptions = {
  readonly maxAnswers: number
  /** How long an answer waits for its next turn. */
  readonly patienceMs: number
  readonly settle: (answer: BookedAnswer, by: 'no_next_turn' | 'client_left' | 'size') => void
}

export class PendingAnswers {
  readonly #options: PendingAnswersOptions
  /** In order of time, written round and round: a Map that loses its first entries all the time gets slow to begin to read. */
  readonly #ring: (BookedAnswer | undefined)[] = []
  #next = 0
  /** Answers before this one, counted from the first ever, do not wait. */
  #swept = 0
  readonly #waiting = new Map<string, BookedAnswer>()
  readonly #newest = new Map<string, BookedAnswer>()
  readonly #byId = new Map<string, BookedAnswer>()
  readonly evictions = { waiting: 0, concluded: 0 }

  constructor(options: PendingAnswersOptions) {
    this.#options = options
  }

  get waiting(): number {
    return this.#waiting.size
  }

  get size(): number {
    return this.#ring.length
  }

  find(tenant: string, id: string): BookedAnswer | undefined {
    return this.#byId.get(keyOf(tenant, id))
  }

  add(turn: AwaitedAnswer): void {
    const answer: BookedAnswer = {
      tenant: turn.tenant, id: turn.id, waiting: turn, evidence: turn.evidence, outcome: null, conclusion: null, lesson: null,
    }
    const place = this.#next++ % this.#options.maxAnswers
    const oldest = this.#ring[place]
    if (oldest !== undefined) this.#evict(oldest)
    this.#ring[place] = answer
    this.#byId.set(keyOf(turn.tenant, turn.id), answer) // an engine that gives every answer the same id: the newest is meant
    if (turn.mark === null) {
      this.#options.settle(answer, 'client_left')
      return
    }
    const where = placeOf(turn.tenant, turn.sessionId, turn.mark)
    const twin = this.#waiting.get(where)
    if (twin !== undefined) this.#end(twin, 'no_next_turn')
    this.#waiting.set(where, answer)
    this.#newest.set(keyOf(turn.tenant, turn.sessionId), answer)
  }

  /**
   * Takes out the answer that this turn follows. `sawAnswer` false: it sends what the answer was given to once more, and the answer
   * waits on. Null: it follows none that waits.
   */
  take(follower: Follower): { readonly answer: BookedAnswer; readonly turn: AwaitedAnswer; readonly sawAnswer: boolean } | null {
    const { tenant, sessionId, news, contextItems } = follower
    const followed = news.answerMark === 0 ? undefined : this.#waiting.get(placeOf(tenant, sessionId, news.answerMark))
    if (followed !== undefined) return this.#taken(followed)
    const newest = this.#newest.get(keyOf(tenant, sessionId))
    const turn = newest?.waiting ?? null
    if (newest === undefined || turn === null || turn.atMs > follower.receivedAtMs) return null
    // whoever strips thoughts or spaces from an answer changes its mark, not the length of the history
    if (news.historyItems > turn.contextItems) return this.#taken(newest)
    const again = follower.namesSession && contextItems === turn.contextItems
    return again ? { answer: newest, turn, sawAnswer: false } : null
  }

  /** Settles what has waited too long. */
  sweep(nowMs: number): void {
    const { maxAnswers, patienceMs } = this.#options
    this.#swept = Math.max(this.#swept, this.#next - maxAnswers)
    for (; this.#swept < this.#next; this.#swept++) {
      const answer = this.#ring[this.#swept % maxAnswers]!
      if (answer.waiting === null) continue
      if (nowMs - answer.waiting.atMs < patienceMs) return
      this.#end(answer, 'no_next_turn')
    }
  }

  /** Nothing that follows is about it any more. */
  release(answer: BookedAnswer): void {
    const turn = answer.waiting
    if (turn === null) return
    const place = placeOf(turn.tenant, turn.sessionId, turn.mark)
    if (this.#waiting.get(place) === answer) this.#waiting.delete(place)
    const session = keyOf(turn.tenant, turn.sessionId)
    if (this.#newest.get(session) === answer) this.#newest.delete(session)
  }

  #taken(answer: BookedAnswer): { answer: BookedAnswer; turn: AwaitedAnswer; sawAnswer: boolean } {
    this.release(answer)
    return { answer, turn: answer.waiting!, sawAnswer: true }
  }

  #evict(oldest: BookedAnswer): void {
    if (oldest.waiting === null) this.evictions.concluded++
    else {
      this.evictions.waiting++
      this.#end(oldest, 'size')
    }
    const id = keyOf(oldest.tenant, oldest.id)
    if (this.#byId.get(id) === oldest) this.#byId.delete(id)
  }

  #end(answer: BookedAnswer, by: 'no_next_turn' | 'size'): void {
    this.release(answer)
    this.#options.settle(answer, by)
  }
}

const keyOf = (tenant: string, name: string): string => `${tenant}\n${name}`
const placeOf = (tenant: string, sessionId: string, mark: number | null): string => `${tenant}\n${sessionId}\n${mark}`
