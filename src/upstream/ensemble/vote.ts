/**
 * A vote over ballots, each of weight 1, or of the weight that its model has earned.
 *
 * The answer with most weight wins; of those with equally much the one of whose best model most is expected, then the one
 * that stands first in the order of the members. It is certain, and the members that are still busy need not be waited for,
 * as soon as no other answer can get as much as the leading one has: not even if all that are missing agreed.
 */
import type { DecidedBy } from '../../model/asking.ts'

export type Voter = {
  /** Null: it cast none (no text, cut short). */
  readonly ballot: string | null
  /** Expected quality of its model; only differences count. */
  readonly quality: number
  /** Above 0. */
  readonly weight: number
}

export type VoteResult = {
  /** Index of the voter whose answer is given. */
  readonly winner: number
  readonly decidedBy: DecidedBy
  /** Share of the ballots cast that agree with it, unweighted. */
  readonly agreement: number
  /** Per voter the number of its answer, from 1 in the order of first appearance; null without a ballot. */
  readonly groups: readonly (number | null)[]
}

type Group = { readonly number: number; votes: number; weight: number; best: number; quality: number }

/** Null where nobody cast a ballot. */
export function countVotes(voters: readonly Voter[]): VoteResult | null {
  const groups = groupsOf(voters)
  if (groups.size === 0) return null
  let winner: Group | null = null
  let tie: DecidedBy | null = null
  let cast = 0
  let castWeight = 0
  for (const group of groups.values()) {
    cast += group.votes
    castWeight += group.weight
    if (winner === null || group.weight > winner.weight + SAME_WEIGHT) {
      winner = group
      tie = null
    } else if (group.weight > winner.weight - SAME_WEIGHT) {
      tie = group.quality === winner.quality ? (tie ?? 'order') : 'quality'
      if (group.quality > winner.quality) winner = group
    }
  }
  const { best, votes, weight } = winner!
  return {
    winner: best,
    decidedBy: cast === 1 ? 'only_answer' : (tie ?? (2 * weight > castWeight ? 'majority' : 'plurality')),
    agreement: votes / cast,
    groups: voters.map(({ ballot }) => (ballot === null ? null : groups.get(ballot)!.number)),
  }
}

/** No ballot that is still missing can change who wins; `missingWeight` is theirs together. */
export function isCertain(voters: readonly Voter[], missingWeight: number): boolean {
  let most = 0
  let second = 0
  for (const { weight } of groupsOf(voters).values()) {
    if (weight > most) {
      second = most
      most = weight
    } else if (weight > second) second = weight
  }
  return most > second + missingWeight + SAME_WEIGHT
}

/**
 * The weight at which independent voters decide best, ln(p (k - 1) / (1 - p)) for a model that is right with probability p
 * where there are k answers to choose from (Nitzan and Paroush 1982 for k = 2; Kuncheva 2004, section 4.3). How many there are
 * is not known: `ANSWERS` is what the bench found to lose least where wrong answers agree and where they scatter.
 */
export function weightOf(quality: number): number {
  const probability = Math.min(0.95, Math.max(0.05, quality))
  return Math.max(LEAST_WEIGHT, Math.log((probability * (ANSWERS - 1)) / (1 - probability)))
}

const ANSWERS = 3
/** Whoever votes at all counts a little. */
const LEAST_WEIGHT = 0.05
/** Sums of weights that differ by rounding alone are the same. */
const SAME_WEIGHT = 1e-9

function groupsOf(voters: readonly Voter[]): Map<string, Group> {
  const groups = new Map<string, Group>()
  voters.forEach(({ ballot, quality, weight }, index) => {
    if (ballot === null) return
    const group = groups.get(ballot)
    if (group === undefined) {
      groups.set(ballot, { number: groups.size + 1, votes: 1, weight, best: index, quality })
      return
    }
    group.votes++
    group.weight += weight
    if (quality > group.quality) {
      group.quality = quality
      group.best = index
    }
  })
  return groups
}
