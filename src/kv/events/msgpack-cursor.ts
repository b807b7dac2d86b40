/**
 * Walks msgpack in place (https://github.com/msgpack/msgpack/blob/master/spec.md): nothing is built that nobody asks for.
 * Integers of 64 bits come as two unsigned halves, since a block hash as BigInt costs more than the rest of its event.
 * Every read checks its bounds; whatever does not fit throws MalformedEvents.
 */
export class MalformedEvents extends Error {}

export class MsgpackCursor {
  bytes: Buffer = EMPTY
  at = 0
  /** Halves of the last 64-bit integer or hash. */
  low = 0
  high = 0

  reset(bytes: Buffer): void {
    this.bytes = bytes
    this.at = 0
  }

  get done(): boolean {
    return this.at === this.bytes.length
  }

  peek(): number {
    if (this.at >= this.bytes.length) throw new MalformedEvents('it ends too early')
    return this.bytes[this.at]!
  }

  isNil(): boolean {
    return this.peek() === 0xc0
  }
  isArray(): boolean {
    const head = this.peek()
    return (head & 0xf0) === 0x90 || head === 0xdc || head === 0xdd
  }
  isMap(): boolean {
    const head = this.peek()
    return (head & 0xf0) === 0x80 || head === 0xde || head === 0xdf
  }
  isString(): boolean {
    const head = this.peek()
    return (head & 0xe0) === 0xa0 || (head >= 0xd9 && head <= 0xdb)
  }

  arrayLength(): number {
    const head = this.#byte()
    if ((head & 0xf0) === 0x90) return head & 0x0f
    if (head === 0xdc) return this.#size(2)
    if (head === 0xdd) return this.#size(4)
    throw new MalformedEvents('a list was expected')
  }

  mapLength(): number {
    const head = this.#byte()
    if ((head & 0xf0) === 0x80) return head & 0x0f
    if (head === 0xde) return this.#size(2)
    if (head === 0xdf) return this.#size(4)
    throw new MalformedEvents('a map was expected')
  }

  /** Moves behind a string and returns its length; its bytes lie right before `at`. */
  stringLength(): number {
    const head = this.#byte()
    let length = -1
    if ((head & 0xe0) === 0xa0) length = head & 0x1f
    else if (head === 0xd9) length = this.#size(1)
    else if (head === 0xda) length = this.#size(2)
    else if (head === 0xdb) length = this.#size(4)
    if (length < 0) throw new MalformedEvents('text was expected')
    this.#move(length)
    return length
  }

  text(): string {
    const length = this.stringLength()
    return this.bytes.toString('latin1', this.at - length, this.at)
  }

  /** A string that is probably one of `known`: these are compared byte by byte and cost no new string. */
  word(known: readonly KnownWord[]): string {
    const length = this.stringLength()
    const start = this.at - length
    for (let each = 0; each < known.length; each++) {
      const { bytes, text } = known[each]!
      if (bytes.length !== length) continue
      let same = 0
      while (same < length && bytes[same] === this.bytes[start + same]) same++
      if (same === length) return text
    }
    return this.bytes.toString('latin1', start, this.at)
  }

  /** A whole number from 0 to 2^53 - 1. */
  count(): number {
    const head = this.peek()
    if (head < 0x80) {
      this.at++
      return head
    }
    this.integer()
    const value = this.high * 4294967296 + this.low
    if (this.high > 0x1fffff) throw new MalformedEvents('a number is out of range')
    return value
  }

  number(): number {
    const head = this.peek()
    if (head === 0xcb || head === 0xca) {
      this.at++
      const size = head === 0xcb ? 8 : 4
      this.#move(size)
      return size === 8 ? this.bytes.readDoubleBE(this.at - 8) : this.bytes.readFloatBE(this.at - 4)
    }
    return this.count()
  }

  /** Any integer into `low` and `high`, negative ones in two's complement. */
  integer(): void {
    const head = this.#byte()
    this.high = 0
    if (head < 0x80) this.low = head
    else if (head >= 0xe0) {
      this.low = (head - 256) >>> 0
      this.high = 0xffffffff
    } else if (head >= 0xcc && head <= 0xce) this.low = this.#size(1 << (head - 0xcc))
    else if (head === 0xcf || head === 0xd3) {
      this.high = this.#size(4)
      this.low = this.#size(4)
    } else if (head >= 0xd0 && head <= 0xd2) {
      const size = 1 << (head - 0xd0)
      this.#move(size)
      const value = this.bytes.readIntBE(this.at - size, size)
      this.low = value >>> 0
      this.high = value < 0 ? 0xffffffff : 0
    } else throw new MalformedEvents('a whole number was expected')
  }

  /** An integer, or the last eight bytes of a binary hash, into `low` and `high`. */
  hash(): void {
    const head = this.peek()
    if (head < 0xc4 || head > 0xc6) return this.integer()
    this.at++
    const length = this.#size(1 << (head - 0xc4))
    if (length < 8) throw new MalformedEvents('a hash of less than eight bytes')
    this.#move(length)
    this.high = this.bytes.readUInt32BE(this.at - 8)
    this.low = this.bytes.readUInt32BE(this.at - 4)
  }

  /** Moves behind one value, whatever it is. `depth` ends what is nested without end. */
  skip(depth = 0): void {
    if (depth > MAX_DEPTH) throw new MalformedEvents('it is nested too deep')
    const head = this.peek()
    if (this.isArray() || this.isMap()) {
      let values = this.isArray() ? this.arrayLength() : 2 * this.mapLength()
      while (values-- > 0) this.skip(depth + 1)
      return
    }
    if (this.isString()) return void this.stringLength()
    this.at++
    if (head < 0x80 || head >= 0xe0 || head === 0xc0 || head === 0xc2 || head === 0xc3) return
    if (head >= 0xc4 && head <= 0xc6) return this.#move(this.#size(1 << (head - 0xc4)))
    if (head >= 0xc7 && head <= 0xc9) return this.#move(this.#size(1 << (head - 0xc7)) + 1)
    if (head === 0xca || head === 0xcb) return this.#move(head === 0xca ? 4 : 8)
    if (head >= 0xcc && head <= 0xcf) return this.#move(1 << (head - 0xcc))
    if (head >= 0xd0 && head <= 0xd3) return this.#move(1 << (head - 0xd0))
    if (head >= 0xd4 && head <= 0xd8) return this.#move((1 << (head - 0xd4)) + 1)
    throw new MalformedEvents('a byte that msgpack never uses')
  }

  #byte(): number {
    const head = this.peek()
    this.at++
    return head
  }

  #size(bytes: number): number {
    this.#move(bytes)
    const { bytes: buffer, at } = this
    if (bytes === 1) return buffer[at - 1]!
    if (bytes === 2) return (buffer[at - 2]! << 8) | buffer[at - 1]!
    return ((buffer[at - 4]! << 24) | (buffer[at - 3]! << 16) | (buffer[at - 2]! << 8) | buffer[at - 1]!) >>> 0
  }

  #move(count: number): void {
    if (this.at + count > this.bytes.length) throw new MalformedEvents('it ends too early')
    this.at += count
  }
}

export type KnownWord = { readonly bytes: Uint8Array; readonly text: string }
export const knownWords = (...texts: readonly string[]): readonly KnownWord[] =>
  texts.map((text) => ({ bytes: new Uint8Array(Buffer.from(text, 'latin1')), text }))

const EMPTY = Buffer.alloc(0)
/** Events are three levels deep, multimodal extra keys five. */
const MAX_DEPTH = 32
