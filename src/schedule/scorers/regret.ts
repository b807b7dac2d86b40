import type { Scorer } from '../situation.ts'

/**
 * Seconds that others, or this conversation later, lose by this placement. Three parts:
 *
 * - Blocks: new blocks beyond the cache's capacity push out the least recently used ones. Each costs its prefill
 *   times the chance that it would have been asked for again.
 * - Slots: an engine that keeps whole sequences (llama.cpp) loses a whole one when a new conversation finds no free
 *   slot. While slots are free, each taken one raises the chance that the next newcomer finds none: conversations
 *   spread from the first turn on, when nothing is in flight that could tell the backends apart.
 * - Trunk: a prefix that many sessions share will be wanted on every backend, so computing it where it is missing is
 *   an investment. All but one `fanOut`-th of its price is given back: a system prompt pins nobody, while two
 *   siblings still stay together.
 */
export function regretScorer(
  index: {
    blocks(backendIndex: number): number
    chains(backendIndex: number): number
    capacity(backendIndex: number): number
  },
  latency: { prefillSeconds(uncachedTokens: number, backendIndex: number, model: string): number },
): Scorer {
  return {
    name: 'regret',
    prepare: ({ request, cachedTokens, trunkTokens, trunkFanOut, tokensPerBlock }) => {
      const giveBack = trunkFanOut < TRUNK_FAN_OUT ? 0 : 1 - 1 / trunkFanOut
      return (backend, position) => {
        const { promptTokens, model } = request
        const cached = cachedTokens[position]!
        const perToken = (tokens: number) =>
          latency.prefillSeconds(promptTokens, backend.index, model) * (tokens / Math.max(1, promptTokens))
        let seconds = 0
        const free = (index.capacity(backend.index) - index.blocks(backend.index)) * tokensPerBlock
        const evicted = Math.min(promptTokens, promptTokens - cached - free)
        if (evicted > 0) seconds += ASKED_AGAIN * perToken(evicted)
        // A conversation that goes on there takes no new slot.
        if (backend.slots !== null && cached <= trunkTokens) {
          const taken = index.chains(backend.index) / backend.slots
          seconds += (taken < 1 ? SLOT_SHARE * taken : 1 + taken - 1) * perToken(promptTokens)
        }
        const missing = trunkTokens - cached
        if (giveBack > 0 && missing > 0) seconds -= giveBack * perToken(missing)
        return seconds
      }
    },
  }
}

/** Fan-out from which a shared prefix counts as a trunk: DESIGN.md section 6. */
const TRUNK_FAN_OUT = 3
/** Share of blocks at the cold end of an LRU that are asked for again; from the Mooncake conversation trace. */
const ASKED_AGAIN = 0.1
/** Price of one taken slot while others are free, as a share of the turn's own prefill. */
const SLOT_SHARE = 0.5
