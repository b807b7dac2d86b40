/** What it takes to ask several models beside the stages of a turn; `compose/asking.ts` hands in the real ones. */
import type { After } from './fleet/timers.ts'
import type { Step as EscalationStep } from './learn/escalations.ts'
import type { Asking, Merge } from './model/asking.ts'
import type { ConversationItem, StoredItem } from './model/item.ts'
import type { Outcome } from './model/outcome.ts'
import type { Receipt } from './model/receipt.ts'
import type { ResolvedTurn } from './model/turn.ts'
import type { Answer } from './stages.ts'

export type AskingStages = {
  /** Of the configuration, the rule that applies to this turn; null: one model answers. */
  readonly ruleFor: (turn: ResolvedTurn) => Asking | null
  /** Models of a group, null where the name is none. */
  readonly modelsOf: (name: string) => readonly string[] | null
  /** What a whole point of expected quality is worth to those who ask for that model or group. */
  readonly secondsPerQuality: (name: string) => number
  /** False where every backend has told what it offers and none offers this. */
  readonly offered: (model: string) => boolean
  /** `n` of them that complement each other for this turn, the best first. */
  readonly chooseMembers: (turn: ResolvedTurn, models: readonly string[], n: number) => readonly string[]
  /** What is expected of each one's answer, 0..1; all alike where nothing is known. */
  readonly qualities: (turn: ResolvedTurn, models: readonly string[]) => readonly number[]
  /** The same turn for another model, `added` behind its context. */
  readonly underModel: (turn: ResolvedTurn, model: string, added: readonly ConversationItem[]) => ResolvedTurn
  /** Makes the merged answer, which that model gave there, what the conversation goes on from. */
  readonly adopt: (
    turn: ResolvedTurn,
    output: readonly StoredItem[],
    storedId: string | null,
    from: { readonly model: string; readonly backendId: string },
  ) => void
  /** The merged answer is what its reader reacts to; `outcome` is of the turn whose answer it is. */
  readonly notice: (outcome: Outcome, turn: ResolvedTurn, answer: Answer) => void
  readonly escalations: EscalationPort
  readonly logprobs: LogprobsPort
  readonly observe: (turn: ResolvedTurn, receipt: Receipt) => void
  /** No answer could be given. */
  readonly refused: (merge: Merge | 'cascade', code: string) => void
  readonly fallback: (what: string) => void
  readonly random: () => number
  readonly after: After
}

/** Which models' backends refuse a request for log probabilities (`learn/logprobs-refused.ts`). */
export interface LogprobsPort {
  tells(model: string): boolean
  refused(model: string): void
}

/** Whether asking the next model pays, learned from how often it changed the answer (`learn/escalations.ts`). */
export interface EscalationPort {
  /** `confidence` null: not known. */
  pays(step: EscalationStep): boolean
  escalated(step: EscalationStep, changed: boolean, seconds: number): void
}

