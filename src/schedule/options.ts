import type { Backend } from '../model/backend.ts'
import type { ConsideredModel, ModelChoice, ModelOption } from '../model/decision.ts'
import { newBoard, type ScoreBoard } from './policy.ts'

/**
 * What a turn that asks for a group can have: each backend with each model of the group that it serves.
 *
 *   options  | b0 coder | b0 math | b1 general | b2 math |     terms in seconds, one an option
 *   board    | b0                 | b1         | b2      |     each backend with its cheapest option
 *
 *   cost = seconds + secondsPerQuality * (best drawn quality - drawn quality of the model)
 *
 * Quality is counted as what is lost against the best model that is to be had, so that a cost stays a number of seconds
 * and none is negative. A backend is one candidate however many models it serves: it is one queue and one cache.
 */
export class Options {
  readonly #choice: ModelChoice
  /** The backend of each option. */
  readonly backends: readonly Backend[]
  readonly #models: readonly ModelOption[]
  /** Where each candidate's options begin, and the end. */
  readonly #starts: readonly number[]
  /** The option that each candidate stands for. */
  readonly #chosen: Int32Array
  readonly #lostSeconds: Float64Array
  /** Of each option, without quality: as it was weighed last. */
  readonly #seconds: Float64Array
  readonly board: ScoreBoard

  /** `usable` must hold for at least one model of every candidate. */
  constructor(
    choice: ModelChoice,
    candidates: readonly Backend[],
    usable: (backend: Backend, model: string) => boolean,
  ) {
    const backends: Backend[] = []
    const models: ModelOption[] = []
    const starts: number[] = []
    let best = -Infinity
    for (const backend of candidates) {
      starts.push(models.length)
      for (const option of choice.options) {
        if (!usable(backend, option.model)) continue
        backends.push(backend)
        models.push(option)
        if (option.quality.drawn > best) best = option.quality.drawn
      }
    }
    starts.push(models.length)
    this.#choice = choice
    this.backends = backends
    this.#models = models
    this.#starts = starts
    this.#chosen = Int32Array.from(starts.slice(0, -1))
    this.#lostSeconds = Float64Array.from(models, ({ quality }) => choice.secondsPerQuality * (best - quality.drawn))
    this.#seconds = new Float64Array(models.length)
    this.board = newBoard(candidates.length)
  }

  at(option: number): ModelOption {
    return this.#models[option]!
  }

  chosenAt(position: number): ModelOption {
    return this.#models[this.#chosen[position]!]!
  }

  /** Each candidate gets the numbers of its cheapest option. `weighed` holds those of the options, quality left out. */
  collapse(weighed: ScoreBoard): void {
    const { board } = this
    this.#seconds.set(weighed.costSeconds.subarray(0, this.#models.length))
    for (let position = 0; position < this.#chosen.length; position++) {
      let cheapest = this.#starts[position]!
      for (let option = cheapest + 1; option < this.#starts[position + 1]!; option++) {
        if (this.#costOf(option) < this.#costOf(cheapest)) cheapest = option
      }
      this.#chosen[position] = cheapest
      board.cachedTokens[position] = weighed.cachedTokens[cheapest]!
      board.waitSeconds[position] = weighed.waitSeconds[cheapest]!
      board.prefillSeconds[position] = weighed.prefillSeconds[cheapest]!
      board.decodeSeconds[position] = weighed.decodeSeconds[cheapest]!
      board.regretSeconds[position] = weighed.regretSeconds[cheapest]!
      board.qualitySeconds[position] = this.#lostSeconds[cheapest]!
      board.costSeconds[position] = this.#costOf(cheapest)
    }
  }

  /** The group's models, in its order. */
  considered(): { readonly incumbent: string | null; readonly models: readonly ConsideredModel[] } {
    const models = this.#choice.options.map((wanted) => {
      let seconds: number | null = null
      for (let option = 0; option < this.#models.length; option++) {
        if (this.#models[option] === wanted) seconds = Math.min(seconds ?? Infinity, this.#seconds[option]!)
      }
      return { ...wanted.quality, seconds }
    })
    return { incumbent: this.#choice.incumbent, models }
  }

  #costOf(option: number): number {
    return this.#seconds[option]! + this.#lostSeconds[option]!
  }
}
