/**
 * Ends exchanges that have gone silent. One timer for all of them (one second, so limits are kept to about a second):
 * a timer per exchange would have to be reset on every token.
 */
export type Watched = {
  /** Monotonic milliseconds after which the exchange counts as silent; Infinity: no limit now. */
  deadlineMs: number
  onSilent(): void
}

export class SilenceWatch {
  readonly #watched = new Set<Watched>()
  readonly #nowMs: () => number
  #timer: NodeJS.Timeout | null = null

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  add(entry: Watched): void {
    this.#watched.add(entry)
    this.#timer ??= setInterval(() => this.sweep(), 1000).unref()
  }

  remove(entry: Watched): void {
    this.#watched.delete(entry)
    if (this.#watched.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }

  sweep(): void {
    const now = this.#nowMs()
    for (const entry of this.#watched) {
      if (now <= entry.deadlineMs) continue
      this.remove(entry)
      entry.onSilent()
    }
  }
}
