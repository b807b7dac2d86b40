/**
 * Prototype of late binding, the reference of the published table: whenever a backend is free (no prefill under way),
 * among the waiting turns whose cheapest ETA, their home's remaining work included, is on a free backend, start the one
 * with the least uncached work. Knows the caches exactly; ignores decode, batching, eviction regret and fairness, so a
 * long turn can starve: a floor to stand on, not the answer.
 *
 * What a backend holds of a waiting turn is looked up again only after something was started there.
 */
import type { SimulatedRequest } from '../request.ts'
import type { Policy, Router, RouterContext } from './policy.ts'

type Waiting = { readonly request: SimulatedRequest; readonly uncached: Float64Array; readonly seen: Int32Array }

export const lateBinding: Policy = {
  name: 'late-binding-prototype',
  kind: 'lab',
  rule: 'a free backend starts the waiting turn with the least uncached work whose cheapest ETA is there; exact caches',
  create: (context: RouterContext): Router => {
    const waiting = new Set<Waiting>()
    const versions = new Int32Array(context.backends)

    const refresh = (turn: Waiting): void => {
      for (let backend = 0; backend < context.backends; backend++) {
        if (turn.seen[backend] === versions[backend]) continue
        turn.seen[backend] = versions[backend]!
        turn.uncached[backend] = turn.request.promptTokens - context.cachedTokens(turn.request, backend)
      }
    }

    const start = (): boolean => {
      let best: Waiting | null = null
      let bestBackend = -1
      let bestTokens = Number.POSITIVE_INFINITY
      const nowMs = context.nowMs()
      for (const turn of waiting) {
        refresh(turn)
        let home = -1
        let homeSeconds = Number.POSITIVE_INFINITY
        let equal = 0
        for (let backend = 0; backend < context.backends; backend++) {
          if (!context.usable(backend)) continue
          const rate = context.speed(backend).prefillTokensPerSecond
          const seconds = context.ledger.waitSeconds(backend, rate, nowMs) + turn.uncached[backend]! / rate
          if (seconds > homeSeconds) continue
          equal = seconds < homeSeconds ? 1 : equal + 1
          if (equal > 1 && context.random() * equal >= 1) continue // equal ones are drawn by lot
          home = backend
          homeSeconds = seconds
        }
        if (home < 0 || context.ledger.prefilling(home) > 0 || turn.uncached[home]! >= bestTokens) continue
        best = turn
        bestBackend = home
        bestTokens = turn.uncached[home]!
      }
      if (best === null) return false
      waiting.delete(best)
      context.dispatch(best.request, bestBackend, bestTokens)
      versions[bestBackend]!++
      return true
    }
    const startAll = (): void => {
      while (waiting.size > 0 && start());
    }
    // Arrivals of one moment are all seen before the first of them is placed: a microsecond later.
    let scheduled = false
    const startSoon = (): void => {
      if (scheduled) return
      scheduled = true
      context.schedule(context.nowMs() + 0.001, () => {
        scheduled = false
        startAll()
      })
    }
    return {
      arrive: (request) => {
        waiting.add({
          request,
          uncached: new Float64Array(context.backends),
          seen: new Int32Array(context.backends).fill(-1),
        })
        startSoon()
      },
      firstToken: startSoon,
      ended: (_request, backend, outcome) => {
        if (outcome === 'failed') versions[backend]!++
        startSoon()
      },
    }
  },
}
