/**
 * Whether a value has the shape that a JSON schema asks for, looked at lightly: type, enum, const, required, properties,
 * additionalProperties: false, items, prefixItems, anyOf, oneOf (as anyOf), allOf. What it does not know (references, patterns, bounds) it
 * takes for fulfilled, so a mismatch is certain and a fit is not. No schema is compiled and no pattern of a client is run.
 *
 * Bounded by `MOST_NODES` values looked at; beyond, the rest is taken for fitting.
 */
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'

/** An object of some thousand fields; deeper answers are rare and their beginning tells. */
const MOST_NODES = 2000
/** Schemas that nest deeper than clients' bodies may (`limits.depth` is 64) are not followed. */
const MOST_DEPTH = 64

export function fitsSchema(value: JsonValue, schema: JsonValue | undefined): boolean {
  return fits(value, schema, { nodes: 0 }, 0)
}

function fits(value: JsonValue, schema: JsonValue | undefined, looked: { nodes: number }, depth: number): boolean {
  if (schema === false) return false
  if (!isObject(schema) || depth > MOST_DEPTH || ++looked.nodes > MOST_NODES) return true
  const within = (part: JsonValue, of: JsonValue | undefined): boolean => fits(part, of, looked, depth + 1)
  if (!hasType(value, schema['type'])) return false
  if (Array.isArray(schema['enum']) && !schema['enum'].some((allowed) => same(allowed, value))) return false
  if (schema['const'] !== undefined && !same(schema['const'], value)) return false
  for (const name of ['anyOf', 'oneOf'] as const) {
    const branches = schema[name]
    if (Array.isArray(branches) && !branches.some((branch: JsonValue) => within(value, branch))) return false
  }
  if (Array.isArray(schema['allOf']) && !schema['allOf'].every((part: JsonValue) => within(value, part))) return false
  if (Array.isArray(value)) {
    const first = Array.isArray(schema['prefixItems']) ? (schema['prefixItems'] as readonly JsonValue[]) : []
    return (value as readonly JsonValue[]).every((part, at) => within(part, at < first.length ? first[at] : schema['items']))
  }
  return !isObject(value) || objectFits(value, schema, within)
}

function objectFits(
  value: JsonObject,
  schema: JsonObject,
  within: (part: JsonValue, of: JsonValue | undefined) => boolean,
): boolean {
  const { required, properties, additionalProperties } = schema
  if (Array.isArray(required) && required.some((name: JsonValue) => typeof name === 'string' && !Object.hasOwn(value, name))) return false
  const known = isObject(properties) ? properties : {}
  for (const name of Object.keys(value)) {
    if (Object.hasOwn(known, name)) {
      if (!within(value[name]!, known[name])) return false
    } else if (schema['patternProperties'] === undefined && !within(value[name]!, additionalProperties)) return false
  }
  return true
}

function hasType(value: JsonValue, type: JsonValue | undefined): boolean {
  if (Array.isArray(type)) return type.some((one: JsonValue) => hasType(value, one))
  switch (type) {
    case 'object':
      return isObject(value)
    case 'array':
      return Array.isArray(value)
    case 'string':
    case 'boolean':
    case 'number':
      return typeof value === type
    case 'integer':
      return Number.isInteger(value)
    case 'null':
      return value === null
    default:
      return true
  }
}

const same = (left: JsonValue, right: JsonValue): boolean =>
  left === right || (typeof left === 'object' && typeof right === 'object' && JSON.stringify(left) === JSON.stringify(right))
