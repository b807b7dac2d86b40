import { chmodSync, closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { StorageError } from './storage-error.ts'

/**
 * The only file that imports SQLite: `@photostructure/sqlite` (prebuilt, the same API as `node:sqlite` on every Node),
 * or the built-in module where the package has no binary for the platform.
 *
 * WAL with `synchronous=NORMAL`: a commit survives the death of the process; the last commits may be lost when the
 * machine loses power (`full` syncs each commit and survives that too). `locking_mode=EXCLUSIVE` makes SQLite's own file
 * lock the lock of the data folder: the kernel drops it with the process, so a killed owner never blocks its successor.
 * Deleted content is overwritten where that costs no extra write (`secure_delete=FAST`).
 */
export type SqlValue = string | number | null | Uint8Array

export interface Statement {
  run(...values: SqlValue[]): { readonly changes: number | bigint; readonly lastInsertRowid: number | bigint }
  get(...values: SqlValue[]): unknown
  all(...values: SqlValue[]): unknown[]
}

export interface Database {
  readonly isTransaction: boolean
  exec(sql: string): void
  prepare(sql: string): Statement
  close(): void
}

type DatabaseClass = new (path: string) => Database

export type DriverOptions = {
  readonly directory: string
  readonly synchronous: 'normal' | 'full'
  /** Upper bound of the file in pages of 4,096 bytes, null for none. */
  readonly maxPages: number | null
}

const FILE = 'homing.sqlite'
const OWNER_FILE = 'homing.pid'

export const openDatabase = async (options: DriverOptions): Promise<Database> => {
  const DatabaseSync = await loadSqlite()
  const path = prepareFile(options.directory)
  let database: Database | undefined
  try {
    database = new DatabaseSync(path)
    database.exec('PRAGMA busy_timeout = 200; PRAGMA locking_mode = EXCLUSIVE; PRAGMA auto_vacuum = INCREMENTAL')
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = ${options.synchronous}; PRAGMA secure_delete = FAST`)
    // The lock is taken by the first write, so one is made.
    database.exec('BEGIN IMMEDIATE; COMMIT; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY')
    if (options.maxPages !== null) database.exec(`PRAGMA max_page_count = ${options.maxPages}`)
    writeFileSync(join(options.directory, OWNER_FILE), `${process.pid}\n`)
    return database
  } catch (error) {
    database?.close()
    throw openError(error, options.directory)
  }
}

const loadSqlite = async (): Promise<DatabaseClass> => {
  try {
    const { DatabaseSync } = await import('@photostructure/sqlite')
    return DatabaseSync as unknown as DatabaseClass
  } catch (packageError) {
    const builtIn = 'node:sqlite'
    try {
      const { DatabaseSync } = (await import(builtIn)) as { DatabaseSync: DatabaseClass }
      return DatabaseSync
    } catch {
      throw new StorageError(
        'unavailable',
        `There is no SQLite for ${process.platform}-${process.arch} on Node ${process.versions.node}: use Node 22.16 or ` +
          'newer, or the memory store.',
        packageError,
      )
    }
  }
}

/** What conversations say is for the owner's eyes: folder and file are closed to others. */
const prepareFile = (directory: string): string => {
  const path = join(directory, FILE)
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    closeSync(openSync(path, 'a', 0o600))
    chmodSync(path, 0o600)
  } catch (error) {
    const full = (error as NodeJS.ErrnoException).code === 'ENOSPC'
    throw new StorageError(
      full ? 'full' : 'not_writable',
      `The data folder ${directory} cannot be written: ${(error as Error).message}.`,
      error,
    )
  }
  return path
}

const openError = (error: unknown, directory: string): StorageError => {
  const cause = storageErrorOf(error)
  if (cause.code === 'in_use') {
    const owner = ownerOf(directory)
    const who = owner === null ? 'another process' : `the process with pid ${owner}`
    return new StorageError('in_use', `The data folder ${directory} is in use by ${who}.`, error)
  }
  if (cause.code === 'corrupt') {
    return new StorageError('corrupt', `${join(directory, FILE)} is damaged or no SQLite file: ${cause.message}`, error)
  }
  return new StorageError(cause.code, `The store in ${directory} cannot be opened: ${cause.message}`, error)
}

const ownerOf = (directory: string): string | null => {
  try {
    return /^\d+/.exec(readFileSync(join(directory, OWNER_FILE), 'utf8'))?.[0] ?? null
  } catch {
    return null // The lock is what counts; the file only says whose it is.
  }
}

/** Primary result codes of SQLite (sqlite.org/rescode.html). */
const CODES: Readonly<Record<number, StorageError['code']>> = {
  3: 'not_writable',
  5: 'in_use',
  6: 'in_use',
  8: 'not_writable',
  11: 'corrupt',
  13: 'full',
  14: 'not_writable',
  26: 'corrupt',
}

export const storageErrorOf = (error: unknown): StorageError => {
  if (error instanceof StorageError) return error
  const { errcode, code, message } = error as { errcode?: number; code?: string; message?: string }
  if (error instanceof SyntaxError) return new StorageError('corrupt', 'A stored text is damaged.', error)
  if (code === 'ENOSPC') return new StorageError('full', 'The disk is full.', error)
  const known = errcode === undefined ? undefined : CODES[errcode & 0xff]
  return new StorageError(known ?? 'failed', `${message ?? String(error)}.`, error)
}
