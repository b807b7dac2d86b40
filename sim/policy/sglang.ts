/**
 * SGLang router / SMG `cache_aware` (HTTP form) and vllm-router's `sticky_table`, with the defaults of their command
 * lines. The radix tree of characters is represented by blocks, which it equals to within a block; its limit of
 * 67,108,864 characters per backend is above what these traces hold.
 */
import type { SimulatedRequest } from '../request.ts'
import { leastCost, onArrival, type RouterContext } from './policy.ts'
import { LastHolder } from './prefix-memory.ts'

const CACHE_THRESHOLD = 0.3
const BALANCE_ABS = 64
const BALANCE_REL = 1.5
const MAX_TREE_CHARACTERS = 67_108_864
const CHARACTERS_PER_TOKEN = 4

const treeOf = (context: RouterContext): LastHolder =>
  new LastHolder(Math.floor((MAX_TREE_CHARACTERS * context.backends) / (context.blockTokens * CHARACTERS_PER_TOKEN)))

const load =
  (context: RouterContext) =>
  (backend: number): number =>
    context.ledger.inFlight[backend]!

export const sglangCacheAware = onArrival(
  'sglang-cache-aware',
  'shipped',
  'matched share > 0.3: last backend of the deepest node, else least load; least load if max - min > 64, max > 1.5 min',
  (context) => {
    const tree = treeOf(context)
    const choose = (request: SimulatedRequest): number => {
      let least = Number.POSITIVE_INFINITY
      let most = 0
      for (let backend = 0; backend < context.backends; backend++) {
        if (!context.usable(backend)) continue
        least = Math.min(least, context.ledger.inFlight[backend]!)
        most = Math.max(most, context.ledger.inFlight[backend]!)
      }
      let choice = -1
      if (!(most - least > BALANCE_ABS && most > BALANCE_REL * least)) {
        const { count, holder } = tree.match(request.blocks)
        const matched = Math.min(request.promptTokens, count * context.blockTokens)
        if (matched / request.promptTokens > CACHE_THRESHOLD) choice = holder
      }
      return choice < 0 || !context.usable(choice) ? leastCost(context, load(context)) : choice
    }
    return { choose, placed: (request, backend) => tree.insert(request.blocks, backend) }
  },
)

const STICKY_TTL_MS = 1_800_000
const STICKY_MAX_SESSIONS = 262_144
const STICKY_MIN_GAP = 8
const STICKY_RATIO = 2
const STICKY_MAX_BODY_BYTES = 32 * 1024

type Seat = { backend: number; usedAtMs: number }

export const vllmRouterSticky = onArrival(
  'vllm-router-sticky',
  'shipped',
  'new session: least load; later home, unless home - min >= 8, home >= 2 min and body <= 32 KiB',
  (context) => {
    const seats = new Map<number, Seat>()
    const residents = new Int32Array(context.backends)
    return (request: SimulatedRequest) => {
      const nowMs = context.nowMs()
      const { inFlight } = context.ledger
      for (const [session, seat] of seats) {
        // in order of last use
        if (nowMs - seat.usedAtMs <= STICKY_TTL_MS && seats.size <= STICKY_MAX_SESSIONS) break
        seats.delete(session)
        residents[seat.backend]!--
      }
      const least = leastCost(context, (backend) => inFlight[backend]! + residents[backend]! / 1e6)
      const seat = seats.get(request.session)
      let choice = seat?.backend ?? least
      if (seat !== undefined) {
        const home = inFlight[seat.backend]!
        const small = request.promptTokens * CHARACTERS_PER_TOKEN <= STICKY_MAX_BODY_BYTES
        const crowded = home - inFlight[least]! >= STICKY_MIN_GAP && home >= STICKY_RATIO * inFlight[least]!
        if (!context.usable(seat.backend) || (crowded && small)) choice = least
        residents[seat.backend]!--
        seats.delete(request.session)
      }
      seats.set(request.session, { backend: choice, usedAtMs: nowMs })
      residents[choice]!++
      return choice
    }
  },
)
