/**
 * A subject as numbers: what expertise is linear in.
 *
 *   level 1 | one per topic: its probability | the intent: its probability | one per kind: its probability
 *
 * A feature gets the next free place when its label is first seen and keeps it, so sums over pairs of features grow at their
 * end. Each group has a bound; labels beyond it share one last feature, `(others)`, and are counted. Complexity is not among
 * them: it made choices worse on both outcome matrices (bench record). O(labels of the subject), and 7 microseconds for kinds.
 */
import type { Labelled } from '../model/fingerprint.ts'
import type { Subject } from '../model/quality.ts'
import { KindFinder, KINDS, type KindBook } from './expertise-kinds.ts'

export const FEATURE_GROUPS = ['level', 'topic', 'intent', 'kind'] as const
export type FeatureGroup = (typeof FEATURE_GROUPS)[number]
export type NamedFeature = readonly [group: FeatureGroup, label: string]

/** Sparse: `count` pairs of place and value. Belongs to its reader, which fills it anew. */
export type FeatureVector = { count: number; readonly places: Int32Array; readonly values: Float64Array }

export const LEVEL = 0
/** Label of what did not find a place any more. */
export const OTHERS = '(others)'
/** The taxonomies that are shipped have 18 topics and 10 intents. */
const MOST_LABELS: Readonly<Record<FeatureGroup, number>> = { level: 1, topic: 32, intent: 16, kind: KINDS }
/** Less probable topics are left to those that remain: they cost time and say nothing. */
const NEGLIGIBLE = 0.01
const MOST_TOPICS = 16

export class SubjectFeatures {
  readonly finder = new KindFinder()
  readonly #features: NamedFeature[] = [['level', '']]
  readonly #places: Record<FeatureGroup, Map<string, number>> = { level: new Map([['', LEVEL]]), topic: new Map(), intent: new Map(), kind: new Map() }
  readonly #vector: FeatureVector = { count: 0, places: new Int32Array(MOST_TOPICS + KINDS + 2), values: new Float64Array(MOST_TOPICS + KINDS + 2) }
  /** How often a label found no place of its own. */
  overflowed = 0

  get size(): number {
    return this.#features.length
  }

  get named(): readonly NamedFeature[] {
    return this.#features
  }

  groupOf(place: number): FeatureGroup {
    return this.#features[place]![0]
  }

  placesOf(group: FeatureGroup): ReadonlyMap<string, number> {
    return this.#places[group]
  }

  /** The place of a label, a new one where it has none. */
  placeOf(group: FeatureGroup, label: string): number {
    const known = this.#places[group]
    const place = known.get(label)
    if (place !== undefined) return place
    if (known.size >= MOST_LABELS[group] - 1 && label !== OTHERS && group !== 'kind') {
      this.overflowed++
      return this.placeOf(group, OTHERS)
    }
    known.set(label, this.size)
    this.#features.push([group, label])
    return this.size - 1
  }

  /** The same object is filled again by the next call. */
  read(subject: Subject, withKinds = true): FeatureVector {
    const vector = this.#vector
    vector.count = 0
    put(vector, LEVEL, 1)
    this.#readTopics(vector, subject.topics)
    if (subject.intent[1] > 0) put(vector, this.placeOf('intent', subject.intent[0]), subject.intent[1])
    if (!withKinds) return vector
    if (subject.kinds !== undefined) this.#readKinds(vector, subject.kinds)
    else if (this.finder.assign(subject)) {
      const { probabilities } = this.finder
      for (let kind = 0; kind < KINDS; kind++) {
        if (probabilities[kind]! > 0) put(vector, this.placeOf('kind', String(kind)), probabilities[kind]!)
      }
    }
    return vector
  }

  /** Without embedding and shape, whose place the kinds take; the labels name the book that they are of. */
  compact(subject: Subject): Subject {
    const { topics, intent, inScope, complexity } = subject
    const rest = { topics, intent, inScope, complexity }
    if (subject.kinds !== undefined || !this.finder.assign(subject)) return subject.kinds === undefined ? rest : { ...rest, kinds: subject.kinds }
    const book = bookName(this.finder.book!)
    const kinds: Labelled[] = []
    this.finder.probabilities.forEach((probability, kind) => {
      if (probability > 0) kinds.push([`${book}/${kind}`, probability])
    })
    return { ...rest, kinds }
  }

  #readTopics(vector: FeatureVector, topics: readonly Labelled[]): void {
    let kept = 0
    let sum = 0
    for (const [, probability] of topics) {
      if (kept === MOST_TOPICS || !(probability >= NEGLIGIBLE)) continue
      kept++
      sum += probability
    }
    for (const [label, probability] of topics) {
      if (kept === 0) return
      if (!(probability >= NEGLIGIBLE)) continue
      put(vector, this.placeOf('topic', label), probability / sum)
      kept--
    }
  }

  /** Kinds of another book say nothing here. */
  #readKinds(vector: FeatureVector, kinds: readonly Labelled[]): void {
    const { book } = this.finder
    if (book === null) return
    const prefix = `${bookName(book)}/`
    for (const [label, probability] of kinds) {
      if (label.startsWith(prefix)) put(vector, this.placeOf('kind', label.slice(prefix.length)), probability)
    }
  }
}

export const bookName = (book: KindBook): string => book.madeAtMs.toString(36)

/** Labels that share a place add up. */
function put(vector: FeatureVector, place: number, value: number): void {
  for (let at = 0; at < vector.count; at++) {
    if (vector.places[at] === place) return void (vector.values[at]! += value)
  }
  vector.places[vector.count] = place
  vector.values[vector.count++] = value
}
