/** `learning`: what clients may say of answers, how much of it is kept, and the log of choices. */
import { resolve } from 'node:path'
import { describe, isMapping, Section } from './place.ts'
import type { Place, Reader } from './place.ts'
import { bytes, integer, orNone, share, text, truth } from './values.ts'

export type LearningConfig = {
  /** Of each tenant, as a bucket of one minute; null: no bound. */
  readonly outcomesPerMinute: number | null
  /** Answers that can still be graded. */
  readonly answers: number
  /** Null: choices are not logged. */
  readonly log: ChoiceLogConfig | null
  /** After so long an outcome counts half; null: for ever. */
  readonly halfLifeMs: number | null
  /** At most this share of choices is made to learn from them; null: as many as the sampler asks for. */
  readonly exploration: number | null
  /** Outcomes of one tenant teach about answers to all. */
  readonly shareBetweenTenants: boolean
  /** Signs that nobody sends (a complaint, invalid JSON) teach too, as far as they have proved right. */
  readonly implicitSignals: boolean
}

export type ChoiceLogConfig = {
  /** Absolute folder. */
  readonly path: string
  readonly maxBytes: number
}

const DAY_MS = 86_400_000
/** A timer's bound does not hold here: ages are compared, not waited for. */
const halfLife: Reader<number> = (value, at) => {
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)\s*(m|h|d)$/.exec(value.trim()) : null
  const unit = match === null ? undefined : { m: 60_000, h: 3_600_000, d: DAY_MS }[match[2]!]
  const ms = match === null || unit === undefined ? 0 : Number(match[1]) * unit
  return ms > 0 ? ms : at.problem('expected a time such as 12h or 30d, or none')
}

export const LEARNING_DEFAULTS = {
  /** A thousand a second, each some 20 microseconds: a few per cent of a core. */
  outcomesPerMinute: 60_000,
  /** 40 to 60 MB. */
  answers: 100_000,
  /** Of a log of some 600 bytes a line, 110,000 lines. */
  logBytes: 64 * 2 ** 20,
  /** Models are replaced within months; a sudden change is noticed by itself. */
  halfLifeMs: 30 * DAY_MS,
} as const

const KEYS = ['outcomes_per_minute', 'answers', 'log', 'half_life', 'exploration', 'share_between_tenants', 'implicit_signals']

/** `storePath` null: with a store in memory nothing is logged unless a folder is named. */
export function readLearning(value: unknown, place: Place, folder: string, storePath: string | null): LearningConfig {
  const section = new Section(value ?? {}, place, KEYS)
  return {
    outcomesPerMinute: section.read('outcomes_per_minute', orNone(integer(1)), LEARNING_DEFAULTS.outcomesPerMinute),
    answers: section.read('answers', integer(1), LEARNING_DEFAULTS.answers),
    halfLifeMs: section.read<number | null>('half_life', orNone(halfLife), LEARNING_DEFAULTS.halfLifeMs),
    exploration: section.read<number | null>('exploration', orNone(share), null),
    shareBetweenTenants: section.read('share_between_tenants', truth, false),
    implicitSignals: section.read('implicit_signals', truth, true),
    log: readLog(section.raw('log') ?? true, place.at('log'), folder, storePath),
  }
}

/** `false`, `true`, a folder, or a mapping. */
function readLog(value: unknown, place: Place, folder: string, storePath: string | null): ChoiceLogConfig | null {
  if (typeof value !== 'boolean' && typeof value !== 'string' && !isMapping(value)) {
    place.problem(`expected true, false, a folder or a mapping with path and max_bytes, but got ${describe(value)}`)
    return null
  }
  const mapping = isMapping(value) ? value : typeof value === 'string' ? { path: value } : {}
  const section = new Section(mapping, place, ['enabled', 'path', 'max_bytes'])
  const enabled = value !== false && section.read('enabled', truth, true)
  const given = section.read<string | null>('path', text, null)
  const maxBytes = section.read<number>('max_bytes', bytes, LEARNING_DEFAULTS.logBytes)
  const path = given !== null ? resolve(folder, given) : storePath === null ? null : resolve(storePath, 'choices')
  return enabled && path !== null ? { path, maxBytes } : null
}
