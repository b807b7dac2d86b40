/** The price of going elsewhere, from the candidates of a receipt. All in seconds, as the gateway weighed them. */

export const TERMS = ['wait', 'prefill', 'decode', 'regret', 'quality']

/** @param {Record<string, unknown>} candidate @param {string} term */
export const secondsOf = (candidate, term) => candidate[`${term}_seconds`] ?? 0

/** The one that answered; null where it is not among those that the receipt keeps. */
export const chosenOf = ({ candidates, backend_id: id }) => candidates.find((each) => each.backend_id === id) ?? null

/**
 * Staying is with the model that served before, else with the backend that holds most of the prompt. Where the turn stayed, the
 * cheapest way of leaving is told; where it left, what staying would have cost.
 *
 * @returns {{ stayed: boolean, other: object, more: Record<string, number>, total: number } | null} null: there was nothing to stay with, or nowhere else
 */
export function switching(receipt) {
  const chosen = chosenOf(receipt)
  const incumbent = receipt.group?.incumbent ?? null
  if (chosen === null) return null
  const home = incumbent === null ? warmest(receipt.candidates) : cheapest(receipt.candidates.filter(({ model }) => model === incumbent))
  if (home === null) return null
  const stayed = incumbent === null ? home === chosen : receipt.model === incumbent
  const others = receipt.candidates.filter((each) => each !== chosen && (incumbent === null || each.model !== incumbent))
  const other = stayed ? cheapest(others) : home
  if (other === null) return null
  const more = Object.fromEntries(TERMS.map((term) => [term, secondsOf(other, term) - secondsOf(chosen, term)]))
  return { stayed, other, more, total: other.cost_seconds - chosen.cost_seconds }
}

const least = (candidates, of) => candidates.reduce((best, each) => (best === null || of(each) < of(best) ? each : best), null)
const cheapest = (candidates) => least(candidates, ({ cost_seconds: cost }) => cost)
const warmest = (candidates) => least(candidates.filter(({ expected_cached_tokens: cached }) => cached > 0), ({ expected_cached_tokens: cached }) => -cached)
