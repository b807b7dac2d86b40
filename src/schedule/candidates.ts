import type { Backend } from '../model/backend.ts'
import type { SchedulingRequest } from '../model/decision.ts'
import { HomingError } from '../model/error.ts'
import { contextAt, FILTERS } from './filters.ts'

export type Candidates = {
  readonly backends: readonly Backend[]
  /** Tokens of context that a model must have; 0 where none is known to. */
  readonly neededTokens: number
  readonly filteredOut: readonly { readonly backendId: string; readonly by: string }[]
}

/**
 * The backends that may serve this turn. Refuses where there are none: 404 when nobody offers the model, 400 when the
 * prompt fits nowhere or holds a picture that nobody can see, 503 otherwise. `expectedOutputTokens` is how long the answer will probably be.
 */
export function findCandidates(
  fleet: readonly Backend[],
  request: SchedulingRequest,
  expectedOutputTokens: number,
): Candidates {
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
  const enough = neededContext(backends, request, expectedOutputTokens)
  if (enough > 0) narrow('context', (backend) => (contextAt(backend, request) ?? Infinity) >= enough)
  // A conversation keeps the protocol it was rendered in: another one would render another prefix.
  if (request.endpoint === 'responses' && request.protocol !== null) {
    const protocol = request.protocol
    if (backends.some((backend) => backend.protocols.has(protocol))) {
      narrow('protocol', (backend) => backend.protocols.has(protocol))
    }
  }
  return { backends, neededTokens: enough, filteredOut }
}

/**
 * Context that a backend must have. The first of these that some backend has:
 *
 *   the prompt, a fifth longer than estimated, and the answer   an estimate that is short meets no refusal
 *   the prompt and the answer                                   engines refuse what the client's bound may take beyond
 *   the prompt and the answer as it will probably be            the answer may be cut, or the bound be refused
 *   the prompt                                                  the answer will be cut
 *
 * The answer is the client's bound, else its expected length. Where not even the prompt fits, a turn is refused only if
 * it is too long by more than the estimate may err; in between it goes to the largest context there is.
 */
function neededContext(
  backends: readonly Backend[],
  request: SchedulingRequest,
  expectedOutputTokens: number,
): number {
  const { promptTokens, maxOutputTokens } = request
  let largestTold = 0
  let largest = 0
  for (const backend of backends) {
    const told = contextAt(backend, request)
    largestTold = Math.max(largestTold, told ?? 0)
    largest = Math.max(largest, told ?? Infinity)
  }
  const answer = maxOutputTokens ?? expectedOutputTokens
  const generous = promptTokens * (1 + ESTIMATE_ERROR) + answer
  if (generous <= largestTold) return generous // not worth going where nobody knows whether it fits
  if (promptTokens + answer <= largest) return promptTokens + answer
  const probable = promptTokens + Math.min(answer, expectedOutputTokens)
  if (probable <= largest) return probable
  if (promptTokens * (1 - ESTIMATE_ERROR) <= largest) return Math.min(promptTokens, largest)
  throw new HomingError('context_length_exceeded', { needed: Math.round(promptTokens), available: largest })
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
  if (!unknown && filteredOut.some(({ by }) => by === 'vision') && filteredOut.every(({ by }) => NEVER.has(by))) {
    const { at, type } = request.picture ?? { at: 'input', type: 'input_image' }
    return new HomingError('unsupported_item', { param: at, type, why: 'no backend of this model can see pictures' })
  }
  const counts = new Map<string, number>()
  for (const { by } of filteredOut) counts.set(by, (counts.get(by) ?? 0) + 1)
  const why = [...counts].map(([by, count]) => `${count} ${REFUSED_BECAUSE[by] ?? by}`).join(', ')
  return new HomingError('no_backend_available', { why: why === '' ? 'no backend is configured' : why })
}

/** What waiting does not change. */
const NEVER: ReadonlySet<string> = new Set(['model', 'endpoint', 'vision'])

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
