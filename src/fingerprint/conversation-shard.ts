/**
 * A share of the fingerprinted conversations, least recently used first, which is written to the store at once. The cache is cut
 * into shards by a hash of the key, so that one write is some 160 conversations: about 2 ms with its checksum and the
 * store's own work, where all 20,000 at once would hold the event loop for 0.2 s (`npm run bench:snapshots`).
 *
 *   u8 version | u32 checksum of table and labels | u16 bytes of a record | u32 count | (u16 length, key, record) ...
 *
 * Probabilities mean nothing under other labels, and embeddings nothing under another table: such a snapshot is refused.
 * Records are written without the values of entities: those are text, and what a user deletes from the store must not be
 * left in a snapshot.
 */
import { createHash } from 'node:crypto'
import type { Fingerprinter } from './fingerprinter.ts'

/** What records are made of. */
export type RecordForm = { readonly checksum: number; readonly bytes: number }

const VERSION = 2
const HEAD = 1 + 4 + 2 + 4

export class ConversationShard {
  readonly #most: number
  readonly #records = new Map<string, Uint8Array>()
  #changed = false
  evicted = 0

  constructor(most: number) {
    this.#most = most
  }

  get size(): number {
    return this.#records.size
  }

  get changed(): boolean {
    return this.#changed
  }

  get(key: string): Uint8Array | undefined {
    return this.#records.get(key)
  }

  /** As the most recently used. */
  keep(key: string, record: Uint8Array): void {
    const records = this.#records
    records.delete(key)
    records.set(key, record)
    this.#changed = true
    if (records.size <= this.#most) return
    for (const oldest of records.keys()) {
      records.delete(oldest)
      this.evicted++
      break
    }
  }

  save(form: RecordForm): Buffer {
    let length = HEAD
    for (const key of this.#records.keys()) length += 2 + Buffer.byteLength(key) + form.bytes
    const bytes = Buffer.allocUnsafe(length)
    bytes.writeUInt8(VERSION, 0)
    bytes.writeUInt32LE(form.checksum, 1)
    bytes.writeUInt16LE(form.bytes, 5)
    bytes.writeUInt32LE(this.#records.size, 7)
    let at = HEAD
    for (const [key, record] of this.#records) {
      const keyBytes = bytes.write(key, at + 2)
      bytes.writeUInt16LE(keyBytes, at)
      bytes.set(record.subarray(0, form.bytes), at + 2 + keyBytes)
      at += 2 + keyBytes + form.bytes
    }
    this.#changed = false
    return bytes
  }
}

export function checksumOf({ labelling }: Fingerprinter): number {
  const { table, topics, intents } = labelling
  return createHash('sha256').update(JSON.stringify([table, topics, intents])).digest().readUInt32LE(0)
}

/** The conversations of a snapshot, the least recently used first. Throws before anything is kept. */
export function readShard(bytes: Uint8Array, form: RecordForm): readonly (readonly [key: string, record: Uint8Array])[] {
  const from = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const version = from.readUInt8(0)
  if (version !== VERSION) throw new Error(`has version ${version}; this version of Homing reads ${VERSION}`)
  if (from.readUInt32LE(1) !== form.checksum || from.readUInt16LE(5) !== form.bytes) {
    throw new Error('was written under another model or another taxonomy')
  }
  const found: (readonly [string, Uint8Array])[] = []
  let at = HEAD
  for (let left = from.readUInt32LE(7); left > 0; left--) {
    const start = at + 2 + from.readUInt16LE(at)
    const end = start + form.bytes
    if (end > from.length) throw new Error('is cut short')
    found.push([from.toString('utf8', at + 2, start), new Uint8Array(from.subarray(start, end))])
    at = end
  }
  if (at !== from.length) throw new Error('is longer than its conversations')
  return found
}
