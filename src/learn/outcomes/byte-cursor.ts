/** Numbers and short texts one behind the other in a buffer, little-endian. A text is its length in bytes (u16) and UTF-8. */

export class Writer {
  readonly #bytes: Buffer
  at: number

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.at = at
  }

  u8(value: number): this {
    this.at = this.#bytes.writeUInt8(value, this.at)
    return this
  }

  u16(value: number): this {
    this.at = this.#bytes.writeUInt16LE(value, this.at)
    return this
  }

  f32(value: number): this {
    this.at = this.#bytes.writeFloatLE(value, this.at)
    return this
  }

  f64(value: number): this {
    this.at = this.#bytes.writeDoubleLE(value, this.at)
    return this
  }

  /** 0..1. */
  share(value: number): this {
    return this.u16(Math.round(Math.min(1, Math.max(0, value)) * SHARES))
  }

  text(value: string): this {
    const length = this.#bytes.write(value, this.at + 2, 'utf8')
    this.#bytes.writeUInt16LE(length, this.at)
    this.at += 2 + length
    return this
  }
}

export class Reader {
  readonly #bytes: Buffer
  at: number

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.at = at
  }

  u8(): number {
    return this.#bytes.readUInt8(this.at++)
  }

  u16(): number {
    this.at += 2
    return this.#bytes.readUInt16LE(this.at - 2)
  }

  f32(): number {
    this.at += 4
    return this.#bytes.readFloatLE(this.at - 4)
  }

  f64(): number {
    this.at += 8
    return this.#bytes.readDoubleLE(this.at - 8)
  }

  share(): number {
    return this.u16() / SHARES
  }

  text(): string {
    const length = this.u16()
    this.at += length
    return this.#bytes.toString('utf8', this.at - length, this.at)
  }
}

const SHARES = 65_535
