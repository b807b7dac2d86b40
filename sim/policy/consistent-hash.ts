/** Consistent hashing of the session and of the first two blocks: the ring of `src/schedule/policies`, keyed by numbers. */
import { consistentHash } from '../../src/schedule/policies/consistent-hash.ts'
import { mix32 } from '../random.ts'
import type { SimulatedRequest } from '../request.ts'
import { fromRule } from './from-rule.ts'
import type { Policy } from './policy.ts'

const hashing = (name: string, rule: string, ofTurn: (request: SimulatedRequest) => number, bounded: boolean): Policy =>
  fromRule(name, rule, (ports) =>
    consistentHash<SimulatedRequest>(ports, {
      ofTurn,
      ofBackend: ({ index }) => mix32(index + 1, 0x51ed270b),
      bounded,
    }),
  )

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
