// Starts an engine again that dies while `npm start` runs, on the port that the gateway knows it by. Each port is given
// TRIES; one that keeps dying is left alone, and said so. Looks every LOOK_EVERY_MS, by process, so a busy engine is
// never taken for a dead one.
import { setTimeout as pause } from 'node:timers/promises'

const LOOK_EVERY_MS = 2000
const TRIES = 3

/**
 * Resolves when `signal` aborts and no start is under way.
 * @param {{ engines: () => readonly { port: number, pid: number }[], isAlive: (engine: object) => boolean,
 *   restart: (living: object[]) => Promise<unknown>, say: (text: string) => void, signal: AbortSignal, everyMs?: number }} options
 */
export async function keepEngines({ engines, isAlive, restart, say, signal, everyMs = LOOK_EVERY_MS }) {
  const tried = new Map()
  const wanted = new Set(engines().map(({ port }) => port))
  while (!signal.aborted) {
    await pause(everyMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
    const living = engines().filter(isAlive)
    const missing = [...wanted].filter(port => !living.some(engine => engine.port === port))
    for (const port of missing) {
      const count = (tried.get(port) ?? 0) + 1
      tried.set(port, count)
      if (count > TRIES) {
        wanted.delete(port)
        say(`the engine on port ${port} ended again after ${TRIES} new starts; it is left alone until the next npm start`)
      } else say(`the engine on port ${port} ended; starting it again (${count} of ${TRIES})`)
    }
    if (!missing.some(port => wanted.has(port))) continue
    await restart(living).catch(error => {
      if (!signal.aborted) say(`it could not be started: ${error.message}`)
    })
  }
}
