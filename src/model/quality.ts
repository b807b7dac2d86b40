/** What the choice of a model depends on, and what is believed of each model. Holds no text. */
import type { Labelled } from './fingerprint.ts'

/** What a turn is about, as far as it matters for which model answers it best. */
export type Subject = {
  /** The whole belief over topics, most probable first; adds up to at most 1. */
  readonly topics: readonly Labelled[]
  readonly intent: Labelled
  /** Probability that the taxonomy knows what this is. */
  readonly inScope: number
  /** 0..1: probability that a small model fails, as the shipped model says: a context that is learned itself would move. */
  readonly complexity: number
  /** Of the conversation, at unit length; left out where only a receipt remembers the turn. */
  readonly embedding?: Float32Array
  /** What the last message looks like from afar (fingerprint/text-shape.ts); left out with the embedding. */
  readonly shape?: Float32Array
  /** What `Expertise.compact` keeps of embedding and shape. Its labels mean something to the expertise that gave them only. */
  readonly kinds?: readonly Labelled[]
}

/** Of a turn that was not fingerprinted: it still tells how good its model is altogether. */
export const UNREAD_SUBJECT: Subject = { topics: [], intent: ['unknown', 0], inScope: 0, complexity: 0.5 }

/** What is expected of one model's answer. Quality is what an outcome's score would be, 0..1. */
export type ExpectedQuality = {
  readonly model: string
  readonly mean: number
  /** Standard deviation of the belief about the mean, not of single answers. */
  readonly deviation: number
  /** Effective number of outcomes behind it, decayed. */
  readonly observations: number
  /** What this one turn takes it to be. Differs from the mean where a model deserves to be tried. */
  readonly drawn: number
  /** Share of such turns that is drawn, others take the mean; left out where all are. */
  readonly drawnShare?: number
}

/** One graded answer. */
export type Lesson = {
  readonly tenant: string
  readonly model: string
  readonly subject: Subject
  /** 0..1. */
  readonly score: number
  /** 0..1: how far the source is to be believed; an explicit grade counts 1. Negative: the same lesson of before is taken back. */
  readonly weight: number
  /** Milliseconds since 1970, when the answer was given. */
  readonly atMs: number
}
