/**
 * Answered turns and what was said of them, as records in a segment of bytes; the same bytes are held in memory and written
 * to disk, so a restart reads what it would have remembered.
 *
 *   segment   magic, then records
 *   record    length of body (u32), CRC-32 of body (u32), body; body begins with its kind (u8)
 *     name       number (u16), text: words that come again (tenants, models, topics) are written once a segment
 *     answer     tenant, model, group (u16 names, 0: no group), id, time, topics, kinds, intent, ..., models considered
 *     grade      tenant, id, source, score, time
 *     forgotten  tenant, id
 *
 * Probabilities are u16 of 65,535, expectations 32-bit floats. An answer of 18 topics is 170 bytes, 22 more for each
 * model considered; writing it takes as long as JSON of it would. Reading stops at the first record that is not whole.
 */
import { crc32 } from 'node:zlib'
import type { ConsideredRecord, AnsweredTurn } from '../../model/choice.ts'
import type { Labelled } from '../../model/fingerprint.ts'
import { Reader, Writer } from './byte-cursor.ts'

export const SEGMENT_BYTES = 256 * 1024
/** Bytes. Longer ids are no API's; an answer under such an id cannot be graded. */
export const LONGEST_ID = 512
/** Bytes: four times the longest name that a configuration or a hub allows. */
const LONGEST_NAME = 1024
/** Topics below it add nothing to a belief that is learned from, and a taxonomy may have a hundred. */
const LEAST_TOPIC = 0.01
/** Beyond any group; a receipt shows no more candidates either. */
const MOST_CONSIDERED = 64
/** What u16 can number. */
const MOST_NAMES = 65_536
const MAGIC = Buffer.from('HOMINGA1')
export const FIRST_RECORD = MAGIC.length
const HEAD_BYTES = 8
/** An id, a source, 255 topics and kinds each, and 64 models are 4 KB: no record is longer. */
const LONGEST_RECORD = 5 * 1024

export type Grade = {
  readonly source: string
  readonly score: number
  readonly atMs: number
  /** What the same source said before. */
  readonly previous?: Grade
}
export type Found =
  | { readonly kind: 'answer'; readonly tenant: string; readonly id: string; readonly offset: number; readonly atMs: number }
  | { readonly kind: 'grade'; readonly tenant: string; readonly id: string; readonly grade: Grade }
  | { readonly kind: 'forgotten'; readonly tenant: string; readonly id: string }

const NAME = 1
const ANSWER = 2
const GRADE = 3
const FORGOTTEN = 4

/** Names a segment that is no answer book, or one of another version. */
export class UnreadableSegment extends Error {}

export class Segment {
  readonly number: number
  readonly bytes: Buffer
  #length: number
  /** When the newest of its answers was given; known of a read one once it was scanned. */
  newestMs = -Infinity
  readonly #numbers = new Map<string, number>()
  /** Number 0 means none. */
  readonly #names: string[] = ['']

  /** A new one to be written. */
  static empty(number: number): Segment {
    const bytes = Buffer.allocUnsafeSlow(SEGMENT_BYTES)
    MAGIC.copy(bytes)
    return new Segment(number, bytes, FIRST_RECORD)
  }

  /** One to be read; `scan` learns its names. Throws UnreadableSegment. */
  static of(number: number, bytes: Buffer): Segment {
    if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw new UnreadableSegment(`segment ${number} is no book of answers`)
    return new Segment(number, bytes, bytes.length)
  }

  private constructor(number: number, bytes: Buffer, length: number) {
    this.number = number
    this.bytes = bytes
    this.#length = length
  }

  get length(): number {
    return this.#length
  }

