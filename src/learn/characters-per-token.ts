import type { Outcome } from '../model/outcome.ts'

/**
 * Canonical characters per token of each model, from the prompt tokens that engines report. A running mean of about 50
 * answers, started at 4 (English prose on current tokenizers; the chat template's own tokens push it down). At most
 * `MAX_MODELS` models; further ones keep the starting value.
 */
export class CharactersPerToken {
  readonly #byModel = new Map<string, { ratio: number; weight: number }>()

  ratio(model: string): number {
    return this.#byModel.get(model)?.ratio ?? START
  }

  observe(outcome: Outcome): void {
    const characters = outcome.promptChain.totalCharacters
    const tokens = outcome.usage?.promptTokens ?? 0
    if (characters < 64 || tokens < 16) return
    let known = this.#byModel.get(outcome.model)
    if (known === undefined) {
      if (this.#byModel.size >= MAX_MODELS) return
      known = { ratio: START, weight: 1 }
      this.#byModel.set(outcome.model, known)
    }
    known.weight = Math.min(50, known.weight + 1)
    // An image or an engine that counts oddly may not throw the ratio off.
    const measured = Math.max(0.25, Math.min(16, characters / tokens))
    known.ratio += (measured - known.ratio) / known.weight
  }
}

const START = 4
const MAX_MODELS = 1000
