/**
 * What an engine has in hand beside our own turns, as expected seconds for the next one: the part of the load that a
 * metrics page shows and this process did not send (another router, a replica of this one, batch jobs).
 *
 *   work(scrape) = waiting * secondsEach + secondsEach * (1 if any waits, else busyShare)
 *   wait(age)    = trust(age) * (mean + (max(0, work - age) - mean) * exp(-age / MEMORY))
 *
 * The second term of `work` is the rest of the prompt under way: of an exponential length, what is left of it is as long
 * as the whole (memoryless). A reading is worth less the older it is, twice over: what was queued is worked off second by
 * second, and what came since is unknown, so the estimate returns to the mean of the last readings; and after
 * `TRUSTED_MS` without a new one the whole correction fades and is gone at `FORGOTTEN_MS`. An own turn that was sent
 * after the reading and has its first token proves that what was queued then is done (engines serve first come first).
 *
 * O(1) per read and reading; one small object per backend, for as long as the process knows it.
 */
export type OthersReading = {
  /** Sequences of others that wait for the engine, and that it runs. */
  readonly waiting: number
  readonly running: number
  /** Expected prompt tokens to compute for one of them, and the seconds that takes here. */
  readonly tokensEach: number
  readonly secondsEach: number
  /** Share of the time that goes into others' prompts, 0..1. */
  readonly busyShare: number
}

export class OthersWork {
  readonly #nowMs: () => number
  readonly #byBackend: Others[] = []

  constructor(options: { readonly nowMs: () => number }) {
    this.#nowMs = options.nowMs
  }

  observe(backendIndex: number, reading: OthersReading): void {
    const others = this.#at(backendIndex)
    const { waiting, running, secondsEach } = reading
    const busy = waiting > 0 ? 1 : Math.min(1, Math.max(0, reading.busyShare))
    others.workSeconds = (waiting + busy) * secondsEach
    others.meanSeconds += SHARE_OF_NEWEST * (others.workSeconds - others.meanSeconds)
    others.atMs = this.#nowMs()
    if (running !== others.running) others.version++
    others.running = running
  }

  /** Nothing may be said any more: the engine restarted, or its page no longer tells. */
  forget(backendIndex: number): void {
    const others = this.#byBackend[backendIndex]
    if (others === undefined) return
    others.version++
    Object.assign(others, { ...nobody(), version: others.version })
  }

  /** An own turn that was sent at `sentAtMs` has its first token. */
  answered(backendIndex: number, sentAtMs: number): void {
    const others = this.#byBackend[backendIndex]
    if (others !== undefined && sentAtMs > others.atMs) others.workSeconds = 0
  }

  /** Expected seconds until the engine turns to a prompt that is sent now, beyond our own work. */
  waitSeconds(backendIndex: number): number {
    const others = this.#byBackend[backendIndex]
    if (others === undefined) return 0
    const ageMs = this.#nowMs() - others.atMs
    const trust = trustAt(ageMs)
    if (trust === 0) return 0
    const left = Math.max(0, others.workSeconds - ageMs / 1000)
    return trust * (others.meanSeconds + (left - others.meanSeconds) * Math.exp(-ageMs / MEMORY_MS))
  }

  /** Sequences of others that run. */
  running(backendIndex: number): number {
    const others = this.#byBackend[backendIndex]
    if (others === undefined || others.running === 0) return 0
    return trustAt(this.#nowMs() - others.atMs) > 0 ? others.running : 0
  }

  /** How far the newest reading is trusted by its age, 0..1. */
  trust(backendIndex: number): number {
    const others = this.#byBackend[backendIndex]
    return others === undefined ? 0 : trustAt(this.#nowMs() - others.atMs)
  }

  version(backendIndex: number): number {
    return this.#byBackend[backendIndex]?.version ?? 0
  }

  #at(backendIndex: number): Others {
    for (let next = this.#byBackend.length; next <= backendIndex; next++) this.#byBackend.push(nobody())
    return this.#byBackend[backendIndex]!
  }
}

type Others = {
  atMs: number
  workSeconds: number
  meanSeconds: number
  running: number
  version: number
}

const nobody = (): Others => ({
  atMs: Number.NEGATIVE_INFINITY, workSeconds: 0, meanSeconds: 0, running: 0, version: 0,
})

const trustAt = (ageMs: number): number =>
  ageMs <= TRUSTED_MS ? 1 : Math.max(0, (FORGOTTEN_MS - ageMs) / (FORGOTTEN_MS - TRUSTED_MS))

/** Two scrapes of 2 s with jitter: one that is lost changes nothing yet. */
const TRUSTED_MS = 5000
/** Five scrapes. */
const FORGOTTEN_MS = 10_000
/** Of the mean, and how fast a reading gives way to it: 0.03..0.3 and 1..4 s are alike, never giving way is 20 % worse. */
const SHARE_OF_NEWEST = 0.2
const MEMORY_MS = 4000
