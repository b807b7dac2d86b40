/**
 * POST /homing/v1/outcomes: how good an answer was, one or a list. A tenant's own answers only; an operator's key may name the
 * tenant. What cannot be read is refused as a whole, with its place in `param`; what is not known is told one by one.
 *
 * Bounded: so many in a call, so many bytes, and so many a minute of each tenant (token-bucket.ts), one bucket a tenant.
 */
import { HomingError } from '../model/error.ts'
import { isObject, type JsonObject } from '../model/json.ts'
import { describe } from '../wire/parse-checks.ts'
import { parseJson, readBody } from './body.ts'
import type { Call, Handler } from './call.ts'
import type { Router } from './router.ts'
import { TokenBucket } from './token-bucket.ts'

export type Outcome = { readonly tenant: string; readonly id: string; readonly score: number; readonly source: string }
export type OutcomeVerdict =
  | { readonly result: 'accepted' | 'corrected' | 'duplicate'; readonly model: string }
  | { readonly result: 'unknown' | 'too_many_sources' | 'too_many_corrections' }

export type OutcomeRoutePorts = {
  readonly say: (outcome: Outcome) => Promise<OutcomeVerdict>
  /** Resolves when what was said outlives the process. */
  readonly written: () => Promise<void>
  /** So many were refused for the tenant's rate. */
  readonly rateLimited: (count: number) => void
  /** Whether an operator may speak for it. */
  readonly isTenant: (tenant: string) => boolean
  /** Null: no bound. */
  readonly perMinute: number | null
  readonly nowMs: () => number
}

/** A night's grades of a batch job in some calls; each entry takes some 20 us. */
const MOST_OUTCOMES = 1000
/** A thousand entries with the longest ids and sources. */
const MOST_BYTES = 2 ** 20
/** The ids of no API are longer. Characters; the book counts bytes. */
const LONGEST_ID = 512
const FIELDS = ['response_id', 'score', 'source', 'tenant']

export function outcomeRoutes(router: Router<Handler>, ports: OutcomeRoutePorts): void {
  const buckets = new Map<string, TokenBucket>()
  /** Tenants come from the configuration, so it is bounded by that. */
  const admit = (tenant: string, count: number): void => {
    const { perMinute, nowMs } = ports
    if (perMinute === null) return
    let bucket = buckets.get(tenant)
    if (bucket === undefined) buckets.set(tenant, (bucket = new TokenBucket(perMinute, nowMs())))
    const waitMs = bucket.take(count, nowMs())
    if (waitMs === 0) return
    ports.rateLimited(count)
    const why = `This key may send ${perMinute} outcomes a minute.`
    throw new HomingError('rate_limit_exceeded', { why }, { retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)) })
  }
  router.on('POST', '/homing/v1/outcomes', {
    access: 'tenant',
    limited: false, // it generates nothing; its own rate holds
    name: 'outcomes',
    handle: async (call) => {
      admit(call.caller.tenant, 1)
      const body = parseJson(await readBody(call.request, MOST_BYTES))
      const many = Array.isArray(body)
      const entries: readonly unknown[] = many ? body : [body]
      if (entries.length > MOST_OUTCOMES) {
        throw new HomingError('too_many_items', { param: 'body', count: entries.length, limit: MOST_OUTCOMES })
      }
      const outcomes = entries.map((entry, index) => outcomeOf(entry, many ? `[${index}]` : '', call, ports))
      if (outcomes.length > 1) admit(call.caller.tenant, outcomes.length - 1)
      const told: JsonObject[] = []
      for (const outcome of outcomes) told.push(tell(outcome, await ports.say(outcome)))
      await ports.written()
      if (many) call.sink.json(200, { object: 'list', data: told })
      else answerOne(outcomes[0]!, told[0]!, call)
    },
  })
}

function outcomeOf(value: unknown, place: string, { caller }: Call, ports: OutcomeRoutePorts): Outcome {
  const at = (field: string): string => `${place}${place === '' ? '' : '.'}${field}`
  if (!isObject(value)) throw wrong(place === '' ? 'body' : place, 'an object', value)
  for (const key of Object.keys(value)) {
    if (!FIELDS.includes(key)) {
      throw new HomingError('invalid_value', { param: at(key.slice(0, 64)), why: `unknown field; known are ${FIELDS.join(', ')}` })
    }
  }
  const { response_id: id, score, source = 'user', tenant = caller.tenant } = value
  if (id === undefined) throw new HomingError('missing_required_parameter', { param: at('response_id') })
  if (typeof id !== 'string') throw wrong(at('response_id'), 'a string', id)
  if (id === '' || id.length > LONGEST_ID) {
    throw new HomingError('invalid_value', { param: at('response_id'), why: `expected 1 to ${LONGEST_ID} characters` })
  }
  if (score === undefined) throw new HomingError('missing_required_parameter', { param: at('score') })
  if (typeof score !== 'number') throw wrong(at('score'), 'a number from 0 to 1', score)
  if (!(score >= 0 && score <= 1)) {
    throw new HomingError('invalid_value', { param: at('score'), why: `expected a number from 0 to 1, but got ${score}` })
  }
  if (typeof source !== 'string') throw wrong(at('source'), 'a string', source)
  if (!/^[A-Za-z0-9._:-]{1,64}$/.test(source)) {
    throw new HomingError('invalid_value', { param: at('source'), why: 'use 1 to 64 letters, digits and . _ : -' })
  }
  if (typeof tenant !== 'string') throw wrong(at('tenant'), 'a string', tenant)
  if (tenant !== caller.tenant && !(caller.admin && ports.isTenant(tenant))) {
    const why = caller.admin ? 'there is no such tenant' : "only an operator's key may name another tenant"
    throw new HomingError('invalid_value', { param: at('tenant'), why })
  }
  return { tenant, id, score, source }
}

function tell({ id, score, source }: Outcome, verdict: OutcomeVerdict): JsonObject {
  const { result } = verdict
  const told = { object: 'outcome', response_id: id, score, source, result }
  return 'model' in verdict ? { ...told, model: verdict.model } : { ...told, error: refusal(id, result).toBody().error }
}

/** One outcome that was not taken is a refused request. */
function answerOne({ id }: Outcome, told: JsonObject, call: Call): void {
  const result = String(told['result'])
  if (result in REFUSED_FOR_MANY || result === 'unknown') throw refusal(id, result)
  call.sink.json(200, told)
}

const REFUSED_FOR_MANY: Readonly<Record<string, readonly [param: string, why: string]>> = {
  too_many_sources: ['source', 'This answer was graded by as many different sources as are kept.'],
  too_many_corrections: ['score', 'This answer was graded as often as an answer can be; its last scores stand.'],
}

function refusal(id: string, result: string): HomingError {
  const many = REFUSED_FOR_MANY[result]
  return many === undefined
    ? new HomingError('answer_not_found', { param: 'response_id', id: id.slice(0, 256) })
    : new HomingError('conflict', { param: many[0], why: many[1] })
}

const wrong = (param: string, expected: string, value: unknown): HomingError =>
  new HomingError('invalid_type', { param, expected, got: describe(value) })
