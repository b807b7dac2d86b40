/**
 * Members of an ensemble: each next model is the one that most raises the chance that somebody is right.
 *
 *   gain of j = quality(j) * (1 - alike(j, chosen) * P(a chosen one is right))
 *
 * Likeness of two models is how far their strengths over topics go together: the correlation of their coefficients, what all
 * models share taken away. Outcomes say nothing about errors on the same question, so models without a profile count as half
 * alike. Greedy, within 1 - 1/e of the best set where the gain is submodular (Nemhauser, Wolsey and Fisher 1978).
 */
import type { FeatureVector, SubjectFeatures } from './expertise-features.ts'
import { KnownModel } from './expertise-model.ts'
import type { ModelPool } from './expertise-pool.ts'

export function complementaryModels(
  pool: ModelPool,
  features: SubjectFeatures,
  x: FeatureVector,
  models: readonly string[],
  n: number,
): string[] {
  const unknown = new KnownModel()
  const left = models.map((model) => {
    const { belief } = pool.models.get(model) ?? unknown
    const quality = Math.max(0, Math.min(1, belief.mean(x, pool)))
    return { model, quality, profile: profileOf(belief, pool, features) }
  })
  const chosen: typeof left = []
  while (chosen.length < n && left.length > 0) {
    let [best, most] = [0, -Infinity]
    left.forEach((candidate, at) => {
      let gain = candidate.quality
      for (const other of chosen) gain *= 1 - likeness(candidate.profile, other.profile) * other.quality
      if (gain > most) [best, most] = [at, gain]
    })
    chosen.push(...left.splice(best, 1))
  }
  return chosen.map(({ model }) => model)
}

const PROFILE_GROUPS = new Set(['topic', 'kind'])

function profileOf(belief: KnownModel['belief'], pool: ModelPool, features: SubjectFeatures): Float64Array {
  return Float64Array.from(features.named, ([group], place) => (PROFILE_GROUPS.has(group) ? belief.meanOf(place, pool) - pool.meanOf(place) : 0))
}

/** 0..1, from opposite to the same. */
function likeness(one: Float64Array, other: Float64Array): number {
  let [product, left, right] = [0, 0, 0]
  for (let at = 0; at < one.length; at++) {
    product += one[at]! * other[at]!
    left += one[at]! ** 2
    right += other[at]! ** 2
  }
  return left === 0 || right === 0 ? 0.5 : (1 + product / Math.sqrt(left * right)) / 2
}
