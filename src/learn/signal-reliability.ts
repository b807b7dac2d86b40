/**
 * How far each sign is to be believed, learned from one tenant's answers: P(found | good) and P(found | bad) of every sign.
 *
 * Two sources in one estimate, by expectation maximisation (Dawid and Skene, Applied Statistics 28, 1979, with a prior):
 *   answers with an outcome     say themselves whether they were good
 *   answers without             count as good by what their signs say under the rates so far, so signs are trusted by how they agree
 *
 *   q(pattern) = sigmoid( logit(share) + sum over signs looked for of log( P(seen | good) / P(seen | bad) ) )
 *   P(found | good) = ( LEAN * prior + sum over patterns with it of mass * q ) / ( LEAN + sum over patterns that looked for it of mass * q )
 *
 * The prior says which way a sign points, so "good" and "bad" do not swap while most signs are better than chance; a useless or an
 * inverted one among them is found out. Signs that depend on each other agree without being right: so answers without outcomes weigh
 * less the more outcomes there are, and what one answer's signs say together is capped (`MOST_EVIDENCE`).
 *
 * Kept: masses per pattern of signs, halved when they exceed `WINDOW` answers; the rarest pattern leaves beyond `MOST_PATTERNS`.
 * About 20 KB a tenant at most. Adding is O(1); learning costs O(patterns * signs * STEPS), below a millisecond, once in
 * `LEARN_EVERY` answers or more; a verdict is O(signs),
 * and the first of a set of signs after learning O(2^signs), some 20 microseconds.
 */
import type { Evidence, SignalRates } from './signals.ts'

/** What the signs of one answer say. */
export type Verdict = {
  /** That the answer was good, 0..1. */
  readonly probability: number
  /** Share of what an outcome would tell that these signs tell, whatever they showed: P(good | signs) of good less that of bad answers. */
  readonly informativeness: number
  /** Unbiased: of good answers 1 in the mean, of bad ones 0. Single ones lie outside of 0..1. */
  readonly estimate: number
}

export type ReliabilityOptions = {
  /** Of each sign; as many as the evidence has bits. */
  readonly priors: readonly SignalRates[]
}

type Pattern = { readonly sought: number; readonly found: number; unknown: number; good: number; bad: number }

/** Answers until old ones count half: some days of one small application. */
const WINDOW = 4096
/** The most that were seen in a pattern table of 11 signs over a simulated month is below 150. */
const MOST_PATTERNS = 512
const LEARN_EVERY = 64
/** Or once in so many parts of what is known, which is more where much is: a sixteenth more hardly moves a rate. */
const LEARN_SHARE = 16
/** From the rates so far, which moved little since; the first time there are as many answers as make one step. */
const STEPS = 12
/** Answers that a prior rate counts for: an assumption is outvoted by a few dozen answers. */
const LEAN = 12
/** Share of good answers before anything is known, and the answers it counts for. Public leaderboards' models are right in .4 to .9 of cases. */
const PRIOR_SHARE = 0.7
const LEAN_SHARE = 20
/**
 * Answers without outcomes weigh at most as many as these, half of it beside `HALF_UNKNOWN_AT` outcomes, and less with their square: a
 * hundred outcomes know more of a sign than its agreement with others, which may have another reason (a test has three that are one).
 */
const MOST_UNKNOWN = 2000
const HALF_UNKNOWN_AT = 50
/** 20 : 1. Signs of one answer are not independent; no set of them is surer than that. */
const MOST_EVIDENCE = Math.log(20)
const LEAST_RATE = 0.001

export class SignalReliability {
  readonly #priors: readonly SignalRates[]
  readonly #good: Float64Array
  readonly #bad: Float64Array
  #share = PRIOR_SHARE
  readonly #patterns = new Map<number, Pattern>()
  #mass = 0
  #sinceLearned = 0
  #informativeness = new Map<number, { readonly gap: number; readonly bad: number }>()
  evicted = 0

