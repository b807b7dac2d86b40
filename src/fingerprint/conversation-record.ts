/**
 * A conversation as the cache holds it: one array of bytes. As objects it would be five typed arrays, 200 bytes each beside their
 * numbers, and cost 3 KB; so it is 1.2 KB with all its entity values, and a snapshot is a copy of its fixed part.
 *
 *   | seen u32 | mark i32 | turns u32 | drift turn i32 (-1: none) | answers: count u8, mean, last f64 | steps: ten u16 | context
 *   | topics f32 | intents f32 | entities: count, last turn u16 by type | of the last turn: known u8, five f64, shape u16 |
 *   | values of entities (entity-values.ts): u16 bytes in use, the bytes, room to grow |
 *
 * A turn is unpacked, moved and packed again in a `WorkingConversation`, of which one is enough: 2 microseconds. Numbers are
 * kept as they are, so what is restored goes on exactly as it would have.
 */
import { EntityValues, MOST_BYTES } from './entities/entity-values.ts'
import { ENTITY_TYPES } from './entities/spans.ts'
import type { ConversationState, TurnFingerprint } from './fingerprinter.ts'
import { packSteps, STEP_BYTES, unpackSteps } from './steps-so-far.ts'
import { SHAPE } from './text-shape.ts'

/** What a state does not hold of its last turn. */
export type TurnNumbers = Pick<
  TurnFingerprint,
  'shift' | 'complexity' | 'expectedOutputTokens' | 'expectedOutputTokensP90' | 'expectedRemainingTurns'
>

const STEPS_AT = 4 + 4 + 4 + 4 + 1 + 8 + 8
const HEAD = STEPS_AT + STEP_BYTES
/** Whether the last turn is known, and its five numbers. */
const FIVE = 1 + 5 * 8
const LAST = FIVE + 2 * SHAPE.length
/** Shapes are 0 to about 1.6. */
const SHAPE_STEPS = 40_000
const MOST_COUNT = 65_535
/** Values grow by so many bytes at a time. */
const ROOM = 64

export class WorkingConversation {
  readonly #begin: () => ConversationState
  state: ConversationState
  readonly #entities = new Uint16Array(2 * ENTITY_TYPES.length)
  readonly values = new EntityValues()
  /** Of the last turn's text, as a record keeps it. */
  readonly shape = new Float32Array(SHAPE.length)
  /** Items read or passed over, and what the last of them looked like. */
  seen = 0
  mark = 0
  last: TurnNumbers | null = null

  constructor(begin: () => ConversationState) {
    this.#begin = begin
    this.state = begin()
  }

  /** Of a record without values. */
  get fixedBytes(): number {
    const { context, topics, intents } = this.state
    return HEAD + context.bytes + 4 * (topics.length + intents.length) + 2 * this.#entities.length + LAST
  }

  clear(): void {
    this.state = this.#begin()
    this.#entities.fill(0)
    this.shape.fill(0)
    this.values.clear()
    this.seen = 0
    this.mark = 0
    this.last = null
  }

  setShape(shape: Float32Array): void {
    for (let at = 0; at < SHAPE.length; at++) this.shape[at] = Math.min(MOST_COUNT, Math.floor(SHAPE_STEPS * shape[at]!)) / SHAPE_STEPS
  }

  sawEntity(type: number, turn: number): void {
    this.#entities[2 * type] = Math.min(MOST_COUNT, this.#entities[2 * type]! + 1)
    this.#entities[2 * type + 1] = Math.min(MOST_COUNT, turn)
  }

