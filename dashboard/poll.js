/**
 * Asking again and again, one question at a time, only while somebody looks. After a failure the pause doubles, up to a bound,
 * so that a gateway in trouble is not asked more often for that.
 */

/** Somebody who looks at an error wants to see it gone. */
const LONGEST_PAUSE_MS = 30_000

export class Poll {
  #ask
  #everyMs
  #after
  #pauseMs
  #running = null

  /** @param {{ ask: (signal: AbortSignal) => Promise<boolean>, everyMs: number, after?: (ms: number, run: () => void) => () => void }} options `ask` tells whether it went well */
  constructor({ ask, everyMs, after = afterTimeout }) {
    this.#ask = ask
    this.#everyMs = everyMs
    this.#after = after
    this.#pauseMs = everyMs
  }

  start() {
    if (this.#running !== null) return
    this.#pauseMs = this.#everyMs
    const running = { abort: new AbortController(), cancel: () => {} }
    this.#running = running
    void this.#turn(running)
  }

  stop() {
    this.#running?.abort.abort()
    this.#running?.cancel()
    this.#running = null
  }

  async #turn(running) {
    const well = await this.#ask(running.abort.signal)
    if (this.#running !== running) return
    this.#pauseMs = well ? this.#everyMs : Math.min(LONGEST_PAUSE_MS, 2 * this.#pauseMs)
    running.cancel = this.#after(this.#pauseMs, () => void this.#turn(running))
  }
}

function afterTimeout(ms, run) {
  const timer = setTimeout(run, ms)
  return () => clearTimeout(timer)
}
