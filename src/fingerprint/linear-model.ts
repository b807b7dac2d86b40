/**
 * A linear model over the shape, the embedding and a few numbers of the conversation, for what is a quantity: complexity (through
 * a logistic), the log of the output's length, turns that remain. Trained by Adagrad with L2; a kilobyte each.
 */
export type Link = 'identity' | 'logistic'

export class LinearModel {
  readonly weights: Float32Array
  readonly #link: Link

  constructor(weights: Float32Array, link: Link) {
    this.weights = weights
    this.#link = link
  }

  /** The features are those of all `parts`, one after the other. */
  predict(...parts: readonly Float32Array[]): number {
    let sum = 0
    let at = 0
    for (const part of parts) for (let place = 0; place < part.length; place++) sum += this.weights[at++]! * part[place]!
    return this.#link === 'logistic' ? 1 / (1 + Math.exp(-sum)) : sum
  }
}

export type LinearExample = { readonly features: Float32Array; readonly wanted: number; readonly weight?: number }

/** For the logistic link `wanted` may be any share from 0 to 1. */
export function trainLinear(
  examples: readonly LinearExample[],
  link: Link,
  options: { readonly passes?: number; readonly rate?: number; readonly decay?: number; readonly random: () => number },
): LinearModel {
  const { passes = 20, rate = 0.05, decay = 1e-3, random } = options
  const weights = new Float32Array(examples[0]!.features.length)
  const squares = new Float32Array(weights.length).fill(1e-4)
  const sums = new Float32Array(weights.length)
  const model = new LinearModel(weights, link)
  const steps = passes * examples.length
  let averaged = 0
  for (let step = 0; step < steps; step++) {
    const { features, wanted, weight = 1 } = examples[Math.floor(random() * examples.length)]!
    const error = weight * (model.predict(features) - wanted)
    for (let at = 0; at < weights.length; at++) {
      const gradient = error * features[at]! + (at === 0 ? 0 : decay * weights[at]!)
      squares[at]! += gradient * gradient
      weights[at]! -= (rate * gradient) / Math.sqrt(squares[at]!)
    }
    // the mean of the last half is steadier than the last
    if (step >= steps / 2) {
      averaged++
      for (let at = 0; at < weights.length; at++) sums[at]! += weights[at]!
    }
  }
  return new LinearModel(sums.map((sum) => sum / Math.max(1, averaged)), link)
}
