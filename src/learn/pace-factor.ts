/**
 * How many times slower than the shape a backend's output tokens come: a running mean of log(measured / shape), robust
 * and quick, told apart from its peers' as far as that is certain (`amongPeers`). A mean, since what slows a token down
 * (others' prompts in the same steps) is part of what the next answer meets as well.
 *
 * Steps are clipped at three times the usual deviation, and the clip doubles with each further surprise in the same
 * direction: one odd answer moves the factor by a few per cent, a backend that turns half as fast is followed to within
 * 10 % in ten to fifteen answers. The first answers set the level: gain 1/n until it reaches `GAIN`.
 */
import { amongPeers, type PeerLevel } from './peer-level.ts'

export class PaceFactor {
  readonly #level: PeerLevel
  #log = 0
  #deviation = 0.3
  #count = 0
  #run = 0

  constructor(level: PeerLevel = { sum: 0, count: 0 }) {
    this.#level = level
  }

  get factor(): number {
    return Math.exp(amongPeers(this.#log, this.#count, this.#deviation, EFFECTIVE, this.#level))
  }

  /** Enough answers to trust the level. */
  get settled(): boolean {
    return this.#count >= 4
  }

  observe(ratio: number): void {
    const surprise = Math.log(ratio) - (this.#count === 0 ? 0 : this.#log)
    if (this.#count === 0) {
      this.#log = surprise
      this.#count = 1
      this.#level.sum += surprise
      this.#level.count++
      return
    }
    const direction = Math.sign(surprise)
    const usual = 3 * this.#deviation
    this.#run = Math.abs(surprise) <= usual ? 0 : Math.sign(this.#run) === direction ? this.#run + direction : direction
    const clip = usual * 2 ** Math.min(8, Math.max(0, Math.abs(this.#run) - 1))
    const step = Math.max(-clip, Math.min(clip, surprise))
    this.#count++
    const move = step * Math.max(GAIN, 1 / this.#count)
    this.#log += move
    this.#level.sum += move
    // Mean absolute deviation to standard deviation of a normal: 1.25.
    this.#deviation += 0.1 * (Math.min(1.25 * Math.abs(surprise), 2 * usual) - this.#deviation)
    this.#deviation = Math.max(SMALLEST_DEVIATION, this.#deviation)
  }

  unsettle(): void {
    this.#count = Math.min(this.#count, 1)
    this.#deviation = 0.3
  }
}

/** A step change is followed with a time constant of seven answers. */
const GAIN = 0.15
/** Answers that a running mean of this gain rests on: (2 - gain) / gain. */
const EFFECTIVE = 12
/** Below 2 % the clip would take every tremor for a surprise. */
const SMALLEST_DEVIATION = 0.02
