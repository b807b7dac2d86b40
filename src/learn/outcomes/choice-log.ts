/**
 * What was chosen with which probability, and what it was worth: lines of JSON for off-policy evaluation (`homing evaluate`).
 *
 *   {"kind":"choice", ...}    one per turn that named a group, when it was answered
 *   {"kind":"outcome", ...}   one per grade of such a turn; holds its choice too, so it can be used when that line is gone
 *
 * No text, no embedding. Files of an eighth of the bound, the oldest leaves. About 600 bytes and 6 us a line with three models.
 */
import type { AnsweredTurn, ChoiceRecord } from '../../model/choice.ts'

export interface LogFiles {
  /** Those of earlier processes, oldest first. */
  readonly found: readonly number[]
  sizeOf(number: number): number
  append(number: number, bytes: Uint8Array): void
  remove(number: number): void
}

/** Of a belief the first are what a table of topics needs. */
const LOGGED_TOPICS = 3
/** Less probable ones say nothing; an outcome's line, written from the book, has none of them either. */
const LEAST_TOPIC = 0.01
const FILES = 8
export const LOG_PREFIX = 'choices-'
export const LOG_SUFFIX = '.jsonl'

export class ChoiceLog {
  readonly #files: LogFiles
  readonly #maxBytes: number
  /** Oldest first; the last one is written to once it is this process's. */
  readonly #sizes: { readonly number: number; bytes: number }[]
  #own = false
  #totalBytes: number
  readonly counts = { bytes: 0, rotations: 0, removed: 0 }

  constructor(files: LogFiles, maxBytes: number) {
    this.#files = files
    this.#maxBytes = maxBytes
    this.#sizes = files.found.map((number) => ({ number, bytes: files.sizeOf(number) }))
    this.#totalBytes = this.#sizes.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  choice(answer: AnsweredTurn): void {
    if (answer.choice !== null) this.#write(`{"kind":"choice",${fieldsOf(answer, answer.choice)}}\n`)
  }

  outcome(answer: AnsweredTurn, grade: { readonly source: string; readonly score: number; readonly atMs: number }): void {
    if (answer.choice === null) return
    const said = `"source":${JSON.stringify(grade.source)},"score":${grade.score},"graded_at":${grade.atMs}`
    this.#write(`{"kind":"outcome",${said},${fieldsOf(answer, answer.choice)}}\n`)
  }

  #write(line: string): void {
    const bytes = Buffer.from(line)
    const last = this.#own ? this.#sizes.at(-1)! : this.#begin()
    const file = last.bytes > 0 && last.bytes + bytes.length > this.#maxBytes / FILES ? this.#begin() : last
    this.#files.append(file.number, bytes)
    file.bytes += bytes.length
    this.#totalBytes += bytes.length
    this.counts.bytes += bytes.length
    while (this.#totalBytes > this.#maxBytes && this.#sizes.length > 1) {
      const oldest = this.#sizes.shift()!
      this.#files.remove(oldest.number)
      this.#totalBytes -= oldest.bytes
      this.counts.removed++
    }
  }

  /** Each process writes files of its own, so a line that breaks off is the last of its file. */
  #begin(): { readonly number: number; bytes: number } {
    if (this.#own) this.counts.rotations++
    this.#own = true
    const file = { number: (this.#sizes.at(-1)?.number ?? 0) + 1, bytes: 0 }
    this.#sizes.push(file)
    return file
  }
}

function fieldsOf({ tenant, id, model, subject, atMs }: AnsweredTurn, choice: ChoiceRecord): string {
  const likely = subject.topics.filter(([, probability]) => probability >= LEAST_TOPIC)
  const topics = likely.slice(0, LOGGED_TOPICS).map(([name, probability]) => [name, rounded(probability)])
  const considered = choice.considered.map(({ model: name, mean, deviation, drawn, seconds, propensity }) => ({
    model: name,
    mean: rounded(mean),
    deviation: rounded(deviation),
    drawn: rounded(drawn),
    seconds: rounded(seconds),
    propensity: precise(propensity),
  }))
  const fields = {
    at: atMs,
    tenant,
    id,
    group: choice.group,
    model,
    topics,
    intent: subject.intent[0],
    complexity: rounded(subject.complexity),
    seconds_per_quality_point: rounded(choice.secondsPerQuality / 100),
    drawn: choice.drawn,
    considered,
  }
  return JSON.stringify(fields).slice(1, -1)
}

const rounded = (value: number): number => Math.round(value * 1e4) / 1e4
/** Small probabilities are divided by, so they keep their digits. */
const precise = (value: number): number => Number(value.toPrecision(5))
