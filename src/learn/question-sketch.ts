/**
 * Whether a question is asked again, without keeping its words: a sketch is the smallest `MOST_HASHES` of the salted hashes of
 * its content words (bottom-k, Broder 1997), so what is kept can neither be read nor looked up in a list of words.
 *
 * The same question is one whose words all come back, with few others: a word that was exchanged ("sort by name", "by
 * age") makes it the next question of a series, and so does an added number or "not". Words count by their first `STEM` letters
 * and without a plural's s, so an ending or a typo at the end does not matter. Terse messages ("continue", "yes") are no questions: they have no sketch.
 *
 * English words are left out that say nothing; scripts without spaces count character by character. Read are the first and the last
 * `READ_CHARACTERS` of a message: some microseconds. Paraphrases in other words are not noticed.
 */
export type QuestionSketch = {
  /** Sorted. */
  readonly hashes: Uint32Array
  /** They are all; else larger ones were let go. */
  readonly whole: boolean
}

/** 256 bytes a question. Of longer ones a swap of one word in n is seen with probability 64/n. */
const MOST_HASHES = 64
const READ_CHARACTERS = 600
const STEM = 5
/** Fewer words say nothing about what is asked. */
const FEWEST_WORDS = 2
/** Share of the words of both that both have. "I asked how to sort a list" adds one to three. */
const ALIKE = 0.75

/** By their FNV-1a. */
const SAY_NOTHING: ReadonlySet<number> = new Set(
  (
    'a an the and or of to in on at by for from with as is are was were be been am do does did done can could would should will ' +
    'i you he she it we they me my your our its this that these those there here how what why when where which who please just ' +
    'again still asked ask asking said say saying mean meant question repeat tell answer so then but no yes ok okay hi hello ' +
    'hey um well now really actually want wanted need let get got give have has had if about'
  )
    .split(' ')
    .map((word) => [...word].reduce((hash, letter) => Math.imul(hash ^ letter.charCodeAt(0), 0x01000193), 0x811c9dc5)),
)

/** Null where the text is too terse to be a question. One at a time: the scratch is shared. */
export function sketchOf(text: string, salt: number): QuestionSketch | null {
  held.count = 0
  held.dropped = false
  if (text.length <= 2 * READ_CHARACTERS) readWords(text, 0, text.length, salt)
  else {
    readWords(text, 0, READ_CHARACTERS, salt)
    readWords(text, text.length - READ_CHARACTERS, text.length, salt)
  }
  return held.count < FEWEST_WORDS ? null : { hashes: held.hashes.slice(0, held.count), whole: !held.dropped }
}

/** The smallest hashes so far, sorted, and whether larger ones were let go. */
const held = { hashes: new Uint32Array(MOST_HASHES), count: 0, dropped: false }

/** Words are runs of letters and digits; an operator makes another sum of the same numbers; an ideograph or kana stands by itself. */
function readWords(text: string, from: number, to: number, salt: number): void {
  let begin = -1
  let digits = false
  for (let at = from; at <= to; at++) {
    const code = at < to ? text.charCodeAt(at) : SPACE
    const kind = kindOf(code)
    const inWord = kind === LETTER || kind === NUMERAL || (kind === JOIN && begin >= 0 && at + 1 < to && kindOf(text.charCodeAt(at + 1)) >= LETTER)
    if (inWord) {
      if (begin < 0) begin = at
      if (kind === NUMERAL) digits = true
      continue
    }
    if (begin >= 0) addWord(text, begin, at, digits, salt)
    begin = -1
    digits = false
    if (kind === ALONE) hold(finished(0x811c9dc5 ^ code, salt))
  }
}

/** Case and apostrophes do not matter; of words without digits only the stem does. */
function addWord(text: string, begin: number, end: number, digits: boolean, salt: number): void {
  let whole = 0x811c9dc5
  let stem = whole
  let letters = 0
  const plural = !digits && end - begin > 3 && lower(text.charCodeAt(end - 1)) === LOWER_S ? end - 1 : end
  for (let at = begin; at < end; at++) {
    const code = lower(text.charCodeAt(at))
    whole = Math.imul(whole ^ code, 0x01000193)
    if (digits || (letters < STEM && at < plural)) stem = Math.imul(stem ^ code, 0x01000193)
    letters++
  }
  if (!SAY_NOTHING.has(whole)) hold(finished(stem, salt))
}

function hold(hash: number): void {
  const { hashes } = held
  let at = held.count
  while (at > 0 && hashes[at - 1]! > hash) at--
  if (at > 0 && hashes[at - 1] === hash) return
  if (at === MOST_HASHES) {
    held.dropped = true
    return
  }
  if (held.count < MOST_HASHES) held.count++
  else held.dropped = true
  hashes.copyWithin(at + 1, at, held.count - 1)
  hashes[at] = hash
}

const SPACE = 32
const LOWER_S = 115
const lower = (code: number): number => (code >= 65 && code <= 90 ? code + 32 : code)

/** In an order that makes "can be part of a word" one comparison. */
const OTHER = 0
const ALONE = 1
const JOIN = 2
const LETTER = 3
const NUMERAL = 4

function kindOf(code: number): number {
  if (code < 128) return ASCII[code]!
  if (code === 0x2019) return JOIN
  if (code < 0xaa || code === 0xd7 || code === 0xf7 || (code >= 0x2000 && code < 0x2c00)) return code === 0xd7 || code === 0xf7 ? ALONE : OTHER
  if (code >= 0x3000 && code < 0x3040) return OTHER // punctuation of ideographs, and of full width below
  if ((code >= 0xff00 && code < 0xff10) || (code >= 0xff1a && code < 0xff21)) return OTHER
  return code >= 0x3040 && code < 0xa000 ? ALONE : LETTER
}

const ASCII = Uint8Array.from({ length: 128 }, (_, code) => {
  const character = String.fromCharCode(code)
  if (/[a-z]/i.test(character)) return LETTER
  if (/[0-9]/.test(character)) return NUMERAL
  if (/['.]/.test(character)) return JOIN
  return /[+*/^<>=-]/.test(character) ? ALONE : OTHER
})

/** Salted, with MurmurHash3's finaliser. */
function finished(hash: number, salt: number): number {
  let mixed = hash ^ salt
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}

export function asksAgain(before: QuestionSketch, now: QuestionSketch): boolean {
  // beyond what both sketches hold nothing is known: compare up to the smaller of their last hashes
  const limit = Math.min(endOf(before), endOf(now))
  let shared = 0
  let onlyBefore = 0
  let onlyNow = 0
  let left = 0
  let right = 0
  for (;;) {
    const one = before.hashes[left] ?? Infinity
    const other = now.hashes[right] ?? Infinity
    if (Math.min(one, other) > limit || (one === Infinity && other === Infinity)) break
    if (one === other) shared++
    else if (one < other) onlyBefore++
    else onlyNow++
    if (one <= other) left++
    if (other <= one) right++
  }
  if (onlyBefore > 0 && onlyNow > 0) return false
  return shared / (shared + onlyBefore + onlyNow) >= ALIKE
}

const endOf = ({ hashes, whole }: QuestionSketch): number => (whole ? Infinity : hashes[hashes.length - 1]!)