  constructor({ priors }: ReliabilityOptions) {
    this.#priors = priors
    this.#good = Float64Array.from(priors, ({ good }) => good)
    this.#bad = Float64Array.from(priors, ({ bad }) => bad)
  }

  /** `outcome`: what somebody who knows said of the answer, 0..1; null where nobody did. */
  add(evidence: Evidence, outcome: number | null): void {
    const pattern = this.#patternOf(evidence)
    if (outcome === null) pattern.unknown++
    else {
      pattern.good += outcome
      pattern.bad += 1 - outcome
    }
    if (++this.#mass >= WINDOW) this.#halve()
    if (++this.#sinceLearned >= Math.max(LEARN_EVERY, this.#mass / LEARN_SHARE)) this.learn()
  }

  /** An outcome for an answer that was added without one. */
  correct(evidence: Evidence, outcome: number): void {
    const pattern = this.#patternOf(evidence)
    if (pattern.unknown > 0) {
      const less = Math.min(1, pattern.unknown)
      pattern.unknown -= less
      this.#mass -= less
    }
    this.add(evidence, outcome)
  }

  /** Share of good answers among those without an outcome. */
  get share(): number {
    return this.#share
  }

  rates(sign: number): SignalRates {
    return { good: this.#good[sign]!, bad: this.#bad[sign]! }
  }

  get patterns(): number {
    return this.#patterns.size
  }

  verdict({ sought, found }: Evidence): Verdict {
    const probability = this.#probability(sought, found)
    const { gap, bad } = this.#of(sought)
    return {
      probability,
      informativeness: gap,
      estimate: gap < 1e-6 ? this.#share : (probability - bad) / gap,
    }
  }

  /** Brings the rates up to what was added; `add` does it often enough. */
  learn(steps = STEPS): void {
    this.#sinceLearned = 0
    let known = 0
    let unknown = 0
    for (const pattern of this.#patterns.values()) {
      known += pattern.good + pattern.bad
      unknown += pattern.unknown
    }
    const most = MOST_UNKNOWN / (1 + (known / HALF_UNKNOWN_AT) ** 2)
    const trust = unknown > most ? most / unknown : 1
    for (let step = 0; step < steps; step++) this.#step(trust)
    this.#informativeness.clear()
  }

  #step(trust: number): void {
    const signs = this.#priors.length
    const sums = new Float64Array(4 * signs) // of each sign: found, looked for; on good, on bad answers
    let goodShare = LEAN_SHARE * PRIOR_SHARE
    let share = LEAN_SHARE
    for (const { sought, found, unknown, good, bad } of this.#patterns.values()) {
      const probably = unknown === 0 ? 0 : sigmoid(logit(this.#share) + this.#evidence(sought, found))
      goodShare += trust * unknown * probably
      share += trust * unknown
      const onGood = good + trust * unknown * probably
      const onBad = bad + trust * unknown * (1 - probably)
      for (let sign = 0; sign < signs; sign++) {
        if ((sought & (1 << sign)) === 0) continue
        const at = 4 * sign
        sums[at + 1]! += onGood
        sums[at + 3]! += onBad
        if ((found & (1 << sign)) === 0) continue
        sums[at]! += onGood
        sums[at + 2]! += onBad
      }
    }
    this.#share = goodShare / share
    for (let sign = 0; sign < signs; sign++) {
      const { good, bad } = this.#priors[sign]!
      const at = 4 * sign
      this.#good[sign] = within((LEAN * good + sums[at]!) / (LEAN + sums[at + 1]!))
      this.#bad[sign] = within((LEAN * bad + sums[at + 2]!) / (LEAN + sums[at + 3]!))
    }
  }

  /** Logarithm of the likelihood ratio. */
  #evidence(sought: number, found: number): number {
    let sum = 0
    for (let sign = 0; sign < this.#priors.length; sign++) {
      if ((sought & (1 << sign)) === 0) continue
      const good = this.#good[sign]!
      const bad = this.#bad[sign]!
      sum += (found & (1 << sign)) === 0 ? Math.log((1 - good) / (1 - bad)) : Math.log(good / bad)
    }
    return sum
  }

  #probability(sought: number, found: number): number {
    const evidence = this.#evidence(sought, found)
    return sigmoid(logit(this.#share) + Math.max(-MOST_EVIDENCE, Math.min(MOST_EVIDENCE, evidence)))
  }

  /** Means of the probability over what good and what bad answers show, for one set of signs; kept until the rates move. */
  #of(sought: number): { readonly gap: number; readonly bad: number } {
    const kept = this.#informativeness.get(sought)
    if (kept !== undefined) return kept
    let onGood = 0
    let onBad = 0
    // every subset of the signs that were looked for, the empty one last
    for (let found = sought; ; found = (found - 1) & sought) {
      const probability = this.#probability(sought, found)
      onGood += probability * this.#likelihood(this.#good, sought, found)
      onBad += probability * this.#likelihood(this.#bad, sought, found)
      if (found === 0) break
    }
    const means = { gap: Math.max(0, Math.min(1, onGood - onBad)), bad: onBad }
    this.#informativeness.set(sought, means)
    return means
  }

  #likelihood(rates: Float64Array, sought: number, found: number): number {
    let product = 1
    for (let sign = 0; sign < rates.length; sign++) {
      if ((sought & (1 << sign)) !== 0) product *= (found & (1 << sign)) === 0 ? 1 - rates[sign]! : rates[sign]!
    }
    return product
  }

  #patternOf({ sought, found }: Evidence): Pattern {
    const key = sought * 65_536 + found
    let pattern = this.#patterns.get(key)
    if (pattern === undefined) {
      if (this.#patterns.size >= MOST_PATTERNS) this.#dropRarest()
      pattern = { sought, found, unknown: 0, good: 0, bad: 0 }
      this.#patterns.set(key, pattern)
    }
    return pattern
  }

  #dropRarest(): void {
    let rarest: number | null = null
    let least = Infinity
    for (const [key, pattern] of this.#patterns) {
      const mass = massOf(pattern)
      if (mass >= least) continue
      least = mass
      rarest = key
    }
    if (rarest === null) return
    this.#patterns.delete(rarest)
    this.#mass -= least
    this.evicted++
  }

  #halve(): void {
    this.#mass = 0
    for (const [key, pattern] of this.#patterns) {
      pattern.unknown /= 2
      pattern.good /= 2
      pattern.bad /= 2
      const mass = massOf(pattern)
      if (mass < 0.25) this.#patterns.delete(key)
      else this.#mass += mass
    }
  }

