import type { Scorer } from '../situation.ts'

/**
 * Seconds that others, or this conversation later, lose by this placement, beyond its own work:
 *
 * - Slots: an engine that keeps whole sequences (llama.cpp) loses a whole one when a new conversation finds no free
 *   slot. While slots are free, each taken one raises the chance that the next newcomer finds none: conversations
 *   spread from the first turn on, when nothing is in flight that could tell the backends apart.
 * - Trunk (a gain): a prefix that many sessions share will be wanted on every backend, so computing it where it is
 *   missing is an investment that each further session shares. All but 1/fanOut^2 of its price is given back: a system
 *   prompt pins nobody once some ten sessions had it, while the few siblings of a burst stay together.
 *
 * Evicting blocks from a full cache has no price of its own: every busy cache is full, so it is about the same
 * everywhere, and on the Mooncake trace no such price lowered the mean TTFT (docs/scorers.md).
 */
export function regretScorer(
  index: { chains(backendIndex: number): number },
  latency: { prefillSeconds(uncachedTokens: number, backendIndex: number, model: string): number },
): Scorer {
  return {
    name: 'regret',
    prepare: ({ request, cachedTokens, trunkTokens, trunkFanOut }) => {
      const { promptTokens, model } = request
      const giveBack = trunkFanOut < TRUNK_FAN_OUT ? 0 : 1 - 1 / trunkFanOut ** 2
      return (backend, position) => {
        const cached = cachedTokens[position]!
        let seconds = 0
        // A conversation that goes on there takes no new slot.
        if (backend.slots !== null && cached <= trunkTokens) {
          const taken = index.chains(backend.index) / backend.slots
          seconds +=
            (taken < 1 ? SLOT_SHARE * taken : taken) * latency.prefillSeconds(promptTokens, backend.index, model)
        }
        if (giveBack > 0 && cached < trunkTokens) {
          const withTrunk = latency.prefillSeconds(promptTokens - trunkTokens, backend.index, model)
          seconds -= giveBack * (latency.prefillSeconds(promptTokens - cached, backend.index, model) - withTrunk)
        }
        return seconds
      }
    },
  }
}

/** Fan-out from which a shared prefix counts as a trunk: DESIGN.md section 6. */
const TRUNK_FAN_OUT = 3
/**
 * Price of a taken slot while others are free, as a share of the turn's own prefill. It only has to outweigh the
 * difference between engines that are alike; with no slot free, the price is at least one whole prefill.
 */
const SLOT_SHARE = 0.5
