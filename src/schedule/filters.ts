import type { Backend } from '../model/backend.ts'
import type { SchedulingRequest } from '../model/decision.ts'

/** Says whether a backend may serve a turn at all. The first filter that says no gives its name to `filteredOut`. */
export type Filter = {
  readonly name: string
  readonly keeps: (backend: Backend, request: SchedulingRequest) => boolean
}

/** In this order: what the fleet could never do first, what it cannot do right now last. */
export const FILTERS: readonly Filter[] = [
  { name: 'model', keeps: (backend, request) => backend.models.has(request.model) },
  { name: 'endpoint', keeps: offersEndpoint },
  { name: 'vision', keeps: (backend, request) => !request.needsVision || backend.vision !== false },
  { name: 'health', keeps: (backend) => backend.healthy },
  { name: 'drain', keeps: (backend) => !backend.draining },
  { name: 'tried', keeps: (backend, request) => !request.exclude.has(backend.id) },
]

/** Null where the backend does not tell. */
export function contextTokens(backend: Backend, model: string): number | null {
  return backend.config.contextTokens ?? backend.models.get(model)?.contextTokens ?? null
}

/** A Responses turn can be rendered for either protocol; a chat completion passes through and needs chat. */
function offersEndpoint(backend: Backend, request: SchedulingRequest): boolean {
  if (request.endpoint === 'responses') return backend.protocols.size > 0
  return backend.protocols.has('chat') || request.endpoint !== 'chat'
}
