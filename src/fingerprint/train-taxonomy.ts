/**
 * Trains a taxonomy from labelled texts or dialogues and measures it on what it did not see.
 *
 * Texts: four fifths train, one fifth (of every label) judges and sets the temperature; then all train. Dialogues: three
 * folds by conversation, each judged by heads of the other two, which is also what the filter must learn from (see
 * train-filter.ts); then all train. Seeded, so the same lines give the same file.
 */
import { areaUnderCurve, bestTemperature, calibrationError } from './calibration.ts'
import { indexOfMost, LabelFilter } from './label-filter.ts'
import { intoParts } from './label-parts.ts'
import { shuffled } from './shuffled.ts'
import { logSoftmax, SoftmaxHead } from './softmax-head.ts'
import { Taxonomy, type TaxonomyKind } from './taxonomy.ts'
import type { FeatureReader, TextFeatures } from './text-features.ts'
import { trainFilter, walk, type FilterTurn } from './train-filter.ts'
import { exampleOf, trainHead, type HeadExample } from './train-head.ts'
import type { LabelledText, LabelledTurn, TrainingSet } from './training-lines.ts'

/** What was measured on held-out examples; null where there were too few to hold any out. */
export type HeldOutReport = {
  readonly examples: number
  readonly accuracy: number
  readonly calibrationError: number
  /** How well `in_scope` tells the out-of-scope examples apart. */
  readonly outOfScopeArea: number | null
  /** F1 of declared changes of the label at user turns; of dialogues only. */
  readonly shiftF1: number | null
}

export type TrainedTaxonomy = {
  readonly taxonomy: Taxonomy
  readonly examples: number
  readonly heldOut: HeldOutReport | null
}

export type TaxonomyTraining = {
  readonly kind: TaxonomyKind
  readonly outOfScope: string
  readonly reader: FeatureReader
  /** Bounds the n-grams that have a row, for heads that are shipped. */
  readonly mostRows?: number
  /** A seeded source of random numbers; called with a seed for each use, so that the uses do not depend on each other. */
  readonly random: (seed: number) => () => number
}

const FOLDS = 3
const HELD_OUT_ONE_IN = 5
/** Fewer than this say nothing reliable about a temperature. */
const FEWEST_FOR_TEMPERATURE = 100
/** Passes over the examples: enough updates for small sets, bounded time for large ones. */
const UPDATES = 280_000
const epochsFor = (examples: number): number => Math.max(4, Math.min(20, Math.round(UPDATES / examples)))

export function trainTaxonomy(set: TrainingSet, training: TaxonomyTraining): TrainedTaxonomy {
  return set.kind === 'texts' ? fromTexts(set.texts, training) : fromDialogues(set.dialogues, training)
}

function fromTexts(texts: readonly LabelledText[], training: TaxonomyTraining): TrainedTaxonomy {
  const labels = [...new Set(texts.map(({ label }) => label))].sort()
  const place = new Map(labels.map((label, at) => [label, at]))
  const examples = texts.map(({ text, label, weight }) =>
    exampleOf(training.reader.read(text), place.get(label)!, weight),
  )
  const outOfScope = labels.includes(training.outOfScope) ? training.outOfScope : null
  const { train, judge } = splitByLabel(examples, training.random(1))
  const head = (from: readonly HeadExample[], seed: number): SoftmaxHead =>
    headFrom(labels, from, epochsFor(from.length), training, seed, training.mostRows === undefined)
  let temperature = 1
  let heldOut: HeldOutReport | null = null
  if (judge.length > 0) {
    const rows = emissions(head(train, 2), judge)
    if (judge.length >= FEWEST_FOR_TEMPERATURE) temperature = bestTemperature(rows, judge.map(({ label }) => label))
    for (const row of rows) {
      for (let at = 0; at < row.length; at++) row[at]! /= temperature
      logSoftmax(row, row.length)
    }
    const outOfScopeAt = outOfScope === null ? -1 : labels.indexOf(outOfScope)
    heldOut = { ...judged(rows, judge.map(({ label }) => label), outOfScopeAt), shiftF1: null }
  }
  const parts = { kind: training.kind, head: head(examples, 3), temperature, outOfScope, filter: null, cue: null }
  return { taxonomy: new Taxonomy(parts), examples: examples.length, heldOut }
}

