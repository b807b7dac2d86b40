import type { Backend } from '../model/backend.ts'
import type { SchedulingRequest } from '../model/decision.ts'
import { HomingError } from '../model/error.ts'
import { contextTokens, FILTERS } from './filters.ts'

export type Candidates = {
  readonly backends: readonly Backend[]
  readonly filteredOut: readonly { readonly backendId: string; readonly by: string }[]
}

/**
 * The backends that may serve this turn. Refuses where there are none: 404 when nobody offers the model, 400 when the
 * prompt fits nowhere, 503 otherwise.
 */
export function findCandidates(fleet: readonly Backend[], request: SchedulingRequest): Candidates {
  const filteredOut: { backendId: string; by: string }[] = []
  let backends: Backend[] = []
  for (const backend of fleet) {
    const failed = FILTERS.find((filter) => !filter.keeps(backend, request))
    if (failed === undefined) backends.push(backend)
    else filteredOut.push({ backendId: backend.id, by: failed.name })
  }
  if (backends.length === 0) throw refusal(fleet, request, filteredOut)
  const narrow = (name: string, keeps: (backend: Backend) => boolean) => {
    for (const backend of backends) if (!keeps(backend)) filteredOut.push({ backendId: backend.id, by: name })
    backends = backends.filter(keeps)
  }
  const enough = neededContext(backends, request)
  if (enough > 0) narrow('context', (backend) => (contextTokens(backend, request.model) ?? Infinity) >= enough)
  // A conversation keeps the protocol it was rendered in: another one would render another prefix.
  if (request.endpoint === 'responses' && request.protocol !== null) {
    const protocol = request.protocol
    if (backends.some((backend) => backend.protocols.has(protocol))) {
      narrow('protocol', (backend) => backend.protocols.has(protocol))
    }
  }
  return { backends, filteredOut }
}

/**
 * Context that a backend must have. Prompt and answer, where some backend has that much; else the prompt alone, since
 * many engines cut the answer. Prompt tokens are an estimate: a turn is refused only if it is too long by more than
 * the estimate may err, and in between it goes to the largest context there is.
 */
function neededContext(backends: readonly Backend[], request: SchedulingRequest): number {
  let largest = 0
  for (const backend of backends) largest = Math.max(largest, contextTokens(backend, request.model) ?? Infinity)
  const withAnswer = request.promptTokens + (request.maxOutputTokens ?? 0)
  if (withAnswer <= largest) return withAnswer
  if (request.promptTokens <= largest) return request.promptTokens
  if (request.promptTokens * (1 - ESTIMATE_ERROR) <= largest) return largest
  throw new HomingError('context_length_exceeded', { needed: Math.round(request.promptTokens), available: largest })
}

function refusal(
  fleet: readonly Backend[],
  request: SchedulingRequest,
  filteredOut: readonly { readonly by: string }[],
): HomingError {
  // A backend that has not been asked yet, or has not answered yet, may well offer it.
  const unknown = fleet.some((backend) => !backend.healthy && backend.models.size === 0)
  if (!unknown && filteredOut.every(({ by }) => by === 'model')) {
    return new HomingError('model_not_found', { model: request.model, param: 'model' })
  }
  const counts = new Map<string, number>()
  for (const { by } of filteredOut) counts.set(by, (counts.get(by) ?? 0) + 1)
  const why = [...counts].map(([by, count]) => `${count} ${REFUSED_BECAUSE[by] ?? by}`).join(', ')
  return new HomingError('no_backend_available', { why: why === '' ? 'no backend is configured' : why })
}

const REFUSED_BECAUSE: Readonly<Record<string, string>> = {
  model: 'without the model',
  endpoint: 'without this endpoint',
  vision: 'without vision',
  health: 'unhealthy',
  drain: 'draining',
  tried: 'failed for this turn',
}

/** Characters per token vary by about this much between texts of one conversation. */
const ESTIMATE_ERROR = 0.2
