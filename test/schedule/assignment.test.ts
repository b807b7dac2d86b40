import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Assignment } from '../../src/schedule/assignment.ts'

type Cell = { readonly base: number; readonly work: number }

const solve = (rows: readonly (readonly (Cell | null)[])[], places: number): Int32Array => {
  const assignment = new Assignment()
  const backends = rows[0]!.length
  assignment.begin(rows.length, backends, places)
  rows.forEach((row, at) => row.forEach((cell, backend) => cell && assignment.set(at, backend, cell.base, cell.work)))
  const backendOf = new Int32Array(rows.length)
  assignment.solve(rows.length, backendOf)
  return backendOf
}

/** Sum over backends of each turn's base plus its work for itself and everybody behind it, shortest first. */
const costOf = (rows: readonly (readonly Cell[])[], backendOf: ArrayLike<number>): number => {
  let sum = 0
  for (let backend = 0; backend < rows[0]!.length; backend++) {
    const line = rows.flatMap((row, at) => (backendOf[at] === backend ? [row[backend]!] : []))
    line.sort((one, other) => one.work - other.work)
    line.forEach(({ base, work }, at) => { sum += base + (line.length - at) * work })
  }
  return sum
}

const cheapest = (rows: readonly (readonly Cell[])[]): number => {
  const backends = rows[0]!.length
  let least = Infinity
  for (let code = 0; code < backends ** rows.length; code++) {
    const backendOf = rows.map((_, at) => Math.floor(code / backends ** at) % backends)
    least = Math.min(least, costOf(rows, backendOf))
  }
  return least
}

const cell = fc.record({ base: fc.integer({ min: 0, max: 50 }), work: fc.integer({ min: 1, max: 100 }) })
const matrix = fc
  .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 3 }))
  .chain(([rows, backends]) =>
    fc.array(fc.array(cell, { minLength: backends, maxLength: backends }), { minLength: rows, maxLength: rows }))

describe('The assignment of waiting turns', () => {
  it('has the least sum of times to first token of all plans', () => {
    fc.assert(fc.property(matrix, (rows) => {
      assert.equal(costOf(rows, solve(rows, rows.length)), cheapest(rows))
    }))
  })

  it('gives the warm backend to whom it saves most, and the other to the rest', () => {
    // both would rather go to backend 0; the second turn loses more elsewhere
    const rows = [[{ base: 0, work: 4 }, { base: 0, work: 5 }], [{ base: 0, work: 4 }, { base: 0, work: 9 }]]
    assert.deepEqual([...solve(rows, 2)], [1, 0])
  })

  it('never uses a backend that a turn may not have, and leaves a turn without any in no line', () => {
    const rows = [[null, { base: 100, work: 9 }], [{ base: 0, work: 1 }, null], [null, null]]
    assert.deepEqual([...solve(rows, 3)], [1, 0, -1])
  })

  it('makes as many places as the rows need', () => {
    const rows = Array.from({ length: 9 }, () => [{ base: 0, work: 1 }])
    assert.deepEqual([...solve(rows, 2)], Array.from({ length: 9 }, () => 0))
  })
})
