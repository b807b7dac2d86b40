/**
 * `fingerprint.topics` and `.intents`: a folder of a trained taxonomy, labels with a few sentences each, or both:
 *
 *   topics: ./my-topics
 *   topics: { billing: ["Why was I charged twice?", "I need an invoice for March"] }
 *   topics: { from: ./my-topics, billing: [...] }
 *
 * `from` with a text names the folder; with a list it is a label like any other.
 */
import { resolve } from 'node:path'
import { describe, isMapping, type Place, type Reader } from './place.ts'
import { text } from './values.ts'

export type OwnLabels = {
  /** Absolute; null: the shipped taxonomy. */
  readonly folder: string | null
  readonly examples: ReadonlyMap<string, readonly string[]>
}
export const NO_OWN_LABELS: OwnLabels = { folder: null, examples: new Map() }

/** A label costs a microsecond a turn and 4 bytes a conversation; 64 double what a short message takes. */
const MOST_LABELS = 64
const MOST_SENTENCES = 500
/** From one sentence it cannot be told what is common to them. */
const FEWEST_OF_A_LABEL = 2
/** More are training data: `homing taxonomy train` learns from them. */
const MOST_OF_A_LABEL = 50
const LONGEST_NAME = 64
const LONGEST_SENTENCE = 1000

export function ownLabels(folder: string): Reader<OwnLabels> {
  return (value, place) => {
    if (typeof value === 'string') return withFolder(value, place, folder, new Map())
    if (!isMapping(value)) {
      return place.problem(`expected a folder of a trained taxonomy, or labels with a list of sentences each, but got ${describe(value)}`)
    }
    const { from, ...others } = value
    const labels = typeof from === 'string' ? others : value
    const examples = readLabels(labels, place)
    return typeof from === 'string' ? withFolder(from, place.at('from'), folder, examples) : { folder: null, examples }
  }
}

function withFolder(value: string, place: Place, folder: string, examples: OwnLabels['examples']): OwnLabels | undefined {
  const path = text(value, place)
  return path === undefined ? undefined : { folder: resolve(folder, path), examples }
}

function readLabels(labels: Readonly<Record<string, unknown>>, place: Place): OwnLabels['examples'] {
  const examples = new Map<string, readonly string[]>()
  const owners = new Map<string, string>()
  const spellings = new Map<string, string>()
  let sentences = 0
  for (const [label, value] of Object.entries(labels)) {
    const at = place.at(label)
    const name = label.toLowerCase()
    const other = spellings.get(name)
    spellings.set(name, label)
    if (label !== label.trim() || label === '' || label.length > LONGEST_NAME || /\p{Cc}/u.test(label)) {
      at.problem(`a label is 1 to ${LONGEST_NAME} characters, without control characters and without space around it`)
    } else if (other !== undefined) {
      at.problem(`is the label '${other}' in another spelling; keep one`)
    } else {
      const read = readSentences(value, at, label, owners)
      sentences += read.length
      examples.set(label, read)
    }
  }
  if (examples.size > MOST_LABELS) {
    place.problem(`has ${examples.size} labels; ${MOST_LABELS} are the most that can be given by sentences: train a taxonomy instead`)
  }
  if (sentences > MOST_SENTENCES) {
    place.problem(`has ${sentences} sentences; ${MOST_SENTENCES} are the most: train a taxonomy instead`)
  }
  return examples
}

/** `owners`: the label of each sentence so far. What is wrong is reported, and what is right returned. */
function readSentences(value: unknown, place: Place, label: string, owners: Map<string, string>): readonly string[] {
  if (!Array.isArray(value)) {
    place.problem(`expected a list of sentences, but got ${describe(value)}`)
    return []
  }
  const read: string[] = []
  value.forEach((entry: unknown, index) => {
    const at = place.at(index)
    const sentence = text(entry, at)?.trim()
    if (sentence === undefined) return
    if (sentence.length > LONGEST_SENTENCE) {
      at.problem(`is ${sentence.length} characters long; ${LONGEST_SENTENCE} are the most of a sentence`)
      return
    }
    const owner = owners.get(sentence.toLowerCase())
    owners.set(sentence.toLowerCase(), label)
    if (owner === label) at.problem('is given twice')
    else if (owner !== undefined) at.problem(`is a sentence of '${owner}' too; it cannot tell the two apart`)
    else read.push(sentence)
  })
  if (value.length < FEWEST_OF_A_LABEL) {
    place.problem(`has ${value.length} sentences; ${FEWEST_OF_A_LABEL} different ones are the fewest, 3 to 10 are good`)
  }
  if (value.length > MOST_OF_A_LABEL) {
    place.problem(`has ${value.length} sentences; ${MOST_OF_A_LABEL} are the most of a label: train a taxonomy instead`)
  }
  return read
}
