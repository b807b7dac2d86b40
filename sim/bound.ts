/**
 * Two figures below which no placement on separate caches is expected to get.
 *
 *   bound   one pooled queue in front of all backends, shortest prefill first, one infinite cache that all share
 *   floor   the same cache and no queue at all: every request starts when it arrives
 *
 * The bound is what a perfect router with perfect caches would reach by a good rule, not a proof. Both count prefill
 * only, at the mean speed of the fleet. O(requests x waiting).
 */
import { BlockCache } from './engine/block-cache.ts'
import type { BackendSpec } from './profile.ts'
import type { Workload } from './workload/workload.ts'

export type Bound = { readonly ttftMs: Float64Array; readonly cachedTokens: Float64Array }

/** How many blocks of each request some earlier one had: what an infinite shared cache would hit. */
export const floorOf = (workload: Workload, fleet: readonly BackendSpec[]): Bound => {
  const rate = meanRate(fleet)
  const seen = new Set<number>()
  const ttftMs = new Float64Array(workload.requests.length)
  const cachedTokens = new Float64Array(workload.requests.length)
  for (const [index, { blocks, promptTokens }] of workload.requests.entries()) {
    let count = 0
    while (count < blocks.length && seen.has(blocks[count]!)) count++
    for (let at = count; at < blocks.length; at++) seen.add(blocks[at]!)
    cachedTokens[index] = Math.min(promptTokens, count * workload.blockTokens)
    ttftMs[index] = ((promptTokens - cachedTokens[index]!) / rate) * 1000
  }
  return { ttftMs, cachedTokens }
}

export const boundOf = (workload: Workload, fleet: readonly BackendSpec[]): Bound => {
  const { requests, blockTokens } = workload
  const rates = fleet.map(rateOf).sort((a, b) => b - a)
  const freeAtMs = rates.map(() => 0)
  const seen = new Set<number>()
  const matched = new Int32Array(requests.length) // only grows: nothing leaves an infinite cache
  const ttftMs = new Float64Array(requests.length)
  const cachedTokens = new Float64Array(requests.length)
  const waiting: number[] = []
  let next = 0
  let nowMs = 0
  while (next < requests.length || waiting.length > 0) {
    let server = 0 // the first free one, the fastest of several
    for (let other = 1; other < rates.length; other++) {
      if (Math.max(freeAtMs[other]!, nowMs) < Math.max(freeAtMs[server]!, nowMs)) server = other
    }
    nowMs = Math.max(nowMs, freeAtMs[server]!)
    if (waiting.length === 0 && next < requests.length) nowMs = Math.max(nowMs, requests[next]!.atMs)
    while (next < requests.length && requests[next]!.atMs <= nowMs) waiting.push(next++)
    let best = -1
    let bestTokens = Number.POSITIVE_INFINITY
    for (let position = 0; position < waiting.length; position++) {
      const index = waiting[position]!
      const { blocks, promptTokens } = requests[index]!
      while (matched[index]! < blocks.length && seen.has(blocks[matched[index]!]!)) matched[index]!++
      const tokens = promptTokens - Math.min(promptTokens, matched[index]! * blockTokens)
      if (tokens < bestTokens) {
        best = position
        bestTokens = tokens
      }
    }
    const index = waiting[best]!
    waiting.splice(best, 1)
    const { atMs, blocks, promptTokens } = requests[index]!
    freeAtMs[server] = nowMs + (bestTokens / rates[server]!) * 1000
    ttftMs[index] = freeAtMs[server]! - atMs
    cachedTokens[index] = promptTokens - bestTokens
    for (let at = matched[index]!; at < blocks.length; at++) seen.add(blocks[at]!)
  }
  return { ttftMs, cachedTokens }
}

/** Cached share of prompt tokens in one LRU as large as all caches together: what separate caches can hope to hit. */
export const pooledHitRate = (workload: Workload, fleet: readonly BackendSpec[]): number => {
  const cache = new BlockCache(fleet.reduce((sum, { speed }) => sum + speed.cacheBlocks, 0))
  let cached = 0
  let prompt = 0
  for (const { blocks, promptTokens } of workload.requests) {
    cached += Math.min(promptTokens, cache.matched(blocks) * workload.blockTokens)
    prompt += promptTokens
    cache.use(blocks)
  }
  return prompt === 0 ? 0 : cached / prompt
}

const rateOf = (spec: BackendSpec): number => spec.speed.prefillTokensPerSecond * spec.speedFactor

const meanRate = (fleet: readonly BackendSpec[]): number =>
  fleet.reduce((sum, spec) => sum + rateOf(spec), 0) / fleet.length
