/** A turn that is answered by more than one model, and what is told of it. Holds no text of the conversation. */
import type { Usage } from './usage.ts'

/** How one answer is made of several. */
export type Merge = 'vote' | 'judge' | 'best_of' | 'synthesis'
export const MERGES: readonly Merge[] = ['vote', 'judge', 'best_of', 'synthesis']

/** More members cost more than they bring: the bound of what one turn may set in motion. */
export const MOST_MEMBERS = 8

export type EnsembleAsk = {
  readonly kind: 'ensemble'
  /** Candidates, in the order of preference where nothing is known of them; null: those of the group that `model` names. */
  readonly models: readonly string[] | null
  readonly n: number
  readonly merge: Merge
  /** A ballot counts as much as its model has earned; false: each counts the same. */
  readonly weighted: boolean
  /** Who judges; null where nobody has to. */
  readonly judge: string | null
  /** Who writes the synthesis; null: the member of whom most is expected. */
  readonly writer: string | null
  /** So many answers are enough, and so many are needed; null: all are waited for, and one is enough. */
  readonly quorum: number | null
  /** When it has passed, the answers that are there are merged; null: all are waited for. */
  readonly deadlineMs: number | null
  /** Of all prompts and answers together; null: the client's own bound holds for each. */
  readonly maxTotalTokens: number | null
}

export type CascadeAsk = {
  readonly kind: 'cascade'
  /** The cheapest first; two or more. */
  readonly models: readonly string[]
  /** An answer of less confidence is escalated; null: where that has paid lately. */
  readonly confidence: number | null
  /** Answers that are drawn of a small model; 1: its log probabilities tell. */
  readonly samples: number
  readonly maxTotalTokens: number | null
}

export type Asking = EnsembleAsk | CascadeAsk

/** What decided which answer is given. */
export type DecidedBy =
  | 'only_answer' // no other member answered
  | 'majority' // more than half of the ballots
  | 'plurality' // most ballots
  | 'quality' // a tie of ballots, or best_of: of its model most is expected
  | 'confidence' // best_of: as much is expected of several models, and its tokens were the most probable
  | 'order' // nothing else told them apart
  | 'verdict' // the judge's
  | 'synthesis' // written from all answers
  | 'confident' // cascade: there was no reason to ask the next model
  | 'escalated' // cascade: the next model was asked
  | 'not_worth_it' // cascade: asking the next model has not paid lately

export type MemberStatus = 'completed' | 'incomplete' | 'failed' | 'cancelled'

export type MemberNote = {
  /** Under which its receipt is found, and, where it was stored, the answer; null: no backend answered. */
  readonly id: string | null
  readonly model: string
  readonly role: 'member' | 'judge' | 'writer' | 'sample'
  readonly status: MemberStatus
  /** Code of the error; left out where there was none. */
  readonly error?: string
  /** Members with the same number gave the same answer; left out where it cast no ballot. */
  readonly vote?: number
  /** 0..1; left out where it was not asked for or not told. */
  readonly confidence?: number
  readonly usage: Usage | null
}

export type AskingNote = {
  readonly merge: Merge | 'cascade'
  readonly decidedBy: DecidedBy
  /** Whose answer it is. */
  readonly chosen: string | null
  /** Share of the ballots that agree with it; left out where nobody voted. */
  readonly agreement?: number
  /** Cascade: why the next model was asked. */
  readonly escalations?: readonly { readonly from: string; readonly to: string; readonly why: EscalationReason }[]
  readonly members: readonly MemberNote[]
}

/** Why the answer of a small model is not left as it is. */
export type EscalationReason = 'failed' | 'truncated' | 'refusal' | 'schema' | 'low_confidence' | 'disagreement'
