/**
 * Which model is good at what: learned from graded answers, asked before each choice.
 */
import type { ExpectedQuality, Lesson, Subject } from '../model/quality.ts'
import { choiceProbabilities } from './expertise-choice.ts'
import { SubjectFeatures } from './expertise-features.ts'
import { ModelPool } from './expertise-pool.ts'

export type ExpertiseOptions = {
  /** After so long an outcome counts half; null: outcomes do not age. */
  readonly halfLifeMs: number | null
  /** At most this share of choices may be drawn instead of expected best; null: every choice is drawn. */
  readonly exploration: number | null
  readonly shareBetweenTenants: boolean
  /** Model -> topic -> expected quality, as declared in the configuration. */
  readonly priors: Readonly<Record<string, Readonly<Record<string, number>>>>
  readonly random: () => number
  readonly wallMs: () => number
  readonly maxModels?: number
  readonly maxTenants?: number
}

export class Expertise {
  readonly #options: ExpertiseOptions
  readonly #features = new SubjectFeatures()
  readonly #pools = new Map<string, ModelPool>()
  spread = 1

  constructor(options: ExpertiseOptions) {
    this.#options = options
  }

  pool(tenant: string): ModelPool {
    const name = this.#options.shareBetweenTenants ? '' : tenant
    let pool = this.#pools.get(name)
    if (pool === undefined) {
      pool = new ModelPool(this.#features)
      this.#pools.set(name, pool)
    }
    return pool
  }

  expect(tenant: string, models: readonly string[], subject: Subject): ExpectedQuality[] {
    const { random, exploration } = this.#options
    const pool = this.pool(tenant)
    const x = this.#features.read(subject)
    const explores = exploration === null || (exploration > 0 && random() < exploration)
    return models.map((model) => {
      const known = pool.modelNamed(model)
      const mean = known.belief.mean(x, pool)
      const deviation = Math.sqrt(known.belief.variance(x, pool))
      const drawn = explores ? mean + this.spread * deviation * normal(random) : mean
      return { model, mean, deviation, observations: known.evidence.weight, drawn }
    })
  }

  probabilities(expected: readonly ExpectedQuality[], extraCost: readonly number[]): number[] {
    return choiceProbabilities(expected, extraCost, this.#options.exploration ?? 1)
  }

  observe(lesson: Lesson): void {
    const pool = this.pool(lesson.tenant)
    pool.learn(pool.modelNamed(lesson.model), this.#features.read(lesson.subject), lesson.score, lesson.weight)
  }
}

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}
