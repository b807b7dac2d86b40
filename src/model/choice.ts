/** How the model of a turn was chosen where its client named a group, and what is kept of an answer so that it can be graded. */
import type { ExpectedQuality, Subject } from './quality.ts'

export type ConsideredRecord = Omit<ExpectedQuality, 'observations'> & {
  /** The cheapest place for this turn with this model, without its quality: seconds of the cost. */
  readonly seconds: number
  /** Probability with which it would have been chosen, draws included. Adds up to 1 over those considered. */
  readonly propensity: number
}

export type ChoiceRecord = {
  readonly group: string
  /** What one whole point of expected quality (0..1) was worth. */
  readonly secondsPerQuality: number
  /** False where the conversation went on with its model, or quality has no price: the same model would always have been chosen. */
  readonly drawn: boolean
  readonly considered: readonly ConsideredRecord[]
}

/** An answer that may be graded later. Holds no text. */
export type AnsweredTurn = {
  readonly tenant: string
  /** What its client knows it by: `resp_...`, or the id that the backend gave a Chat answer. */
  readonly id: string
  /** The one that answered, under its public name. */
  readonly model: string
  /** With embedding and shape only as long as nothing shorter stands for them (`kinds`), and the answer is a recent one. */
  readonly subject: Subject
  /** Null where the client named the model itself. */
  readonly choice: ChoiceRecord | null
  /** Milliseconds since 1970. */
  readonly atMs: number
}
