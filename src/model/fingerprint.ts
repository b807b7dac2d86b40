/**
 * The published fingerprint of a conversation: labels, probabilities, numbers, and the values of its entities. Those are text of
 * the conversation: whoever asks for the fingerprint of a session gets them, receipts, logs and metrics do not.
 */

/** A label and its probability. */
export type Labelled = readonly [label: string, probability: number]

/** One thing that was named, in the form that all its spellings share. */
export type EntityValue = { readonly value: string; readonly count: number; readonly lastTurn: number }

/** How often a type occurred so far, and at which turn last. `values`: the latest, newest first; older ones were let go. */
export type EntityCount = {
  readonly type: string
  readonly count: number
  readonly lastTurn: number
  readonly values: readonly EntityValue[]
}

export type SemanticFingerprint = {
  /** Of the conversation, at unit length. */
  readonly embedding: Float32Array
  /** The remote model that made the embedding; left out where the shipped table did. The two are not comparable. */
  readonly embeddingModel?: string
  /** Most probable first. */
  readonly topics: readonly Labelled[]
  readonly intent: Labelled
  /** Probability that the last turn is something the taxonomy knows. */
  readonly inScope: number
  /** Probability that the last turn changed the topic, and the turn at which it last changed; null when it never did. */
  readonly shift: number
  readonly driftTurn: number | null
  readonly entities: readonly EntityCount[]
  /** 0..1: probability that a small model fails. */
  readonly complexity: number
  /** Of the answer to the last turn: the median, and what nine of ten stay below. */
  readonly expectedOutputTokens: number
  readonly expectedOutputTokensP90: number
  /** Of the user, after this one. */
  readonly expectedRemainingTurns: number
  /**
   * From the end of the answer to the conversation's next turn, median of those that return, in seconds; null where hardly any
   * does. A tool's result is awaited where the last answer of the conversation called one, else a person.
   */
  readonly expectedReturnGapSeconds: number | null
  /** What the last turn looks like from afar (fingerprint/text-shape.ts). */
  readonly shape: Float32Array
  /** The deadline or the history's length left turns unread. */
  readonly partial: boolean
}

/** What a receipt keeps of it: topics and numbers. */
export type FingerprintNote = {
  readonly topics: readonly Labelled[]
  readonly intent: Labelled
  readonly inScope: number
  readonly shift: number
  readonly driftTurn: number | null
  readonly complexity: number
  /** As the shipped model says; `complexity` is that, or what was learned on top of it. */
  readonly shippedComplexity: number
  readonly expectedOutputTokens: number
  readonly expectedRemainingTurns: number
  readonly expectedReturnGapSeconds: number | null
  readonly partial: boolean
  readonly microseconds: number
}
