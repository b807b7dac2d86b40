/** Trains complexity, output tokens and remaining turns, and measures them on what they did not see. */
import { join } from 'node:path'
import { areaUnderCurve } from '../src/fingerprint/calibration.ts'
import { ConversationContext, type Speaker } from '../src/fingerprint/conversation-context.ts'
import { trainLinear, type LinearExample } from '../src/fingerprint/linear-model.ts'
import { CIRCUMSTANCES, NO_ANSWERS, QuantityReader, withAnswer, type QuantityModels } from '../src/fingerprint/quantities.ts'
import { NO_STEPS, withStep } from '../src/fingerprint/steps-so-far.ts'
import { SHAPE } from '../src/fingerprint/text-shape.ts'
import type { FeatureReader } from '../src/fingerprint/text-features.ts'
import { rowsOf, sgdDialogues, writtenTexts, type AgentRun } from './labelled.ts'

/** Of a conversation that has not begun. */
const NO_CONTEXT = new Float32Array(256)

export type Grouped = LinearExample & {
  readonly group: string
  /** Whether the conversation had answers before; of turns only. */
  readonly later?: boolean
}

/** Small models' failures. The group is what a fair split keeps together. */
export function complexityExamples(data: string, reader: FeatureReader): { exams: Grouped[]; questions: Grouped[] } {
  const features = (text: string): Float32Array => {
    const read = reader.read(text)
    const quantities = new QuantityReader()
    quantities.read(text, read, 'user', 0, NO_ANSWERS, NO_STEPS)
    return joined(quantities.shape, read.embedding)
  }
  const exams = rowsOf<{ subject: string; prompt: string } & Record<string, boolean>>(
    join(data, 'routellm-mmlu-19subjects.jsonl'),
  ).map((row) => ({
    features: features(row.prompt),
    wanted: row['mistralai/Mixtral-8x7B-Instruct-v0.1'] === true ? 0 : 1,
    group: row.subject,
  }))
  const questions = rowsOf<{ text: string; category: string; correct: string }>(
    join(data, 'mmlu-pro-topics-quarter.jsonl'),
  ).map(({ text, category, correct }) => ({
    features: features(text),
    wanted: 1 - [...correct].filter((digit) => digit === '1').length / correct.length,
    group: category,
  }))
  return { exams, questions }
}

/**
 * What an answer's length is taken to be where nothing public says it: medians of a chat assistant's answers by intent, an
 * assumption that the gateway's own outcomes replace.
 */
const ASSUMED_TOKENS: Readonly<Record<string, number>> = {
  ask: 220,
  solve: 300,
  write: 450,
  edit: 200,
  code: 400,
  debug: 350,
  summarise: 160,
  translate: 50,
  plan: 550,
  'call a tool': 60,
  continue: 200,
  correct: 180,
  complain: 90,
  thank: 30,
  leave: 20,
  'out of scope': 60,
}

export function outputExamples(data: string, reader: FeatureReader): { agents: Grouped[]; others: Grouped[] } {
  const agents = rowsOf<AgentRun>(join(data, 'tau-bench-airline-tasks0-24.jsonl')).flatMap((run) =>
    fromTurns(
      run.messages.map(({ role, content, tool_calls }) => ({
        speaker: speakerOfRole(role),
        text: [content ?? '', ...(tool_calls ?? []).map((call) => `${call.function.name} ${call.function.arguments}`)].join('\n').trim(),
      })),
      reader,
      `task ${run.task_id}`,
    ),
  )
  const service = sgdDialogues(data)
    .filter((_, at) => at % 4 === 0)
    .flatMap((turns, at) => fromTurns(turns, reader, `dialogue ${at}`))
  const quantities = new QuantityReader()
  const written = writtenTexts('intents').map(({ text, label }) => {
    const read = reader.read(text)
    quantities.read(text, read, 'user', 0, NO_ANSWERS, NO_STEPS)
    const features = joined(quantities.shape, read.embedding, quantities.circumstances, NO_CONTEXT)
    return { features, wanted: Math.log1p(ASSUMED_TOKENS[label] ?? 200), group: 'written', weight: 1 }
  })
  return { agents, others: [...service.map((example) => ({ ...example, weight: 0.3 })), ...written] }
}

