/** What the gateway serves and how it is: models, health, metrics. */
import { HomingError } from '../model/error.ts'
import type { Backend } from '../model/backend.ts'
import type { JsonObject } from '../model/json.ts'
import type { Handler } from './call.ts'
import type { Router } from './router.ts'

export type FleetRoutePorts = {
  readonly backends: () => readonly Backend[]
  /** Names that clients may ask for instead of a model. */
  readonly groups: readonly { readonly name: string; readonly models: readonly string[] }[]
  /** What is missing before the gateway can be used; empty: ready. */
  readonly notReady: () => readonly string[]
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>
  readonly startedAtSeconds: number
  readonly version: string
}

export function fleetRoutes(router: Router<Handler>, ports: FleetRoutePorts): void {
  const list: Handler = {
    access: 'tenant',
    limited: false,
    name: 'models',
    handle: async ({ sink }) => sink.json(200, { object: 'list', data: models(ports) }),
  }
  const retrieve = (name: 'id' | 'rest'): Handler => ({
    access: 'tenant',
    limited: false,
    name: 'models_retrieve',
    handle: async ({ sink, params }) => {
      const id = name === 'id' ? params['id']! : `${params['owner']}/${params['id']}`
      const found = models(ports).find((model) => model['id'] === id)
      if (found === undefined) throw new HomingError('model_not_found', { model: id.slice(0, 200), param: 'model' })
      sink.json(200, found)
    },
  })
  router.on('GET', '/v1/models', list)
  router.on('GET', '/v1/models/{id}', retrieve('id'))
  router.on('GET', '/v1/models/{owner}/{id}', retrieve('rest')) // Qwen/Qwen3-32B, whether or not the slash is escaped
  router.on('GET', '/healthz', {
    access: 'public',
    limited: false,
    name: 'healthz',
    handle: async ({ sink }) => sink.json(200, { status: 'ok', version: ports.version }),
  })
  router.on('GET', '/readyz', {
    access: 'public',
    limited: false,
    name: 'readyz',
    handle: async ({ sink }) => {
      const missing = ports.notReady()
      sink.json(
        missing.length === 0 ? 200 : 503,
        missing.length === 0 ? { status: 'ready' } : { status: 'not ready', missing },
      )
    },
  })
  router.on('GET', '/metrics', {
    access: 'public',
    limited: false,
    name: 'metrics',
    handle: async ({ sink }) => {
      const { contentType, text } = await ports.metrics()
      sink.head(200, { 'content-type': contentType, 'content-length': String(Buffer.byteLength(text)) })
      sink.end(text)
    },
  })
}

/** Every model that a backend which is in service offers, with the largest context among them; and every group of such models. */
function models(ports: FleetRoutePorts): JsonObject[] {
  const byName = new Map<string, { contextTokens: number | null; backends: number }>()
  for (const backend of ports.backends()) {
    if (!backend.healthy || backend.draining) continue
    for (const model of backend.models.values()) {
      const known = byName.get(model.name)
      const contextTokens = Math.max(known?.contextTokens ?? 0, model.contextTokens ?? 0)
      byName.set(model.name, {
        contextTokens: contextTokens === 0 ? null : contextTokens,
        backends: (known?.backends ?? 0) + 1,
      })
    }
  }
  const entry = (id: string, contextTokens: number | null, homing: JsonObject): JsonObject => ({
    id,
    object: 'model',
    created: ports.startedAtSeconds,
    owned_by: 'homing',
    max_model_len: contextTokens,
    homing,
  })
  const names = new Set(ports.groups.map(({ name }) => name))
  const groups = ports.groups.flatMap(({ name, models: members }) => {
    const served = members.filter((model) => byName.has(model))
    const contexts = served.map((model) => byName.get(model)!.contextTokens ?? 0)
    return served.length === 0 ? [] : [entry(name, Math.max(...contexts) || null, { models: served })]
  })
  return [
    ...groups,
    ...[...byName].flatMap(([id, { contextTokens, backends }]) => (names.has(id) ? [] : [entry(id, contextTokens, { backends })])),
  ]
}
