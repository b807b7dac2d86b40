/**
 * Published rules that read what is truly cached (KV events) and place on arrival, from `src/schedule/policies`:
 * Dynamo's linear cost, LMetric's product, Mooncake's minimum predicted TTFT; and a reference of the laboratory beside
 * them: minimum TTFT with the uncached part counted three times.
 */
import {
  dynamoLinear as dynamoLinearRule,
  lmetric as lmetricRule,
  mooncakeMinTtft as mooncakeMinTtftRule,
} from '../../src/schedule/policies/cache-cost.ts'
import { fromRule } from './from-rule.ts'
import { leastCost, onArrival, type RouterContext } from './policy.ts'

export const dynamoLinear = fromRule(
  'dynamo-linear',
  '1.0 (queued + prompt - cached) + context in flight (Dynamo KV router)',
  dynamoLinearRule,
  { caches: true },
)

export const lmetric = fromRule(
  'lmetric',
  '(queued + prompt - cached) x (requests in flight + 1) (LMetric, arXiv 2603.15202)',
  lmetricRule,
  { caches: true },
)

export const mooncakeMinTtft = fromRule(
  'mooncake-min-ttft',
  'least wait + prefill of the uncached part (Mooncake, FAST 2025, Alg. 1 without transfer)',
  mooncakeMinTtftRule,
  { caches: true },
)

export const minTtftTripleUncached = onArrival(
  'min-ttft-uncached-x3',
  'lab',
  'minimum TTFT with the uncached part counted three times',
  (context: RouterContext) => ({
    cached: (request, backend) => context.cachedTokens(request, backend),
    choose: (request) =>
      leastCost(context, (backend) => {
        const rate = context.speed(backend).prefillTokensPerSecond
        const uncached = request.promptTokens - context.cachedTokens(request, backend)
        return context.ledger.waitSeconds(backend, rate, context.nowMs()) + (3 * uncached) / rate
      }),
  }),
)
