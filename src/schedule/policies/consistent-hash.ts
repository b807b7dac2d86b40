/**
 * Consistent hashing, 160 virtual nodes a backend as vllm-router has, plain and with bounded load (Mirrokni, Thorup,
 * Zadimoghaddam 2016; 1.25 as in SGLang's `prefix_hash`): walk past a backend whose requests in flight would exceed the
 * bound times the mean. Keys and nodes are numbers that the caller hashes.
 *
 * The ring holds every backend it has met, so one that is away for a while gets its keys back; it is built anew when a
 * new one appears, and without those that are gone once they are the larger part.
 */
import { mix32 } from './mix.ts'
import type { Place, Rule, RulePorts } from './rule.ts'

const VIRTUAL_NODES = 160
const BOUND = 1.25

export type HashKeys<Turn> = {
  readonly ofTurn: (turn: Turn) => number
  readonly ofBackend: (backend: Place) => number
  readonly bounded: boolean
}

export function consistentHash<Turn>({ ledger }: RulePorts, keys: HashKeys<Turn>): Rule<Turn> {
  const nodes = new Map<number, number>()
  let ring = buildRing(nodes)
  /** By backend number: its position among the candidates. */
  const positions = new Map<number, number>()
  return {
    choose: (turn, candidates) => {
      positions.clear()
      let total = 1
      let met = true
      for (let position = 0; position < candidates.length; position++) {
        const { index } = candidates[position]!
        positions.set(index, position)
        total += ledger.runningCount(index)
        met &&= nodes.has(index)
      }
      if (!met) {
        if (nodes.size > 2 * candidates.length + SPARE_NODES) nodes.clear()
        for (const backend of candidates) nodes.set(backend.index, keys.ofBackend(backend))
        ring = buildRing(nodes)
      }
      const key = keys.ofTurn(turn)
      const most = keys.bounded ? Math.ceil((BOUND * total) / candidates.length) : Infinity
      const bounded = walk(ring, key, (owner) => positions.has(owner) && ledger.runningCount(owner) + 1 <= most)
      return positions.get(bounded >= 0 ? bounded : walk(ring, key, (owner) => positions.has(owner)))!
    },
  }
}

const SPARE_NODES = 64

type Ring = { readonly points: Float64Array; readonly owners: Int32Array }

function buildRing(nodes: ReadonlyMap<number, number>): Ring {
  const points = [...nodes]
    .flatMap(([owner, seed]) =>
      Array.from({ length: VIRTUAL_NODES }, (_, replica) => ({ point: mix32(seed + replica), owner })),
    )
    .sort((one, other) => one.point - other.point)
  return {
    points: Float64Array.from(points, ({ point }) => point),
    owners: Int32Array.from(points, ({ owner }) => owner),
  }
}

/** The owner of the first point from `key` on that is accepted, -1 for none. */
function walk(ring: Ring, key: number, accepts: (owner: number) => boolean): number {
  let low = 0
  let high = ring.points.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (ring.points[middle]! < key) low = middle + 1
    else high = middle
  }
  for (let step = 0; step < ring.points.length; step++) {
    const owner = ring.owners[(low + step) % ring.points.length]!
    if (accepts(owner)) return owner
  }
  return -1
}
