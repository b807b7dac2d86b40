/**
 * The lines that an operator trains a taxonomy from: `{"text","label"}` or `{"turns":[{"speaker","text","label"?}]}`, one JSON
 * object a line. Everything that cannot be learnt from is refused with its line and the reason: nothing is dropped
 * silently.
 */
import { isObject, type JsonObject } from '../model/json.ts'

export type LabelledText = {
  readonly text: string
  readonly label: string
  /** How much it counts; 1 where it is left out. */
  readonly weight?: number
}
export type LabelledTurn = {
  readonly speaker: 'user' | 'assistant'
  readonly text: string
  readonly label: string | null
}
export type TrainingSet =
  | { readonly kind: 'texts'; readonly texts: readonly LabelledText[] }
  | { readonly kind: 'dialogues'; readonly dialogues: readonly (readonly LabelledTurn[])[] }

const FEWEST_EXAMPLES = 5
const MOST_EXAMPLES = 100_000
const FEWEST_PER_LABEL = 2
const FEWEST_DIALOGUES = 5

export class TrainingLinesError extends Error {
  constructor(path: string, why: string) {
    super(`${path}: ${why}`)
    this.name = 'TrainingLinesError'
  }
}

export function readTrainingLines(path: string, content: string, outOfScope: string): TrainingSet {
  const refuse = (why: string): never => {
    throw new TrainingLinesError(path, why)
  }
  const texts: LabelledText[] = []
  const dialogues: LabelledTurn[][] = []
  content.split('\n').forEach((line, at) => {
    if (line.trim() === '') return
    const where = `line ${at + 1}`
    const row = parsed(line)
    if (row === null) return refuse(`${where} is not a JSON object`)
    if (Array.isArray(row['turns'])) dialogues.push(row['turns'].map((turn, place) => turnOf(turn, where, place, refuse)))
    else {
      const { text, label } = row
      if (typeof text !== 'string' || typeof label !== 'string' || label === '') {
        return refuse(`${where} needs "text" and "label" (texts), or "turns"`)
      }
      texts.push({ text, label })
    }
  })
  if (texts.length > 0 && dialogues.length > 0) return refuse('has labelled texts and dialogues; use one form in a file')
  const examples: readonly LabelledText[] = [
    ...texts,
    ...dialogues.flatMap((turns) =>
      turns.flatMap(({ text, label }) => (label === null ? [] : [{ text, label }])),
    ),
  ]
  if (examples.length < FEWEST_EXAMPLES) {
    return refuse(`has ${examples.length} labelled examples; ${FEWEST_EXAMPLES} are the fewest to learn from`)
  }
  if (examples.length > MOST_EXAMPLES) {
    return refuse(`has ${examples.length} labelled examples; ${MOST_EXAMPLES} are the most`)
  }
  if (dialogues.length > 0 && dialogues.length < FEWEST_DIALOGUES) {
    return refuse(`has ${dialogues.length} dialogues; ${FEWEST_DIALOGUES} are the fewest to learn from`)
  }
  checkLabels(examples, outOfScope, refuse)
  return dialogues.length > 0 ? { kind: 'dialogues', dialogues } : { kind: 'texts', texts }
}

function checkLabels(examples: readonly LabelledText[], outOfScope: string, refuse: (why: string) => never): void {
  const different = new Map<string, Set<string>>()
  for (const { text, label } of examples) {
    const seen = different.get(label) ?? new Set()
    different.set(label, seen.add(text.trim().toLowerCase()))
  }
  const labels = [...different.keys()].filter((label) => label !== outOfScope)
  if (labels.length < 2) refuse(`has ${labels.length} labels in scope; at least 2 are needed`)
  for (const label of labels) {
    const count = different.get(label)!.size
    if (count >= FEWEST_PER_LABEL) continue
    const given = examples.filter((example) => example.label === label).length
    const same = given > 1 ? `${given} examples that are all the same` : 'one example'
    refuse(`label "${label}" has ${same}; ${FEWEST_PER_LABEL} different ones are the fewest`)
  }
}

function turnOf(value: unknown, where: string, place: number, refuse: (why: string) => never): LabelledTurn {
  if (!isObject(value) || typeof value['text'] !== 'string') return refuse(`${where}: turns[${place}] needs "text"`)
  const speaker = speakerOf(value['speaker'])
  if (speaker === null) return refuse(`${where}: turns[${place}].speaker must be USER or SYSTEM`)
  const { label } = value
  if (label !== undefined && label !== null && (typeof label !== 'string' || label === '')) {
    return refuse(`${where}: turns[${place}].label must be a text`)
  }
  return { speaker, text: value['text'], label: label ?? null }
}

export function speakerOf(value: unknown): 'user' | 'assistant' | null {
  if (typeof value !== 'string') return null
  const speaker = value.toLowerCase()
  if (speaker === 'user' || speaker === 'human') return 'user'
  return ['system', 'assistant', 'agent', 'tool'].includes(speaker) ? 'assistant' : null
}

function parsed(line: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(line)
    return isObject(value) ? value : null
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}