function headFrom(
  labels: readonly string[],
  from: readonly HeadExample[],
  epochs: number,
  { random, mostRows }: TaxonomyTraining,
  seed: number,
  /** Parts cost time and room, so the heads of dialogues (the context does more) and those that are shipped go without. */
  parts: boolean,
): SoftmaxHead {
  const split = parts ? intoParts(from, labels.length, random(seed + 1000)) : { examples: from }
  const bounded = mostRows === undefined ? {} : { mostRows }
  const { examples, ...classes } = split
  return SoftmaxHead.of(trainHead(labels, examples, { epochs, random: random(seed), ...classes, ...bounded }))
}

type Turn = {
  readonly speaker: 'user' | 'assistant'
  readonly words: number
  /** The label is what it was trained as: the speaker's own, or the one that the dialogue is at. */
  readonly example: HeadExample
  readonly labelled: boolean
  readonly changed: boolean | null
}

function fromDialogues(
  dialogues: readonly (readonly LabelledTurn[])[],
  training: TaxonomyTraining,
): TrainedTaxonomy {
  const labels = [...new Set(dialogues.flatMap((turns) => turns.flatMap(({ label }) => label ?? [])))].sort()
  const place = new Map(labels.map((label, at) => [label, at]))
  const read = dialogues.map((turns) => turnsOf(turns, place, training.reader))
  const folds = foldsOf(read.length, training.random(1))
  const filterTurns: FilterTurn[][] = read.map(() => [])
  for (let fold = 0; fold < FOLDS; fold++) {
    const { head, cue } = headsOf(read.filter((_, at) => folds[at] !== fold), labels, training, 10 * fold)
    read.forEach((turns, at) => {
      if (folds[at] === fold) filterTurns[at] = turns.map((turn) => filterTurnOf(turn, head, cue))
    })
  }
  const filter = new LabelFilter(trainFilter(filterTurns, labels.length, training.random(2)))
  const outOfScope = labels.includes(training.outOfScope) ? training.outOfScope : null
  const outOfScopeAt = outOfScope === null ? -1 : labels.indexOf(outOfScope)
  const heldOut = judgedDialogues(read, filterTurns, filter, labels.length, outOfScopeAt)
  const { head, cue } = headsOf(read, labels, training, 90)
  const parts = { kind: training.kind, head, temperature: 1, outOfScope, filter, cue }
  const examples = read.reduce((sum, turns) => sum + turns.filter(({ labelled }) => labelled).length, 0)
  return { taxonomy: new Taxonomy(parts), examples, heldOut }
}

/** A turn without a label speaks about what the dialogue is at: answers are examples too. */
function turnsOf(
  turns: readonly LabelledTurn[],
  place: ReadonlyMap<string, number>,
  reader: FeatureReader,
): Turn[] {
  let current = -1
  return turns.map(({ speaker, text, label }) => {
    const own = label === null ? current : place.get(label)!
    const known = label !== null && current >= 0 && speaker === 'user'
    const changed = known ? own !== current : null
    current = own
    const features = reader.read(text)
    return { speaker, words: features.words, example: exampleOf(features, own), labelled: label !== null, changed }
  })
}

function headsOf(
  dialogues: readonly (readonly Turn[])[],
  labels: readonly string[],
  training: TaxonomyTraining,
  seed: number,
): { readonly head: SoftmaxHead; readonly cue: SoftmaxHead | null } {
  const examples = dialogues.flatMap((turns) =>
    turns.filter(({ example }) => example.label >= 0).map(({ example }) => example),
  )
  const changes = dialogues.flatMap((turns) =>
    turns.flatMap(({ example, changed }) => (changed === null ? [] : [{ ...example, label: changed ? 1 : 0 }])),
  )
  const train = (names: readonly string[], from: readonly HeadExample[], at: number): SoftmaxHead =>
    headFrom(names, from, Math.min(8, epochsFor(from.length)), training, at, false)
  const bothKnown = new Set(changes.map(({ label }) => label)).size === 2
  return { head: train(labels, examples, seed + 1), cue: bothKnown ? train(CUE_LABELS, changes, seed + 2) : null }
}
export const CUE_LABELS = ['stay', 'change'] as const