function fromTurns(
  turns: readonly { readonly speaker: Speaker; readonly text: string }[],
  reader: FeatureReader,
  group: string,
): Grouped[] {
  const quantities = new QuantityReader()
  const context = new ConversationContext(NO_CONTEXT.length)
  const scratch = new Float32Array(NO_CONTEXT.length)
  let answers = NO_ANSWERS
  let steps = NO_STEPS
  return turns.flatMap(({ speaker, text }, at) => {
    const read = reader.read(text)
    const tokens = read.tokenCount * read.stretch
    steps = withStep(steps, speaker, tokens)
    quantities.read(text, read, speaker, at, answers, steps)
    context.vector(scratch)
    const features = joined(quantities.shape, read.embedding, quantities.circumstances, scratch)
    context.add(read.embedding, speaker, scratch)
    const later = answers.count > 0
    if (speaker === 'assistant') answers = withAnswer(answers, tokens)
    const next = turns[at + 1]
    if (next?.speaker !== 'assistant' || speaker === 'assistant') return []
    const answer = reader.read(next.text)
    return [{ features, wanted: Math.log1p(answer.tokenCount * answer.stretch), group, later }]
  })
}

export function remainingExamples(data: string, reader: FeatureReader): Grouped[] {
  const quantities = new QuantityReader()
  return sgdDialogues(data).flatMap((turns, dialogue) => {
    let answers = NO_ANSWERS
    let steps = NO_STEPS
    return turns.flatMap(({ speaker, text }, at) => {
      const read = reader.read(text)
      const tokens = read.tokenCount * read.stretch
      steps = withStep(steps, speaker, tokens)
      quantities.read(text, read, speaker, at, answers, steps)
      const features = joined(quantities.shape, read.embedding, quantities.circumstances)
      if (speaker === 'assistant') answers = withAnswer(answers, tokens)
      const wanted = turns.slice(at + 1).filter((turn) => turn.speaker === 'user').length
      return speaker === 'user' ? [{ features, wanted, group: String(dialogue) }] : []
    })
  })
}

/** Predictions for every example by models of the other groups. */
export function crossValidated(
  examples: readonly Grouped[],
  train: (from: readonly Grouped[]) => { predict(features: Float32Array): number },
  folds = 5,
): Float32Array {
  const groups = [...new Set(examples.map(({ group }) => group))]
  const foldOf = new Map(groups.map((group, at) => [group, at % folds]))
  const predicted = new Float32Array(examples.length)
  for (let fold = 0; fold < folds; fold++) {
    const model = train(examples.filter(({ group }) => foldOf.get(group) !== fold))
    examples.forEach(({ features, group }, at) => {
      if (foldOf.get(group) === fold) predicted[at] = model.predict(features)
    })
  }
  return predicted
}

/** Chosen by cross-validation on the development data. */
export const COMPLEXITY_SHRINK = shrinkOf(0.01, 15)
export const OUTPUT_SHRINK = shrinkOf(0.3, 4)

export const QUESTION_SHRINK = shrinkOf(0.1, 10)

/** The few numbers of shape and circumstances are trusted more than the many of the embedding. */
function shrinkOf(few: number, many: number): (feature: number) => number {
  return (feature) => {
    const after = feature - SHAPE.length - NO_CONTEXT.length
    return feature < SHAPE.length || (after >= 0 && after < CIRCUMSTANCES.length) ? few : many
  }
}

