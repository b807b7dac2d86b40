/** The published fingerprint of a conversation. Spans and probabilities only: it holds no text. */

/** A label and its probability. */
export type Labelled = readonly [label: string, probability: number]

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
  /** How often each type of entity occurred so far, and at which turn last. */
  readonly entities: readonly { readonly type: string; readonly count: number; readonly lastTurn: number }[]
  /** 0..1: probability that a small model fails. */
  readonly complexity: number
  readonly expectedOutputTokens: number
  readonly expectedOutputTokensP90: number
  readonly expectedRemainingTurns: number
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
  readonly expectedOutputTokens: number
  readonly expectedRemainingTurns: number
  readonly partial: boolean
  readonly microseconds: number
}
