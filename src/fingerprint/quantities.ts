/**
 * How hard, how long and how many more: linear models over the shape and embedding of the turn, a few numbers of the
 * conversation and, for the length, the conversation's embedding before this turn (an agent's next step depends on it).
 *
 * complexity      probability that a small model fails (trained on right and wrong answers to exam questions; area under the
 *                 curve on subjects that it was not trained on: docs/fingerprint.md; a weak signal, and said so there)
 * output tokens   exp of the predicted log; once a conversation has answers of its own, their mean log leads, since in
 *                 a conversation history beats content (R2 .447 against .001 of the input's length)
 * remaining turns the user's turns still to come, after this one
 */
import { LinearModel, type Link } from './linear-model.ts'
import { FingerprintFileError, type SectionFile, type SectionWriter } from './section-file.ts'
import { describeSteps, STEPS, type StepsSoFar } from './steps-so-far.ts'
import { SHAPE, shapeOf } from './text-shape.ts'
import type { TextFeatures } from './text-features.ts'
import type { Speaker } from './conversation-context.ts'

export const CIRCUMSTANCES = [
  'turns',
  'user speaks',
  'tool speaks',
  'answers so far',
  'mean log of the answers',
  'last answer',
  'mean after the user',
  'mean after a tool',
  'last after the user',
  'last after a tool',
  'length of the user',
  'length of the tool',
  ...STEPS,
  ...STEPS.map((name) => `${name}, after a tool` as const),
] as const
const FIRST_STEP = CIRCUMSTANCES.indexOf(STEPS[0])

/** What the quantities know of the conversation before this turn. */
export type AnswersSoFar = { readonly count: number; readonly meanLog: number; readonly lastLog: number }
export const NO_ANSWERS: AnswersSoFar = { count: 0, meanLog: 0, lastLog: 0 }

export type QuantityModels = {
  /** Of questions alone, and of those that come with their options. */
  readonly complexity: LinearModel
  readonly complexityWithOptions: LinearModel
  readonly outputTokens: LinearModel
  /** Of a conversation without answers yet: there is no history to lead. */
  readonly firstOutputTokens: LinearModel
  /** The 90th percentile of the residual of the log. */
  readonly outputSpread: number
  readonly remainingTurns: LinearModel
}

/** An answer counts for so many, older ones less. */
const MEMORY = 8

export class QuantityReader {
  readonly shape = new Float32Array(SHAPE.length)
  readonly circumstances = new Float32Array(CIRCUMSTANCES.length)

  /** `answers` are those before this turn; `steps` know of this turn who speaks (see `withStep`). */
  read(
    text: string,
    features: TextFeatures,
    speaker: Speaker,
    turns: number,
    answers: AnswersSoFar,
    steps: StepsSoFar,
  ): void {
    shapeOf(text, features, this.shape)
    const { circumstances } = this
    circumstances[0] = Math.min(1, turns / 20)
    circumstances[1] = speaker === 'user' ? 1 : 0
    circumstances[2] = speaker === 'tool' ? 1 : 0
    circumstances[3] = Math.min(1, answers.count / 4)
    circumstances[4] = answers.meanLog / 8
    circumstances[5] = answers.lastLog / 8
    circumstances[6] = circumstances[1]! * circumstances[4]!
    circumstances[7] = circumstances[2]! * circumstances[4]!
    circumstances[8] = circumstances[1]! * circumstances[5]!
    circumstances[9] = circumstances[2]! * circumstances[5]!
    circumstances[10] = circumstances[1]! * this.shape[1]!
    circumstances[11] = circumstances[2]! * this.shape[1]!
    describeSteps(steps, circumstances, FIRST_STEP)
    for (let at = 0; at < STEPS.length; at++) {
      circumstances[FIRST_STEP + STEPS.length + at] = circumstances[2]! * circumstances[FIRST_STEP + at]!
    }
  }
}

export function withAnswer(answers: AnswersSoFar, tokens: number): AnswersSoFar {
  const log = Math.log1p(tokens)
  const count = Math.min(MEMORY, answers.count + 1)
  return { count, meanLog: answers.meanLog + (log - answers.meanLog) / count, lastLog: log }
}

/** `dimensions` are those of the embedding: coefficients that do not fit what is read are refused. */
export function loadQuantities(file: SectionFile, dimensions: number): QuantityModels {
  const text = SHAPE.length + dimensions
  const turn = text + CIRCUMSTANCES.length
  const model = (name: string, link: Link, features: number): LinearModel => {
    const weights = file.numbers(`quantities.${name}`, Float32Array)
    if (weights.length === features) return new LinearModel(weights, link)
    throw new FingerprintFileError(file.path, `${name} has ${weights.length} coefficients for ${features} features`)
  }
  return {
    complexity: model('complexity', 'logistic', text),
    complexityWithOptions: model('complexityWithOptions', 'logistic', text),
    outputTokens: model('outputTokens', 'identity', turn + dimensions),
    firstOutputTokens: model('firstOutputTokens', 'identity', turn + dimensions),
    outputSpread: file.numbers('quantities.spread', Float32Array)[0]!,
    remainingTurns: model('remainingTurns', 'identity', turn),
  }
}

export function saveQuantities(models: QuantityModels, file: SectionWriter): void {
  file.add('quantities.complexity', models.complexity.weights)
  file.add('quantities.complexityWithOptions', models.complexityWithOptions.weights)
  file.add('quantities.outputTokens', models.outputTokens.weights)
  file.add('quantities.firstOutputTokens', models.firstOutputTokens.weights)
  file.add('quantities.spread', Float32Array.of(models.outputSpread))
  file.add('quantities.remainingTurns', models.remainingTurns.weights)
}

/** Whether a question comes with options A, B, C, each on a line of its own. */
export const hasOptions = (text: string): boolean => {
  const first = text.indexOf('\nA')
  if (first < 0) return false
  const mark = text.charCodeAt(first + 2)
  return (mark === 46 || mark === 41) && text.indexOf('\nB', first) > 0
}
