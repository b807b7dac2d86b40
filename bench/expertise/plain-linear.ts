/**
 * The plain method to beat: linear Thompson sampling on the topic posterior, a regression a model, nothing shared between
 * models and nothing learned about the prior.
 */
import { standardNormal, type Random } from '../../sim/random.ts'
import { Belief, type CoefficientPrior } from '../../src/learn/expertise-belief.ts'
import type { FeatureVector } from '../../src/learn/expertise-features.ts'
import type { ExpectedQuality, Lesson, Subject } from '../../src/model/quality.ts'
import type { Learner } from './simulation.ts'

const PRIOR: CoefficientPrior = { meanOf: () => 0.5, varianceOf: () => 0.09 }
const NOISE = 0.22
const MOST_TOPICS = 40

export class PlainLinear implements Learner {
  readonly #random: Random
  readonly #topics = new Map<string, number>()
  readonly #beliefs = new Map<string, Belief>()
  readonly #x: FeatureVector = { count: 0, places: new Int32Array(MOST_TOPICS), values: new Float64Array(MOST_TOPICS) }

  constructor(random: Random) {
    this.#random = random
  }

  expect(_tenant: string, models: readonly string[], subject: Subject): ExpectedQuality[] {
    const x = this.#read(subject)
    return models.map((model) => {
      const belief = this.#beliefOf(model)
      const [mean, deviation] = [belief.mean(x, PRIOR), Math.sqrt(belief.variance(x, PRIOR))]
      return { model, mean, deviation, observations: 0, drawn: mean + deviation * standardNormal(this.#random) }
    })
  }

  observe({ model, subject, score }: Lesson): void {
    const belief = this.#beliefOf(model)
    belief.grow(MOST_TOPICS, PRIOR)
    belief.learn(this.#read(subject), score, NOISE)
  }

  #beliefOf(model: string): Belief {
    const belief = this.#beliefs.get(model) ?? new Belief()
    this.#beliefs.set(model, belief)
    return belief
  }

  #read({ topics }: Subject): FeatureVector {
    const x = this.#x
    x.count = 0
    for (const [label, probability] of topics) {
      const place = this.#topics.get(label) ?? this.#topics.size
      this.#topics.set(label, place)
      x.places[x.count] = place
      x.values[x.count++] = probability
    }
    return x
  }
}
