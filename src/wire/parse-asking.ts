/**
 * The field `homing` of a request: several models are to be asked. It is read here and never reaches an engine.
 *
 *   homing: { ensemble: { models, n, merge, weighted, judge, writer, quorum, deadline, max_total_tokens } }
 *   homing: { cascade: { models, confidence, samples, max_total_tokens } }
 *   homing: { ensemble: false, cascade: false }     no rule of the configuration applies either
 *
 * Undefined: the field says nothing of it, so the rules of the configuration apply. What only a look at the fleet can
 * tell (whether a model exists) is judged later.
 */
import { MERGES, MOST_MEMBERS, type Asking, type CascadeAsk, type EnsembleAsk, type Merge } from '../model/asking.ts'
import { HomingError } from '../model/error.ts'
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'
import {
  isArray,
  missing,
  optionalBoolean,
  optionalInteger,
  optionalNumber,
  optionalOneOf,
  requireObject,
  wrongType,
  wrongValue,
} from './parse-checks.ts'

const FIELDS = ['ensemble', 'cascade']
const ENSEMBLE_FIELDS = ['models', 'n', 'merge', 'weighted', 'judge', 'writer', 'quorum', 'deadline', 'max_total_tokens']
const CASCADE_FIELDS = ['models', 'confidence', 'samples', 'max_total_tokens']
/** A group of which members are chosen has no reason to be larger. */
const MOST_MODELS = 32
const DEFAULT_MEMBERS = 3
const MOST_STEPS = 4
const MOST_SAMPLES = 5
const MOST_DEADLINE_MS = 3_600_000

/** `null`: the client wants one model asked, whatever the rules say. */
export function readAsking(body: JsonObject): Asking | null | undefined {
  const value = body['homing'] ?? null
  if (value === null) return undefined
  const homing = requireObject(value, 'homing')
  checkFields(homing, 'homing', FIELDS)
  const { ensemble = null, cascade = null } = homing
  if (isObject(ensemble) && isObject(cascade))
    throw new HomingError('mutually_exclusive_parameters', { param: 'homing.ensemble', other: 'homing.cascade' })
  if (cascade !== null && cascade !== false) {
    return checkAsking(readCascade(requireObject(cascade, 'homing.cascade')), body, 'homing.cascade')
  }
  if (ensemble !== null && ensemble !== false) {
    return checkAsking(readEnsemble(requireObject(ensemble, 'homing.ensemble')), body, 'homing.ensemble')
  }
  return ensemble === false || cascade === false ? null : undefined
}

function readEnsemble(from: JsonObject): EnsembleAsk {
  const at = 'homing.ensemble'
  checkFields(from, at, ENSEMBLE_FIELDS)
  const models = readModels(from, at)
  const most = models === null ? MOST_MEMBERS : Math.min(MOST_MEMBERS, models.length)
  const n = optionalInteger(from, 'n', at, 1, MOST_MEMBERS) ?? (models === null ? DEFAULT_MEMBERS : most)
  if (models !== null && n > models.length)
    throw wrongValue(`${at}.n`, `${n} members cannot be chosen of ${models.length} models`)
  const merge = optionalOneOf(from, 'merge', at, [...MERGES]) as Merge | null
  if (merge === null) throw missing(`${at}.merge`)
  const weighted = optionalBoolean(from, 'weighted', at)
  if (merge !== 'vote' && weighted !== null) throw wrongValue(`${at}.weighted`, `it has no part in the merge '${merge}'`)
  const judge = readName(from, 'judge', at)
  if (merge === 'judge' && judge === null) throw missing(`${at}.judge`)
  if (merge !== 'judge' && judge !== null) throw wrongValue(`${at}.judge`, `it has no part in the merge '${merge}'`)
  const writer = readName(from, 'writer', at)
  if (merge !== 'synthesis' && writer !== null) throw wrongValue(`${at}.writer`, `it has no part in the merge '${merge}'`)
  return {
    kind: 'ensemble',
    models,
    n,
    merge,
    weighted: weighted ?? false,
    judge,
    writer,
    quorum: optionalInteger(from, 'quorum', at, 1, n),
    deadlineMs: readDuration(from, 'deadline', at),
    maxTotalTokens: optionalInteger(from, 'max_total_tokens', at, 1),
  }
}

function readCascade(from: JsonObject): CascadeAsk {
  const at = 'homing.cascade'
  checkFields(from, at, CASCADE_FIELDS)
  const models = readModels(from, at)
  if (models === null) throw missing(`${at}.models`)
  if (models.length < 2 || models.length > MOST_STEPS)
    throw wrongValue(`${at}.models`, `expected 2 to ${MOST_STEPS} models, the cheapest first`)
  if (new Set(models).size < models.length) throw wrongValue(`${at}.models`, 'a model is named twice')
  return {
    kind: 'cascade',
    models,
    confidence: optionalNumber(from, 'confidence', at, 0, 1),
    samples: optionalInteger(from, 'samples', at, 1, MOST_SAMPLES) ?? 1,
    maxTotalTokens: optionalInteger(from, 'max_total_tokens', at, 1),
  }
}

/** What several answers to one request cannot mean. Tools that a response inherits are judged later. */
function checkAsking<T extends Asking>(asking: T, body: JsonObject, at: string): T {
  if (typeof body['n'] === 'number' && body['n'] > 1)
    throw wrongValue('n', `${at} merges into one answer; leave it out or ask for 1`)
  return asking
}

function readModels(from: JsonObject, at: string): readonly string[] | null {
  const value = from['models'] ?? null
  if (value === null) return null
  if (!isArray(value)) throw wrongType(`${at}.models`, 'an array', value)
  if (value.length === 0) throw wrongValue(`${at}.models`, 'it must not be empty')
  if (value.length > MOST_MODELS)
    throw new HomingError('too_many_items', { param: `${at}.models`, count: value.length, limit: MOST_MODELS })
  return value.map((name: JsonValue, index) => {
    if (typeof name !== 'string') throw wrongType(`${at}.models[${index}]`, 'a string', name)
    if (name === '') throw wrongValue(`${at}.models[${index}]`, 'it must not be empty')
    return name
  })
}

function readName(from: JsonObject, key: string, at: string): string | null {
  const value = from[key] ?? null
  if (value === null) return null
  if (typeof value !== 'string') throw wrongType(`${at}.${key}`, 'a string', value)
  if (value === '') throw wrongValue(`${at}.${key}`, 'it must not be empty')
  return value
}

const MILLISECONDS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 }

/** `"500ms"`, `"10s"`, `"2m"`, or a number of milliseconds. */
function readDuration(from: JsonObject, key: string, at: string): number | null {
  const value = from[key] ?? null
  if (value === null) return null
  const param = `${at}.${key}`
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)\s*(ms|s|m)$/.exec(value.trim()) : null
  const ms = typeof value === 'number' ? value : match === null ? Number.NaN : Number(match[1]) * MILLISECONDS[match[2]!]!
  if (ms >= 1 && ms <= MOST_DEADLINE_MS) return Math.round(ms)
  throw wrongValue(param, "expected a duration such as '500ms', '10s' or '2m', or milliseconds, of at most an hour")
}

function checkFields(from: JsonObject, at: string, known: readonly string[]): void {
  for (const key in from) {
    if (!known.includes(key))
      throw new HomingError('unsupported_parameter', { param: `${at}.${key}`, why: `known here are ${known.join(', ')}` })
  }
}
