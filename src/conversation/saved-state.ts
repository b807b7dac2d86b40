/**
 * What may be saved under a name beside conversations: snapshots of what the gateway has learnt. Whoever learns keeps within
 * these bounds; a state that does not is a mistake of the program, and is refused in words before anything is written.
 */
import { StorageError } from './storage-error.ts'

/** A write of this size holds the event loop for about 0.1 s; who has more splits it into states that are written one by one. */
export const MOST_STATE_BYTES = 32 * 2 ** 20
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/

export function checkState(name: string, bytes: Uint8Array): void {
  if (!NAME.test(name)) {
    throw new StorageError('failed', `'${name}' is no name of a state: 1 to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first.`)
  }
  if (bytes.length > MOST_STATE_BYTES) {
    throw new StorageError('too_large', `The state '${name}' has ${bytes.length} bytes; at most ${MOST_STATE_BYTES} are kept.`)
  }
}
