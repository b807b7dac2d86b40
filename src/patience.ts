/**
 * After `commitAfterMs` without output a stream is opened all the same, and kept alive by comments: proxies and clients
 * give up on silence.
 */
export interface PatientRelay {
  readonly visible: boolean
  commitEarly(): void
  keepAlive(): void
}

const KEEP_ALIVE_MS = 15_000

/** Ends by itself once output is visible, and by `stop`. */
export function beginPatience(relay: PatientRelay, commitAfterMs: number): { stop(): void } {
  let timer = setTimeout(() => {
    if (relay.visible) return
    relay.commitEarly()
    timer = setInterval(() => {
      if (relay.visible) clearInterval(timer)
      else relay.keepAlive()
    }, KEEP_ALIVE_MS).unref()
  }, commitAfterMs).unref()
  return { stop: () => clearTimeout(timer) }
}

export const NO_PATIENCE = { stop() {} } as const
