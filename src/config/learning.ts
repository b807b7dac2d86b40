/** `learning`: what clients may say of answers, how much of it is kept, and the log of choices. */
import { resolve } from 'node:path'
import { describe, isMapping, Section } from './place.ts'
import type { Place } from './place.ts'
import { bytes, integer, orNone, text, truth } from './values.ts'

export type LearningConfig = {
  /** Of each tenant, as a bucket of one minute; null: no bound. */
  readonly outcomesPerMinute: number | null
  /** Answers that can still be graded. */
  readonly answers: number
  /** Null: choices are not logged. */
  readonly log: ChoiceLogConfig | null
}

export type ChoiceLogConfig = {
  /** Absolute folder. */
  readonly path: string
  readonly maxBytes: number
}

export const LEARNING_DEFAULTS = {
  /** A thousand a second, each some 20 microseconds: a few per cent of a core. */
  outcomesPerMinute: 60_000,
  /** 35 to 60 MB. */
  answers: 100_000,
  /** Of a log of some 450 bytes a line, 150,000 lines. */
  logBytes: 64 * 2 ** 20,
} as const

const KEYS = ['outcomes_per_minute', 'answers', 'log']

/** `storePath` null: with a store in memory nothing is logged unless a folder is named. */
export function readLearning(value: unknown, place: Place, folder: string, storePath: string | null): LearningConfig {
  const section = new Section(value ?? {}, place, KEYS)
  return {
    outcomesPerMinute: section.read('outcomes_per_minute', orNone(integer(1)), LEARNING_DEFAULTS.outcomesPerMinute),
    answers: section.read('answers', integer(1), LEARNING_DEFAULTS.answers),
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
