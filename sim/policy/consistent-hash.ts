/**
 * Consistent hashing, 160 virtual nodes a backend as vllm-router has: of the session, and of the first two blocks,
 * plain and with bounded load (Mirrokni, Thorup, Zadimoghaddam 2016; 1.25 as in SGLang's `prefix_hash`): walk past a
 * backend whose requests in flight would exceed the bound times the mean.
 */
import { mix32 } from '../random.ts'
import type { SimulatedRequest } from '../request.ts'
import { onArrival, type Policy, type RouterContext } from './policy.ts'

const VIRTUAL_NODES = 160
const BOUND = 1.25

type Ring = { readonly points: Float64Array; readonly owners: Int32Array }

const buildRing = (backends: number): Ring => {
  const nodes = Array.from({ length: backends * VIRTUAL_NODES }, (_, index) => {
    const owner = Math.floor(index / VIRTUAL_NODES)
    return { point: mix32(mix32(owner + 1, 0x51ed270b) + (index % VIRTUAL_NODES)), owner }
  }).sort((a, b) => a.point - b.point)
  return {
    points: Float64Array.from(nodes, (node) => node.point),
    owners: Int32Array.from(nodes, (node) => node.owner),
  }
}

const walk = (ring: Ring, key: number, accepts: (backend: number) => boolean): number => {
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

const hashing = (name: string, rule: string, keyOf: (request: SimulatedRequest) => number, bounded: boolean): Policy =>
  onArrival(name, 'shipped', rule, (context: RouterContext) => {
    const ring = buildRing(context.backends)
    return (request) => {
      const { inFlight } = context.ledger
      let total = 1
      for (let backend = 0; backend < context.backends; backend++) total += inFlight[backend]!
      const most = bounded ? Math.ceil((BOUND * total) / context.backends) : Number.POSITIVE_INFINITY
      const key = keyOf(request)
      const backend = walk(ring, key, (owner) => context.usable(owner) && inFlight[owner]! + 1 <= most)
      return backend >= 0 ? backend : walk(ring, key, (owner) => context.usable(owner))
    }
  })

const sessionKey = (request: SimulatedRequest): number => mix32(request.session + 1, 0x2545f491)

/** Ids name whole prefixes, so the second block's id stands for both. */
const twoBlockKey = (request: SimulatedRequest): number =>
  mix32(request.blocks[Math.min(1, request.blocks.length - 1)]! | 0, 0x68e31da4)

export const hashSession = hashing('consistent-hash-session', 'ring over the session id', sessionKey, false)
export const hashSessionBounded = hashing(
  'consistent-hash-session-bounded',
  'the same, load at most 1.25 times the mean',
  sessionKey,
  true,
)
export const hashTwoBlocks = hashing('consistent-hash-2-blocks', 'ring over the first two blocks', twoBlockKey, false)
export const hashTwoBlocksBounded = hashing(
  'consistent-hash-2-blocks-bounded',
  'the same, load at most 1.25 times the mean',
  twoBlockKey,
  true,
)
