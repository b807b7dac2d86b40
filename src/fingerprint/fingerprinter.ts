/**
 * Fingerprints conversations turn by turn. A turn is read once (`FeatureReader`) and every part looks at that reading; the
 * conversation's state is moved by the new turn only and never recomputed.
 *
 * 20 words with everything on: 0.1 milliseconds; long texts are bounded by what is read of them.
 */
import type { Labelled } from '../model/fingerprint.ts'
import { ConversationContext, type Speaker } from './conversation-context.ts'
import type { FingerprintModel } from './fingerprint-model.ts'
import { indexOfMost, type TurnEvidence } from './label-filter.ts'
import { LabelsByExample, type LabelExamples, type LabelReader } from './labels-by-example.ts'
import type { Taxonomy } from './taxonomy.ts'
import { findEntities } from './entities/find-entities.ts'
import type { EntitySpan } from './entities/spans.ts'
import { hasOptions, NO_ANSWERS, QuantityReader, withAnswer, type AnswersSoFar } from './quantities.ts'
import { NO_STEPS, withStep, type StepsSoFar } from './steps-so-far.ts'
import type { TextFeatures } from './text-features.ts'

export type TurnFingerprint = {
  /** Most probable first. */
  readonly topics: readonly Labelled[]
  /** Probability that this turn changed the topic. */
  readonly shift: number
  readonly intent: Labelled
  /** Probability that the turn is something the taxonomy knows. */
  readonly inScope: number
  readonly entities: readonly EntitySpan[]
  /** Probability that a small model fails at what this turn asks. */
  readonly complexity: number
  /** Tokens of the answer to this turn: the median, and what nine of ten stay below. */
  readonly expectedOutputTokens: number
  readonly expectedOutputTokensP90: number
  readonly expectedRemainingTurns: number
  /** Of the conversation, this turn included, at unit length; an own copy. */
  readonly embedding: Float32Array
  /** What this turn looks like from afar (text-shape.ts); an own copy. */
  readonly shape: Float32Array
}

/** What a state says by itself. */
type Standing = Pick<TurnFingerprint, 'topics' | 'intent' | 'inScope' | 'embedding'>

export class ConversationState {
  readonly context: ConversationContext
  readonly topics: Float32Array
  readonly intents: Float32Array
  turns = 0
  /** The turn at which the topic last changed; null when it never did. */
  driftTurn: number | null = null
  answers: AnswersSoFar = NO_ANSWERS
  steps: StepsSoFar = NO_STEPS

  constructor(dimensions: number, topics: number, intents: number) {
    this.context = new ConversationContext(dimensions)
    this.topics = new Float32Array(topics).fill(1 / topics)
    this.intents = new Float32Array(intents).fill(1 / intents)
  }
}

/** A message of at most so many words leans on what was meant before. */
const TERSE_WORDS = 4
const MOST_LABELS = 20
export const SHIFT_DECLARED = 0.5
const UNREADABLE_TOPIC = 'other'
/** A foreign word or two in an English text say nothing. */
const LEAST_FOREIGN = 0.2
const MOST_DOUBT = 0.8
/** Predictions are kept within what backends answer. */
const MOST_LOG_TOKENS = Math.log(16_384)

export class Fingerprinter {
  readonly #model: FingerprintModel
  /** An operator's taxonomies, where he gave them. */
  readonly own: { readonly topics?: Taxonomy; readonly intents?: Taxonomy }
  readonly #topics: LabelReader
  readonly #intents: LabelReader
  readonly #scratch: Float32Array
  readonly #topicEmission: Float32Array
  readonly #intentEmission: Float32Array
  readonly #cue = new Float32Array(2)
  readonly #quantities = new QuantityReader()