function filterTurnOf(turn: Turn, head: SoftmaxHead, cue: SoftmaxHead | null): FilterTurn {
  const { speaker, words, example, changed } = turn
  const features = featuresOf(example)
  const logEmission = new Float32Array(head.labels.length)
  head.logProbabilities(features, logEmission)
  const odds = new Float32Array(2)
  cue?.logProbabilities(features, odds)
  return { speaker, words, embedding: example.embedding, logEmission, cue: odds[1]! - odds[0]!, changed }
}

function judgedDialogues(
  read: readonly (readonly Turn[])[],
  filterTurns: readonly (readonly FilterTurn[])[],
  filter: LabelFilter,
  labels: number,
  outOfScopeAt: number,
): HeldOutReport {
  const rows: Float32Array[] = []
  const wanted: number[] = []
  const shifts = { hit: 0, false: 0, missed: 0 }
  read.forEach((turns, at) => {
    walk(filterTurns[at]!, filter, labels, () => {}).forEach(({ belief, change }, place) => {
      const { speaker, labelled, example, changed } = turns[place]!
      if (speaker !== 'user' || !labelled) return
      rows.push(belief.map((value) => Math.log(Math.max(1e-12, value))))
      wanted.push(example.label)
      const declared = change >= 0.5
      if (changed === true) shifts[declared ? 'hit' : 'missed']++
      else if (changed === false && declared) shifts.false++
    })
  })
  const shiftF1 = (2 * shifts.hit) / Math.max(1, 2 * shifts.hit + shifts.false + shifts.missed)
  return { ...judged(rows, wanted, outOfScopeAt), shiftF1: shifts.hit + shifts.missed === 0 ? null : shiftF1 }
}

/** Accuracy over what is in scope, by the best label in scope. */
function judged(
  rows: readonly Float32Array[],
  wanted: readonly number[],
  outOfScopeAt: number,
): Omit<HeldOutReport, 'shiftF1'> {
  const confidences: number[] = []
  const hits: boolean[] = []
  const inside: number[] = []
  const outside: number[] = []
  rows.forEach((row, at) => {
    const inScope = outOfScopeAt < 0 ? 1 : 1 - Math.exp(row[outOfScopeAt]!)
    if (wanted[at] === outOfScopeAt) return void outside.push(inScope)
    inside.push(inScope)
    const candidates = outOfScopeAt < 0 ? row : row.map((value, label) => (label === outOfScopeAt ? -Infinity : value))
    const best = indexOfMost(candidates)
    confidences.push(Math.exp(row[best]!))
    hits.push(best === wanted[at])
  })
  return {
    examples: rows.length,
    accuracy: hits.filter(Boolean).length / Math.max(1, hits.length),
    calibrationError: calibrationError(confidences, hits),
    outOfScopeArea: outside.length === 0 ? null : areaUnderCurve(inside, outside),
  }
}

const featuresOf = ({ embedding, buckets }: HeadExample): TextFeatures => ({
  embedding,
  buckets,
  bucketCount: buckets.length,
  tokens: NO_TOKENS,
  tokenCount: 0,
  words: 0,
  unknownShare: 0,
  foreignShare: 0,
  stretch: 1,
})
const NO_TOKENS = new Int32Array(0)

function emissions(head: SoftmaxHead, examples: readonly HeadExample[]): Float32Array[] {
  return examples.map((example) => {
    const row = new Float32Array(head.labels.length)
    head.logProbabilities(featuresOf(example), row)
    return row
  })
}

function splitByLabel(
  examples: readonly HeadExample[],
  random: () => number,
): { readonly train: HeadExample[]; readonly judge: HeadExample[] } {
  const byLabel = new Map<number, HeadExample[]>()
  for (const example of examples) {
    const of = byLabel.get(example.label) ?? []
    of.push(example)
    byLabel.set(example.label, of)
  }
  const train: HeadExample[] = []
  const judge: HeadExample[] = []
  for (const of of byLabel.values()) {
    const order = shuffled(of, random)
    const held = Math.floor(order.length / HELD_OUT_ONE_IN)
    judge.push(...order.slice(0, held))
    train.push(...order.slice(held))
  }
  return { train, judge }
}

/** The fold of each dialogue. */
function foldsOf(count: number, random: () => number): Int32Array {
  const folds = new Int32Array(count)
  shuffled(Array.from({ length: count }, (_, at) => at), random).forEach((at, place) => {
    folds[at] = place % FOLDS
  })
  return folds
}
