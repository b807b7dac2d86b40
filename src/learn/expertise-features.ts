/**
 * A subject as numbers: what expertise is linear in.
 *
 *   level 1 | one per topic: its probability | one per intent: its probability | complexity, from the middle
 *
 * A feature gets the next free place when its label is first seen and keeps it, so sums over pairs of features grow at their
 * end. Each kind has a bound; labels beyond it share one last feature, `(others)`, and are counted. O(topics of the subject).
 */
import type { Subject } from '../model/quality.ts'

export const FEATURE_KINDS = ['level', 'topic', 'intent', 'complexity'] as const
export type FeatureKind = (typeof FEATURE_KINDS)[number]

/** Sparse: `count` pairs of place and value. Belongs to its reader, which fills it anew. */
export type FeatureVector = { count: number; readonly places: Int32Array; readonly values: Float64Array }

export const LEVEL = 0
export const COMPLEXITY = 1
/** Label of what did not find a place any more. */
export const OTHERS = '(others)'
/** The taxonomy that is shipped has 18 topics and 12 intents. */
const MOST_LABELS: Readonly<Record<FeatureKind, number>> = { level: 1, complexity: 1, topic: 32, intent: 16 }
/** Less probable topics are left to those that remain: they cost time and say nothing. */
const NEGLIGIBLE = 0.01
const MOST_IN_SUBJECT = 16

export class SubjectFeatures {
  readonly #kinds: FeatureKind[] = ['level', 'complexity']
  readonly #labels: string[] = ['', '']
  readonly #places = { topic: new Map<string, number>(), intent: new Map<string, number>() }
  readonly #vector: FeatureVector = vectorOf(MOST_IN_SUBJECT + 3)
  /** Labels that came after the last place was taken, each time. */
  overflowed = 0

  get size(): number {
    return this.#kinds.length
  }

  kindOf(place: number): FeatureKind {
    return this.#kinds[place]!
  }

  labelOf(place: number): string {
    return this.#labels[place]!
  }

  get topics(): IterableIterator<[string, number]> {
    return this.#places.topic.entries()
  }

  /** The place of a label, a new one where it has none. */
  placeOf(kind: 'topic' | 'intent', label: string): number {
    const known = this.#places[kind]
    const place = known.get(label)
    if (place !== undefined) return place
    if (known.size >= MOST_LABELS[kind] - 1 && label !== OTHERS) {
      this.overflowed++
      return this.placeOf(kind, OTHERS)
    }
    known.set(label, this.size)
    this.#kinds.push(kind)
    this.#labels.push(label)
    return this.size - 1
  }

  /** The same object is filled again by the next call. */
  read(subject: Subject): FeatureVector {
    const vector = this.#vector
    vector.count = 0
    put(vector, LEVEL, 1)
    put(vector, COMPLEXITY, subject.complexity - 0.5)
    let kept = 0
    let sum = 0
    for (const [, probability] of subject.topics) {
      if (kept < MOST_IN_SUBJECT && probability >= NEGLIGIBLE) {
        kept++
        sum += probability
      }
    }
    let left = kept
    for (const [label, probability] of subject.topics) {
      if (left === 0) break
      if (probability < NEGLIGIBLE) continue
      put(vector, this.placeOf('topic', label), probability / sum)
      left--
    }
    put(vector, this.placeOf('intent', subject.intent[0]), subject.intent[1])
    return vector
  }
}

export const vectorOf = (most: number): FeatureVector => ({ count: 0, places: new Int32Array(most), values: new Float64Array(most) })

/** Adds to the value of a place: several labels may share one. */
export function put(vector: FeatureVector, place: number, value: number): void {
  for (let at = 0; at < vector.count; at++) {
    if (vector.places[at] === place) return void (vector.values[at]! += value)
  }
  vector.places[vector.count] = place
  vector.values[vector.count++] = value
}
