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
/** Between two parts of some milliseconds each: writing takes a seventh of the process while it lasts, 2 s of a minute. */
const REST_MS = 25
const MOST_SAID = 100

export type Snapshotting = {
  /** Restores what the store has, then writes every minute. */
  readonly start: () => Promise<void>
  /** Writes one part at once, so that no kill loses it. Never rejects. */
  readonly writeNow: (name: string) => Promise<void>
  /** Writes a last time; before the store is closed. */
  readonly close: () => Promise<void>
}

export function buildSnapshots({ store, parts, log, fallback }: SnapshotParts): Snapshotting {
  /** A changed taxonomy or a full disk is the same for a hundred parts: it is said once, and each is counted. */
  const said = new Set<string>()
  const snapshots = new Snapshots(parts, {
    store,
    failed: (what, part, error) => {
      fallback(what)
      const message = `${what} ${error instanceof Error ? error.message : String(error)}`
      if (said.has(message)) return
      said.add(message)
      if (said.size > MOST_SAID) said.clear()
      const says = what === 'snapshot_unread' ? 'a snapshot cannot be read and is set aside' : 'a snapshot could not be written'
      log.error({ err: error, part }, says)
    },
  })
  const rest = (): Promise<void> => new Promise((resolve) => void setTimeout(resolve, REST_MS).unref())
  let timer: NodeJS.Timeout | undefined
  return {
    start: async () => {
      await snapshots.load()
      log.debug({ restored: snapshots.counts.restored, unread: snapshots.counts.unread }, 'snapshots read')
      timer = setInterval(() => void snapshots.write(rest), WRITE_EVERY_MS).unref()
    },
    writeNow: (name) => snapshots.write(async () => {}, name),
    close: async () => {
      clearInterval(timer)
      await snapshots.write(async () => {})
    },
  }
}
