/**
 * The lexical half of a text: which words, pairs of words and runs of 2 to 4 characters occur in it, as numbers of 18 bits.
 * Presence only, since a word said twice says little more about topic or intent. Runs of characters stay within a word
 * and know where it begins and ends, so that endings and misspellings are seen. No strings are built: hashes roll over
 * code units (FNV-1a, finalised like MurmurHash3). 0.1 microseconds a run.
 */
export const NGRAM_BITS = 18
/** More of one text are not kept. */
export const MOST_NGRAMS = 16_384
const BUCKETS = 1 << NGRAM_BITS
const FNV_PRIME = 0x01000193
const WORD_SALT = 0x811c9dc5
const PAIR_SALT = 0x2f0b4c47
const RUN_SALT = 0x5bd1e995
/** Stands before the first and after the last character of a word. */
const EDGE = 0x20
const LONGEST_RUN = 4
const SHORTEST_RUN = 2

export class NgramReader {
  /** Distinct n-grams of the last text; `count` are valid. */
  readonly buckets: Int32Array
  count = 0
  /** Words of the last text. */
  words = 0
  readonly #seen = new Uint32Array(BUCKETS)
  #round = 0

  constructor() {
    this.buckets = new Int32Array(MOST_NGRAMS)
  }

  /** `plain` is lower case (see `plainText`). More than `MOST_NGRAMS` are not kept. */
  read(plain: string): void {
    this.count = 0
    this.words = 0
    this.#round++
    let start = -1
    let previous = WORD_SALT
    for (let place = 0; place <= plain.length; place++) {
      const inWord = place < plain.length && isWordCode(plain.charCodeAt(place))
      if (inWord) {
        if (start < 0) start = place
      } else {
        if (start >= 0) {
          previous = this.#word(plain, start, place, previous)
          start = -1
        }
        // a mark of its own: question marks and signs of currency tell intents apart
        if (place < plain.length && plain.charCodeAt(place) > 32) {
          this.#add(Math.imul(plain.charCodeAt(place) ^ WORD_SALT, FNV_PRIME))
        }
      }
    }
    this.#add(pairOf(previous, WORD_SALT))
  }

  #word(text: string, start: number, end: number, previous: number): number {
    this.words++
    let word = WORD_SALT
    for (let place = start; place < end; place++) word = Math.imul(word ^ text.charCodeAt(place), FNV_PRIME)
    this.#add(word)
    this.#add(pairOf(previous, word))
    const longest = Math.min(end, start + 64)
    for (let from = start - 1; from < longest; from++) {
      let run = RUN_SALT
      for (let length = 1; length <= LONGEST_RUN; length++) {
        const place = from + length - 1
        if (place > end) break
        const code = place < start || place === end ? EDGE : text.charCodeAt(place)
        run = Math.imul(run ^ code, FNV_PRIME)
        if (length >= SHORTEST_RUN) this.#add(run)
      }
    }
    return word
  }

  #add(hash: number): void {
    let mixed = hash ^ (hash >>> 16)
    mixed = Math.imul(mixed, 0x85ebca6b)
    mixed ^= mixed >>> 13
    const bucket = mixed & (BUCKETS - 1)
    if (this.#seen[bucket] === this.#round || this.count === this.buckets.length) return
    this.#seen[bucket] = this.#round
    this.buckets[this.count++] = bucket
  }
}

const pairOf = (left: number, right: number): number =>
  Math.imul(Math.imul(PAIR_SALT ^ left, FNV_PRIME) ^ right, FNV_PRIME)

function isWordCode(code: number): boolean {
  if (code >= 128) return !(code >= 0x2000 && code <= 0x206f) && !(code >= 0x3000 && code <= 0x303f) && code !== 0xa0
  return (code >= 97 && code <= 122) || (code >= 48 && code <= 57) || code === 39
}
