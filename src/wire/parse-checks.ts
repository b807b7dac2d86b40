/**
 * Small readers over parsed JSON. Each returns the value, `null` where the field is absent or null (OpenAI treats both
 * alike), or throws the HomingError a client is meant to see. `at` is the path of the object, '' for the body; paths
 * are joined only when there is something to complain about.
 */
import { HomingError } from '../model/error.ts'
import { isObject } from '../model/json.ts'
import type { JsonObject, JsonValue } from '../model/json.ts'

export const isArray = (value: unknown): value is readonly JsonValue[] => Array.isArray(value)

export const join = (at: string, key: string): string => (at === '' ? key : `${at}.${key}`)

export function describe(value: unknown): string {
  if (value === null) return 'null'
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object') return 'an object'
  return `a ${typeof value}`
}

export function wrongType(param: string, expected: string, value: unknown): HomingError {
  return new HomingError('invalid_type', { param, expected, got: describe(value) })
}

export function wrongValue(param: string, why: string): HomingError {
  return new HomingError('invalid_value', { param, why })
}

export function missing(param: string): HomingError {
  return new HomingError('missing_required_parameter', { param })
}

export function requireObject(value: unknown, param: string): JsonObject {
  if (isObject(value)) return value
  throw wrongType(param, 'an object', value)
}

export function requireString(from: JsonObject, key: string, at: string): string {
  const value = from[key]
  if (typeof value === 'string') return value
  if (value === undefined) throw missing(join(at, key))
  throw wrongType(join(at, key), 'a string', value)
}

/** A string that names something, so it may not be empty. */
export function requireName(from: JsonObject, key: string, at: string): string {
  const value = requireString(from, key, at)
  if (value === '') throw wrongValue(join(at, key), 'it must not be empty')
  return value
}

export function optionalString(from: JsonObject, key: string, at: string, maxLength = Infinity): string | null {
  const value = from[key] ?? null
  if (value === null) return null
  if (typeof value !== 'string') throw wrongType(join(at, key), 'a string', value)
  if (value.length > maxLength) throw wrongValue(join(at, key), `it is longer than ${maxLength} characters`)
  return value
}

export function optionalBoolean(from: JsonObject, key: string, at: string): boolean | null {
  const value = from[key] ?? null
  if (value === null || typeof value === 'boolean') return value
  throw wrongType(join(at, key), 'a boolean', value)
}

export function optionalNumber(from: JsonObject, key: string, at: string, min: number, max: number): number | null {
  const value = from[key] ?? null
  if (value === null) return null
  if (typeof value !== 'number') throw wrongType(join(at, key), 'a number', value)
  if (value >= min && value <= max) return value
  throw wrongValue(join(at, key), `expected a number from ${min} to ${max}`)
}

export function optionalInteger(
  from: JsonObject,
  key: string,
  at: string,
  min: number,
  max = Number.MAX_SAFE_INTEGER,
): number | null {
  const value = from[key] ?? null
  if (value === null) return null
  if (typeof value !== 'number') throw wrongType(join(at, key), 'an integer', value)
  if (!Number.isInteger(value)) throw wrongType(join(at, key), 'an integer', value)
  if (value >= min && value <= max) return value
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
  throw wrongValue(join(at, key), `expected an integer ${range}`)
}

export function optionalObject(from: JsonObject, key: string, at: string): JsonObject | null {
  const value = from[key] ?? null
  if (value === null) return null
  if (isObject(value)) return value
  throw wrongType(join(at, key), 'an object', value)
}

export function optionalArray(from: JsonObject, key: string, at: string): readonly JsonValue[] | null {
  const value = from[key] ?? null
  if (value === null) return null
  if (isArray(value)) return value
  throw wrongType(join(at, key), 'an array', value)
}

export function optionalOneOf(from: JsonObject, key: string, at: string, allowed: readonly string[]): string | null {
  const value = optionalString(from, key, at)
  if (value === null || allowed.includes(value)) return value
  throw wrongValue(join(at, key), `supported values are ${listed(allowed)}`)
}

export const listed = (values: readonly string[]): string => values.map((value) => `'${value}'`).join(', ')

/** At most 16 pairs, keys of 64 and values of 512 characters: OpenAI's limits. */
export function checkMetadata(from: JsonObject, at: string): JsonObject | null {
  const metadata = optionalObject(from, 'metadata', at)
  if (metadata === null) return null
  const param = join(at, 'metadata')
  const keys = Object.keys(metadata)
  if (keys.length > 16) throw wrongValue(param, `it has ${keys.length} pairs; the limit is 16`)
  for (const key of keys) {
    if (key.length > 64) throw wrongValue(param, 'a key is longer than 64 characters')
    const value = metadata[key]
    if (typeof value !== 'string') throw wrongType(`${param}.${key}`, 'a string', value)
    if (value.length > 512) throw wrongValue(`${param}.${key}`, 'it is longer than 512 characters')
  }
  return metadata
}

/**
 * Refuses a body that is nested deeper than `limit` containers. Level by level with an explicit list, so that no input
 * can overflow the stack; O(values), independent of the length of strings.
 */
export function checkDepth(body: JsonObject, limit: number): void {
  let level: object[] = [body]
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > limit) throw new HomingError('nesting_too_deep', { limit })
    const next: object[] = []
    for (const container of level) {
      const values: readonly unknown[] = Array.isArray(container) ? container : Object.values(container)
      for (const value of values) if (typeof value === 'object' && value !== null) next.push(value)
    }
    level = next
  }
}
