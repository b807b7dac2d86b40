/**
 * What the name tagger looks at: the words of a text as integers, and for each candidate two dozen hashed features. A candidate is a
 * word that begins with a capital or is in the gazetteer, or a connector ("of", "the", "&") between two of them; every
 * other word is outside by definition and costs nothing. No strings are built: words are hashes of their lower-case units.
 */
export const FEATURE_BITS = 18
const FEATURE_MASK = (1 << FEATURE_BITS) - 1
const FNV_PRIME = 0x01000193
const SEED = 0x811c9dc5
export const MOST_WORDS = 2000

/** Bits of the gazetteer's mask. */
export const GAZETTEER_KINDS = ['first name', 'last name', 'person', 'location', 'organisation', 'part'] as const

export interface WordFacts {
  /** Which lists have this word, or this run of words, as bits of `GAZETTEER_KINDS`; 0 for none. */
  gazetteer(hash: number): number
  /** The cluster of the word's vector; 0 where it is not known. */
  cluster(hash: number): number
}

const SHAPE_LOWER = 0
const SHAPE_CAPITAL = 1
const SHAPE_ALL_CAPITALS = 2
const SHAPE_DIGITS = 3
const SHAPE_MIXED = 4
const SHAPE_MARK = 5

export class Words {
  count = 0
  readonly starts = new Int32Array(MOST_WORDS)
  readonly ends = new Int32Array(MOST_WORDS)
  readonly hashes = new Int32Array(MOST_WORDS)
  readonly shapes = new Uint8Array(MOST_WORDS)
  /** Lists that a run of words which covers this one is in; begin and inside are told apart by the next array. */
  readonly lists = new Uint8Array(MOST_WORDS)
  readonly listBegins = new Uint8Array(MOST_WORDS)
  readonly candidates = new Uint8Array(MOST_WORDS)
  readonly clusters = new Uint16Array(MOST_WORDS)
  /** 1 where a sentence begins. */
  readonly begins = new Uint8Array(MOST_WORDS)

  read(text: string, facts: WordFacts, free: (start: number, end: number) => boolean): void {
    this.#split(text)
    for (let at = 0; at < this.count; at++) {
      this.lists[at] = 0
      this.listBegins[at] = 0
      this.clusters[at] = facts.cluster(this.hashes[at]!)
    }
    this.#look(facts)
    for (let at = 0; at < this.count; at++) {
      const shape = this.shapes[at]!
      const named = shape === SHAPE_CAPITAL || shape === SHAPE_ALL_CAPITALS || shape === SHAPE_MIXED
      const taken = !free(this.starts[at]!, this.ends[at]!)
      this.candidates[at] = !taken && (named || (this.lists[at] !== 0 && shape !== SHAPE_MARK)) ? 1 : 0
    }
    for (let at = 1; at + 1 < this.count; at++) {
      if (this.candidates[at] === 0 && isConnector(this.hashes[at]!) && this.candidates[at - 1] === 1 && free(this.starts[at]!, this.ends[at]!)) {
        const next = this.candidates[at + 1] === 1 || (isConnector(this.hashes[at + 1]!) && at + 2 < this.count && this.candidates[at + 2] === 1)
        if (next) this.candidates[at] = 1
      }
    }
  }

