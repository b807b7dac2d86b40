/**
 * Turns estimates that lie outside of 0..1 into lessons that do not, without bending what they say together.
 *
 * An unbiased estimate from weak signs overshoots: where one good answer in ten is thanked for, each thanks counts several times,
 * or else the silent ones would count against their model. A lesson's score is within 0..1, so what does not fit is carried to
 * the next lesson of the same tenant, model and topic (error diffusion, Floyd and Steinberg 1976): sums stay exact.
 *
 *   wanted = weight * estimate + carried        score = clamp(wanted / weight)        carried' = wanted - weight * score
 *
 * Bounded: `MOST_CARRIES` places, the longest unused leaves first and is counted; a carry is at most `MOST_CARRIED` lessons' worth.
 */
export class EvidenceCarry {
  readonly #max: number
  readonly #carried = new Map<string, number>()
  evicted = 0

  constructor(max: number = MOST_CARRIES) {
    this.#max = max
  }

  get size(): number {
    return this.#carried.size
  }

  /** The score for this weight. */
  score(place: string, estimate: number, weight: number): number {
    const wanted = weight * estimate + (this.#carried.get(place) ?? 0)
    const score = Math.max(0, Math.min(1, wanted / weight))
    this.#carried.delete(place)
    this.#carried.set(place, Math.max(-MOST_CARRIED, Math.min(MOST_CARRIED, wanted - weight * score)))
    if (this.#carried.size > this.#max) {
      this.#carried.delete(this.#carried.keys().next().value!)
      this.evicted++
    }
    return score
  }
}

/** 50 models, 20 topics and a few tenants; 100 bytes each. */
const MOST_CARRIES = 10_000
/** In outcomes: a model that changed is not judged for long by what was carried from before. */
const MOST_CARRIED = 3
