import type { Database, Statement } from './sqlite-driver.ts'
import { storageErrorOf } from './sqlite-driver.ts'
import { StorageError } from './storage-error.ts'

type Job = {
  readonly work: () => unknown
  readonly resolve: (value: never) => void
  readonly reject: (error: Error) => void
}
type Listener = { committed(): void; rolledBack(): void }

/**
 * Writes that come in the same turn of the event loop share one transaction, and their promises resolve after its
 * COMMIT. When one of them (or the commit) fails, the transaction is rolled back and each is run again in its own, so
 * that it fails alone; `work` may therefore run twice and must leave nothing behind in memory (`Listener` is told).
 *
 * At most `GROUP_LIMIT` writes wait; the next one flushes at once, which bounds memory and the time the loop is held.
 */
const GROUP_LIMIT = 64

export class GroupCommit {
  readonly #schedule: (flush: () => void) => void
  readonly #listener: Listener
  readonly #begin: Statement
  readonly #commit: Statement
  readonly #database: Database
  #waiting: Job[] = []
  #planned = false
  #closed = false

  constructor(database: Database, schedule: (flush: () => void) => void, listener: Listener) {
    this.#database = database
    this.#schedule = schedule
    this.#listener = listener
    this.#begin = database.prepare('BEGIN IMMEDIATE')
    this.#commit = database.prepare('COMMIT')
  }

  write<T>(work: () => T): Promise<T> {
    if (this.#closed) return Promise.reject(new StorageError('closed', 'The store is closed.'))
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ work, resolve, reject })
      if (this.#waiting.length >= GROUP_LIMIT) this.flush()
      else if (!this.#planned) {
        this.#planned = true
        this.#schedule(() => {
          this.#planned = false
          this.flush()
        })
      }
    })
  }

  /** Everything asked for so far is committed, or rejected, when this returns. */
  flush(): void {
    const jobs = this.#waiting
    if (jobs.length === 0) return
    this.#waiting = []
    if (jobs.length > 1 && this.#settle(jobs) === null) return
    for (const job of jobs) {
      const error = this.#settle([job])
      if (error !== null) job.reject(error)
    }
  }

  close(): void {
    this.flush()
    this.#closed = true
  }

  #settle(jobs: readonly Job[]): Error | null {
    let values: unknown[]
    try {
      this.#begin.run()
      values = jobs.map((job) => job.work())
      this.#commit.run()
    } catch (error) {
      // Some errors (disk full) have ended the transaction already.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      this.#listener.rolledBack()
      return storageErrorOf(error)
    }
    this.#listener.committed()
    jobs.forEach((job, index) => job.resolve(values[index] as never))
    return null
  }
}
