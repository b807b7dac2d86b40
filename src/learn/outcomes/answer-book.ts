/**
 * The answers that can still be graded, by (tenant, id), newest wins: a log of segments (answer-record.ts) with an index of
 * where each answer lies. What is appended is found at once; with a disk it is written some milliseconds later.
 *
 * The last answers have their embedding as well, in memory alone: nothing from which a text could be guessed is written.
 *
 * Bounded by entries: beyond it the oldest segment leaves whole, in memory and on disk, with the answers and grades in it. 400
 * to 600 bytes an answer. Appending costs 4 us, half as much again for what has to leave (a segment at once, about 2 ms), a look-up
 * 3 us, and reading it all at the start 0.2 s for 100,000: bench record `outcomes`.
 */
import { FIRST_RECORD, UnreadableSegment, LONGEST_ID, namesOf, Segment, type Found, type Grade } from './answer-record.ts'
import type { AnsweredTurn } from '../../model/choice.ts'
import type { Subject } from '../../model/quality.ts'

export interface SegmentDisk {
  readonly found: readonly number[]
  read(number: number): Promise<Buffer>
  append(number: number, bytes: Uint8Array): void
  remove(number: number): void
}

export type AnswerBookOptions = {
  readonly maxAnswers: number
  /** Older answers count as unknown; Infinity: only room decides. */
  readonly maxAgeMs: number
  readonly wallMs: () => number
  /** Null: memory only. */
  readonly disk: SegmentDisk | null
  readonly unreadable: (error: unknown) => void
}

type Place = { readonly segment: Segment; readonly offset: number; grades: Grade[] | null; timesGraded: number; fresh: Fresh | null }
/** What is too long, and says too much, to be kept for all. */
type Fresh = Pick<Subject, 'embedding' | 'shape'>

/** Most outcomes come within minutes. 1.1 KB each; in memory alone. */
const FRESH_ANSWERS = 2000

/** A gateway that is restarted all the time leaves one small segment each time. */
const MOST_SEGMENTS = 4096
/** So many different sources may grade one answer. */
export const MOST_SOURCES = 8
/** Each takes a record, here and in the log of choices: whoever changes his mind without end would push out what others said. */
export const MOST_GRADES = 64

export class AnswerBook {
  readonly #options: AnswerBookOptions
  readonly #places = new Map<string, Place>()
  /** Oldest first; the last one is written to. */
  readonly #segments: Segment[] = []
  /** The last ones with embedding, a ring. */
  readonly #fresh: Place[] = []
  #freshAt = 0
  readonly evictions = { size: 0, expired: 0, too_large: 0, unreadable_segments: 0 }

  private constructor(options: AnswerBookOptions) {
    this.#options = options
  }

  /** Reads what an earlier process left; about 1 us an answer. Damaged segments are read as far as they are whole. */
  static async open(options: AnswerBookOptions): Promise<AnswerBook> {
    const book = new AnswerBook(options)
    for (const number of options.disk?.found ?? []) {
      try {
        const segment = Segment.of(number, await options.disk!.read(number))
        book.#segments.push(segment)
        const { whole } = segment.scan((found) => book.#replay(segment, found))
        // the last one breaks off where the process was killed
        if (!whole && number !== options.disk!.found.at(-1)) throw new UnreadableSegment(`segment ${number} is damaged`)
      } catch (error) {
        book.evictions.unreadable_segments++
        options.unreadable(error)
      }
    }
    book.#begin()
    return book
  }

  get size(): number {
    return this.#places.size
  }

  get bytes(): number {
    return this.#segments.reduce((sum, { bytes }) => sum + bytes.length, 0)
  }

  put(answer: AnsweredTurn): void {
    if (Buffer.byteLength(answer.id) > LONGEST_ID || !this.#makeRoom(() => namesOf(answer))) {
      this.evictions.too_large++
      return
    }
    const segment = this.#segments.at(-1)!
    const from = segment.length
    const offset = segment.addAnswer(answer)
    this.#write(segment, from)
    const place: Place = { segment, offset, grades: null, timesGraded: 0, fresh: null }
    this.#keep(keyOf(answer.tenant, answer.id), place)
    const { embedding, shape } = answer.subject
    if (embedding !== undefined) this.#refresh(place, { embedding, ...(shape === undefined ? {} : { shape }) })
    this.#evict()
  }

  get(tenant: string, id: string): AnsweredTurn | null {
    const place = this.#places.get(keyOf(tenant, id))
    if (place === undefined) return null
    const answer = answerAt(place)
    return answer.atMs < this.#options.wallMs() - this.#options.maxAgeMs ? null : answer
  }

  has(tenant: string, id: string): boolean {
    return this.#places.has(keyOf(tenant, id))
  }

  /** What was said of an answer that is in the book, the last word of each source. */
  gradesOf(tenant: string, id: string): readonly Grade[] {
    return this.#places.get(keyOf(tenant, id))?.grades ?? []
  }

  /** Corrections included. */
  timesGraded(tenant: string, id: string): number {
    return this.#places.get(keyOf(tenant, id))?.timesGraded ?? 0
  }

  /** Replaces what the same source said before. Does nothing for an answer that is not in the book. */
  grade(tenant: string, id: string, grade: Grade): void {
    const place = this.#places.get(keyOf(tenant, id))
    if (place === undefined || !this.#makeRoom(() => [tenant])) return
    const segment = this.#segments.at(-1)!
    const from = segment.length
    segment.addGrade(tenant, id, grade)
    this.#write(segment, from)
    setGrade(place, grade)
  }

  /** The answer was deleted: nobody may learn from it any more. */
  forget(tenant: string, id: string): void {
    if (!this.#places.delete(keyOf(tenant, id)) || !this.#makeRoom(() => [tenant])) return
    const segment = this.#segments.at(-1)!
    const from = segment.length
    segment.addForgotten(tenant, id)
    this.#write(segment, from)
  }

  /** Every grade that was given since, with its answer: what a learner that was restored from an older state has missed. */
  *gradedSince(sinceMs: number): Generator<{ readonly answer: AnsweredTurn; readonly grade: Grade; readonly instead: number | undefined }> {
    for (const place of this.#places.values()) {
      for (const grade of place.grades ?? []) {
        if (grade.atMs <= sinceMs) continue
        let learned = grade.previous
        while (learned !== undefined && learned.atMs > sinceMs) learned = learned.previous
        yield { answer: answerAt(place), grade, instead: learned?.score }
      }
    }
  }

  #replay(segment: Segment, found: Found): void {
    const key = keyOf(found.tenant, found.id)
    if (found.kind === 'answer') this.#keep(key, { segment, offset: found.offset, grades: null, timesGraded: 0, fresh: null })
    else if (found.kind === 'forgotten') this.#places.delete(key)
    else {
      const place = this.#places.get(key)
      if (place !== undefined) setGrade(place, found.grade)
    }
  }

  #keep(key: string, place: Place): void {
    this.#places.delete(key)
    this.#places.set(key, place)
  }

  #refresh(place: Place, fresh: Fresh): void {
    const stale = this.#fresh[this.#freshAt]
    if (stale !== undefined) stale.fresh = null
    place.fresh = fresh
    this.#fresh[this.#freshAt] = place
    this.#freshAt = (this.#freshAt + 1) % FRESH_ANSWERS
  }

