/**
 * Whose answer is given where neither ballots nor a judge decide: the model of which most is expected for this turn, and
 * among those of which as much is expected, the answer whose tokens were the most probable.
 *
 * Expected qualities that lie within one point of each other say nothing (a hundredth is what one second of waiting is
 * worth by default). Log probabilities of different models are not on one scale, so they only ever break ties.
 */
import type { DecidedBy } from '../../model/asking.ts'

export const SAME_QUALITY = 0.01

export type Scored = {
  readonly quality: number
  /** Geometric mean probability of the answer's tokens; null where it is not known. */
  readonly confidence: number | null
}

export function bestOf(scored: readonly Scored[]): { readonly winner: number; readonly decidedBy: DecidedBy } {
  const most = Math.max(...scored.map(({ quality }) => quality))
  const leaders = scored.flatMap(({ quality }, index) => (quality >= most - SAME_QUALITY ? [index] : []))
  if (leaders.length === 1) return { winner: leaders[0]!, decidedBy: scored.length === 1 ? 'only_answer' : 'quality' }
  if (leaders.some((index) => scored[index]!.confidence === null)) return { winner: leaders[0]!, decidedBy: 'order' }
  const winner = leaders.reduce((best, index) => (scored[index]!.confidence! > scored[best]!.confidence! ? index : best))
  return { winner, decidedBy: 'confidence' }
}

/** The one that will be given whatever the others answer, if it answers at all; null where that depends on the answers. -Infinity: it failed. */
export function knownLeader(qualities: readonly number[]): number | null {
  const order = qualities.map((quality, index) => ({ quality, index })).sort((a, b) => b.quality - a.quality)
  const [first, second] = order
  if (first === undefined || first.quality === -Infinity) return null
  return second === undefined || first.quality - second.quality > SAME_QUALITY ? first.index : null
}