  /** `names`: what the next record may have to name first; asked for only where it gets narrow. */
  hasRoomFor(names: () => readonly string[]): boolean {
    if (this.#length < this.bytes.length / 2 && this.#names.length < MOST_NAMES / 2) return true
    const spoken = names()
    let needed = LONGEST_RECORD
    for (const name of spoken) needed += HEAD_BYTES + 3 + 3 * name.length
    return this.#length + needed <= this.bytes.length && this.#names.length + spoken.length < MOST_NAMES
  }

  /** Returns where it lies. */
  addAnswer(answer: AnsweredTurn): number {
    const { subject, choice } = answer
    const topics = subject.topics.filter(([, probability]) => probability >= LEAST_TOPIC).slice(0, 255)
    const kinds = subject.kinds?.slice(0, 255) ?? []
    const considered = choice?.considered.slice(0, MOST_CONSIDERED) ?? []
    const tenant = this.#number(answer.tenant)
    const model = this.#number(answer.model)
    const group = choice === null ? 0 : this.#number(choice.group)
    const intent = this.#number(subject.intent[0])
    const topicNumbers = topics.map(([name]) => this.#number(name))
    const kindNumbers = kinds.map(([name]) => this.#number(name))
    const modelNumbers = considered.map(({ model: name }) => this.#number(name))
    const offset = this.#length
    const writer = new Writer(this.bytes, offset + HEAD_BYTES)
    writer.u8(ANSWER).u16(tenant).text(answer.id).f64(answer.atMs).u16(model).u16(group).f32(choice?.secondsPerQuality ?? 0).u8(choice?.drawn === true ? 1 : 0)
    writer.u16(intent).share(subject.intent[1]).share(subject.inScope).share(subject.complexity)
    writer.u8(topics.length)
    for (let n = 0; n < topics.length; n++) writer.u16(topicNumbers[n]!).share(topics[n]![1])
    writer.u8(kinds.length)
    for (let n = 0; n < kinds.length; n++) writer.u16(kindNumbers[n]!).share(kinds[n]![1])
    writer.u8(considered.length)
    for (let n = 0; n < considered.length; n++) {
      const { mean, deviation, drawn, seconds, propensity } = considered[n]!
      writer.u16(modelNumbers[n]!).f32(mean).f32(deviation).f32(drawn).f32(seconds).f32(propensity)
    }
    this.#close(writer.at)
    this.newestMs = Math.max(this.newestMs, answer.atMs)
    return offset
  }

  addGrade(tenant: string, id: string, { source, score, atMs }: Grade): void {
    const name = this.#number(tenant)
    const writer = new Writer(this.bytes, this.#length + HEAD_BYTES)
    writer.u8(GRADE).u16(name).text(id).text(source).f64(score).f64(atMs)
    this.#close(writer.at)
  }

  addForgotten(tenant: string, id: string): void {
    const name = this.#number(tenant)
    const writer = new Writer(this.bytes, this.#length + HEAD_BYTES)
    writer.u8(FORGOTTEN).u16(name).text(id)
    this.#close(writer.at)
  }

  /** Everything in it, in order. `whole` false: it breaks off, or is damaged, behind what was told. */
  scan(visit: (found: Found) => void): { readonly whole: boolean } {
    let at = FIRST_RECORD
    while (at < this.#length) {
      if (at + HEAD_BYTES > this.#length) return this.#endsAt(at)
      const size = this.bytes.readUInt32LE(at)
      const from = at + HEAD_BYTES
      if (size === 0 || size > LONGEST_RECORD || from + size > this.#length) return this.#endsAt(at)
      const body = this.bytes.subarray(from, from + size)
      if (crc32(body) !== this.bytes.readUInt32LE(at + 4)) return this.#endsAt(at)
      const found = this.#look(body, at)
      if (found?.kind === 'answer') this.newestMs = Math.max(this.newestMs, found.atMs)
      if (found !== null) visit(found)
      at = from + size
    }
    return { whole: true }
  }

  /** The ids of its answers, for one that was written or scanned whole. */
  ids(visit: (tenant: string, id: string) => void): void {
    const { bytes } = this
    for (let at = FIRST_RECORD; at + HEAD_BYTES < this.#length; at += HEAD_BYTES + bytes.readUInt32LE(at)) {
      if (bytes[at + HEAD_BYTES] !== ANSWER) continue
      const reader = new Reader(bytes, at + HEAD_BYTES + 1)
      visit(this.#name(reader.u16()), reader.text())
    }
  }

  answerAt(offset: number): AnsweredTurn {
    const reader = new Reader(this.bytes, offset + HEAD_BYTES + 1)
    const tenant = this.#name(reader.u16())
    const id = reader.text()
    const atMs = reader.f64()
    const model = this.#name(reader.u16())
    const group = reader.u16()
    const secondsPerQuality = reader.f32()
    const drawn = reader.u8() === 1
    const intent: Labelled = [this.#name(reader.u16()), reader.share()]
    const inScope = reader.share()
    const complexity = reader.share()
    const labels = (): Labelled[] =>
      Array.from({ length: reader.u8() }, () => [this.#name(reader.u16()), reader.share()] as const)
    const topics = labels()
    const kinds = labels()
    const considered: ConsideredRecord[] = []
    for (let left = reader.u8(); left > 0; left--) {
      considered.push({
        model: this.#name(reader.u16()),
        mean: reader.f32(),
        deviation: reader.f32(),
        drawn: reader.f32(),
        seconds: reader.f32(),
        propensity: reader.f32(),
      })
    }
    const choice = group === 0 ? null : { group: this.#name(group), secondsPerQuality, drawn, considered }
    return { tenant, id, model, subject: { topics, intent, inScope, complexity, ...(kinds.length === 0 ? {} : { kinds }) }, choice, atMs }
  }

  /** What is behind is no record, and is not looked at again. */
  #endsAt(length: number): { readonly whole: false } {
    this.#length = length
    return { whole: false }
  }

  #look(body: Buffer, offset: number): Found | null {
    const reader = new Reader(body, 1)
    switch (body[0]) {
      case NAME: {
        const number = reader.u16()
        this.#names[number] = body.toString('utf8', 3)
        return null
      }
      case ANSWER:
        return { kind: 'answer', offset, tenant: this.#name(reader.u16()), id: reader.text(), atMs: reader.f64() }
      case GRADE: {
        const tenant = this.#name(reader.u16())
        return { kind: 'grade', tenant, id: reader.text(), grade: { source: reader.text(), score: reader.f64(), atMs: reader.f64() } }
      }
      case FORGOTTEN:
        return { kind: 'forgotten', tenant: this.#name(reader.u16()), id: reader.text() }
      default:
        return null // of a later version
    }
  }

  #name(number: number): string {
    return this.#names[number] ?? ''
  }

  #number(name: string): number {
    const known = this.#numbers.get(name)
    if (known !== undefined) return known
    const number = this.#names.length
    this.#names.push(name)
    this.#numbers.set(name, number)
    const from = this.#length + HEAD_BYTES
    this.bytes[from] = NAME
    this.bytes.writeUInt16LE(number, from + 1)
    const size = this.bytes.write(name, from + 3, LONGEST_NAME, 'utf8')
    this.#close(from + 3 + size)
    return number
  }

  #close(end: number): void {
    const from = this.#length + HEAD_BYTES
    this.bytes.writeUInt32LE(end - from, this.#length)
    this.bytes.writeUInt32LE(crc32(this.bytes.subarray(from, end)), this.#length + 4)
    this.#length = end
  }
}

/** The words of an answer that a segment writes once. */
export const namesOf = ({ tenant, model, subject, choice }: AnsweredTurn): string[] => [
  tenant,
  model,
  subject.intent[0],
  ...subject.topics.map(([name]) => name),
  ...(subject.kinds ?? []).map(([name]) => name),
  ...(choice === null ? [] : [choice.group, ...choice.considered.map((one) => one.model)]),
]
