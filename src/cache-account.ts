/**
 * What became of a turn's cached prefix, and why: expected against reusable, then actual against expected.
 *
 *   reusable   the most that any candidate was expected to hold, or prompt and answer of the turn before
 *   missed     reusable - cached, what this very turn prepared not counted
 *
 * The first cause that applies is told, in the order in which they act: the prefix changed; the turn went elsewhere; the
 * cache had lost it, which the index knew or the answer showed. Pure; O(candidates).
 */
import type { PrefixChange } from './conversation/last-turns.ts'
import type { Decision, RankedBackend } from './model/decision.ts'
import type { CacheAccount, CacheVerdict } from './model/receipt.ts'

export type CacheEvidence = {
  readonly decision: Decision
  readonly choice: RankedBackend
  /** Prompt and answer of the turn that this one continues, 0 where there is none or it is unknown. */
  readonly leftTokens: number
  /** Where that one ran. */
  readonly homeBackendId: string | null
  /** How the prefix relates to the session's last turn; asked only where something is missing. */
  readonly change: () => PrefixChange
  /** What the answer showed (`kv/calibration.ts`); null before or without one. */
  readonly finding: { readonly finding: string | null; readonly cachedTokens: number | null; readonly homeCleared: boolean } | null
  readonly promptTokens: number | null
  /** As the engine reported it. */
  readonly cachedTokens: number | null
  readonly failedOver: boolean
}

export function accountOf(evidence: CacheEvidence): CacheAccount {
  const { decision, choice, finding } = evidence
  const promptTokens = evidence.promptTokens ?? decision.promptTokens
  let warmest = 0
  for (const ranked of decision.ranked) warmest = Math.max(warmest, expectedOf(ranked, decision))
  const reusableTokens = Math.round(Math.min(promptTokens, Math.max(warmest, evidence.leftTokens)))
  const told = evidence.cachedTokens ?? finding?.cachedTokens ?? null
  const inferred = evidence.cachedTokens === null && told !== null
  if (told === null) return { why: 'not_told', reusableTokens, missedTokens: null, inferred }
  const prepared = choice === decision.ranked[0] ? decision.prepared : undefined
  const cachedTokens = Math.min(told, prepared?.foundTokens ?? Infinity)
  const missed = Math.round(Math.max(0, reusableTokens - cachedTokens))
  const tolerance = Math.max(BLOCK_TOKENS, SHARE * promptTokens)
  const why = missed > tolerance ? causeOf(evidence, warmest, tolerance) : cachedTokens > 0 ? 'hit' : 'new'
  return { why, reusableTokens, missedTokens: why === 'hit' || why === 'new' ? 0 : missed, inferred }
}

function causeOf(evidence: CacheEvidence, warmest: number, tolerance: number): CacheVerdict {
  const { decision, choice, finding, homeBackendId } = evidence
  const change = evidence.change()
  if (change === 'model' || change === 'tools' || change === 'instructions' || change === 'history') return `${change}_changed`
  if (change === 'reasoning') return 'reasoning_dropped'
  if (evidence.failedOver) return 'home_unavailable'
  if (expectedOf(choice, decision) < warmest - tolerance) return 'moved'
  if (homeBackendId !== null && decision.filteredOut.some(({ backendId }) => backendId === homeBackendId)) return 'home_unavailable'
  if (finding?.finding === 'restarted' || finding?.homeCleared === true) return 'restarted'
  if (finding?.finding === 'answerLost' || finding?.finding === 'drifted')
    return change === 'reasoned' ? 'reasoning_dropped' : 'rendered_differently'
  return 'evicted'
}

/** Without what was computed there for this very turn: that was not there to be reused. */
const expectedOf = (ranked: RankedBackend, { ranked: [first], prepared }: Decision): number =>
  (ranked === first ? prepared?.expectedTokens : undefined) ?? ranked.expectedCachedTokens

/** Engines cache whole blocks (16 to 128 tokens) and always compute one token. */
const BLOCK_TOKENS = 128
/** Prompt tokens are estimated before the answer; a difference of less than this proves nothing (`kv/calibration.ts`). */
const SHARE = 0.1