  /** False: it does not even fit an empty segment. */
  #makeRoom(names: () => readonly string[]): boolean {
    if (this.#segments.at(-1)!.hasRoomFor(names)) return true
    this.#begin()
    return this.#segments.at(-1)!.hasRoomFor(names)
  }

  /** An earlier process's segments are never written to, so one that breaks off does no harm. */
  #begin(): void {
    const last = this.#segments.at(-1)?.number ?? 0
    const segment = Segment.empty(Math.max(last, this.#options.disk?.found.at(-1) ?? 0) + 1)
    this.#segments.push(segment)
    const expiredMs = this.#options.wallMs() - this.#options.maxAgeMs
    while (this.#segments.length > 1 && this.#segments[0]!.newestMs < expiredMs) this.#letGo('expired')
    while (this.#segments.length > MOST_SEGMENTS) this.#letGo('size')
    this.#evict()
  }

  /** The first write of a segment takes its head with it: one that stays empty is no file. */
  #write(segment: Segment, from: number): void {
    this.#options.disk?.append(segment.number, segment.bytes.subarray(from === FIRST_RECORD ? 0 : from, segment.length))
  }

  #evict(): void {
    while (this.#places.size > this.#options.maxAnswers && this.#segments.length > 1) this.#letGo('size')
  }

  #letGo(why: 'size' | 'expired'): void {
    const oldest = this.#segments.shift()!
    oldest.ids((tenant, id) => {
      const key = keyOf(tenant, id)
      if (this.#places.get(key)?.segment !== oldest) return // answered again since, or forgotten
      this.#places.delete(key)
      this.evictions[why]++
    })
    this.#options.disk?.remove(oldest.number)
  }
}

const keyOf = (tenant: string, id: string): string => `${tenant}\u0000${id}`

function answerAt({ segment, offset, fresh }: Place): AnsweredTurn {
  const answer = segment.answerAt(offset)
  return fresh === null ? answer : { ...answer, subject: { ...answer.subject, ...fresh } }
}

function setGrade(place: Place, grade: Grade): void {
  place.timesGraded++
  const others = place.grades?.filter(({ source }) => source !== grade.source) ?? []
  const previous = place.grades?.find(({ source }) => source === grade.source)
  place.grades = [...others, previous === undefined ? grade : { ...grade, previous: shortened(previous, PREVIOUS_GRADES) }]
}

/** Of somebody who changes his mind more often within a minute, a kill may leave one lesson too many. */
const PREVIOUS_GRADES = 3

function shortened({ source, score, atMs, previous }: Grade, most: number): Grade {
  return previous === undefined || most <= 1 ? { source, score, atMs } : { source, score, atMs, previous: shortened(previous, most - 1) }
}
