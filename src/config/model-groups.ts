/**
 * Groups of models that a client may ask for by one name, and what models are said to be good at.
 *
 *   model_groups:
 *     auto: [coder-7b, general-8b]
 *     careful: { models: [general-8b, general-70b], seconds_per_quality_point: 5 }
 *   models:
 *     coder-7b: { specialises_in: { coding: 0.9 } }
 */
import { describe, isMapping, Section } from './place.ts'
import type { Reader } from './place.ts'
import { list, seconds, share, text } from './values.ts'

export type ModelGroupConfig = {
  readonly name: string
  readonly models: readonly string[]
  /** Seconds that an answer may take longer for being 0.01 better. */
  readonly secondsPerQualityPoint: number
}

/** Topic -> quality 0..1 that is expected before anything was learned. */
export type DeclaredExpertise = Readonly<Record<string, number>>

export type ModelConfig = { readonly specialisesIn: DeclaredExpertise }

export const GROUP_DEFAULTS = {
  /** A better answer in a hundred is worth waiting a second for. */
  secondsPerQualityPoint: 1,
} as const

const GROUP_KEYS = ['models', 'seconds_per_quality_point']

export const modelGroups: Reader<readonly ModelGroupConfig[]> = (value, place) => {
  if (!isMapping(value)) return place.problem(`expected a mapping of names to lists of models, but got ${describe(value)}`)
  const groups: ModelGroupConfig[] = []
  for (const [name, given] of Object.entries(value)) {
    const at = place.at(name)
    if (name.trim() === '') at.problem('a group needs a name that clients can ask for')
    const section = new Section(Array.isArray(given) ? { models: given } : given, at, GROUP_KEYS)
    const models = section.required('models', list(text)) ?? []
    const secondsPerQualityPoint = section.read<number>(
      'seconds_per_quality_point', seconds, GROUP_DEFAULTS.secondsPerQualityPoint,
    )
    const twice = models.find((model, index) => models.indexOf(model) !== index)
    if (twice !== undefined) at.at('models').problem(`names '${twice}' twice`)
    const nested = models.find((model) => value[model] !== undefined)
    if (nested !== undefined) at.at('models').problem(`'${nested}' is a group; a group holds models only`)
    if (section.has('models') && models.length === 0) at.at('models').problem('is empty: nobody could answer')
    groups.push({ name, models, secondsPerQualityPoint })
  }
  return groups
}

export const declaredExpertise: Reader<DeclaredExpertise> = (value, place) => {
  if (!isMapping(value)) return place.problem(`expected a mapping of topics to weights, but got ${describe(value)}`)
  const weights: Record<string, number> = {}
  for (const [topic, given] of Object.entries(value)) {
    const weight = share(given, place.at(topic))
    if (weight !== undefined) weights[topic] = weight
  }
  return weights
}

export const declaredModels: Reader<Readonly<Record<string, ModelConfig>>> = (value, place) => {
  if (!isMapping(value)) return place.problem(`expected a mapping of models, but got ${describe(value)}`)
  const models: Record<string, ModelConfig> = {}
  for (const [name, given] of Object.entries(value)) {
    const section = new Section(given, place.at(name), ['specialises_in'])
    models[name] = { specialisesIn: section.read<DeclaredExpertise>('specialises_in', declaredExpertise, {}) }
  }
  return models
}
