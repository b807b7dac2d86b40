/**
 * The oracle: places on arrival by the true state of every engine, caches and remaining work, with true speeds: least
 * (work before it + own uncached work) / speed. What no router outside the engines can know; not a bound, since it
 * neither waits nor looks ahead. Blocks of turns that wait in an engine's queue count as present.
 */
import type { SimulatedRequest } from '../request.ts'
import { leastCost, type Policy, type Router, type RouterContext } from './policy.ts'

export const oracle: Policy = {
  name: 'oracle',
  kind: 'lab',
  rule: 'least true wait + true prefill on arrival, turns queued in the engine counted as cached',
  create: (context: RouterContext): Router => {
    const coming = Array.from({ length: context.backends }, () => new Map<number, number>())
    const announce = (request: SimulatedRequest, backend: number, by: 1 | -1): void => {
      const blocks = coming[backend]!
      for (let at = 0; at < request.blocks.length; at++) {
        const count = (blocks.get(request.blocks[at]!) ?? 0) + by
        if (count === 0) blocks.delete(request.blocks[at]!)
        else blocks.set(request.blocks[at]!, count)
      }
    }
    const uncached = (request: SimulatedRequest, backend: number): number => {
      const { blocks, promptTokens } = request
      let count = 0
      while (count < blocks.length && (context.holds(backend, blocks[count]!) || coming[backend]!.has(blocks[count]!)))
        count++
      return promptTokens - Math.min(promptTokens, count * context.blockTokens)
    }
    const early = new Set<SimulatedRequest>()
    return {
      arrive: (request) => {
        const nowMs = context.nowMs()
        const choice = leastCost(context, (backend) => {
          const rate = context.speed(backend).prefillTokensPerSecond
          return context.ledger.waitSeconds(backend, rate, nowMs) + uncached(request, backend) / rate
        })
        const tokens = uncached(request, choice)
        announce(request, choice, 1)
        early.add(request)
        context.dispatch(request, choice, tokens)
      },
      firstToken: (request, backend) => {
        if (early.delete(request)) announce(request, backend, -1)
      },
      ended: (request, backend) => {
        if (early.delete(request)) announce(request, backend, -1)
      },
    }
  },
}
