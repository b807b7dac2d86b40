/**
 * Models whose backends refuse a request for log probabilities (vLLM does for gpt-oss). Bounded; the one noted first leaves
 * first and is found out again at the cost of one refused request.
 */
const MAX_MODELS = 256

export class LogprobsRefused {
  readonly #models = new Set<string>()

  tells(model: string): boolean {
    return !this.#models.has(model)
  }

  refused(model: string): void {
    this.#models.add(model)
    if (this.#models.size <= MAX_MODELS) return
    for (const oldest of this.#models) {
      this.#models.delete(oldest)
      return
    }
  }
}
