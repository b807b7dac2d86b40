/**
 * Which label a conversation is at: a forward filter over its turns. What one message says ("yes, do that") is weak; what the
 * turns before it said is strong, unless the subject changed. So the belief moves by
 *
 *   belief <- (1 - change) * belief + change * (the other labels, evenly)
 *   belief <- normalise(belief * exp(trust * logEmission))
 *
 * where `logEmission` are the head's log-probabilities of this turn alone and `change` is a small logistic over
 * `FEATURES`, for user turns only; a turn of the assistant follows the subject and changes it with `ASSISTANT_CHANGE`.
 * The first turn is believed as it is. O(labels) a turn, and only the new turn is needed.
 *
 * The rule and the trust of 0.7 are from the measurements that docs/fingerprint.md cites; the logistic is trained by
 * train-dialogues.ts.
 */
export const FEATURES = [
  'constant',
  'belief in the current label',
  'emission of the current label',
  'emission of the best other',
  'gap of the two',
  'likeness to the conversation',
  'words',
  'turn',
  'lexical cue of a change',
  'probability of the current label',
  'probability of the best other',
  'at most four words',
] as const

/** How far a turn's own evidence is believed: turns of a conversation are not independent. */
const TRUST = 0.7
const ASSISTANT_CHANGE = 0.01
const FARTHEST = 8

export type TurnEvidence = {
  readonly speaker: 'user' | 'assistant'
  readonly logEmission: Float32Array
  /** Cosine of the turn and the decayed sum of the turns before; 0 at the first. */
  readonly likeness: number
  readonly words: number
  /** Turns before this one. */
  readonly turn: number
  /** Log-odds of "this message changes the subject", by its words. */
  readonly cue: number
}

export class LabelFilter {
  readonly weights: Float32Array
  readonly #features = new Float32Array(FEATURES.length)

  constructor(weights: Float32Array) {
    if (weights.length !== FEATURES.length) {
      throw new Error(`a filter has ${FEATURES.length} weights, not ${weights.length}`)
    }
    this.weights = weights
  }

  /** Moves `belief` in place and returns the probability that the label changed with this turn. */
  step(belief: Float32Array, evidence: TurnEvidence): number {
    const first = evidence.turn === 0
    const change = first ? 0 : evidence.speaker === 'user' ? this.#change(belief, evidence) : ASSISTANT_CHANGE
    const trust = first ? 1 : TRUST
    const others = Math.max(1, belief.length - 1)
    const { logEmission } = evidence
    // relative to the largest: single precision ends at exp(-103)
    const largest = logEmission[indexOfMost(logEmission)]!
    let sum = 0
    for (let label = 0; label < belief.length; label++) {
      const before = belief[label]!
      const moved = first ? before : (1 - change) * before + (change * (1 - before)) / others
      const after = moved * Math.exp(trust * (logEmission[label]! - largest))
      belief[label] = after
      sum += after
    }
    // evidence so contrary that nothing is left: start from the turn alone
    if (!(sum > 1e-30)) {
      sum = 0
      for (let label = 0; label < belief.length; label++) {
        belief[label] = Math.exp(logEmission[label]! - largest)
        sum += belief[label]!
      }
    }
    for (let label = 0; label < belief.length; label++) belief[label]! /= sum
    return change
  }

  #change(belief: Float32Array, evidence: TurnEvidence): number {
    describe(belief, evidence, this.#features)
    let logit = 0
    for (let at = 0; at < FEATURES.length; at++) logit += this.weights[at]! * this.#features[at]!
    return 1 / (1 + Math.exp(-logit))
  }
}

/** The features of a user turn, in the order of `FEATURES`, each within about -2..2. */
export function describe(belief: Float32Array, evidence: TurnEvidence, into: Float32Array): void {
  const { logEmission } = evidence
  const current = indexOfMost(belief)
  let other = current === 0 ? Math.min(1, belief.length - 1) : 0
  for (let label = 0; label < logEmission.length; label++) {
    if (label !== current && logEmission[label]! > logEmission[other]!) other = label
  }
  const ofCurrent = logEmission[current]!
  const ofOther = logEmission[other]!
  into[0] = 1
  into[1] = belief[current]!
  into[2] = Math.max(-FARTHEST, ofCurrent) / 4
  into[3] = Math.max(-FARTHEST, ofOther) / 4
  into[4] = limited(ofOther - ofCurrent) / 4
  into[5] = evidence.likeness
  into[6] = Math.min(evidence.words, 20) / 10
  into[7] = Math.min(evidence.turn, 20) / 10
  into[8] = limited(evidence.cue) / 4
  into[9] = Math.exp(ofCurrent)
  into[10] = Math.exp(ofOther)
  into[11] = evidence.words <= 4 ? 1 : 0
}

export function indexOfMost(values: ArrayLike<number>): number {
  let most = 0
  for (let at = 1; at < values.length; at++) if (values[at]! > values[most]!) most = at
  return most
}

const limited = (value: number): number => Math.max(-FARTHEST, Math.min(FARTHEST, value))
