/**
 * Trains the name tagger: a structured averaged perceptron over WNUT17 (gold, noisy text) and the silver sentences of
 * silver.py, with the gazetteer as features. Then keeps the strongest rows as int8.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { seededRandom } from '../sim/random.ts'
import { FEATURE_BITS, GAZETTEER_KINDS, runOf, wordHash, type WordFacts } from '../src/fingerprint/entities/name-features.ts'
import {
  beginOf,
  HashTable,
  insideOf,
  NAME_TYPES,
  NameDecoder,
  type NameTagger,
  TAGS,
  type TaggerWeights,
} from '../src/fingerprint/entities/name-tagger.ts'
import { Spans, type EntityType } from '../src/fingerprint/entities/spans.ts'
import type { SectionWriter } from '../src/fingerprint/section-file.ts'
import { rowsOf } from './labelled.ts'

export type NamedText = { readonly text: string; readonly spans: readonly (readonly [EntityType, number, number])[] }

const WNUT_TYPES: Readonly<Record<string, EntityType>> = {
  person: 'person',
  location: 'location',
  corporation: 'organisation',
  group: 'organisation',
  product: 'product',
  'creative-work': 'product',
}
const EPOCHS = 6
const MOST_ROWS = 45_000
const FACTOR = 1 << FEATURE_BITS

/** Tokens are joined by blanks. */
export function wnut(path: string): NamedText[] {
  return readFileSync(path, 'utf8')
    .split(/\n\s*\n/)
    .filter((block) => block.trim() !== '')
    .map((block) => {
      let text = ''
      const spans: [EntityType, number, number][] = []
      for (const line of block.split('\n').filter((one) => one.includes('\t'))) {
        const [token = '', tag = 'O'] = line.split('\t')
        if (text !== '') text += ' '
        const start = text.length
        text += token
        const type = WNUT_TYPES[tag.slice(2).trim()]
        if (type === undefined) continue
        if (tag.startsWith('I') && spans.length > 0) spans.at(-1)![2] = text.length
        else spans.push([type, start, text.length])
      }
      return { text, spans }
    })
}

export type NameFacts = {
  readonly facts: WordFacts
  save(file: SectionWriter): void
}

/** The gazetteer and the clusters of words, as hashes. */
export function readFacts(cache: string): NameFacts {
  const names = JSON.parse(readFileSync(join(cache, 'gazetteer.json'), 'utf8')) as Record<string, string[]>
  const kinds = new Map<number, number>()
  for (const [kind, words] of Object.entries(names)) {
    const bit = 1 << GAZETTEER_KINDS.indexOf(kind as (typeof GAZETTEER_KINDS)[number])
    for (const name of words) {
      const parts = name.split(/[\s.,]+/).filter((part) => part !== '')
      if (parts.length === 0 || parts.length > 4) continue
      if (parts.length === 1 && parts[0]!.length < 3) continue
      const hash = parts.map(wordHash).reduce((head, word, at) => (at === 0 ? word : runOf(head, word)))
      kinds.set(hash, (kinds.get(hash) ?? 0) | bit)
    }
  }
  const hashes = Int32Array.from(kinds.keys())
  const masks = Uint8Array.from(kinds.values())
  const vocabulary = readFileSync(join(cache, 'vocabulary.txt'), 'utf8').split('\n')
  const clusterBytes = readFileSync(join(cache, 'clusters.u8'))
  const words = vocabulary.flatMap((piece, at) => (/^[a-z]{2,}$/.test(piece) ? [{ hash: wordHash(piece), cluster: 1 + clusterBytes[at]! }] : []))
  const clusterHashes = Int32Array.from(words, ({ hash }) => hash)
  const clusterPlaces = Uint16Array.from(words, ({ cluster }) => cluster)
  const gazetteer = new HashTable(hashes, masks)
  const clusters = new HashTable(clusterHashes, clusterPlaces)
  return {
    facts: { gazetteer: (hash) => gazetteer.get(hash), cluster: (hash) => clusters.get(hash) },
    save(file) {
      file.add('gazetteer.hashes', hashes)
      file.add('gazetteer.kinds', masks)
      file.add('clusters.hashes', clusterHashes)
      file.add('clusters.places', clusterPlaces)
    },
  }
}

/** WNUT is repeated, since it is small and what noisy text looks like. */
const WNUT_TIMES = 2

