/**
 * Files of one folder that are only ever appended to, `PREFIX00000001SUFFIX` and so on. What is appended waits in memory for
 * `FLUSH_MS` and is written off the event loop, so an append costs nothing but a place in a list. The death of the process
 * loses what was appended in the last `FLUSH_MS`; a file that breaks off in the middle of a record is its reader's affair.
 *
 * Never throws after `open`: what could not be written is dropped, counted and told once a failure. What waits is bounded: while
 * a disk is slower than what is appended, the newest is dropped.
 */
import { appendFileSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { appendFile, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'

/** Late enough that a busy gateway writes many records at once, early enough that a kill loses little. */
const FLUSH_MS = 20
/** Some ten seconds of a disk that stands still under a thousand records a second. */
const MOST_HELD_BYTES = 8 * 2 ** 20

export type NumberedFilesOptions = {
  readonly folder: string
  readonly prefix: string
  readonly suffix: string
  readonly after: (delayMs: number, task: () => void) => () => void
  readonly onFailure: (error: unknown) => void
}

type Waiting = { readonly number: number; readonly bytes: Uint8Array }

export class NumberedFiles {
  readonly #options: NumberedFilesOptions
  /** Those that were there when the folder was opened, oldest first. */
  readonly found: readonly number[]
  #waiting: Waiting[] = []
  #removals: number[] = []
  /** Of what waits and of what is being written. */
  #heldBytes = 0
  #running: Promise<void> = Promise.resolve()
  #planned = false
  readonly counts = { bytes: 0, dropped: 0 }

  /** Makes the folder where it is missing; throws where it cannot be used. */
  constructor(options: NumberedFilesOptions) {
    this.#options = options
    mkdirSync(options.folder, { recursive: true, mode: 0o700 })
    this.found = numbersIn(options.folder, options.prefix, options.suffix)
  }

  read(number: number): Promise<Buffer> {
    return readFile(this.#path(number))
  }

  sizeOf(number: number): number {
    return statSync(this.#path(number)).size
  }

  /** The bytes are written later and must not change until then. */
  append(number: number, bytes: Uint8Array): void {
    if (this.#heldBytes + bytes.length > MOST_HELD_BYTES) {
      this.counts.dropped += bytes.length
      return
    }
    this.#waiting.push({ number, bytes })
    this.#heldBytes += bytes.length
    this.#plan()
  }

  /** To a file that is removed nothing may be appended any more. */
  remove(number: number): void {
    this.#removals.push(number)
    this.#plan()
  }

  /** Resolves when all that was appended is with the operating system, or dropped. */
  flush(): Promise<void> {
    this.#running = this.#running.then(() => this.#drain())
    return this.#running
  }

  /** The same at once, for a process that is about to end. */
  flushSync(): void {
    for (const [number, parts] of this.#take()) {
      try {
        appendFileSync(this.#path(number), Buffer.concat(parts), { mode: 0o600 })
        this.#ended(parts, 'bytes')
      } catch (error) {
        this.#ended(parts, 'dropped')
        this.#options.onFailure(error)
      }
    }
  }

  /** One flush at a time is planned or running, however long a disk takes. */
  #plan(): void {
    if (this.#planned) return
    this.#planned = true
    this.#options.after(FLUSH_MS, () => {
      void this.flush().then(() => {
        this.#planned = false
        if (this.#waiting.length + this.#removals.length > 0) this.#plan()
      })
    })
  }

  async #drain(): Promise<void> {
    for (const [number, parts] of this.#take()) {
      try {
        await appendFile(this.#path(number), Buffer.concat(parts), { mode: 0o600 })
        this.#ended(parts, 'bytes')
      } catch (error) {
        this.#ended(parts, 'dropped')
        this.#options.onFailure(error)
      }
    }
    const removals = this.#removals
    this.#removals = []
    for (const number of removals) {
      await unlink(this.#path(number)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') this.#options.onFailure(error) // it may never have been written, or be taken away by hand
      })
    }
  }

  #take(): Map<number, Uint8Array[]> {
    const byFile = new Map<number, Uint8Array[]>()
    for (const { number, bytes } of this.#waiting) {
      const parts = byFile.get(number)
      if (parts === undefined) byFile.set(number, [bytes])
      else parts.push(bytes)
    }
    this.#waiting = []
    return byFile
  }

  #ended(parts: readonly Uint8Array[], how: 'bytes' | 'dropped'): void {
    const size = parts.reduce((sum, { length }) => sum + length, 0)
    this.#heldBytes -= size
    this.counts[how] += size
  }

  #path(number: number): string {
    const { folder, prefix, suffix } = this.#options
    return join(folder, `${prefix}${String(number).padStart(DIGITS, '0')}${suffix}`)
  }
}

const DIGITS = 8

/** In the order of their numbers; other files are left alone. */
export function numbersIn(folder: string, prefix: string, suffix: string): number[] {
  return readdirSync(folder)
    .filter((name) => name.startsWith(prefix) && name.endsWith(suffix))
    .map((name) => name.slice(prefix.length, name.length - suffix.length))
    .filter((digits) => /^\d{8,}$/.test(digits))
    .map(Number)
    .sort((a, b) => a - b)
}
