/** What of the gateway's learning outlives the process, and when it is written. */
import type { Logger } from 'pino'
import type { ResponseStore } from '../conversation/response-store.ts'
import { Snapshots, type SnapshotPart } from '../snapshots.ts'

export type SnapshotParts = {
  readonly store: ResponseStore
  readonly parts: readonly SnapshotPart[]
  readonly log: Logger
  readonly fallback: (what: string) => void
}

/** A killed process loses a minute of learning: some outcomes of thousands. */
const WRITE_EVERY_MS = 60_000

export type Snapshotting = {
  readonly counts: Snapshots['counts']
  /** Restores what the store has, then writes every minute. */
  readonly start: () => Promise<void>
  /** Writes a last time; before the store is closed. */
  readonly close: () => Promise<void>
}

export function buildSnapshots({ store, parts, log, fallback }: SnapshotParts): Snapshotting {
  const snapshots = new Snapshots(parts, {
    store,
    pause: () => new Promise((resolve) => setImmediate(resolve)),
    failed: (what, part, error) => {
      fallback(what)
      const says = what === 'snapshot_unread' ? 'a snapshot cannot be read and is set aside' : 'a snapshot could not be written'
      log.error({ err: error, part }, says)
    },
  })
  let timer: NodeJS.Timeout | undefined
  return {
    counts: snapshots.counts,
    start: async () => {
      await snapshots.load()
      timer = setInterval(() => void snapshots.write(), WRITE_EVERY_MS).unref()
    },
    close: async () => {
      clearInterval(timer)
      await snapshots.write()
    },
  }
}
