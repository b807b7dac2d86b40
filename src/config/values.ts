import { nearest } from './nearest.ts'
import { describe } from './place.ts'
import type { Place, Reader } from './place.ts'

// Readers of single values: text, numbers, durations, sizes, lists.

const MILLISECONDS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const BYTES: Readonly<Record<string, number>> = {
  b: 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40,
}
/** A timer of Node holds at most 2^31 - 1 ms. */
const MAX_DURATION_MS = 2 ** 31 - 1

export const text: Reader<string> = (value, place) => {
  if (typeof value !== 'string') return place.problem(`expected text, but got ${describe(value)}`)
  if (value.trim() === '') return place.problem('is empty')
  return value
}

export const truth: Reader<boolean> = (value, place) =>
  typeof value === 'boolean' ? value : place.problem(`expected true or false, but got ${describe(value)}`)

export function integer(least: number): Reader<number> {
  return (value, place) => {
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least) return value
    const got = typeof value === 'number' ? String(value) : describe(value)
    return place.problem(`expected a whole number, ${least} or more, but got ${got}`)
  }
}

export function oneOf<T extends string>(...choices: readonly T[]): Reader<T> {
  return (value, place) => {
    const found = choices.find((choice) => choice === value)
    if (found !== undefined) return found
    const known = choices.join(', ')
    if (typeof value !== 'string') return place.problem(`expected one of ${known}, but got ${describe(value)}`)
    return place.problem(`'${value}' is not one of ${known}; ${nearest(value, choices)}`)
  }
}

/** `500ms`, `2s`, `1m`, `1h`, `30d`. A bare number has no unit and is refused. */
export function duration(leastMs: number): Reader<number> {
  return (value, place) => {
    const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/.exec(value.trim()) : null
    if (match === null) {
      const hint = typeof value === 'number' ? `; did you mean '${value}s'?` : ''
      return place.problem(`expected a duration such as 500ms, 2s or 1m${hint}`)
    }
    const ms = Math.round(Number(match[1]) * (MILLISECONDS[match[2] ?? ''] ?? Number.NaN))
    if (ms < leastMs) return place.problem(`must be at least ${leastMs}ms`)
    if (ms > MAX_DURATION_MS) return place.problem('must be at most 24d')
    return ms
  }
}

/** Seconds, 0 or more, as a number; or a duration. */
export const seconds: Reader<number> = (value, place) => {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value
  if (typeof value === 'number') return place.problem(`expected seconds, 0 or more, but got ${value}`)
  const ms = duration(0)(value, place)
  return ms === undefined ? undefined : ms / 1000
}

/** A number from 0 to 1. */
export const share: Reader<number> = (value, place) =>
  typeof value === 'number' && value >= 0 && value <= 1
    ? value
    : place.problem(`expected a number from 0 to 1, but got ${typeof value === 'number' ? value : describe(value)}`)

/** A number of bytes, or `512KB`, `32MiB`, `10GiB`. */
export const bytes: Reader<number> = (value, place) => {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)\s*([kmgt]?i?b)?$/i.exec(value.trim()) : null
  const unit = match === null ? undefined : BYTES[(match[2] ?? 'b').toLowerCase()]
  const size = match === null || unit === undefined ? 0 : Math.round(Number(match[1]) * unit)
  return size > 0 ? size : place.problem('expected a size such as 1048576, 32MiB or 10GiB')
}

/** `none` switches a bound off. */
export function orNone<T>(reader: Reader<T>): Reader<T | null> {
  return (value, place) => (value === 'none' ? null : reader(value, place))
}

/** Bad entries are reported and left out. */
export function list<T>(reader: Reader<T>): Reader<readonly T[]> {
  return (value, place) => {
    if (!Array.isArray(value)) return place.problem(`expected a list, but got ${describe(value)}`)
    const read: T[] = []
    value.forEach((entry: unknown, index) => {
      const one = reader(entry, place.at(index))
      if (one !== undefined) read.push(one)
    })
    return read
  }
}

/** Names that appear in headers, URLs and metric labels. */
export const identifier: Reader<string> = (value, place) => {
  if (typeof value === 'string' && /^[A-Za-z0-9._:[\]-]{1,128}$/.test(value)) return value
  if (typeof value !== 'string') return place.problem(`expected text, but got ${describe(value)}`)
  return place.problem('use 1 to 128 letters, digits and . _ : - [ ]')
}

/** A key or header value: literal, or `env:NAME`. With `env` null (a request over HTTP) only literals are taken. */
export function secret(env: Readonly<Record<string, string | undefined>> | null): Reader<string> {
  return (value, place) => {
    const given = text(value, place)
    if (given === undefined) return undefined
    const resolved = given.startsWith('env:') ? fromEnvironment(given.slice(4), env, place) : given
    if (resolved === undefined) return undefined
    // RFC 9110 field content: what an HTTP header can carry.
    return /^[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?$/.test(resolved)
      ? resolved
      : place.problem('holds characters that an HTTP header cannot carry')
  }
}

function fromEnvironment(
  name: string,
  env: Readonly<Record<string, string | undefined>> | null,
  place: Place,
): string | undefined {
  if (env === null) return place.problem("'env:' works only in the configuration file; send the value itself")
  const found = env[name]
  return found === undefined || found === '' ? place.problem(`environment variable ${name} is not set`) : found
}