  /** Plain numbers, for a snapshot: per pattern what was looked for, found, and the masses unknown, good, bad. */
  state(): number[][] {
    return [...this.#patterns.values()].map(({ sought, found, unknown, good, bad }) => [sought, found, unknown, good, bad])
  }

  /** Ignores what no snapshot of these signs could hold. */
  restore(state: readonly (readonly number[])[]): void {
    const all = 2 ** this.#priors.length
    for (const [sought, found, ...masses] of state.slice(0, MOST_PATTERNS)) {
      const [unknown, good, bad] = masses
      if (!isMask(sought, all) || !isMask(found, all) || (found & ~sought) !== 0) continue
      if (!isMass(unknown) || !isMass(good) || !isMass(bad)) continue
      this.#patterns.set(sought * 65_536 + found, { sought, found, unknown, good, bad })
    }
    this.#mass = 0
    for (const pattern of this.#patterns.values()) this.#mass += massOf(pattern)
    this.learn(4 * STEPS)
  }
}

const isMask = (value: number | undefined, below: number): value is number => Number.isInteger(value) && value! >= 0 && value! < below
const isMass = (value: number | undefined): value is number => typeof value === 'number' && value >= 0 && value <= WINDOW
const massOf = ({ unknown, good, bad }: Pattern): number => unknown + good + bad
const within = (rate: number): number => Math.max(LEAST_RATE, Math.min(1 - LEAST_RATE, rate))
const sigmoid = (value: number): number => 1 / (1 + Math.exp(-value))
const logit = (probability: number): number => Math.log(probability / (1 - probability))