export function trainQuantities(
  data: string,
  reader: FeatureReader,
  say: (what: string, measured: object) => void,
): QuantityModels {
  const { exams, questions } = complexityExamples(data, reader)
  const ofExams = crossValidated(exams, (from) => trainLinear(from, 'logistic', COMPLEXITY_SHRINK), 19)
  const failed = [...ofExams].filter((_, at) => exams[at]!.wanted === 1)
  const passed = [...ofExams].filter((_, at) => exams[at]!.wanted === 0)
  say('complexity, subjects left out', { areaUnderCurve: areaUnderCurve(failed, passed) })
  const both = shuffledGroups(questions)
  const ofQuestions = crossValidated(both, (from) =>
    trainLinear(from, 'logistic', QUESTION_SHRINK),
  )
  say('complexity, mean error of 20 models', { spearman: spearman([...ofQuestions], both.map(({ wanted }) => wanted)) })
  const complexity = trainLinear(questions, 'logistic', QUESTION_SHRINK)
  const complexityWithOptions = trainLinear(exams, 'logistic', COMPLEXITY_SHRINK)

  const { agents, others } = outputExamples(data, reader)
  const outputOf = (from: readonly Grouped[]) => trainLinear(from, 'identity', OUTPUT_SHRINK)
  const ofAgents = crossValidated(agents, outputOf)
  say('output tokens of an agent, tasks left out', { r2: explained([...ofAgents], agents.map(({ wanted }) => wanted)) })
  const residuals = [...ofAgents].map((value, at) => agents[at]!.wanted - value).sort((left, right) => left - right)
  const outputSpread = residuals[Math.floor(0.9 * residuals.length)]!
  const outputTokens = outputOf(agents)
  const first = [...agents, ...others].filter(({ later: answered }) => !answered)
  const firstOutputTokens = outputOf(first)

  const remaining = remainingExamples(data, reader)
  const remainingOf = (from: readonly Grouped[]) => trainLinear(from, 'identity', OUTPUT_SHRINK)
  const ofRemaining = crossValidated(remaining, remainingOf)
  say('remaining turns, dialogues left out', { r2: explained([...ofRemaining], remaining.map(({ wanted }) => wanted)) })
  return { complexity, complexityWithOptions, outputTokens, firstOutputTokens, outputSpread, remainingTurns: remainingOf(remaining) }
}

/** One group a question: in-domain cross-validation. */
const shuffledGroups = (examples: readonly Grouped[]): Grouped[] => examples.map((example, at) => ({ ...example, group: String(at) }))

const speakerOfRole = (role: string): Speaker =>
  role === 'assistant' || role === 'tool' || role === 'user' ? role : 'system'

export function joined(...parts: readonly Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** Share of the variance that is explained, mean and all. */
export function explained(predicted: readonly number[], wanted: readonly number[]): number {
  const mean = wanted.reduce((sum, value) => sum + value, 0) / wanted.length
  let error = 0
  let spread = 0
  wanted.forEach((value, at) => {
    error += (value - predicted[at]!) ** 2
    spread += (value - mean) ** 2
  })
  return 1 - error / spread
}

export function spearman(left: readonly number[], right: readonly number[]): number {
  const a = ranks(left)
  const b = ranks(right)
  const mean = (a.length - 1) / 2
  let product = 0
  let squaresA = 0
  let squaresB = 0
  a.forEach((value, at) => {
    product += (value - mean) * (b[at]! - mean)
    squaresA += (value - mean) ** 2
    squaresB += (b[at]! - mean) ** 2
  })
  return product / Math.sqrt(squaresA * squaresB)
}

function ranks(values: readonly number[]): number[] {
  const order = values.map((_, at) => at).sort((left, right) => values[left]! - values[right]!)
  const ranked = Array.from({ length: values.length }, () => 0)
  for (let start = 0; start < order.length; ) {
    let end = start
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++
    for (let at = start; at < end; at++) ranked[order[at]!] = (start + end - 1) / 2
    start = end
  }
  return ranked
}
