/** Policies that know nothing of caches. */
import { integerBelow } from '../random.ts'
import { leastCost, onArrival, type RouterContext } from './policy.ts'

/** The next usable backend from `start` on. */
const nextUsable = (context: RouterContext, start: number): number => {
  for (let step = 0; step < context.backends; step++) {
    const backend = (start + step) % context.backends
    if (context.usable(backend)) return backend
  }
  throw new Error('no usable backend')
}

export const random = onArrival(
  'random',
  'shipped',
  'any backend',
  (context) => () => nextUsable(context, integerBelow(context.random, context.backends)),
)

export const roundRobin = onArrival('round-robin', 'shipped', 'in turn', (context) => {
  let next = 0
  return () => {
    const backend = nextUsable(context, next)
    next = (backend + 1) % context.backends
    return backend
  }
})

export const leastInFlight = onArrival(
  'least-inflight',
  'shipped',
  'fewest requests in flight',
  (context) => () => leastCost(context, (backend) => context.ledger.inFlight[backend]!),
)

export const leastQueuedTokens = onArrival(
  'least-queued-tokens',
  'shipped',
  'fewest prompt tokens before their first token',
  (context) => () => leastCost(context, (backend) => context.ledger.queuedTokens[backend]!),
)

/** Mitzenmacher's power of two choices, over requests in flight. */
export const powerOfTwo = onArrival(
  'p2c',
  'shipped',
  'the less loaded of two drawn backends (requests in flight)',
  (context) => () => {
    const first = nextUsable(context, integerBelow(context.random, context.backends))
    const other = nextUsable(
      context,
      (first + 1 + integerBelow(context.random, Math.max(1, context.backends - 1))) % context.backends,
    )
    return context.ledger.inFlight[other]! < context.ledger.inFlight[first]! ? other : first
  },
)
