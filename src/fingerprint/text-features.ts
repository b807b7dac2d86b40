/**
 * What every head looks at, read once per text: the embedding and the n-grams. Long texts are read at both ends only
 * (the first and last characters that about 1,000 and 500 tokens fill), so a pasted book costs what two pages cost.
 *
 * The arrays are reused by the next text.
 */
import { NgramReader } from './ngrams.ts'
import type { TokenTable } from './token-table.ts'
import { plainText, type WordPieces } from './word-pieces.ts'

export const HEAD_TOKENS = 1000
export const TAIL_TOKENS = 500
/** English has 4 to 5 characters a token; code and other languages fewer, so the token caps bind there. */
const HEAD_CHARACTERS = 5000
const TAIL_CHARACTERS = 2500

export type TextFeatures = {
  readonly embedding: Float32Array
  readonly tokens: Int32Array
  readonly tokenCount: number
  readonly buckets: Int32Array
  readonly bucketCount: number
  readonly words: number
  /** Share of the words that the vocabulary cannot spell. */
  readonly unknownShare: number
  /** Share of the text that the vocabulary cannot read: other scripts, words it cannot spell; 1 of an empty text. */
  readonly foreignShare: number
  /** The whole text's length over the length that was read. */
  readonly stretch: number
}

export class FeatureReader {
  readonly #pieces: WordPieces
  readonly #table: TokenTable
  readonly #ngrams = new NgramReader()
  readonly #tokens = new Int32Array(HEAD_TOKENS + TAIL_TOKENS)
  readonly #tail = new Int32Array(TAIL_CHARACTERS)
  readonly #embedding: Float32Array

  constructor(pieces: WordPieces, table: TokenTable) {
    this.#pieces = pieces
    this.#table = table
    this.#embedding = new Float32Array(table.dimensions)
  }

  read(text: string): TextFeatures {
    const { head, tail } = endsOf(text)
    let tokenCount = this.#pieces.encode(head, this.#tokens.subarray(0, HEAD_TOKENS))
    let unknown = this.#pieces.unknown
    let plain = head
    if (tail !== '') {
      const length = this.#pieces.encode(tail, this.#tail)
      const kept = Math.min(length, TAIL_TOKENS)
      this.#tokens.set(this.#tail.subarray(length - kept, length), tokenCount)
      tokenCount += kept
      unknown += this.#pieces.unknown
      plain = `${head} ${tail}`
    }
    this.#table.embed(this.#tokens, tokenCount, this.#embedding)
    this.#ngrams.read(plain)
    return {
      embedding: this.#embedding,
      tokens: this.#tokens,
      tokenCount,
      buckets: this.#ngrams.buckets,
      bucketCount: this.#ngrams.count,
      words: this.#ngrams.words,
      unknownShare: unknown / Math.max(1, this.#ngrams.words),
      foreignShare: tokenCount === 0 ? 1 : Math.min(1, Math.max(unknown / Math.max(1, this.#ngrams.words), foreignShareOf(plain))),
      stretch: text.length / Math.max(1, plain.length),
    }
  }
}

/** Letters beyond Latin, of all letters. English is nearly always plain ASCII, so this mostly costs one test. */
function foreignShareOf(plain: string): number {
  if (!/[\u0250-\uffff]/.test(plain)) return 0
  let foreign = 0
  let letters = 0
  for (let place = 0; place < plain.length; place++) {
    const code = plain.charCodeAt(place)
    if (code >= 97 && code <= 122) letters++
    else if (code >= 0x250 && !(code >= 0x2000 && code <= 0x2bff)) foreign++
  }
  return foreign / Math.max(1, letters + foreign)
}

/** The plain forms of both ends; the tail is empty where the head is everything. */
export function endsOf(text: string): { readonly head: string; readonly tail: string } {
  if (text.length <= HEAD_CHARACTERS + TAIL_CHARACTERS) return { head: plainText(text), tail: '' }
  return { head: plainText(text.slice(0, HEAD_CHARACTERS)), tail: plainText(text.slice(-TAIL_CHARACTERS)) }
}
