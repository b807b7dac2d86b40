/**
 * Which of a few waiting turns goes to which backend, and to which place in its line, so that the sum of their times to
 * first token is least: min-cost assignment on unrelated machines (R||sum C_j; Horn 1973, Bruno, Coffman and Sethi 1974).
 *
 * A turn that is k-th from the end of a backend's line delays itself and the k - 1 turns behind it by its own work, so
 * it costs  base + k * work  there, whoever the others are: each (backend, k) is one column, each turn one row.
 *
 *               b0,1  b0,2  b1,1  b1,2        row 1 on b0,2 and row 0 on b0,1: on b0, 1 runs before 0
 *     turn 0    [8]    14     9    15
 *     turn 1     3    [4]     7    12
 *
 * Solved by shortest augmenting paths with potentials (Jonker and Volgenant 1987; Crouse 2016): O(rows^2 * columns) at
 * most, buffers are kept. Some 20 us for 8 rows of 8 backends and 2 places, 100 us for 16 rows of 100 backends.
 */
export class Assignment {
  #cost = new Float64Array(0)
  #rowPotential = new Float64Array(0)
  #columnPotential = new Float64Array(0)
  #shortest = new Float64Array(0)
  #rowOf = new Int32Array(0)
  #previous = new Int32Array(0)
  #visited = new Uint8Array(0)
  #columns = 0
  #places = 0

  /** `places` is raised where the rows would not fit; every cell starts as impossible. */
  begin(rows: number, backends: number, places: number): void {
    this.#places = Math.max(places, Math.ceil(rows / Math.max(1, backends)))
    this.#columns = backends * this.#places
    if (this.#cost.length < rows * this.#columns) this.#cost = new Float64Array(2 * rows * this.#columns)
    this.#cost.fill(IMPOSSIBLE, 0, rows * this.#columns)
    if (this.#rowPotential.length < rows + 1) this.#rowPotential = new Float64Array(2 * rows + 1)
    if (this.#rowOf.length >= this.#columns + 1) return
    const size = 2 * this.#columns + 1
    this.#columnPotential = new Float64Array(size)
    this.#shortest = new Float64Array(size)
    this.#rowOf = new Int32Array(size)
    this.#previous = new Int32Array(size)
    this.#visited = new Uint8Array(size)
  }

  /** Seconds: `base` once, `work` for itself and for each turn behind it. */
  set(row: number, backend: number, base: number, work: number): void {
    const from = row * this.#columns + backend * this.#places
    for (let place = 1; place <= this.#places; place++) this.#cost[from + place - 1] = base + place * work
  }

  /** Writes each row's backend, -1 where it has none, into `backendOf`. */
  solve(rows: number, backendOf: Int32Array): void {
    const columns = this.#columns
    const rowPotential = this.#rowPotential.fill(0, 0, rows + 1)
    const columnPotential = this.#columnPotential.fill(0, 0, columns + 1)
    // Rows and columns count from 1; column 0 is where the row that looks for a place stands.
    const rowOf = this.#rowOf.fill(0, 0, columns + 1)
    const [shortest, previous, visited] = [this.#shortest, this.#previous, this.#visited]
    for (let row = 1; row <= rows; row++) {
      rowOf[0] = row
      shortest.fill(Infinity, 0, columns + 1)
      visited.fill(0, 0, columns + 1)
      let column = 0
      do {
        visited[column] = 1
        const at = rowOf[column]!
        const from = (at - 1) * columns - 1
        let least = Infinity
        let next = 0
        for (let other = 1; other <= columns; other++) {
          if (visited[other] === 1) continue
          const reduced = this.#cost[from + other]! - rowPotential[at]! - columnPotential[other]!
          if (reduced < shortest[other]!) {
            shortest[other] = reduced
            previous[other] = column
          }
          if (shortest[other]! < least) {
            least = shortest[other]!
            next = other
          }
        }
        for (let other = 0; other <= columns; other++) {
          if (visited[other] === 1) {
            rowPotential[rowOf[other]!]! += least
            columnPotential[other]! -= least
          } else shortest[other]! -= least
        }
        column = next
      } while (rowOf[column] !== 0)
      while (column !== 0) {
        const before = previous[column]!
        rowOf[column] = rowOf[before]!
        column = before
      }
    }
    backendOf.fill(-1, 0, rows)
    for (let column = 1; column <= columns; column++) {
      const row = rowOf[column]! - 1
      if (row < 0 || this.#cost[row * columns + column - 1]! >= IMPOSSIBLE) continue
      backendOf[row] = Math.floor((column - 1) / this.#places)
    }
  }
}

/** Seconds no placement costs; finite, since potentials are sums of costs. */
const IMPOSSIBLE = 1e9
