import { chmodSync, closeSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { StorageError } from './storage-error.ts'

/**
 * The only file that imports SQLite: `@photostructure/sqlite` (prebuilt, the same API as `node:sqlite` on every Node),
 * or the built-in module where the package has no binary for the platform.
 *
 * WAL with `synchronous=NORMAL`: a commit survives the death of the process; the last commits may be lost when the
 * machine loses power (`full` syncs each commit and survives that too). `locking_mode=EXCLUSIVE` makes SQLite's own file
 * lock the lock of the data folder: the kernel drops it with the process, so a killed owner never blocks its successor.
 * Deleted content is overwritten (`secure_delete`), so that what a user deletes is not left in free pages.
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

type DatabaseClass = { new (path: string): Database; readonly prototype: Database }

export type DriverOptions = {
  readonly directory: string
  readonly synchronous: 'normal' | 'full'
  /** Upper bound of the file in pages of 4,096 bytes, null for none. */
  readonly maxPages: number | null
}

const FILE = 'homing.sqlite'
const OWNER_FILE = 'homing.pid'

/** "Homi": marks the file as ours. */
const APPLICATION_ID = 0x486f6d69
/** Files up to this size are checked whole at open: about 0.5 ms a megabyte. Damage in larger ones shows when it is read. */
const CHECKED_BYTES = 64 * 2 ** 20

export const openDatabase = async (options: DriverOptions): Promise<Database> => {
  const DatabaseSync = await loadSqlite()
  const path = prepareFile(options.directory)
  let database: Database | undefined
  try {
    database = new DatabaseSync(path)
    // The lock comes first: nothing is changed in a file that is in use, or that turns out to be of another program.
    const { size: bytes } = statSync(path)
    if (bytes === 0) database.exec('PRAGMA auto_vacuum = INCREMENTAL')
    database.exec('PRAGMA busy_timeout = 200; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT')
    recognise(database, bytes)
    database.exec('PRAGMA journal_mode = WAL; PRAGMA secure_delete = ON')
    database.exec(`PRAGMA synchronous = ${options.synchronous}; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY`)
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}`)
    if (options.maxPages !== null) database.exec(`PRAGMA max_page_count = ${options.maxPages}`)
    writeFileSync(join(options.directory, OWNER_FILE), `${process.pid}\n`)
    return database
  } catch (error) {
    database?.close()
    throw openError(error, options.directory)
  }
}

/**
 * A statement that is not yet collected as garbage would keep the connection, and so the lock, alive after `close`.
 * Leaving WAL gives the lock back now; it also folds the log in, so a closed store is one file.
 */
export const closeDatabase = (database: Database): void => {
  try {
    database.exec('PRAGMA journal_mode = DELETE; PRAGMA locking_mode = NORMAL; SELECT count(*) FROM sqlite_schema')
  } finally {
    database.close()
  }
}

const recognise = (database: Database, bytes: number): void => {
  const { tables } = database.prepare('SELECT count(*) AS tables FROM sqlite_schema').get() as { tables: number }
  if (tables === 0) return
  const { application_id: application } = database.prepare('PRAGMA application_id').get() as { application_id: number }
  if (application !== APPLICATION_ID) throw new StorageError('corrupt', 'it belongs to another program.')
  if (bytes > CHECKED_BYTES) return
  const { quick_check: found } = database.prepare('PRAGMA quick_check(1)').get() as { quick_check: string }
  if (found !== 'ok') throw new StorageError('corrupt', `${found}.`)
}

const loadSqlite = async (): Promise<DatabaseClass> => {
  try {
    const { DatabaseSync } = await import('@photostructure/sqlite')
    return DatabaseSync as unknown as DatabaseClass
  } catch (packageError) {
    const builtIn = 'node:sqlite'
    try {
      const { DatabaseSync } = (await import(builtIn)) as { DatabaseSync: DatabaseClass }
      // Without it (Node < 22.16) a failed group could not be told from one that SQLite has rolled back itself.
      if (!('isTransaction' in DatabaseSync.prototype)) throw new Error('node:sqlite is too old')
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
    return new StorageError('corrupt', `${join(directory, FILE)} is damaged, or is not a store: ${cause.message}`, error)
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