export function trainNames(cache: string, data: string, { facts }: NameFacts): TaggerWeights & { buckets: Uint32Array } {
  const gold = wnut(join(data, 'wnut17-train.conll'))
  const judged = new Set(wnut(join(data, 'wnut17-dev.conll')).map(({ text }) => text))
  const own = new Set(gold.map(({ text }) => text))
  const silver = rowsOf<NamedText>(join(cache, 'silver.jsonl')).filter(({ text }, at) => at % SILVER_HELD_OUT_ONE_IN !== 0 && !judged.has(text) && !own.has(text))
  const all = [...silver, ...Array.from({ length: WNUT_TIMES }, () => gold).flat()]
  const random = seededRandom(17)
  const weights = new Float32Array(FACTOR * TAGS)
  const sums = new Float64Array(FACTOR * TAGS)
  const stamps = new Int32Array(FACTOR * TAGS)
  const transitions = new Float32Array(TAGS * TAGS)
  const transitionSums = new Float64Array(TAGS * TAGS)
  const rows = Int32Array.from({ length: FACTOR }, (_, at) => at + 1)
  const decoder = new NameDecoder()
  const wanted = new Uint8Array(2000)
  let step = 0
  const bump = (at: number, by: number): void => {
    sums[at]! += (step - stamps[at]!) * weights[at]!
    stamps[at] = step
    weights[at]! += by
  }
  const order = all.map((_, at) => at)
  for (let epoch = 0; epoch < EPOCHS; epoch++) {
    for (let place = order.length - 1; place > 0; place--) {
      const other = Math.floor(random() * (place + 1))
      ;[order[place], order[other]] = [order[other]!, order[place]!]
    }
    for (const at of order) {
      step++
      const { text, spans } = all[at]!
      const { words } = decoder
      words.read(text, facts, () => true)
      tagsOf(decoder, spans, wanted)
      decoder.decode(text, { rows, weights, transitions })
      let same = true
      for (let word = 0; word < words.count && same; word++) same = decoder.tags[word] === wanted[word]
      if (!same) {
        for (let word = 0; word < words.count; word++) {
          if (words.candidates[word] === 0) continue
          const right = wanted[word]!
          const guess = decoder.tags[word]!
          const beforeRight = word > 0 && words.candidates[word - 1] === 1 ? wanted[word - 1]! : 0
          const beforeGuess = word > 0 && words.candidates[word - 1] === 1 ? decoder.tags[word - 1]! : 0
          if (right !== guess || beforeRight !== beforeGuess) {
            transitions[beforeRight * TAGS + right]! += 1
            transitions[beforeGuess * TAGS + guess]! -= 1
          }
          if (right === guess) continue
          const count = words.features(text, word, decoder.features)
          for (let feature = 0; feature < count; feature++) {
            bump(decoder.features[feature]! * TAGS + right, 1)
            bump(decoder.features[feature]! * TAGS + guess, -1)
          }
        }
      }
      for (let pair = 0; pair < transitions.length; pair++) transitionSums[pair]! += transitions[pair]!
    }
  }
  for (let at = 0; at < weights.length; at++) weights[at] = (sums[at]! + (step - stamps[at]!) * weights[at]!) / step
  return strongest(weights, transitionSums.map((sum) => sum / step))
}

export const SILVER_HELD_OUT_ONE_IN = 12

/** Tags of the words from spans; a candidate that is not one cannot be tagged, so what begins there is begun later. */
function tagsOf({ words }: NameDecoder, spans: NamedText['spans'], into: Uint8Array): void {
  into.fill(0, 0, words.count)
  for (const [type, start, end] of spans) {
    const kind = NAME_TYPES.indexOf(type)
    let begun = false
    for (let at = 0; at < words.count; at++) {
      if (words.starts[at]! < start || words.ends[at]! > end || words.candidates[at] === 0) {
        if (begun && words.starts[at]! >= start) break
        continue
      }
      into[at] = begun ? insideOf(kind) : beginOf(kind)
      begun = true
    }
  }
}

/** The strongest rows as int8, transitions in the same unit. */
function strongest(weights: Float32Array, transitions: Float64Array): TaggerWeights & { buckets: Uint32Array } {
  const strength: number[] = []
  for (let bucket = 0; bucket < FACTOR; bucket++) {
    let most = 0
    for (let tag = 0; tag < TAGS; tag++) most = Math.max(most, Math.abs(weights[bucket * TAGS + tag]!))
    strength.push(most)
  }
  const kept = [...strength.keys()].filter((bucket) => strength[bucket]! > 0).sort((left, right) => strength[right]! - strength[left]!).slice(0, MOST_ROWS).sort((left, right) => left - right)
  // a few rows (the constant) are far stronger than the rest: what is beyond the scale is cut
  const sorted = kept.map((bucket) => strength[bucket]!).sort((left, right) => left - right)
  const scale = sorted[Math.floor(0.998 * (sorted.length - 1))]! / 127
  const small = new Int8Array(kept.length * TAGS)
  const rows = new Int32Array(FACTOR)
  kept.forEach((bucket, row) => {
    rows[bucket] = row + 1
    for (let tag = 0; tag < TAGS; tag++) {
      small[row * TAGS + tag] = Math.max(-127, Math.min(127, Math.round(weights[bucket * TAGS + tag]! / scale)))
    }
  })
  return { rows, weights: small, transitions: Float32Array.from(transitions, (value) => value / scale), buckets: Uint32Array.from(kept) }
}

export function saveNames(model: TaggerWeights & { buckets: Uint32Array }, file: SectionWriter): void {
  file.add('names.buckets', model.buckets)
  file.add('names.weights', model.weights as Int8Array)
  file.add('names.transitions', Float32Array.from(model.transitions))
}

const JUDGED: ReadonlySet<EntityType> = new Set(['person', 'location', 'organisation'])

/** F1 of people, places and organisations: exact span and type, and any overlap of whatever type. */
export function judgedNames(tagger: NameTagger, texts: readonly NamedText[]): { exact: number; any: number } {
  let [exact, overlap, found, wanted, anyFound] = [0, 0, 0, 0, 0]
  for (const { text, spans } of texts) {
    const all = new Spans(text)
    tagger.find(all)
    const got = all.sorted.filter(({ type }) => JUDGED.has(type))
    const right = spans.filter(([type]) => JUDGED.has(type))
    found += got.length
    wanted += right.length
    for (const [type, start, end] of right) {
      if (got.some((one) => one.type === type && one.start === start && one.end === end)) exact++
      if (got.some((one) => one.start < end && one.end > start)) overlap++
    }
    for (const one of got) if (right.some(([, start, end]) => one.start < end && one.end > start)) anyFound++
  }
  const f1 = (precision: number, recall: number): number => (2 * precision * recall) / Math.max(1e-9, precision + recall)
  return {
    exact: f1(exact / Math.max(1, found), exact / Math.max(1, wanted)),
    any: f1(anyFound / Math.max(1, found), overlap / Math.max(1, wanted)),
  }
}
