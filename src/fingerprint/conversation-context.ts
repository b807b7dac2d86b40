/**
 * What a conversation is about so far, as one vector: the decayed sum of its turns' embeddings, weighted by who spoke. A turn
 * counts as one turn however long it is (its embedding has unit length), so a pasted book or a tool's output does not
 * drown what was asked. Updated from the new item only; kept as int8, 260 bytes a conversation.
 */
import { toUnitLength } from './token-table.ts'

export type Speaker = 'user' | 'assistant' | 'tool' | 'system'

/** Each turn weakens what came before: 0.7 is the best of the decays measured for topics (docs/fingerprint.md). */
const DECAY = 0.7
/** What the user says leads; tool outputs and instructions are long, and about the task more than about the subject. */
const WEIGHT: Readonly<Record<Speaker, number>> = { user: 1, assistant: 0.6, tool: 0.25, system: 0.25 }

export class ConversationContext {
  readonly #quantised: Int8Array
  #length = 0

  constructor(dimensions: number) {
    this.#quantised = new Int8Array(dimensions)
  }

  get empty(): boolean {
    return this.#length === 0
  }

  copyFrom(other: ConversationContext): void {
    this.#quantised.set(other.#quantised)
    this.#length = other.#length
  }

  /** Bytes of `save`. */
  get bytes(): number {
    return 8 + this.#quantised.length
  }

  save(into: Buffer, at: number): void {
    into.writeDoubleLE(this.#length, at)
    into.set(new Uint8Array(this.#quantised.buffer), at + 8)
  }

  restore(from: Buffer, at: number): void {
    this.#length = from.readDoubleLE(at)
    for (let axis = 0; axis < this.#quantised.length; axis++) this.#quantised[axis] = from.readInt8(at + 8 + axis)
  }

  /** Cosine of a text (unit length) and the conversation so far; 0 when there is none. */
  likeness(embedding: Float32Array): number {
    if (this.#length === 0) return 0
    let sum = 0
    let squares = 0
    for (let axis = 0; axis < embedding.length; axis++) {
      const value = this.#quantised[axis]!
      sum += value * embedding[axis]!
      squares += value * value
    }
    return squares === 0 ? 0 : sum / Math.sqrt(squares)
  }

  /** Adds a turn; `scratch` has the embedding's size and is overwritten. */
  add(embedding: Float32Array, speaker: Speaker, scratch: Float32Array): void {
    const weight = WEIGHT[speaker]
    this.vector(scratch)
    let most = 0
    for (let axis = 0; axis < embedding.length; axis++) {
      scratch[axis] = DECAY * this.#length * scratch[axis]! + weight * embedding[axis]!
    }
    const length = toUnitLength(scratch)
    for (let axis = 0; axis < scratch.length; axis++) most = Math.max(most, Math.abs(scratch[axis]!))
    this.#length = length
    if (most === 0) return void this.#quantised.fill(0)
    for (let axis = 0; axis < scratch.length; axis++) this.#quantised[axis] = Math.round((scratch[axis]! * 127) / most)
  }

  /** The conversation at unit length. */
  vector(into: Float32Array): void {
    for (let axis = 0; axis < into.length; axis++) into[axis] = this.#quantised[axis]!
    toUnitLength(into)
  }
}
