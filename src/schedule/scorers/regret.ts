import type { Scorer } from '../situation.ts'

/**
 * Seconds that others, or this conversation later, lose by this placement, beyond its own work:
 *
 * - Slots: an engine that keeps whole sequences (llama.cpp) loses a whole one when a new conversation finds no free
 *   slot, and where one conversation too many goes on, each of its turns evicts the next one's: that costs a prefill a
 *   turn, not one, if the conversation in the least recently used slot is about to come back (learned: the longer it
 *   has been silent, the less likely). While slots are free, each taken one raises the chance that the next newcomer
 *   finds none: conversations spread from the first turn on, when nothing is in flight that could tell the backends apart.
 *   A slot has one price for all candidates, the mean of such engines' prefills: else the fastest engine would be the cheapest to
 *   thrash.
 * - Trunk (a gain): a prefix that many sessions share will be wanted on every backend, so computing it where it is
 *   missing is an investment that each further session shares. All but 1/fanOut^2 of its price is given back: a system
 *   prompt pins nobody once some ten sessions had it, while the few siblings of a burst stay together.
 *
 * Evicting blocks from a full cache has no price of its own: every busy cache is full, so it is about the same
 * everywhere, and on the Mooncake trace no such price lowered the mean TTFT (docs/scorers.md).
 */
export function regretScorer(
  index: {
    chains(backendIndex: number): number
    slots(backendIndex: number): number
    idleMs(backendIndex: number): number
  },
  latency: { prefillSeconds(uncachedTokens: number, backendIndex: number, model: string): number },
  /** Probability that a conversation which has been silent for so long comes back soon. */
  returnsSoon: (elapsedMs: number) => number = () => 1,
): Scorer {
  return {
    name: 'regret',
    prepare: ({ request, candidates, modelAt, cachedTokens, trunkTokens, trunkFanOut }) => {
      const { promptTokens } = request
      let slotSeconds = 0
      let ofSlots = 0
      for (const [position, { index: b }] of candidates.entries()) {
        if (index.slots(b) === Infinity) continue
        slotSeconds += (latency.prefillSeconds(promptTokens, b, modelAt(position)) - slotSeconds) / ++ofSlots
      }
      const giveBack = trunkFanOut < TRUNK_FAN_OUT ? 0 : 1 - 1 / trunkFanOut ** 2
      return (backend, position) => {
        const cached = cachedTokens[position]!
        let seconds = 0
        // A conversation that goes on there takes no new slot.
        const taken = index.chains(backend.index) / index.slots(backend.index)
        if (taken > 0 && cached <= trunkTokens) {
          const share = taken < 1 ? SLOT_SHARE * taken : NO_SLOT + RETURNS * returnsSoon(index.idleMs(backend.index))
          seconds += share * slotSeconds
        }
        if (giveBack > 0 && cached < trunkTokens) {
          const withTrunk = latency.prefillSeconds(promptTokens - trunkTokens, backend.index, modelAt(position))
          seconds -= giveBack * (latency.prefillSeconds(promptTokens - cached, backend.index, modelAt(position)) - withTrunk)
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
 * difference between engines that are alike.
 */
const SLOT_SHARE = 0.5
/**
 * Price of a newcomer where no slot is free, in whole prefills: more than the wait behind one or two turns that an engine
 * with a free slot still has to read. At 1, one fleet of three ended 5/4/3 and computed 1.6 times what was needed
 * (bench/llamacpp-fleet.mjs).
 */
const NO_SLOT = 3
/**
 * On top of it, times the probability that the conversation which goes is about to come back: it and the newcomer would
 * evict each other by turns. Where every engine is full this sends newcomers to the slot that has been idle longest; it
 * has to outweigh what learned speeds of equal engines differ by.
 */
const RETURNS = 4
