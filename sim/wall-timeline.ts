/**
 * The same timeline against a real clock, `timeFactor` times as fast. Inside an action `nowMs()` is the moment for
 * which it was scheduled, not the moment at which the timer fired: a late timer delays one event and never the chain
 * of events behind it, so simulated seconds stay true while the machine is busy. Timer resolution is 1 ms of wall time.
 */
import { EventHeap, type Timeline } from './timeline.ts'

export class WallTimeline implements Timeline {
  readonly #heap = new EventHeap()
  readonly #clock: () => number
  readonly #timeFactor: number
  readonly #startMs: number
  #actionMs: number | null = null
  #timer: NodeJS.Timeout | null = null
  #timerAtMs = Number.POSITIVE_INFINITY
  #worstLagMs = 0

  constructor(options: { readonly clock: () => number; readonly timeFactor: number }) {
    this.#clock = options.clock
    this.#timeFactor = options.timeFactor
    this.#startMs = options.clock()
  }

  /**
   * The longest that an action ran behind its time, in wall milliseconds: a run with a large figure is not to be
   * trusted.
   */
  get worstLagMs(): number {
    return this.#worstLagMs
  }

  nowMs(): number {
    return this.#actionMs ?? (this.#clock() - this.#startMs) * this.#timeFactor
  }

  schedule(atMs: number, action: () => void): void {
    this.#heap.push(Math.max(atMs, this.nowMs()), action)
    if (this.#actionMs === null) this.#arm()
  }

  /** Runs what is due. Called before anything that comes from outside is handed to an engine. */
  catchUp(): void {
    if (this.#actionMs !== null) return
    const nowMs = this.nowMs()
    while (this.#heap.size > 0 && this.#heap.earliestMs <= nowMs) {
      this.#actionMs = this.#heap.earliestMs
      this.#worstLagMs = Math.max(this.#worstLagMs, (nowMs - this.#actionMs) / this.#timeFactor)
      try {
        this.#heap.pop()!()
      } finally {
        this.#actionMs = null
      }
    }
    this.#arm()
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#timerAtMs = Number.POSITIVE_INFINITY
    while (this.#heap.size > 0) this.#heap.pop()
  }

  #arm(): void {
    const earliestMs = this.#heap.earliestMs
    if (earliestMs >= this.#timerAtMs) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timerAtMs = earliestMs
    const delayMs = Math.max(0, Math.ceil((earliestMs - this.nowMs()) / this.#timeFactor))
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#timerAtMs = Number.POSITIVE_INFINITY
      this.catchUp()
    }, delayMs)
  }
}
