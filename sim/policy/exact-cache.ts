/**
 * Published rules that read what is truly cached (KV events) and place on arrival: Dynamo's linear cost, LMetric's
 * product, Mooncake's minimum predicted TTFT; and references of the laboratory beside them: the oracle, which reads the
 * engines' true queues too, and minimum TTFT with the uncached part counted three times.
 */
import type { SimulatedRequest } from '../request.ts'
import { leastCost, onArrival, type Policy, type RouterContext, type Rule } from './policy.ts'

const exact = (
  name: string,
  kind: Policy['kind'],
  rule: string,
  cost: (context: RouterContext) => (request: SimulatedRequest, backend: number, uncachedTokens: number) => number,
): Policy =>
  onArrival(name, kind, rule, (context): Rule => {
    const costOf = cost(context)
    const uncached = new Float64Array(context.backends)
    return {
      cached: (request, backend) => request.promptTokens - uncached[backend]!,
      choose: (request) => {
        for (let backend = 0; backend < context.backends; backend++) {
          uncached[backend] = request.promptTokens - context.cachedTokens(request, backend)
        }
        return leastCost(context, (backend) => costOf(request, backend, uncached[backend]!))
      },
    }
  })

export const dynamoLinear = exact(
  'dynamo-linear',
  'shipped',
  '1.0 (queued + prompt - cached) + context in flight, in blocks (Dynamo KV router)',
  (context) => (request, backend, uncachedTokens) => {
    const { queuedTokens, contextTokens } = context.ledger
    return (
      (queuedTokens[backend]! + uncachedTokens + contextTokens[backend]! + request.promptTokens) / context.blockTokens
    )
  },
)

export const lmetric = exact(
  'lmetric',
  'shipped',
  '(queued + prompt - cached) x (requests in flight + 1) (LMetric, arXiv 2603.15202)',
  (context) => (_request, backend, uncachedTokens) =>
    (context.ledger.queuedTokens[backend]! + uncachedTokens) * (context.ledger.inFlight[backend]! + 1),
)

const predictedSeconds = (context: RouterContext, backend: number, uncachedTokens: number, weight: number): number => {
  const rate = context.speed(backend).prefillTokensPerSecond
  return context.ledger.waitSeconds(backend, rate, context.nowMs()) + (weight * uncachedTokens) / rate
}

export const mooncakeMinTtft = exact(
  'mooncake-min-ttft',
  'shipped',
  'least wait + prefill of the uncached part (Mooncake, FAST 2025, Alg. 1 without transfer)',
  (context) => (_request, backend, uncachedTokens) => predictedSeconds(context, backend, uncachedTokens, 1),
)

export const minTtftTripleUncached = exact(
  'min-ttft-uncached-x3',
  'lab',
  'minimum TTFT with the uncached part counted three times',
  (context) => (_request, backend, uncachedTokens) => predictedSeconds(context, backend, uncachedTokens, 3),
)
