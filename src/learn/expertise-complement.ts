import type { FeatureVector, SubjectFeatures } from './expertise-features.ts'
import { KnownModel } from './expertise-model.ts'
import type { ModelPool } from './expertise-pool.ts'

export function complementaryModels(pool: ModelPool, features: SubjectFeatures, x: FeatureVector, models: readonly string[], n: number): string[] {
  void features
  const unknown = new KnownModel()
  return [...models].map((model) => ({ model, mean: (pool.models.get(model) ?? unknown).belief.mean(x, pool) })).sort((a, b) => b.mean - a.mean).slice(0, n).map(({ model }) => model)
}
