/**
 * Whether a backend is let near turns, from what probes and turns tell.
 *
 *   closed --3 failures in a row, or refused at once--> open --probe ok, hold over--> half-open --a turn ok--> closed
 *                                                        ^------------a failure-----------'
 *
 * The hold keeps a backend whose probes pass while its turns fail from being tried all the time: it doubles from 1 s to
 * 30 s. It stays at 1 s after 5xx: those may be caused by one request, tried everywhere, and must not close the fleet.
 * Results of turns that end while it is open say nothing new and are ignored.
 */
export type DispatchResult = 'ok' | 'connect' | '5xx' | 'timeout' | 'reset'
export type CircuitState = 'closed' | 'open' | 'half-open'

const FAILURES_TO_OPEN = 3
const FIRST_HOLD_MS = 1000
const LONGEST_HOLD_MS = 30_000

export class Circuit {
  readonly #nowMs: () => number
  #state: CircuitState = 'closed'
  #turnFailures = 0
  #probeFailures = 0
  #reopened = 0
  #heldUntilMs = 0
  #trouble: string | null = null

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  get state(): CircuitState {
    return this.#state
  }

  /** Turns may be sent. */
  get admits(): boolean {
    return this.#state !== 'open'
  }

  /** Why it is open, null when it is not. */
  get trouble(): string | null {
    return this.#trouble
  }

  report(result: DispatchResult, why: string): void {
    if (this.#state === 'open') return
    if (result === 'ok') {
      this.#turnFailures = 0
      this.#reopened = 0
      this.#state = 'closed'
      return
    }
    this.#turnFailures += 1
    const atOnce = result === 'connect' || this.#state === 'half-open'
    if (!atOnce && this.#turnFailures < FAILURES_TO_OPEN) return
    const failures = this.#turnFailures === 1 ? 'a turn failed' : `${this.#turnFailures} turns in a row failed`
    const holdMs = result === '5xx' ? FIRST_HOLD_MS : Math.min(FIRST_HOLD_MS * 2 ** this.#reopened, LONGEST_HOLD_MS)
    this.#reopened += 1
    this.#open(`${failures}: ${why}`, holdMs)
  }

  probeOk(): void {
    this.#probeFailures = 0
    if (this.#state !== 'open' || this.#nowMs() < this.#heldUntilMs) return
    this.#state = 'half-open'
    this.#turnFailures = 0
    this.#trouble = null
  }

  /** `atOnce`: the backend itself says that it is not there or not ready; else it takes three in a row. */
  probeFailed(why: string, atOnce: boolean): void {
    this.#probeFailures += 1
    if (this.#state === 'open') this.#trouble = why
    else if (atOnce || this.#probeFailures >= FAILURES_TO_OPEN) this.#open(why, 0)
  }

  #open(why: string, holdMs: number): void {
    this.#state = 'open'
    this.#trouble = why
    this.#heldUntilMs = this.#nowMs() + holdMs
    this.#turnFailures = 0
  }
}
