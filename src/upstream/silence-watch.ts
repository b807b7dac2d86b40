/**
 * Ends exchanges that have gone silent. One timer for all of them (one second, so limits are kept to about a second):
 * a timer per exchange would have to be reset on every token.
 *
 * Entries lie in an array and know their place; the last one fills the place of one that leaves. A Set would do the
 * same, but its outgrown tables, once in old space, keep every exchange alive that was in them until the next major
 * collection: a third of all garbage survived the minor ones.
 */
export type Watched = {
  /** Monotonic milliseconds after which the exchange counts as silent; Infinity: no limit now. */
  deadlineMs: number
  onSilent(): void
  /** Place in the watch, -1 outside; the watch's own. */
  place: number
}

export class SilenceWatch {
  readonly #watched: Watched[] = []
  readonly #nowMs: () => number
  #timer: NodeJS.Timeout | null = null

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  add(entry: Watched): void {
    entry.place = this.#watched.length
    this.#watched.push(entry)
    this.#timer ??= setInterval(() => this.sweep(), 1000).unref()
  }

  remove(entry: Watched): void {
    if (entry.place === -1) return
    const last = this.#watched.pop()!
    if (last !== entry) {
      this.#watched[entry.place] = last
      last.place = entry.place
    }
    entry.place = -1
  }

  sweep(): void {
    const now = this.#nowMs()
    for (const entry of this.#watched.filter((watched) => now > watched.deadlineMs)) {
      this.remove(entry)
      entry.onSilent()
    }
    if (this.#watched.length > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }
}
