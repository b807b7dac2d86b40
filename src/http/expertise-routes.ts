/**
 * What is believed of models, for operators: read it, set a cell, forget one. A cell is (tenant, model, topic).
 *
 *   GET     /homing/v1/expertise?tenant=&model=&topic=
 *   PUT     /homing/v1/expertise    {"tenant", "model", "topic", "mean", "observations"}
 *   DELETE  /homing/v1/expertise?tenant=&model=&topic=     without topic: all that is known of the model
 */
import { HomingError } from '../model/error.ts'
import { isObject, type JsonObject } from '../model/json.ts'
import { describe } from '../wire/parse-checks.ts'
import type { Call, Handler } from './call.ts'
import type { Router } from './router.ts'

export type ExpertiseCell = {
  /** Null: what all tenants share. */
  readonly tenant: string | null
  readonly model: string
  /** Null: over all topics. */
  readonly topic: string | null
}

export type ExpertiseRow = ExpertiseCell & {
  /** Expected quality of an answer, 0..1, and the standard deviation of that belief. */
  readonly mean: number
  readonly deviation: number
  /** Effective number of outcomes behind it, decayed. */
  readonly observations: number
  /** Milliseconds since 1970; null: never. */
  readonly lastChangeMs: number | null
}

export type ExpertisePorts = {
  /** All tenants where none is named. */
  readonly table: (tenant?: string) => readonly ExpertiseRow[]
  /** From now on it is believed as if so many outcomes had had this mean. */
  readonly edit: (cell: ExpertiseCell, to: { readonly mean: number; readonly observations: number }) => void
  /** Back to what is declared and what the others are like. */
  readonly reset: (cell: ExpertiseCell) => void
  /** The tenant whose cells those are that a request with this tenant means; null where all share. Undefined: no such tenant. */
  readonly tenantOf: (tenant: string | null) => string | null | undefined
  readonly isModel: (model: string) => boolean
  readonly topics: () => readonly string[]
}

/** 50 models, 20 topics and ten tenants. */
const MOST_ROWS = 10_000
/** Of a normal belief: 90 % lies within so many deviations. */
const NINETY_PER_CENT = 1.645
/** More would never be overruled by what is seen. */
const MOST_OBSERVATIONS = 1_000_000

export function expertiseRoutes(router: Router<Handler>, ports: ExpertisePorts): void {
  const admin = (method: string, name: string, handle: (call: Call) => Promise<void>): void => {
    router.on(method, '/homing/v1/expertise', { access: 'admin', limited: false, name, handle })
  }
  admin('GET', 'expertise', async ({ sink, query }) => {
    const [tenant, model, topic] = ['tenant', 'model', 'topic'].map((name) => query.get(name))
    const rows = ports
      .table(tenant ?? undefined)
      .filter((row) => (model ?? row.model) === row.model && (topic === null || topic === row.topic))
    sink.json(200, { object: 'list', data: rows.slice(0, MOST_ROWS).map(told), has_more: rows.length > MOST_ROWS })
  })
  admin('PUT', 'expertise_edit', async (call) => {
    const body = await call.body()
    if (!isObject(body)) throw new HomingError('invalid_type', { param: 'body', expected: 'an object', got: describe(body) })
    for (const key of Object.keys(body)) {
      if (!FIELDS.includes(key)) {
        throw new HomingError('invalid_value', { param: key.slice(0, 64), why: `unknown field; known are ${FIELDS.join(', ')}` })
      }
    }
    const cell = cellOf({ tenant: body['tenant'] ?? null, model: body['model'] ?? null, topic: body['topic'] ?? null }, ports)
    const mean = numberOf(body, 'mean', 0, 1)
    const observations = numberOf(body, 'observations', 0, MOST_OBSERVATIONS)
    ports.edit(cell, { mean, observations })
    const row = ports.table(cell.tenant ?? undefined).find((each) => each.model === cell.model && each.topic === cell.topic)
    call.sink.json(200, row === undefined ? { object: 'expertise', ...cell } : told(row))
  })
  admin('DELETE', 'expertise_reset', async ({ sink, query }) => {
    const cell = cellOf({ tenant: query.get('tenant'), model: query.get('model'), topic: query.get('topic') }, ports)
    ports.reset(cell)
    sink.json(200, { object: 'expertise.deleted', ...cell, deleted: true })
  })
}

const FIELDS = ['tenant', 'model', 'topic', 'mean', 'observations']

function cellOf(asked: Readonly<Record<'tenant' | 'model' | 'topic', unknown>>, ports: ExpertisePorts): ExpertiseCell {
  for (const [param, value] of Object.entries(asked)) {
    if (value !== null && typeof value !== 'string') {
      throw new HomingError('invalid_type', { param, expected: 'a string', got: describe(value) })
    }
  }
  const { tenant: named, model, topic } = asked as Readonly<Record<'tenant' | 'model' | 'topic', string | null>>
  if (model === null) throw new HomingError('missing_required_parameter', { param: 'model' })
  if (!ports.isModel(model)) throw new HomingError('invalid_value', { param: 'model', why: `no group has a model '${model.slice(0, 128)}'` })
  const topics = ports.topics()
  if (topic !== null && !topics.includes(topic)) {
    throw new HomingError('invalid_value', { param: 'topic', why: `there is no topic '${topic.slice(0, 128)}'; known are ${topics.join(', ')}` })
  }
  const tenant = ports.tenantOf(named)
  if (tenant === undefined) {
    throw new HomingError('invalid_value', { param: 'tenant', why: named === null ? 'name one of the tenants' : `there is no tenant '${named.slice(0, 128)}'` })
  }
  return { tenant, model, topic }
}

function numberOf(body: JsonObject, param: string, least: number, most: number): number {
  const value = body[param]
  if (value === undefined) throw new HomingError('missing_required_parameter', { param })
  if (typeof value !== 'number') throw new HomingError('invalid_type', { param, expected: 'a number', got: describe(value) })
  if (value >= least && value <= most) return value
  throw new HomingError('invalid_value', { param, why: `expected a number from ${least} to ${most}` })
}

function told({ tenant, model, topic, mean, deviation, observations, lastChangeMs }: ExpertiseRow): JsonObject {
  const bounded = (value: number): number => rounded(Math.min(1, Math.max(0, value)))
  return {
    object: 'expertise',
    tenant,
    model,
    topic,
    mean: rounded(mean),
    low: bounded(mean - NINETY_PER_CENT * deviation),
    high: bounded(mean + NINETY_PER_CENT * deviation),
    deviation: rounded(deviation),
    observations: Math.round(observations * 10) / 10,
    last_change: lastChangeMs === null ? null : Math.floor(lastChangeMs / 1000),
  }
}

const rounded = (value: number): number => Math.round(value * 1e4) / 1e4