  /** How often each type occurred, in the order of `ENTITY_TYPES`, and at which turn last. */
  entities(): { readonly type: string; readonly count: number; readonly lastTurn: number }[] {
    return ENTITY_TYPES.flatMap((type, place) => {
      const count = this.#entities[2 * place]!
      return count === 0 ? [] : [{ type, count, lastTurn: this.#entities[2 * place + 1]! }]
    })
  }

  unpack(record: Uint8Array): void {
    const from = Buffer.from(record.buffer, record.byteOffset, record.length)
    const { state } = this
    this.seen = from.readUInt32LE(0)
    this.mark = from.readInt32LE(4)
    state.turns = from.readUInt32LE(8)
    const drift = from.readInt32LE(12)
    state.driftTurn = drift < 0 ? null : drift
    state.answers = { count: from.readUInt8(16), meanLog: from.readDoubleLE(17), lastLog: from.readDoubleLE(25) }
    state.steps = unpackSteps(from, STEPS_AT)
    state.context.restore(from, HEAD)
    let at = HEAD + state.context.bytes
    for (let label = 0; label < state.topics.length; label++, at += 4) state.topics[label] = from.readFloatLE(at)
    for (let label = 0; label < state.intents.length; label++, at += 4) state.intents[label] = from.readFloatLE(at)
    for (let place = 0; place < this.#entities.length; place++, at += 2) this.#entities[place] = from.readUInt16LE(at)
    const number = (place: number): number => from.readDoubleLE(at + 1 + 8 * place)
    this.last =
      from.readUInt8(at) === 0
        ? null
        : {
            shift: number(0),
            complexity: number(1),
            expectedOutputTokens: number(2),
            expectedOutputTokensP90: number(3),
            expectedRemainingTurns: number(4),
          }
    for (let place = 0; place < SHAPE.length; place++) this.shape[place] = from.readUInt16LE(at + FIVE + 2 * place) / SHAPE_STEPS
    at += LAST
    if (at < from.length) this.values.restore(from.subarray(at + 2, at + 2 + from.readUInt16LE(at)))
    else this.values.clear()
  }

  /** Into `old` where it fits. */
  pack(old: Uint8Array | undefined): Uint8Array {
    const fixed = this.fixedBytes
    const needed = fixed + 2 + this.values.bytes.length
    const length = fixed + 2 + Math.min(MOST_BYTES, ROOM * Math.ceil(this.values.bytes.length / ROOM))
    const record = old !== undefined && old.length >= needed && old.length <= length + ROOM ? old : new Uint8Array(length)
    const into = Buffer.from(record.buffer, record.byteOffset, record.length)
    const { state, last } = this
    into.writeUInt32LE(this.seen, 0)
    into.writeInt32LE(this.mark, 4)
    into.writeUInt32LE(state.turns, 8)
    into.writeInt32LE(state.driftTurn ?? -1, 12)
    into.writeUInt8(state.answers.count, 16)
    into.writeDoubleLE(state.answers.meanLog, 17)
    into.writeDoubleLE(state.answers.lastLog, 25)
    packSteps(state.steps, into, STEPS_AT)
    state.context.save(into, HEAD)
    let at = HEAD + state.context.bytes
    for (const probability of state.topics) at = into.writeFloatLE(probability, at)
    for (const probability of state.intents) at = into.writeFloatLE(probability, at)
    for (const count of this.#entities) at = into.writeUInt16LE(count, at)
    at = into.writeUInt8(last === null ? 0 : 1, at)
    at = into.writeDoubleLE(last?.shift ?? 0, at)
    at = into.writeDoubleLE(last?.complexity ?? 0, at)
    at = into.writeDoubleLE(last?.expectedOutputTokens ?? 0, at)
    at = into.writeDoubleLE(last?.expectedOutputTokensP90 ?? 0, at)
    at = into.writeDoubleLE(last?.expectedRemainingTurns ?? 0, at)
    for (const value of this.shape) at = into.writeUInt16LE(Math.round(value * SHAPE_STEPS), at)
    at = into.writeUInt16LE(this.values.bytes.length, at)
    record.set(this.values.bytes, at)
    return record
  }
}

/** What `unpack` would find, without unpacking. */
export const seenIn = (record: Uint8Array): number => u32(record, 0)
export const markIn = (record: Uint8Array): number => u32(record, 4) | 0

const u32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
