/**
 * The lexical half of a text: which words, pairs of words and runs of 2 to 4 characters occur in it, as numbers of 18 bits.
 * Presence only, since a word said twice says little more about topic or intent. Pairs are of neighbours, and of words
 * with one or two between them ("book ... flight"). Runs of characters know where words begin and end, so that endings and
 * misspellings are seen, and go on from one word into the next. On CLINC's domains, labels whole, pairs at a distance and
 * runs across words raise accuracy from .971 to .975. No strings are built: hashes are of code units (FNV-1a, finalised
 * like MurmurHash3). 0.1 microseconds a run.
 */
export const NGRAM_BITS = 18
/** Part of the name that heads remember their features by: it changes with what an n-gram is. */
export const NGRAM_SCHEME = 'words; pairs at 1 to 3 words; runs of 2 to 4 across words'
/** More of one text are not kept. */
export const MOST_NGRAMS = 16_384
const BUCKETS = 1 << NGRAM_BITS
const FNV_PRIME = 0x01000193
const WORD_SALT = 0x811c9dc5
const PAIR_SALT = 0x2f0b4c47
const DISTANT_SALT = 0x7a3d19e5
const RUN_SALT = 0x5bd1e995
/** Stands before the first word, and after each. */
const EDGE = 0x20
/** Of a longer word only the beginning has runs: it is no word of a language. */
const LONGEST_WORD = 64

export class NgramReader {
  /** Distinct n-grams of the last text; `count` are valid. */
  readonly buckets: Int32Array
  count = 0
  /** Words of the last text. */
  words = 0
  readonly #seen = new Uint32Array(BUCKETS)
  #round = 0
  /** The last three words and characters, the latest first. */
  readonly #words = new Int32Array(3)
  readonly #codes = new Uint16Array(3)

  constructor() {
    this.buckets = new Int32Array(MOST_NGRAMS)
  }

  /** `plain` is lower case (see `plainText`). More than `MOST_NGRAMS` are not kept. */
  read(plain: string): void {
    this.count = 0
    this.words = 0
    this.#round++
    this.#begin()
    let start = -1
    for (let place = 0; place <= plain.length; place++) {
      const inWord = place < plain.length && isWordCode(plain.charCodeAt(place))
      if (inWord) {
        if (start < 0) start = place
      } else {
        if (start >= 0) {
          this.#word(plain, start, place)
          start = -1
        }
        // a mark of its own: question marks and signs of currency tell intents apart
        if (place < plain.length && plain.charCodeAt(place) > 32) {
          this.#add(Math.imul(plain.charCodeAt(place) ^ WORD_SALT, FNV_PRIME))
        }
      }
    }
    this.#add(pairOf(PAIR_SALT, this.#words[0]!, WORD_SALT))
  }

  #begin(): void {
    this.#words.fill(WORD_SALT)
    this.#codes.fill(0)
    this.#codes[0] = EDGE
  }

  #word(text: string, start: number, end: number): void {
    const words = this.#words
    let word = WORD_SALT
    for (let place = start; place < end; place++) word = Math.imul(word ^ text.charCodeAt(place), FNV_PRIME)
    this.#add(word)
    this.#add(pairOf(PAIR_SALT, words[0]!, word))
    if (this.words > 1) this.#add(pairOf(DISTANT_SALT, words[1]!, word))
    if (this.words > 2) this.#add(pairOf(DISTANT_SALT, words[2]!, word))
    words[2] = words[1]!
    words[1] = words[0]!
    words[0] = word
    this.words++
    const last = Math.min(end, start + LONGEST_WORD)
    for (let place = start; place < last; place++) this.#runsTo(text.charCodeAt(place))
    this.#runsTo(EDGE)
  }

  /** The runs of 2, 3 and 4 characters that end with this one. */
  #runsTo(code: number): void {
    const codes = this.#codes
    let run = Math.imul(Math.imul(RUN_SALT ^ code, FNV_PRIME) ^ codes[0]!, FNV_PRIME)
    this.#add(run)
    run = Math.imul(run ^ codes[1]!, FNV_PRIME)
    if (codes[1] !== 0) this.#add(run)
    if (codes[2] !== 0) this.#add(Math.imul(run ^ codes[2]!, FNV_PRIME))
    codes[2] = codes[1]!
    codes[1] = codes[0]!
    codes[0] = code
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

const pairOf = (salt: number, left: number, right: number): number =>
  Math.imul(Math.imul(salt ^ left, FNV_PRIME) ^ right, FNV_PRIME)

function isWordCode(code: number): boolean {
  if (code >= 128) return !(code >= 0x2000 && code <= 0x206f) && !(code >= 0x3000 && code <= 0x303f) && code !== 0xa0
  return (code >= 97 && code <= 122) || (code >= 48 && code <= 57) || code === 39
}
