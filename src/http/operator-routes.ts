/** Everything under /homing/v1/: backends for operators, receipts and the published interface for tenants. */
import { HomingError } from '../model/error.ts'
import type { AffinityScore } from '../model/affinity.ts'
import type { SemanticFingerprint } from '../model/fingerprint.ts'
import type { Backend } from '../model/backend.ts'
import { isObject, type JsonObject } from '../model/json.ts'
import type { Receipt } from '../model/receipt.ts'
import type { Turn } from '../model/turn.ts'
import { parseResponses, type Limits } from '../wire/parse-responses.ts'
import { checkDepth } from '../wire/parse-checks.ts'
import { parseJson } from './body.ts'
import type { Call, Handler } from './call.ts'
import type { Router } from './router.ts'
import { metaOf } from './turn-routes.ts'

export type OperatorRoutePorts = {
  readonly list: () => readonly Backend[]
  /** Throws HomingError for a bad or a known one. */
  readonly add: (body: JsonObject) => Promise<Backend>
  readonly drain: (id: string, on: boolean) => boolean
  readonly remove: (id: string) => Promise<boolean>
  readonly load: (backend: Backend) => JsonObject
  readonly receipt: (tenant: string, id: string) => Promise<Receipt | null>
  /** Of the last answers, newest first; null: of all tenants. */
  readonly recent: (tenant: string | null, limit: number) => readonly { readonly tenant: string; readonly receipt: Receipt }[]
  readonly fingerprint: (turn: Turn) => Promise<SemanticFingerprint>
  readonly affinity: (turn: Turn) => Promise<readonly AffinityScore[]>
  readonly limits: Limits
}

export function operatorRoutes(router: Router<Handler>, ports: OperatorRoutePorts): void {
  const admin = (method: string, path: string, name: string, handle: (call: Call) => Promise<void>): void => {
    router.on(method, `/homing/v1/${path}`, { access: 'admin', limited: false, name, handle })
  }
  admin('GET', 'backends', 'backends_list', async ({ sink }) => {
    sink.json(200, { object: 'list', data: ports.list().map((backend) => describe(backend, ports)) })
  })
  admin('POST', 'backends', 'backends_add', async (call) => {
    const body = await objectBody(call, ports.limits.maxDepth)
    call.sink.json(201, describe(await ports.add(body), ports))
  })
  admin('POST', 'backends/{id}/drain', 'backends_drain', async (call) => {
    const id = call.params['id']!
    const bytes = await call.bytes()
    const body = bytes.length === 0 ? {} : parseJson(bytes)
    const on = isObject(body) ? (body['drain'] ?? true) : null
    if (typeof on !== 'boolean')
      throw new HomingError('invalid_type', { param: 'drain', expected: 'a boolean', got: typeof on })
    if (!ports.drain(id, on)) throw new HomingError('backend_not_found', { id })
    call.sink.json(
      200,
      describe(
        ports.list().find((backend) => backend.id === id)!,
        ports,
      ),
    )
  })
  admin('DELETE', 'backends/{id}', 'backends_remove', async ({ sink, params }) => {
    const id = params['id']!
    if (!(await ports.remove(id))) throw new HomingError('backend_not_found', { id })
    sink.json(200, { id, object: 'backend.deleted', deleted: true })
  })

  router.on('GET', '/homing/v1/responses/{id}/decision', {
    access: 'tenant',
    limited: false,
    name: 'decision',
    handle: async ({ sink, params, caller }) => {
      const receipt = await ports.receipt(caller.tenant, params['id']!)
      if (receipt === null)
        throw new HomingError('decision_not_found', { id: params['id']!.slice(0, 256), param: 'response_id' })
      sink.json(200, receiptBody(receipt))
    },
  })
  router.on('GET', '/homing/v1/decisions', {
    access: 'tenant',
    limited: false,
    name: 'decisions',
    handle: async ({ sink, query, caller }) => {
      const told = ports.recent(caller.admin ? null : caller.tenant, decisionsAsked(query))
      sink.json(200, {
        object: 'list',
        data: told.map(({ tenant, receipt }) => ({ object: 'decision', tenant, ...receiptBody(receipt) })),
      })
    },
  })
  const look = (name: string, answer: (turn: Turn) => Promise<JsonObject>): void => {
    router.on('POST', `/homing/v1/${name}`, {
      access: 'tenant',
      limited: true,
      name,
      handle: async (call) => {
        const body = await objectBody(call, ports.limits.maxDepth)
        const { session_id: sessionId, ...request } = body
        const meta = metaOf(call)
        const hint = typeof sessionId === 'string' ? `header:${sessionId}` : meta.sessionHint
        const turn = parseResponses({ ...request, stream: false }, { ...meta, sessionHint: hint }, ports.limits)
        call.sink.json(200, await answer(turn))
      },
    })
  }
  look('affinity', async (turn) => {
    const scores = await ports.affinity(turn)
    return { object: 'list', data: scores.map((score) => snake(score as unknown as JsonObject)) }
  })
  look('fingerprint', async (turn) => {
    const { embedding, shape, ...found } = await ports.fingerprint(turn)
    return { object: 'fingerprint', ...snake(found as unknown as JsonObject), shape: [...shape], embedding: [...embedding] }
  })
}

const USUAL_DECISIONS = 50
/** Each is some 2 KB; the book keeps no more in their order. */
const MOST_DECISIONS = 100

function decisionsAsked(query: URLSearchParams): number {
  const limit = Number(query.get('limit') ?? USUAL_DECISIONS)
  if (Number.isInteger(limit) && limit >= 1 && limit <= MOST_DECISIONS) return limit
  throw new HomingError('invalid_value', { param: 'limit', why: `expected an integer from 1 to ${MOST_DECISIONS}` })
}

async function objectBody(call: Call, maxDepth: number): Promise<JsonObject> {
  const body = await call.body()
  if (!isObject(body))
    throw new HomingError('invalid_type', {
      param: 'body',
      expected: 'an object',
      got: Array.isArray(body) ? 'an array' : typeof body,
    })
  checkDepth(body, maxDepth)
  return body
}

function describe(backend: Backend, ports: OperatorRoutePorts): JsonObject {
  return {
    id: backend.id,
    object: 'backend',
    url: backend.config.url,
    engine: backend.engine,
    protocols: [...backend.protocols],
    models: [...backend.models.values()].map((model) => ({
      id: model.name,
      served: model.served,
      context_tokens: model.contextTokens,
    })),
    healthy: backend.healthy,
    draining: backend.draining,
    trouble: backend.trouble,
    slots: backend.slots,
    cache_capacity_tokens: backend.cacheCapacityTokens,
    ...ports.load(backend),
  }
}

/** Beliefs are normal and may lie beyond what a quality can be; a reader is told one that is bounded. */
export function receiptBody(receipt: Receipt): JsonObject {
  const { group } = receipt
  const told = group === undefined ? receipt : { ...receipt, group: { ...group, considered: group.considered.map((each) => ({ ...each, mean: Math.min(1, Math.max(0, each.mean)) })) } }
  return snake(told as unknown as JsonObject)
}

/** The HTTP form of our nouns: the same names in the API's own case. */
function snake(value: JsonObject): JsonObject {
  const turn = (entry: unknown): unknown =>
    Array.isArray(entry) ? entry.map(turn) : isObject(entry) ? snake(entry) : entry
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      turn(entry),
    ]),
  ) as JsonObject
}
