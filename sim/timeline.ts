/**
 * Virtual time: a binary heap of actions ordered by (time, order of scheduling), so that two actions of the same
 * millisecond always run in the same order and a run depends on nothing but its inputs. `run` jumps from action to
 * action; an hour of trace costs what its events cost. O(log n) per action.
 */
export interface Timeline {
  nowMs(): number
  /** Runs `action` at `atMs`, or at once (after what is already due) where that has passed. */
  schedule(atMs: number, action: () => void): void
}

export class EventHeap {
  readonly #times: number[] = []
  readonly #orders: number[] = []
  readonly #actions: (() => void)[] = []
  #nextOrder = 0

  get size(): number {
    return this.#times.length
  }

  /** Infinity when empty. */
  get earliestMs(): number {
    return this.#times[0] ?? Number.POSITIVE_INFINITY
  }

  push(atMs: number, action: () => void): void {
    const order = this.#nextOrder++
    let hole = this.#times.length
    this.#times.push(atMs)
    this.#orders.push(order)
    this.#actions.push(action)
    while (hole > 0) {
      const parent = (hole - 1) >> 1
      if (this.#times[parent]! <= atMs) break // a later order never passes an equal time
      this.#move(parent, hole)
      hole = parent
    }
    this.#place(hole, atMs, order, action)
  }

  pop(): (() => void) | undefined {
    const first = this.#actions[0]
    if (first === undefined) return undefined
    const atMs = this.#times.pop()!
    const order = this.#orders.pop()!
    const action = this.#actions.pop()!
    const size = this.#times.length
    if (size === 0) return first
    let hole = 0
    for (;;) {
      let child = 2 * hole + 1
      if (child >= size) break
      if (child + 1 < size && this.#before(child + 1, child)) child++
      const childMs = this.#times[child]!
      if (childMs > atMs || (childMs === atMs && this.#orders[child]! > order)) break
      this.#move(child, hole)
      hole = child
    }
    this.#place(hole, atMs, order, action)
    return first
  }

  #before(a: number, b: number): boolean {
    const difference = this.#times[a]! - this.#times[b]!
    return difference < 0 || (difference === 0 && this.#orders[a]! < this.#orders[b]!)
  }

  #move(from: number, to: number): void {
    this.#place(to, this.#times[from]!, this.#orders[from]!, this.#actions[from]!)
  }

  #place(at: number, atMs: number, order: number, action: () => void): void {
    this.#times[at] = atMs
    this.#orders[at] = order
    this.#actions[at] = action
  }
}

export class VirtualTimeline implements Timeline {
  readonly #heap = new EventHeap()
  #nowMs = 0

  nowMs(): number {
    return this.#nowMs
  }

  schedule(atMs: number, action: () => void): void {
    this.#heap.push(Math.max(atMs, this.#nowMs), action)
  }

  /** Runs until nothing is left, or until `untilMs`. Returns how many actions ran. */
  run(untilMs = Number.POSITIVE_INFINITY): number {
    let count = 0
    while (this.#next(untilMs)) count++
    return count
  }

  /** The same for a program that also waits for promises: `settle` says what to await after an action, if anything. */
  async runSettling(settle: () => Promise<void> | null): Promise<void> {
    while (this.#next(Number.POSITIVE_INFINITY)) {
      const settling = settle()
      if (settling !== null) await settling
    }
  }

  #next(untilMs: number): boolean {
    if (this.#heap.size === 0 || this.#heap.earliestMs > untilMs) return false
    this.#nowMs = this.#heap.earliestMs
    this.#heap.pop()!()
    return true
  }
}
