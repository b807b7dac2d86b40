/**
 * llm-d's endpoint picker. `llm-d-default`: scorers prefix 3, queue 2, KV usage 2 of the reference configuration, each
 * in 0..1, highest sum wins, ties by lot. `llm-d-filter-token-load`: keep backends that hold at least 0.80 of the
 * prompt unless waiting there is expected to cost more than 18,000 ms beyond the best other one, then least tokens in
 * flight. Both know caches through the approximate producer: an LRU of blocks per backend, 31,250 blocks of 64 tokens,
 * written when a request is placed. The queue is seen as of the last scrape (50 ms).
 */
import type { SimulatedRequest } from '../request.ts'
import { leastCost, onArrival, type RouterContext, type Rule } from './policy.ts'
import { HolderLru } from './prefix-memory.ts'

const LRU_TOKENS = 31_250 * 64
const PREFIX_WEIGHT = 3
const QUEUE_WEIGHT = 2
const USAGE_WEIGHT = 2
const AFFINITY_THRESHOLD = 0.8
const MAX_PENALTY_MS = 18_000
const SCRAPE_MS = 50

const newMemory = (context: RouterContext): HolderLru =>
  new HolderLru(context.backends, Math.max(1, Math.floor(LRU_TOKENS / context.blockTokens)))

const matcher =
  (context: RouterContext, memory: HolderLru) =>
  (request: SimulatedRequest, backend: number): number =>
    Math.min(request.promptTokens, memory.matched(request.blocks, backend) * context.blockTokens)

export const llmdDefault = onArrival(
  'llm-d-default',
  'shipped',
  '3 prefix match + 2 (1 - queue, min-max) + 2 (1 - KV usage), approximate prefix index',
  (context): Rule => {
    const memory = newMemory(context)
    const cached = matcher(context, memory)
    const scraped = new Float64Array(context.backends)
    let scrapedAtMs = Number.NEGATIVE_INFINITY
    return {
      cached,
      placed: (request, backend) => memory.insert(request.blocks, backend),
      choose: (request) => {
        if (context.nowMs() - scrapedAtMs >= SCRAPE_MS) {
          scrapedAtMs = context.nowMs()
          for (let backend = 0; backend < context.backends; backend++) {
            scraped[backend] = Math.max(0, context.ledger.prefilling(backend) - 1)
          }
        }
        let least = Number.POSITIVE_INFINITY
        let most = 0
        for (const queue of scraped) {
          least = Math.min(least, queue)
          most = Math.max(most, queue)
        }
        return leastCost(context, (backend) => {
          const prefix = cached(request, backend) / request.promptTokens
          const queue = most === least ? 1 : (most - scraped[backend]!) / (most - least)
          const { cacheBlocks } = context.speed(backend)
          const usage = Math.min(1, context.ledger.contextTokens[backend]! / (cacheBlocks * context.blockTokens))
          return -(PREFIX_WEIGHT * prefix + QUEUE_WEIGHT * queue + USAGE_WEIGHT * (1 - usage))
        })
      },
    }
  },
)

export const llmdFilterTokenLoad = onArrival(
  'llm-d-filter-token-load',
  'shipped',
  'prefix-cache-affinity filter (0.80, penalty 18 s) then token-load scorer (uncached tokens in flight)',
  (context): Rule => {
    const memory = newMemory(context)
    const cached = matcher(context, memory)
    const { ledger } = context
    const sticky = new Uint8Array(context.backends)
    const waitMs = (backend: number): number =>
      (ledger.queuedTokens[backend]! / context.speed(backend).prefillTokensPerSecond) * 1000
    return {
      cached,
      placed: (request, backend) => memory.insert(request.blocks, backend),
      choose: (request) => {
        let bestSticky = Number.POSITIVE_INFINITY
        let bestOther = Number.POSITIVE_INFINITY
        for (let backend = 0; backend < context.backends; backend++) {
          sticky[backend] = cached(request, backend) / request.promptTokens >= AFFINITY_THRESHOLD ? 1 : 0
          if (!context.usable(backend)) continue
          if (sticky[backend] === 1) bestSticky = Math.min(bestSticky, waitMs(backend))
          else bestOther = Math.min(bestOther, waitMs(backend))
        }
        const keep = bestSticky < Number.POSITIVE_INFINITY && bestSticky - bestOther <= MAX_PENALTY_MS
        return leastCost(context, (backend) =>
          keep && sticky[backend] === 0 ? Number.POSITIVE_INFINITY : ledger.queuedTokens[backend]!,
        )
      },
    }
  },
)
