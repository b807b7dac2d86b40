import type { Backend } from '../model/backend.ts'
import type { SchedulingRequest } from '../model/decision.ts'

/** Says whether a backend may serve a turn at all. The first filter that says no gives its name to `filteredOut`. */
export type Filter = {
  readonly name: string
  readonly keeps: (backend: Backend, request: SchedulingRequest) => boolean
}

/** In this order: what the fleet could never do first, what it cannot do right now last. */
export const FILTERS: readonly Filter[] = [
  { name: 'model', keeps: offersModel },
  { name: 'endpoint', keeps: offersEndpoint },
  { name: 'vision', keeps: (backend, request) => !request.needsVision || backend.vision !== false },
  { name: 'health', keeps: (backend) => backend.healthy },
  { name: 'drain', keeps: (backend) => !backend.draining },
  { name: 'tried', keeps: (backend, request) => !request.exclude.has(backend.id) },
]

/** The model, or one of the group that was asked for. */
function offersModel({ models }: Backend, { model, choice }: SchedulingRequest): boolean {
  return choice === undefined ? models.has(model) : choice.options.some((option) => models.has(option.model))
}

/** The largest of the models that the turn may use there; null where the backend does not tell. */
export function contextAt(backend: Backend, { model, choice }: SchedulingRequest): number | null {
  if (choice === undefined) return contextTokens(backend, model)
  let largest: number | null = null
  for (const option of choice.options) {
    if (!backend.models.has(option.model)) continue
    const told = contextTokens(backend, option.model)
    if (told === null) return null
    largest = Math.max(largest ?? 0, told)
  }
  return largest
}

/** Null where the backend does not tell. */
export function contextTokens(backend: Backend, model: string): number | null {
  return backend.config.contextTokens ?? backend.models.get(model)?.contextTokens ?? null
}

/** A Responses turn can be rendered for either protocol; a chat completion passes through and needs chat. */
function offersEndpoint(backend: Backend, request: SchedulingRequest): boolean {
  if (request.endpoint === 'responses') return backend.protocols.size > 0
  return backend.protocols.has('chat') || request.endpoint !== 'chat'
}
