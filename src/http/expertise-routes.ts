/**
 * What is believed of models, for operators: read it, set a cell, forget one. A cell is (tenant, model, topic); without topic it
 * is all of the model.
 *
 *   GET     /homing/v1/expertise?tenant=&model=&topic=
 *   PUT     /homing/v1/expertise    {"tenant", "model", "topic", "mean", "observations"}
 *   DELETE  /homing/v1/expertise?tenant=&model=&topic=
 */
import { HomingError } from '../model/error.ts'
import { isObject, type JsonObject } from '../model/json.ts'
import { describe } from '../wire/parse-checks.ts'
import type { Call, Handler } from './call.ts'
import type { Router } from './router.ts'

type Believed = {
  /** Expected quality of an answer, 0..1, and the interval that holds 90 % of the belief. */
  readonly mean: number
  readonly low: number
  readonly high: number
  /** Effective number of outcomes behind it, decayed. */
  readonly observations: number
  readonly lastLessonMs: number | null
}

/** One model, as `Expertise.table` gives it. */
export type ModelBelief = {
  readonly model: string
  readonly overall: Believed
  readonly topics: readonly (Believed & { readonly topic: string })[]
  /** What an operator set; `topic` null: of all. */
  readonly edited: readonly { readonly topic: string | null; readonly quality: number; readonly outcomes: number; readonly atMs: number }[]
}

export interface EditableExpertise {
  table(tenant: string): readonly ModelBelief[]
  edit(
    edit: { readonly tenant: string; readonly model: string; readonly topic?: string } & (
      | { readonly quality: number; readonly outcomes: number }
      | { readonly reset: true }
    ),
  ): void
}

export type ExpertisePorts = {
  readonly expertise: EditableExpertise
  /** Those of the configuration, or the one of an open gateway. */
  readonly tenants: readonly string[]
  /** All tenants teach one expertise: its rows have no tenant. */
  readonly shared: boolean
  /** The members of groups. */
  readonly models: readonly string[]
  readonly topics: readonly string[]
  /** Resolves when an edit outlives the process. */
  readonly written: () => Promise<void>
}

type Cell = { readonly tenant: string; readonly model: string; readonly topic: string | null }

/** 50 models, 20 topics and ten tenants. */
const MOST_ROWS = 10_000
/** More would never be outweighed by what is seen. */
const MOST_OBSERVATIONS = 1000
/** As many as a word of the configuration counts. */
const USUAL_OBSERVATIONS = 20

export function expertiseRoutes(router: Router<Handler>, ports: ExpertisePorts): void {
  const admin = (method: string, name: string, handle: (call: Call) => Promise<void>): void => {
    router.on(method, '/homing/v1/expertise', { access: 'admin', limited: false, name, handle })
  }
  admin('GET', 'expertise', async ({ sink, query }) => {
    const [tenant, model, topic] = [query.get('tenant'), query.get('model'), query.get('topic')]
    const scopes = tenant === null ? (ports.shared ? ports.tenants.slice(0, 1) : ports.tenants) : [tenantOf(tenant, ports)]
    const rows = scopes.flatMap((scope) =>
      rowsOf(scope, ports).filter((row) => (model ?? row['model']) === row['model'] && (topic ?? row['topic']) === row['topic']),
    )
    sink.json(200, { object: 'list', data: rows.slice(0, MOST_ROWS), has_more: rows.length > MOST_ROWS })
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
    const quality = numberOf(body, 'mean', 0, 1)
    const outcomes = body['observations'] === undefined ? USUAL_OBSERVATIONS : numberOf(body, 'observations', 1, MOST_OBSERVATIONS)
    ports.expertise.edit({ ...named(cell), quality, outcomes })
    await ports.written()
    call.sink.json(200, rowOf(cell, ports))
  })
  admin('DELETE', 'expertise_reset', async ({ sink, query }) => {
    const cell = cellOf({ tenant: query.get('tenant'), model: query.get('model'), topic: query.get('topic') }, ports)
    ports.expertise.edit({ ...named(cell), reset: true })
    await ports.written()
    sink.json(200, rowOf(cell, ports))
  })
}

const FIELDS = ['tenant', 'model', 'topic', 'mean', 'observations']

function cellOf(asked: Readonly<Record<'tenant' | 'model' | 'topic', unknown>>, ports: ExpertisePorts): Cell {
  for (const [param, value] of Object.entries(asked)) {
    if (value !== null && typeof value !== 'string') {
      throw new HomingError('invalid_type', { param, expected: 'a string', got: describe(value) })
    }
  }
  const { tenant, model, topic } = asked as Readonly<Record<'tenant' | 'model' | 'topic', string | null>>
  if (model === null) throw new HomingError('missing_required_parameter', { param: 'model' })
  if (!ports.models.includes(model)) throw unknown('model', `no group has a model '${model.slice(0, 128)}'`)
  if (topic !== null && !ports.topics.includes(topic)) {
    throw unknown('topic', `there is no topic '${topic.slice(0, 128)}'; known are ${ports.topics.join(', ')}`)
  }
  return { tenant: tenantOf(tenant, ports), model, topic }
}

/** Where all share, or there is one, it need not be named. */
function tenantOf(asked: string | null, { tenants, shared }: ExpertisePorts): string {
  if (asked === null && (shared || tenants.length === 1)) return tenants[0]!
  if (asked === null) throw new HomingError('missing_required_parameter', { param: 'tenant' })
  if (tenants.includes(asked)) return asked
  throw unknown('tenant', `there is no tenant '${asked.slice(0, 128)}'`)
}

const named = ({ tenant, model, topic }: Cell): { readonly tenant: string; readonly model: string; readonly topic?: string } =>
  topic === null ? { tenant, model } : { tenant, model, topic }

const unknown = (param: string, why: string): HomingError => new HomingError('invalid_value', { param, why })

function numberOf(body: JsonObject, param: string, least: number, most: number): number {
  const value = body[param]
  if (value === undefined) throw new HomingError('missing_required_parameter', { param })
  if (typeof value !== 'number') throw new HomingError('invalid_type', { param, expected: 'a number', got: describe(value) })
  if (value >= least && value <= most) return value
  throw new HomingError('invalid_value', { param, why: `expected a number from ${least} to ${most}` })
}

/** The model altogether, then its topics. */
function rowsOf(tenant: string, { expertise, shared }: ExpertisePorts): JsonObject[] {
  return expertise.table(tenant).flatMap(({ model, overall, topics, edited }) =>
    [{ topic: null, ...overall }, ...topics].map(({ topic, mean, low, high, observations, lastLessonMs }) => {
      const setting = edited.find((each) => each.topic === topic)
      const changedMs = Math.max(lastLessonMs ?? -Infinity, setting?.atMs ?? -Infinity)
      return {
        object: 'expertise',
        tenant: shared ? null : tenant,
        model,
        topic,
        mean: rounded(mean),
        low: rounded(Math.max(0, low)),
        high: rounded(Math.min(1, high)),
        observations: Math.round(observations * 10) / 10,
        last_change: Number.isFinite(changedMs) ? Math.floor(changedMs / 1000) : null,
        edited: setting === undefined ? null : { mean: setting.quality, observations: setting.outcomes, at: Math.floor(setting.atMs / 1000) },
      }
    }),
  )
}

function rowOf(cell: Cell, ports: ExpertisePorts): JsonObject {
  const row = rowsOf(cell.tenant, ports).find((each) => each['model'] === cell.model && each['topic'] === cell.topic)
  return row ?? { object: 'expertise', ...cell, mean: null } // nothing is known of it any more
}

const rounded = (value: number): number => Math.round(value * 1e4) / 1e4
