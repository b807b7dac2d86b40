/**
 * A published rule of `src/schedule/policies` in the laboratory: the same object that the gateway runs, before the usable
 * backends of a run. What is cached is exact here, and speeds are known.
 */
import type { Place, Rule, RulePorts } from '../../src/schedule/policies/rule.ts'
import type { SimulatedRequest } from '../request.ts'
import { onArrival, type Policy, type RouterContext } from './policy.ts'

export type FromRule = {
  /** Reads the board: the router looks up what is cached, and knows it of what it places. */
  readonly caches?: boolean
}

export const fromRule = (
  name: string,
  rule: string,
  create: (ports: RulePorts) => Rule<SimulatedRequest>,
  { caches = false }: FromRule = {},
): Policy =>
  onArrival(name, 'shipped', rule, (context: RouterContext) => {
    const { ledger, random } = context
    const built = create({
      random,
      ledger: {
        runningCount: (backend) => ledger.inFlight[backend]!,
        queuedPrefillTokens: (backend) => ledger.queuedTokens[backend]!,
        contextTokens: (backend) => ledger.contextTokens[backend]!,
      },
    })
    const places: readonly Place[] = Array.from({ length: context.backends }, (_, index) => ({ id: `b${index}`, index }))
    const board = {
      cachedTokens: new Float64Array(context.backends),
      waitSeconds: new Float64Array(context.backends),
      prefillSeconds: new Float64Array(context.backends),
    }
    let candidates = places
    const choose = (request: SimulatedRequest): number => {
      candidates = places.filter(({ index }) => context.usable(index))
      if (candidates.length === 0) throw new Error('no usable backend')
      if (caches) {
        for (let position = 0; position < candidates.length; position++) {
          const { index } = candidates[position]!
          const cached = context.cachedTokens(request, index)
          const rate = context.speed(index).prefillTokensPerSecond
          board.cachedTokens[position] = cached
          board.waitSeconds[position] = ledger.waitSeconds(index, rate, context.nowMs())
          board.prefillSeconds[position] = (request.promptTokens - cached) / rate
        }
      }
      return candidates[built.choose(request, candidates, board)]!.index
    }
    if (!caches) return choose
    return {
      choose,
      cached: (_request, backend) => board.cachedTokens[candidates.findIndex(({ index }) => index === backend)]!,
    }
  })
