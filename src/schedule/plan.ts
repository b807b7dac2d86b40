import type { Backend } from '../model/backend.ts'
import { Assignment } from './assignment.ts'
import type { WaitingTurn } from './waiting-room.ts'

/** `position`: the candidate whose line the turn is first in, -1 where it comes later in some line. */
export type Planned = { readonly turn: WaitingTurn; position: number; readonly order: number }

/** A backend that takes turns now. */
export const isServing = (backend: Backend): boolean => backend.healthy && !backend.draining

/**
 * What a few waiting turns do, planned together: the first `PLANNED` of the room's order, each with the backend where it
 * is part of the cheapest plan for all (`Assignment`). Kept for its buffers; `begin` starts anew.
 */
export class Plan {
  readonly #assignment = new Assignment()
  readonly #rows: Planned[] = []
  readonly #columnOf = new Int32Array(PLANNED)
  /** Columns by backend number. */
  readonly #columns = new Map<number, number>()
  /** Turns for which there was no room in it. */
  left = 0

  /** In the room's order. */
  get rows(): readonly Planned[] {
    return this.#rows
  }

  begin(): void {
    this.#rows.length = 0
    this.left = 0
  }

  /** `position`: the turn's own cheapest candidate, which stands while nobody else is planned. */
  add(turn: WaitingTurn, position: number, order: number): void {
    const rows = this.#rows
    let at = rows.length
    if (at === PLANNED) this.left++
    if (at === PLANNED && order >= rows[at - 1]!.order) return
    if (at === PLANNED) at--
    while (at > 0 && rows[at - 1]!.order > order) {
      rows[at] = rows[at - 1]!
      at--
    }
    rows[at] = { turn, position, order }
  }

  /** Of a solved plan: another turn, which takes nothing from those that are in it. */
  addBehind(planned: Planned): void {
    this.#rows.push(planned)
  }

  /** Backends that a turn of a solved plan can use. */
  get backends(): number {
    return this.#columns.size
  }

  canUse(backendIndex: number): boolean {
    return this.#columns.has(backendIndex)
  }

  /** `promisedSeconds`: work that a backend was promised and that no wait holds yet. */
  solve(promisedSeconds: (backendIndex: number) => number, random: () => number): void {
    const rows = this.#rows
    if (rows.length < 2) return
    const columns = this.#columns
    columns.clear()
    for (const { turn } of rows) {
      for (const backend of turn.assessment.candidates) {
        if (isServing(backend) && !columns.has(backend.index)) columns.set(backend.index, columns.size)
      }
    }
    this.#assignment.begin(rows.length, columns.size, PLACES)
    for (let row = 0; row < rows.length; row++) {
      const { candidates, board } = rows[row]!.turn.assessment
      for (let position = 0; position < candidates.length; position++) {
        const { index } = candidates[position]!
        const column = columns.get(index)
        if (column === undefined) continue
        const work = board.prefillSeconds[position]! + board.regretSeconds[position]!
        const base = board.costSeconds[position]! - work + promisedSeconds(index)
        // Equal ones are drawn by lot.
        this.#assignment.set(row, column, base + TIE_SECONDS * random(), work)
      }
    }
    this.#assignment.solve(rows.length, this.#columnOf)
    for (let row = 0; row < rows.length; row++) {
      const planned = rows[row]!
      const column = this.#columnOf[row]!
      planned.position = planned.turn.assessment.candidates.findIndex(({ index }) => columns.get(index) === column)
      // Rows are in the room's order: whoever comes later in the same line waits for this one.
      for (let before = 0; before < row && planned.position >= 0; before++) {
        if (this.#columnOf[before] === column) planned.position = -1
      }
    }
  }
}

/** Turns planned together; 32 gain nothing on the Mooncake trace. */
const PLANNED = 16
/** Places in each backend's line that the plan tells apart. */
const PLACES = 4
/** Differences below this are smaller than any prediction error. */
const TIE_SECONDS = 0.0005
