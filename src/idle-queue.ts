/**
 * Work that can wait: one task at a time, each in a turn of the event loop of its own, so that what comes in between is served
 * first. A burst is over within `REST_MS`. Bounded: beyond `MOST_TASKS` the oldest is let go, and whoever needs it does it.
 */
export class IdleQueue {
  readonly #tasks: (() => void)[] = []
  #scheduled = false
  dropped = 0

  readonly run = (task: () => void): void => {
    this.#tasks.push(task)
    if (this.#tasks.length > MOST_TASKS) {
      this.#tasks.shift()
      this.dropped++
    }
    this.#schedule(REST_MS)
  }

  get size(): number {
    return this.#tasks.length
  }

  #schedule(ms: number): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setTimeout(() => {
      this.#scheduled = false
      this.#tasks.shift()?.()
      if (this.#tasks.length > 0) this.#schedule(NEXT_MS)
    }, ms).unref()
  }
}

/** Turns that arrive together do so within some milliseconds. */
const REST_MS = 20
/** Between two tasks: what has arrived meanwhile is read. */
const NEXT_MS = 1
const MOST_TASKS = 1000
