/**
 * Names of people, organisations, places and products: a linear model over hashed features, decoded by Viterbi over runs
 * of candidates. Trained as a structured averaged perceptron (training/names.ts). 3 to 10 microseconds a candidate, nothing for
 * the rest.
 *
 * Tags: 0 outside, then begin and inside of each type.
 */
import { FingerprintFileError, type SectionFile } from '../section-file.ts'
import type { NameFinder } from './find-entities.ts'
import { FEATURE_BITS, Words, type WordFacts } from './name-features.ts'
import type { EntityType, Spans } from './spans.ts'

export const NAME_TYPES: readonly EntityType[] = ['person', 'location', 'organisation', 'product']
export const TAGS = 1 + 2 * NAME_TYPES.length
export const OUTSIDE = 0
export const beginOf = (type: number): number => 1 + 2 * type
export const insideOf = (type: number): number => 2 + 2 * type
const MOST_FEATURES = 32
const MOST_RUN = 64

export type TaggerWeights = {
  /** Row of a bucket + 1; 0 for none. */
  readonly rows: Int32Array
  readonly weights: ArrayLike<number>
  /** From each tag to each, in units of `weights`. */
  readonly transitions: ArrayLike<number>
}

/** Whether a tag may follow another: the inside of a type only follows its begin or inside. */
export const follows = (before: number, tag: number): boolean =>
  tag === OUTSIDE || tag % 2 === 1 || before === tag || before === tag - 1

export class NameDecoder {
  readonly words = new Words()
  readonly tags = new Uint8Array(2000)
  readonly features = new Int32Array(MOST_FEATURES)
  readonly #scores = new Float64Array(MOST_RUN * TAGS)
  readonly #back = new Uint8Array(MOST_RUN * TAGS)

  /** Tags every word; `words` must have been read. */
  decode(text: string, model: TaggerWeights): void {
    const { words, tags } = this
    tags.fill(OUTSIDE, 0, words.count)
    for (let at = 0; at < words.count; at++) {
      if (words.candidates[at] === 0) continue
      let end = at + 1
      while (end < words.count && words.candidates[end] === 1 && end - at < MOST_RUN) end++
      this.#run(text, at, end, model)
      at = end - 1
    }
  }

  #run(text: string, from: number, to: number, { rows, weights, transitions }: TaggerWeights): void {
    const scores = this.#scores
    const back = this.#back
    for (let at = from; at < to; at++) {
      const place = (at - from) * TAGS
      scores.fill(0, place, place + TAGS)
      const count = this.words.features(text, at, this.features)
      for (let feature = 0; feature < count; feature++) {
        const row = rows[this.features[feature]!]!
        if (row === 0) continue
        const start = (row - 1) * TAGS
        for (let tag = 0; tag < TAGS; tag++) scores[place + tag]! += weights[start + tag]!
      }
      for (let tag = 0; tag < TAGS; tag++) {
        let best = -Infinity
        let origin = 0
        for (let before = 0; before < TAGS; before++) {
          if (at === from ? before !== OUTSIDE : false) continue
          if (!follows(before, tag)) continue
          const score = (at === from ? 0 : scores[place - TAGS + before]!) + transitions[before * TAGS + tag]!
          if (score > best) {
            best = score
            origin = before
          }
        }
        // the row before holds totals, this one is still being filled: emissions are added last
        back[place + tag] = origin
        this.#totals[tag] = best + scores[place + tag]!
      }
      for (let tag = 0; tag < TAGS; tag++) scores[place + tag] = this.#totals[tag]!
    }
    const last = (to - from - 1) * TAGS
    let tag = 0
    for (let other = 1; other < TAGS; other++) if (scores[last + other]! > scores[last + tag]!) tag = other
    for (let at = to - 1; at >= from; at--) {
      this.tags[at] = tag
      tag = back[(at - from) * TAGS + tag]!
    }
  }
  readonly #totals = new Float64Array(TAGS)
}

/** Sorted hashes with a byte each; looked up by an open table that is built at start. */
export class HashTable {
  readonly #slots: Int32Array
  readonly #values: Uint16Array
  readonly #mask: number

  constructor(hashes: Int32Array, values: ArrayLike<number>) {
    let size = 1024
    while (size < 2.5 * hashes.length) size *= 2
    this.#mask = size - 1
    this.#slots = new Int32Array(size)
    this.#values = new Uint16Array(size)
    hashes.forEach((hash, at) => {
      let slot = this.#first(hash)
      while (this.#values[slot] !== 0 && this.#slots[slot] !== hash) slot = (slot + 1) & this.#mask
      this.#slots[slot] = hash
      this.#values[slot] = values[at]!
    })
  }

  #first(hash: number): number {
    return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) & this.#mask
  }

  /** 0 when it is not there. */
  get(hash: number): number {
    let slot = this.#first(hash)
    while (this.#values[slot] !== 0) {
      if (this.#slots[slot] === hash) return this.#values[slot]!
      slot = (slot + 1) & this.#mask
    }
    return 0
  }
}

export class NameTagger implements NameFinder {
  readonly #decoder = new NameDecoder()
  readonly #model: TaggerWeights
  readonly #facts: WordFacts

  constructor(model: TaggerWeights, facts: WordFacts) {
    this.#model = model
    this.#facts = facts
  }

  static load(file: SectionFile): NameTagger {
    const buckets = file.numbers('names.buckets', Uint32Array)
    const weights = file.numbers('names.weights', Int8Array)
    if (weights.length !== buckets.length * TAGS) throw new FingerprintFileError(file.path, 'has a name tagger that does not fit its tags')
    const rows = new Int32Array(1 << FEATURE_BITS)
    buckets.forEach((bucket, row) => {
      rows[bucket] = row + 1
    })
    const transitions = file.numbers('names.transitions', Float32Array)
    return new NameTagger({ rows, weights, transitions }, loadFacts(file))
  }

  find(spans: Spans): void {
    const { words, tags } = this.#decoder
    words.read(spans.text, this.#facts, (start, end) => spans.free(start, end))
    this.#decoder.decode(spans.text, this.#model)
    for (let at = 0; at < words.count; at++) {
      const tag = tags[at]!
      if (tag === OUTSIDE) continue
      const type = (tag - 1) >> 1
      let end = at
      while (end + 1 < words.count && tags[end + 1] === insideOf(type)) end++
      spans.add(NAME_TYPES[type]!, words.starts[at]!, words.ends[end]!)
      at = end
    }
  }
}

export function loadFacts(file: SectionFile): WordFacts {
  const gazetteer = new HashTable(file.numbers('gazetteer.hashes', Int32Array), file.numbers('gazetteer.kinds', Uint8Array))
  const clusters = new HashTable(file.numbers('clusters.hashes', Int32Array), file.numbers('clusters.places', Uint16Array))
  return { gazetteer: (hash) => gazetteer.get(hash), cluster: (hash) => clusters.get(hash) }
}
