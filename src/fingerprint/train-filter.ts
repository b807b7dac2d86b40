/**
 * Trains what decides whether a turn changed the subject: a head over the words of the message ("I also need ..."), and the
 * logistic of the label filter over beliefs and evidence.
 *
 * Both must learn from evidence as it will be: heads are surer of turns they were trained on, so emissions and cues are
 * made by heads that saw other dialogues only (three folds). The logistic's features depend on the beliefs, which depend
 * on the logistic, so it is trained in three rounds.
 */
import { ConversationContext } from './conversation-context.ts'
import { describe, FEATURES, LabelFilter, type TurnEvidence } from './label-filter.ts'

export type FilterTurn = {
  readonly speaker: 'user' | 'assistant'
  readonly embedding: Float32Array
  readonly words: number
  readonly logEmission: Float32Array
  readonly cue: number
  /** Whether the label changed with this turn; null where that is not known. */
  readonly changed: boolean | null
}

const ROUNDS = 3
const PASSES = 40
const RATE = 0.3
const DECAY = 1e-5

export function trainFilter(
  dialogues: readonly (readonly FilterTurn[])[],
  labels: number,
  random: () => number,
): Float32Array {
  let weights = new Float32Array(FEATURES.length)
  weights[0] = -3
  for (let round = 0; round < ROUNDS; round++) {
    const rows: Float32Array[] = []
    const wanted: number[] = []
    const filter = new LabelFilter(weights)
    for (const dialogue of dialogues) {
      walk(dialogue, filter, labels, (belief, evidence, changed) => {
        if (changed === null || evidence.turn === 0 || evidence.speaker !== 'user') return
        const row = new Float32Array(FEATURES.length)
        describe(belief, evidence, row)
        rows.push(row)
        wanted.push(changed ? 1 : 0)
      })
    }
    if (rows.length === 0) return weights
    weights = logistic(rows, wanted, weights, random)
  }
  return weights
}

/** Runs the filter over a dialogue; `seen` is told the belief before each turn. Returns the beliefs after each. */
export function walk(
  dialogue: readonly FilterTurn[],
  filter: LabelFilter,
  labels: number,
  seen: (belief: Float32Array, evidence: TurnEvidence, changed: boolean | null) => void,
): { readonly belief: Float32Array; readonly change: number }[] {
  const belief = new Float32Array(labels).fill(1 / labels)
  const dimensions = dialogue[0]?.embedding.length ?? 0
  const context = new ConversationContext(dimensions)
  const scratch = new Float32Array(dimensions)
  return dialogue.map((turn, at) => {
    const { speaker, logEmission, words, cue } = turn
    const evidence = { speaker, logEmission, words, cue, turn: at, likeness: context.likeness(turn.embedding) }
    seen(belief, evidence, turn.changed)
    const change = filter.step(belief, evidence)
    context.add(turn.embedding, speaker, scratch)
    return { belief: belief.slice(), change }
  })
}

/** Logistic regression by Adagrad, from `start` on. */
export function logistic(
  rows: readonly Float32Array[],
  wanted: readonly number[],
  start: Float32Array,
  random: () => number,
  passes = PASSES,
): Float32Array<ArrayBuffer> {
  const weights = new Float32Array(start)
  const squares = new Float32Array(start.length).fill(1e-3)
  const steps = Math.min(400_000, passes * rows.length)
  for (let step = 0; step < steps; step++) {
    const place = Math.floor(random() * rows.length)
    const row = rows[place]!
    let logit = 0
    for (let at = 0; at < weights.length; at++) logit += weights[at]! * row[at]!
    const error = 1 / (1 + Math.exp(-logit)) - wanted[place]!
    for (let at = 0; at < weights.length; at++) {
      const gradient = error * row[at]! + DECAY * weights[at]!
      squares[at]! += gradient * gradient
      weights[at]! -= (RATE * gradient) / Math.sqrt(squares[at]!)
    }
  }
  return weights
}
