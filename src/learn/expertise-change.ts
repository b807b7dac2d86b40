/**
 * Notices that a model has become better or worse: two cumulative sums of standardised residuals (Page 1954; Basseville and
 * Nikiforov, Detection of Abrupt Changes, 2.2), one for each direction.
 *
 *   down <- max(0, down - z - slack)      up <- max(0, up + z - slack)      alarm beyond `THRESHOLD`
 *
 * Slack is half the shift that should be found: 15 points are about 0.33 deviations of one outcome. Siegmund's approximations
 * for these numbers: a false alarm in about 2,000,000 outcomes for each direction, a drop of 15 points found after about 200 outcomes of the model.
 */
export class ChangeTest {
  #down = 0
  #up = 0
  /** Outcomes and the sum of their residuals since each sum was last zero: where it began, and how large it is. */
  #since = { down: { weight: 0, sum: 0 }, up: { weight: 0, sum: 0 } }

  /** `residual` in quality, `deviation` of one outcome; a negative weight takes one back. Returns the size of a change that was noticed, else null. */
  observe(residual: number, deviation: number, weight: number): number | null {
    const z = (residual / deviation) * weight
    this.#down = Math.max(0, this.#down - z - SLACK * weight)
    this.#up = Math.max(0, this.#up + z - SLACK * weight)
    const { down, up } = this.#since
    track(down, this.#down === 0, residual, weight)
    track(up, this.#up === 0, residual, weight)
    const found = weight < 0 ? null : this.#down > THRESHOLD ? down : this.#up > THRESHOLD ? up : null
    if (found === null) return null
    const size = found.sum / found.weight
    this.reset()
    return size
  }

  reset(): void {
    this.#down = 0
    this.#up = 0
    this.#since = { down: { weight: 0, sum: 0 }, up: { weight: 0, sum: 0 } }
  }
}

type Run = { weight: number; sum: number }

function track(run: Run, ended: boolean, residual: number, weight: number): void {
  run.weight = ended ? 0 : run.weight + weight
  run.sum = ended ? 0 : run.sum + weight * residual
}

const SLACK = 0.165
/** At 24 one course of 8,000 outcomes in five had a false alarm, each of which costs points for hundreds of outcomes. */
const THRESHOLD = 34
