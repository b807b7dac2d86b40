/**
 * How long conversations are away between two turns, after a tool call and after words, and whether they come back at all.
 *
 *   gap         log-normal; mean and deviation of its logarithm are running means over everybody's last gaps
 *   p(tool), p(human)      share of conversations that come back, the rest having been away past `goneAfterSeconds`
 *   P(comes | away t)      p S(t) / (p S(t) + 1 - p), where S(t) is the share of gaps longer than t
 *
 * Started at the figures of the laboratory's agents and of Mooncake's conversations, which count as `LEAN` gaps.
 */
export type Gap = 'tool' | 'human'

type Learned = { mean: number; variance: number; gaps: number; back: number; away: number }

export class ReturnGaps {
  readonly #learned: Record<Gap, Learned> = {
    tool: { mean: Math.log(TOOL_SECONDS), variance: 1, gaps: 0, back: 0.95 * LEAN, away: 0.05 * LEAN },
    human: { mean: Math.log(HUMAN_SECONDS), variance: 1, gaps: 0, back: 0.7 * LEAN, away: 0.3 * LEAN },
  }

  returned(gap: Gap, seconds: number): void {
    const learned = this.#learned[gap]
    learned.gaps = Math.min(MEMORY, learned.gaps + 1)
    const weight = 1 / (learned.gaps + LEAN)
    const difference = Math.log(Math.max(LEAST_SECONDS, seconds)) - learned.mean
    learned.mean += weight * difference
    learned.variance += weight * (difference * difference - learned.variance)
    count(learned, 'back')
  }

  gone(gap: Gap | null): void {
    if (gap !== null) count(this.#learned[gap], 'away')
  }

  /** Median of the gaps. */
  expectedSeconds(gap: Gap): number {
    return Math.exp(this.#learned[gap].mean)
  }

  /** That it comes back although it has been away for so long. */
  probability(gap: Gap, awaySeconds: number): number {
    const learned = this.#learned[gap]
    const share = learned.back / (learned.back + learned.away)
    const deviations = (Math.log(Math.max(LEAST_SECONDS, awaySeconds)) - learned.mean) / Math.sqrt(Math.max(0.01, learned.variance))
    const longer = 1 - normal(deviations)
    return (share * longer) / (share * longer + 1 - share)
  }

  /** 99 of 100 gaps are shorter (2.33 deviations); half a minute to ten. */
  goneAfterSeconds(gap: Gap): number {
    const { mean, variance } = this.#learned[gap]
    return Math.min(MOST_AWAY_SECONDS, Math.max(LEAST_AWAY_SECONDS, Math.exp(mean + 2.33 * Math.sqrt(variance))))
  }
}

function count(learned: Learned, what: 'back' | 'away'): void {
  learned[what]++
  const total = learned.back + learned.away
  if (total <= MEMORY) return
  learned.back *= MEMORY / total
  learned.away *= MEMORY / total
}

/** Standard normal distribution, to 1e-3: Page's logistic approximation (1977). */
const normal = (z: number): number => 1 / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * z * (1 + 0.044715 * z * z)))

/** Tool gap of the generated agent workload (docs/laboratory.md); follow-up gap of Mooncake's conversation trace. */
const TOOL_SECONDS = 2
const HUMAN_SECONDS = 123
const LEAN = 10
const MEMORY = 500
const LEAST_SECONDS = 0.01
const LEAST_AWAY_SECONDS = 30
const MOST_AWAY_SECONDS = 600