  #split(text: string): void {
    let at = 0
    let begin = 1
    for (let place = 0; place < text.length && at < MOST_WORDS; ) {
      const kind = kindOf(text.charCodeAt(place))
      if (kind === 0) {
        if (text.charCodeAt(place) === 10) begin = 1
        place++
        continue
      }
      const start = place
      let hash = SEED
      let capitals = 0
      let digits = 0
      if (kind === 2) {
        hash = Math.imul(hash ^ text.charCodeAt(place), FNV_PRIME)
        place++
      } else {
        for (; place < text.length && place - start < 40; place++) {
          let code = text.charCodeAt(place)
          if (kindOf(code) !== 1) {
            // a dash or apostrophe inside a word belongs to it, but 's does not
            const next = text.charCodeAt(place + 1)
            const inside = (code === 45 || code === 39 || code === 0x2019) && kindOf(next) === 1
            if (!inside || ((code === 39 || code === 0x2019) && (next | 32) === 115 && kindOf(text.charCodeAt(place + 2)) !== 1)) break
          }
          if (code >= 65 && code <= 90) {
            capitals++
            code |= 32
          } else if (code >= 0xc0 && code <= 0xde) {
            capitals++
            code += 32
          } else if (code >= 48 && code <= 57) digits++
          hash = Math.imul(hash ^ code, FNV_PRIME)
        }
      }
      const length = place - start
      const first = text.charCodeAt(start)
      const capital = (first >= 65 && first <= 90) || (first >= 0xc0 && first <= 0xde)
      this.starts[at] = start
      this.ends[at] = place
      this.hashes[at] = hash
      this.begins[at] = begin
      this.shapes[at] =
        kind === 2
          ? SHAPE_MARK
          : digits === length
            ? SHAPE_DIGITS
            : capital
              ? capitals === length && length > 1
                ? SHAPE_ALL_CAPITALS
                : SHAPE_CAPITAL
              : capitals > 0
                ? SHAPE_MIXED
                : SHAPE_LOWER
      begin = kind === 2 && (first === 46 || first === 33 || first === 63) ? 1 : kind === 2 && begin === 1 ? 1 : 0
      at++
    }
    this.count = at
  }

  /** The longest runs of up to four words that a list has. */
  #look(facts: WordFacts): void {
    for (let at = 0; at < this.count; at++) {
      if (this.shapes[at] === SHAPE_MARK) continue
      let hash = 0
      let found = 0
      let length = 0
      for (let more = 0; more < 4 && at + more < this.count; more++) {
        hash = more === 0 ? this.hashes[at]! : runOf(hash, this.hashes[at + more]!)
        const mask = facts.gazetteer(hash)
        if (mask !== 0) {
          found = mask
          length = more + 1
        }
      }
      if (length === 0) continue
      for (let more = 0; more < length; more++) {
        if (more > 0 && this.lists[at + more] !== 0) continue
        this.lists[at + more] = found
        this.listBegins[at + more] = more === 0 ? 1 : 2
      }
      at += length - 1
    }
  }

  /** Hashed features of word `at` into `into`; returns how many. */
  features(text: string, at: number, into: Int32Array): number {
    const word = this.hashes[at]!
    const shape = this.shapes[at]!
    const before = at > 0 ? this.hashes[at - 1]! : 1
    const after = at + 1 < this.count ? this.hashes[at + 1]! : 2
    const before2 = at > 1 ? this.hashes[at - 2]! : 3
    const after2 = at + 2 < this.count ? this.hashes[at + 2]! : 4
    const shapeBefore = at > 0 ? this.shapes[at - 1]! : 6
    const shapeAfter = at + 1 < this.count ? this.shapes[at + 1]! : 6
    const list = this.lists[at]! * 4 + this.listBegins[at]!
    const listBefore = at > 0 ? this.lists[at - 1]! : 0
    const listAfter = at + 1 < this.count ? this.lists[at + 1]! : 0
    const begin = this.begins[at]!
    const cluster = this.clusters[at]!
    const clusterBefore = at > 0 ? this.clusters[at - 1]! : 999
    const clusterAfter = at + 1 < this.count ? this.clusters[at + 1]! : 998
    let count = 0
    const add = (kind: number, value: number): void => {
      into[count++] = bucketOf(kind, value)
    }
    add(1, 0)
    add(2, word)
    add(3, before)
    add(4, after)
    add(5, before2)
    add(6, after2)
    add(7, Math.imul(word, 31) ^ before)
    add(8, Math.imul(word, 31) ^ after)
    add(9, shape * 8 + begin)
    add(10, shapeBefore * 64 + shape * 8 + shapeAfter)
    add(11, list * 16 + shape)
    add(12, listBefore * 64 + this.lists[at]!)
    add(13, listAfter * 64 + this.lists[at]!)
    add(14, cluster * 8 + shape)
    add(15, clusterBefore * 8 + shape)
    add(16, clusterAfter * 8 + shape)
    add(17, clusterBefore * 1024 + cluster)
    add(18, clusterAfter * 1024 + cluster)
    add(19, list * 512 + clusterBefore)
    const start = this.starts[at]!
    const end = this.ends[at]!
    add(20, endHash(text, Math.max(start, end - 3), end))
    add(21, endHash(text, Math.max(start, end - 2), end))
    add(22, endHash(text, start, Math.min(end, start + 3)))
    add(23, (before ^ Math.imul(after, 17)) | 0)
    add(24, Math.min(12, end - start) * 8 + shape)
    return count
  }
}

export const bucketOf = (kind: number, value: number): number => {
  let mixed = Math.imul(value ^ Math.imul(kind, 0x9e3779b1), 0x85ebca6b)
  mixed ^= mixed >>> 15
  mixed = Math.imul(mixed, 0xc2b2ae35)
  return (mixed ^ (mixed >>> 13)) & FEATURE_MASK
}

function endHash(text: string, start: number, end: number): number {
  let hash = SEED
  for (let place = start; place < end; place++) hash = Math.imul(hash ^ (text.charCodeAt(place) | 32), FNV_PRIME)
  return hash
}

/** The hash of a run of words from that of its head and its last word. */
export const runOf = (head: number, word: number): number => Math.imul(head ^ Math.imul(word, 0x9e3779b1), FNV_PRIME)

/** The hash of one word, as `Words` reads it. */
export function wordHash(word: string): number {
  let hash = SEED
  for (let place = 0; place < word.length; place++) {
    let code = word.charCodeAt(place)
    if (code >= 65 && code <= 90) code |= 32
    else if (code >= 0xc0 && code <= 0xde) code += 32
    hash = Math.imul(hash ^ code, FNV_PRIME)
  }
  return hash
}

const CONNECTORS = new Set(['of', 'the', 'and', '&', 'de', 'la', 'du', 'van', 'von', 'for', 'in', 'at', "'", '.', '-', 's', 'der', 'del', 'al', 'bin'].map(wordHash))
const isConnector = (hash: number): boolean => CONNECTORS.has(hash)

/** 0 white space, 1 part of a word, 2 a mark of its own. */
function kindOf(code: number): number {
  if (code <= 32 || code === 0xa0) return 0
  if (code >= 128) return code >= 0x2000 && code <= 0x206f ? 2 : 1
  return (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122) ? 1 : code >= 32 ? 2 : 0
}
