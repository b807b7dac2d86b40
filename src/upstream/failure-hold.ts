/**
 * Leaves alone what keeps failing: after `FAILURES` in a row nothing is asked for a while that doubles from 1 s to 60 s; then one
 * request is a trial, and one success ends it. For things that turns can do without; backends have `fleet/circuit.ts`.
 */
const FAILURES = 3
const FIRST_HOLD_MS = 1000
const LONGEST_HOLD_MS = 60_000

export class FailureHold {
  readonly #nowMs: () => number
  #failures = 0
  #heldUntilMs = -Infinity
  #trying = false

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  get holding(): boolean {
    return this.#failures >= FAILURES && (this.#trying || this.#nowMs() < this.#heldUntilMs)
  }

  /** A request begins. */
  begins(): void {
    if (this.#failures >= FAILURES) this.#trying = true
  }

  succeeded(): void {
    this.#failures = 0
    this.#trying = false
  }

  failed(): void {
    this.#trying = false
    this.#failures++
    const times = Math.max(0, this.#failures - FAILURES)
    this.#heldUntilMs = this.#nowMs() + Math.min(LONGEST_HOLD_MS, FIRST_HOLD_MS * 2 ** Math.min(times, 10))
  }
}