  /** Labels by example are added to the own taxonomy, or else to the shipped one. */
  constructor(
    model: FingerprintModel,
    own: { readonly topics?: Taxonomy; readonly intents?: Taxonomy } = {},
    examples: { readonly topics?: LabelExamples; readonly intents?: LabelExamples } = {},
  ) {
    const extended = (base: LabelReader, by: LabelExamples | undefined): LabelReader =>
      by === undefined || by.size === 0 ? base : new LabelsByExample(base, by, model.reader)
    this.#model = model
    this.own = own
    this.#topics = extended(own.topics ?? model.topics, examples.topics)
    this.#intents = extended(own.intents ?? model.intents, examples.intents)
    this.#scratch = new Float32Array(model.dimensions)
    this.#topicEmission = new Float32Array(this.#topics.labels.length)
    this.#intentEmission = new Float32Array(this.#intents.labels.length)
  }

  /** Names of the topics in scope. */
  get topics(): readonly string[] {
    const { labels, outOfScopeAt } = this.#topics
    return labels.filter((_, at) => at !== outOfScopeAt)
  }

  /** What states are made of: under another table or other labels their numbers mean something else. */
  get labelling(): { readonly table: string; readonly dimensions: number; readonly topics: readonly string[]; readonly intents: readonly string[] } {
    const { table, dimensions } = this.#model
    return { table, dimensions, topics: this.#topics.labels, intents: this.#intents.labels }
  }

  begin(): ConversationState {
    return new ConversationState(this.#model.dimensions, this.#topics.labels.length, this.#intents.labels.length)
  }

  update(state: ConversationState, speaker: Speaker, text: string): TurnFingerprint {
    const reading = this.read(state, speaker, text)
    return { ...this.describe(state), ...reading }
  }

  /** Moves the state by one turn; what the state says by itself is left to `describe`. */
  read(state: ConversationState, speaker: Speaker, text: string): Omit<TurnFingerprint, keyof Standing> {
    const features = this.#model.reader.read(text)
    const likeness = state.context.likeness(features.embedding)
    this.#topics.read(features, this.#topicEmission)
    if (this.own.topics === undefined) this.#doubt(features.foreignShare)
    const evidence = {
      speaker: speaker === 'user' ? ('user' as const) : ('assistant' as const),
      logEmission: this.#topicEmission,
      likeness,
      words: features.words,
      turn: state.turns,
      // the cue only matters where something may have changed
      cue: state.turns === 0 || speaker !== 'user' ? 0 : (this.#topics.cue(features) ?? this.#shippedCue(features)),
    }
    const shift = (this.#topics.filter ?? this.#model.filter).step(state.topics, evidence)
    this.#intents.read(features, this.#intentEmission)
    if (speaker === 'user') this.#moveIntent(state, features, { ...evidence, logEmission: this.#intentEmission })
    const { quantities } = this.#model
    const { shape, circumstances } = this.#quantities
    const tokens = features.tokenCount * features.stretch
    state.steps = withStep(state.steps, speaker, tokens)
    this.#quantities.read(text, features, speaker, state.turns, state.answers, state.steps)
    const harder = hasOptions(text) ? quantities.complexityWithOptions : quantities.complexity
    const complexity = harder.predict(shape, features.embedding)
    const lengths = state.answers.count > 0 ? quantities.outputTokens : quantities.firstOutputTokens
    state.context.vector(this.#scratch)
    const logTokens = lengths.predict(shape, features.embedding, circumstances, this.#scratch)
    const remaining = quantities.remainingTurns.predict(shape, features.embedding, circumstances)
    state.context.add(features.embedding, speaker, this.#scratch)
    if (shift >= SHIFT_DECLARED) state.driftTurn = state.turns
    if (speaker === 'assistant') state.answers = withAnswer(state.answers, tokens)
    state.turns++
    return {
      shift,
      entities: findEntities(text, this.#model.names),
      complexity,
      expectedOutputTokens: tokensOf(logTokens),
      expectedOutputTokensP90: tokensOf(logTokens + quantities.outputSpread),
      expectedRemainingTurns: Math.max(0, remaining),
      shape: shape.slice(),
    }
  }

  /** What a state says by itself. */
  describe(state: ConversationState): Standing {
    const embedding = new Float32Array(this.#model.dimensions)
    state.context.vector(embedding)
    return {
      topics: ranked(state.topics, this.#topics),
      intent: best(state.intents, this.#intents),
      inScope: this.#inScope(state),
      embedding,
    }
  }

  /** What cannot be read is `other`, as far as it cannot be read. */
  #doubt(foreignShare: number): void {
    const other = this.#topics.labels.indexOf(UNREADABLE_TOPIC)
    if (foreignShare < LEAST_FOREIGN || other < 0) return
    const emission = this.#topicEmission
    const doubt = MOST_DOUBT * foreignShare
    for (let label = 0; label < emission.length; label++) {
      const read = (1 - doubt) * Math.exp(emission[label]!)
      emission[label] = Math.log(label === other ? read + doubt : read)
    }
  }

  /** Intents of dialogues have a filter of their own; others are of the message alone, or of what it leans on. */
  #moveIntent(state: ConversationState, features: TextFeatures, evidence: TurnEvidence): void {
    const { filter } = this.#intents
    if (filter !== null) filter.step(state.intents, { ...evidence, cue: this.#intents.cue(features) ?? evidence.cue })
    else leanOn(state.intents, evidence, this.#intents.outOfScopeAt)
  }

  /**
   * By the taxonomy that learnt what is out of scope, an operator's own before the shipped ones; where the own ones did
   * not, by how sure the own one is.
   */
  #inScope(state: ConversationState): number {
    const { own } = this
    for (const [taxonomy, belief] of [
      [own.intents, state.intents],
      [own.topics, state.topics],
    ] as const) {
      if (taxonomy !== undefined && taxonomy.outOfScopeAt >= 0) return 1 - belief[taxonomy.outOfScopeAt]!
    }
    const surest = own.intents !== undefined ? state.intents : own.topics !== undefined ? state.topics : null
    if (surest !== null) return surest[indexOfMost(surest)]!
    return this.#intents.outOfScopeAt < 0 ? 1 : 1 - state.intents[this.#intents.outOfScopeAt]!
  }

  #shippedCue(features: TextFeatures): number {
    this.#model.cue.logProbabilities(features, this.#cue)
    return this.#cue[1]! - this.#cue[0]!
  }
}

/** "Yes, the second" means what was meant before: the less a terse message says by itself, the more it leans. */
function leanOn(
  belief: Float32Array,
  evidence: { readonly logEmission: Float32Array; readonly words: number; readonly turn: number },
  outOfScopeAt: number,
): void {
  const { logEmission } = evidence
  let surest = 0
  for (let label = 0; label < logEmission.length; label++) {
    if (label !== outOfScopeAt) surest = Math.max(surest, Math.exp(logEmission[label]!))
  }
  const lean = evidence.turn === 0 || evidence.words > TERSE_WORDS ? 0 : Math.max(0, 0.8 - surest)
  for (let label = 0; label < belief.length; label++) {
    belief[label] = lean * belief[label]! + (1 - lean) * Math.exp(logEmission[label]!)
  }
}

function best(belief: Float32Array, { labels, outOfScopeAt }: LabelReader): Labelled {
  let most = outOfScopeAt === 0 ? 1 : 0
  for (let label = 0; label < belief.length; label++) {
    if (label !== outOfScopeAt && belief[label]! > belief[most]!) most = label
  }
  return [labels[most]!, belief[most]!]
}

/** The labels in scope, most probable first. */
function ranked(belief: Float32Array, { labels, outOfScopeAt }: LabelReader): Labelled[] {
  const order: number[] = []
  for (let label = 0; label < labels.length; label++) if (label !== outOfScopeAt) order.push(label)
  order.sort((left, right) => belief[right]! - belief[left]!)
  return order.slice(0, MOST_LABELS).map((label) => [labels[label]!, belief[label]!] as const)
}

const tokensOf = (log: number): number => Math.expm1(Math.max(0, Math.min(MOST_LOG_TOKENS, log)))
