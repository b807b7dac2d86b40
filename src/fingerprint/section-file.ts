/**
 * The file that tables, heads and taxonomies are kept in: named arrays of numbers with a description.
 *
 *   "HOMINGFP" | u32 version | u32 length of the description | description (JSON, UTF-8)
 *   | sections in the order of the description, each starting at a multiple of 8 | SHA-256 of all bytes before it
 *
 * The description is `{ meta, sections: [{ name, type, length }] }`, numbers are little-endian. A file of another version, a
 * damaged file and a missing section are refused with the path and the reason. Reading costs one copy of the file and
 * the checksum (8 MB: 20 ms); the arrays are views of the copy.
 */
import { createHash } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { JsonObject } from '../model/json.ts'

const MAGIC = 'HOMINGFP'
const VERSION = 1
const CHECKSUM_BYTES = 32

export type Numbers = Int8Array | Uint8Array | Uint16Array | Int32Array | Uint32Array | Float32Array
const TYPES = {
  i8: Int8Array,
  u8: Uint8Array,
  u16: Uint16Array,
  i32: Int32Array,
  u32: Uint32Array,
  f32: Float32Array,
} as const
type TypeName = keyof typeof TYPES
type Section = { readonly name: string; readonly type: TypeName; readonly length: number }

/** A file that cannot be used; the message names the file and says why. */
export class FingerprintFileError extends Error {
  readonly path: string

  constructor(path: string, why: string) {
    super(`${path}: ${why}`)
    this.name = 'FingerprintFileError'
    this.path = path
  }
}

export class SectionFile {
  readonly path: string
  readonly meta: JsonObject
  readonly #arrays: ReadonlyMap<string, Numbers>

  private constructor(path: string, meta: JsonObject, arrays: ReadonlyMap<string, Numbers>) {
    this.path = path
    this.meta = meta
    this.#arrays = arrays
  }

  static read(path: string): SectionFile {
    let file: Buffer
    try {
      file = readFileSync(path)
    } catch (error) {
      throw new FingerprintFileError(path, error instanceof Error ? error.message : 'cannot be read')
    }
    return SectionFile.parse(path, file)
  }

  static parse(path: string, file: Buffer): SectionFile {
    const refuse = (why: string): never => {
      throw new FingerprintFileError(path, why)
    }
    if (file.length < 16 + CHECKSUM_BYTES || file.toString('latin1', 0, 8) !== MAGIC) {
      return refuse('is not a fingerprint file (it does not begin with HOMINGFP)')
    }
    const version = file.readUInt32LE(8)
    if (version !== VERSION) return refuse(`has format version ${version}; this version of Homing reads ${VERSION}`)
    const end = file.length - CHECKSUM_BYTES
    if (!createHash('sha256').update(file.subarray(0, end)).digest().equals(file.subarray(end))) {
      return refuse('is damaged: its checksum does not match its content')
    }
    const descriptionEnd = 16 + file.readUInt32LE(12)
    if (descriptionEnd > end) return refuse('is damaged: its description does not fit')
    const description = JSON.parse(file.toString('utf8', 16, descriptionEnd)) as {
      meta: JsonObject
      sections: Section[]
    }
    // an own copy whose start is aligned, so that the sections can be views
    const bytes = new Uint8Array(file).buffer
    const arrays = new Map<string, Numbers>()
    let offset = aligned(descriptionEnd)
    for (const { name, type, length } of description.sections) {
      const Type = TYPES[type]
      if (Type === undefined || offset + length * Type.BYTES_PER_ELEMENT > end) return refuse(`is damaged at ${name}`)
      arrays.set(name, new Type(bytes, offset, length))
      offset = aligned(offset + length * Type.BYTES_PER_ELEMENT)
    }
    return new SectionFile(path, description.meta, arrays)
  }

  has(name: string): boolean {
    return this.#arrays.has(name)
  }

  numbers<T extends Numbers>(name: string, Type: abstract new (...args: never[]) => T): T {
    const found = this.#arrays.get(name)
    if (!(found instanceof Type)) throw new FingerprintFileError(this.path, `has no section ${name}`)
    return found
  }

  text(name: string): string {
    return new TextDecoder().decode(this.numbers(name, Uint8Array))
  }
}

/** Gathers sections and writes them; under a name of its own first, so that no reader sees half a file. */
export class SectionWriter {
  readonly #sections: (Section & { readonly bytes: Uint8Array })[] = []

  add(name: string, numbers: Numbers): void {
    const type = (Object.keys(TYPES) as TypeName[]).find((key) => numbers instanceof TYPES[key])!
    const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)
    this.#sections.push({ name, type, length: numbers.length, bytes })
  }

  addText(name: string, text: string): void {
    this.add(name, new TextEncoder().encode(text))
  }

  toBuffer(meta: JsonObject): Buffer {
    const sections = this.#sections.map(({ name, type, length }) => ({ name, type, length }))
    const description = Buffer.from(JSON.stringify({ meta, sections }))
    const head = Buffer.alloc(aligned(16 + description.length))
    head.write(MAGIC, 'latin1')
    head.writeUInt32LE(VERSION, 8)
    head.writeUInt32LE(description.length, 12)
    description.copy(head, 16)
    const parts: Uint8Array[] = [head]
    for (const { bytes } of this.#sections) {
      parts.push(bytes, new Uint8Array(aligned(bytes.length) - bytes.length))
    }
    const content = Buffer.concat(parts)
    return Buffer.concat([content, createHash('sha256').update(content).digest()])
  }

  write(path: string, meta: JsonObject): number {
    const file = this.toBuffer(meta)
    writeFileSync(`${path}.part`, file)
    renameSync(`${path}.part`, path)
    return file.length
  }
}

const aligned = (offset: number): number => (offset + 7) & ~7
