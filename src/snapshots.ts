/**
 * What has been learnt, kept over a restart: named parts, read once before the first turn and written to the store every minute
 * where they changed, and at an orderly close. A killed process loses what was learnt since the last write; no more.
 *
 *   "HOMINGST" | u32 version | SHA-256 of the content | content (the part's own; it versions itself)
 *
 * Off the hot path: one part at a time with a rest between two, so a part that takes longer than some milliseconds to write splits
 * itself into several. What an operator sets is written at once (`only`). Unchanged content is not written again. A snapshot that cannot be read, for whatever reason, never
 * refuses the start: it is kept aside under `NAME.unread`, counted (`unread`), and the part begins anew.
 */
import { createHash } from 'node:crypto'

export type SnapshotPart = {
  /** Of the state in the store: a-z, 0-9, '.', '_' and '-'. */
  readonly name: string
  /** False where nothing was learnt since the last `save`; left out where only the content tells. */
  readonly changed?: () => boolean
  readonly save: () => Uint8Array
  /** Throws, and leaves the part as it was, where the bytes are damaged or of another version. */
  readonly restore: (bytes: Uint8Array) => void
}

export type SnapshotPorts = {
  readonly store: {
    saveState(name: string, bytes: Uint8Array): Promise<void>
    loadState(name: string): Promise<Uint8Array | null>
  }
  readonly failed: (what: 'snapshot_unread' | 'snapshot_unwritten', part: string, error: unknown) => void
}

export type SnapshotCounts = { restored: number; unread: number; written: number; unwritten: number; bytesWritten: number }

const MAGIC = Buffer.from('HOMINGST', 'latin1')
const VERSION = 1
const HEAD_BYTES = MAGIC.length + 4 + 32

export class Snapshots {
  readonly #parts: readonly SnapshotPart[]
  readonly #ports: SnapshotPorts
  /** Checksums of what the store has. */
  readonly #written = new Map<string, Buffer>()
  /** Parts whose last write failed: they are tried again, changed or not. */
  readonly #owed = new Set<string>()
  #writing: Promise<void> | null = null
  readonly counts: SnapshotCounts = { restored: 0, unread: 0, written: 0, unwritten: 0, bytesWritten: 0 }

  constructor(parts: readonly SnapshotPart[], ports: SnapshotPorts) {
    const names = new Set(parts.map(({ name }) => name))
    if (names.size < parts.length) throw new Error('two parts of the snapshots have the same name')
    this.#parts = parts
    this.#ports = ports
  }

  /** Never rejects. */
  async load(): Promise<void> {
    for (const part of this.#parts) {
      let bytes: Uint8Array | null = null
      try {
        bytes = await this.#ports.store.loadState(part.name)
        if (bytes === null) continue
        const { content, checksum } = opened(bytes)
        part.restore(content)
        this.#written.set(part.name, checksum)
        this.counts.restored++
      } catch (error) {
        this.counts.unread++
        this.#ports.failed('snapshot_unread', part.name, error)
        if (bytes !== null) await this.#setAside(part.name, bytes)
      }
    }
  }

  /** Rests after each part; `only`: that part alone. One at a time: what is asked for meanwhile is written by one that follows. Never rejects. */
  async write(rest: () => Promise<void>, only?: string): Promise<void> {
    while (this.#writing !== null) await this.#writing
    this.#writing = this.#writeAll(rest, only)
    await this.#writing
    this.#writing = null
  }

  async #writeAll(rest: () => Promise<void>, only?: string): Promise<void> {
    for (const part of this.#parts) {
      if (only !== undefined && part.name !== only) continue
      if (part.changed?.() === false && !this.#owed.has(part.name)) continue
      try {
        const content = part.save()
        const checksum = createHash('sha256').update(content).digest()
        if (this.#written.get(part.name)?.equals(checksum) === true) continue
        await this.#ports.store.saveState(part.name, closed(content, checksum))
        this.#written.set(part.name, checksum)
        this.#owed.delete(part.name)
        this.counts.written++
        this.counts.bytesWritten += content.length
      } catch (error) {
        this.#owed.add(part.name)
        this.counts.unwritten++
        this.#ports.failed('snapshot_unwritten', part.name, error)
      }
      await rest()
    }
  }

  async #setAside(name: string, bytes: Uint8Array): Promise<void> {
    try {
      await this.#ports.store.saveState(`${name}.unread`, bytes)
    } catch (error) {
      this.counts.unwritten++
      this.#ports.failed('snapshot_unwritten', `${name}.unread`, error)
    }
  }
}

function closed(content: Uint8Array, checksum: Buffer): Buffer {
  const version = Buffer.alloc(4)
  version.writeUInt32LE(VERSION)
  return Buffer.concat([MAGIC, version, checksum, content])
}

function opened(bytes: Uint8Array): { readonly content: Uint8Array; readonly checksum: Buffer } {
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  if (whole.length < HEAD_BYTES || !whole.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error('is no snapshot')
  const version = whole.readUInt32LE(MAGIC.length)
  if (version !== VERSION) throw new Error(`has snapshot version ${version}; this version of Homing reads ${VERSION}`)
  const checksum = whole.subarray(MAGIC.length + 4, HEAD_BYTES)
  const content = whole.subarray(HEAD_BYTES)
  if (!createHash('sha256').update(content).digest().equals(checksum)) {
    throw new Error('is damaged: its checksum does not match its content')
  }
  return { content, checksum: Buffer.from(checksum) }
}
