/**
 * Why a store could not do what it was asked. At open it ends the program with one clear sentence; later it fails one
 * response (`storage_error` of the error table), never the process.
 */
export type StorageErrorCode =
  | 'in_use' // another process has the data folder open
  | 'corrupt' // the file is damaged, or is not a store
  | 'newer_schema' // written by a later version of this program
  | 'not_writable' // the folder or the file cannot be written
  | 'full' // the disk, or the bound of a memory store, has no room
  | 'conflict' // the id is taken
  | 'too_large' // a state is larger than what is kept of one
  | 'missing_item' // a response or conversation names an item that is not stored
  | 'closed'
  | 'unavailable' // no SQLite for this platform
  | 'failed' // anything else the database said

export class StorageError extends Error {
  readonly code: StorageErrorCode

  constructor(code: StorageErrorCode, message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'StorageError'
    this.code = code
  }
}
