/** /v1/completions and /v1/embeddings: place by load, dispatch, relay; nothing is resolved, stored or learned. */
import type { TokenCharge, TokenCounts } from './http/tenant-limits.ts'
import { Cancellation } from './model/cancellation.ts'
import type { Decision, InFlight, RankedBackend, SchedulingRequest } from './model/decision.ts'
import type { JsonObject, JsonValue } from './model/json.ts'
import type { BlockChain } from './model/turn.ts'
import type { ClientSink } from './upstream/client-sink.ts'
import { dispatch, type DispatchPorts } from './upstream/dispatch.ts'
import { PassthroughRelay } from './upstream/passthrough-relay.ts'

export type PassthroughPorts = {
  /** By load, on arrival: these engines batch what comes, and there is no home to wait for. */
  readonly rank: (request: SchedulingRequest) => Decision
  readonly charge: (request: SchedulingRequest) => TokenCharge
  readonly begin: (decision: Decision, choice: RankedBackend, request: SchedulingRequest) => InFlight
  readonly dispatch: Omit<DispatchPorts, 'begin'>
  readonly emptyChain: (tenant: string, model: string) => BlockChain
}

export type PassthroughRequest = {
  readonly endpoint: 'completions' | 'embeddings'
  readonly model: string
  readonly body: JsonObject
  readonly tenant: string
  readonly requestId: string
}

export async function forward(asked: PassthroughRequest, sink: ClientSink, ports: PassthroughPorts): Promise<void> {
  const abort = new Cancellation()
  sink.onClosed(() => abort.abort())
  const request: SchedulingRequest = {
    endpoint: asked.endpoint,
    tenant: asked.tenant,
    model: asked.model,
    chain: ports.emptyChain(asked.tenant, asked.model),
    promptTokens: JSON.stringify(asked.body['prompt'] ?? asked.body['input'] ?? '').length / 4,
    maxOutputTokens: asked.endpoint === 'embeddings' ? 0 : boundOf(asked.body['max_tokens']),
    sessionId: asked.requestId,
    homeBackendId: null,
    protocol: null,
    needsVision: false,
    exclude: new Set(),
  }
  const charge = ports.charge(request)
  try {
    charge.settle(await placeAndRelay(asked, request, abort, sink, ports))
  } finally {
    charge.settle(null) // no backend answered: it used nothing
  }
}

/** What is no bound is the engine's to refuse; below zero it would fill the tenant's budget until then. */
const boundOf = (maxTokens: JsonValue | undefined): number | null =>
  typeof maxTokens === 'number' && maxTokens >= 0 ? maxTokens : null

async function placeAndRelay(
  asked: PassthroughRequest,
  request: SchedulingRequest,
  abort: Cancellation,
  sink: ClientSink,
  ports: PassthroughPorts,
): Promise<TokenCounts> {
  const decision = ports.rank(request)
  let choice = decision.ranked[0]!
  const relay = new PassthroughRelay(`/v1/${asked.endpoint}`, asked.body, sink, () => ({
    'x-homing-backend': choice.backend.id,
    'x-homing-model': choice.backend.models.get(asked.model)?.served ?? asked.model,
    'x-homing-reason': decision.reason,
  }))
  const result = await dispatch(
    {
      decision,
      requestId: asked.requestId,
      protocolFor: () => 'chat',
      signal: abort,
      // an embedding keeps nothing that could be found again
      ...(asked.endpoint === 'completions' && { hinted: { tenant: asked.tenant, sessionId: asked.requestId, priority: 0 } }),
    },
    relay,
    sink,
    {
      ...ports.dispatch,
      begin: (next) => {
        choice = next
        return ports.begin(decision, next, request)
      },
    },
  )
  const cancelled = result.kind === 'cancelled'
  result.inFlight.end(cancelled ? 'cancelled' : relay.ended?.status === 'failed' ? 'failed' : 'completed')
  if (!cancelled) relay.finish()
  return {
    promptTokens: relay.usage?.promptTokens ?? request.promptTokens,
    cachedTokens: relay.usage?.cachedTokens ?? 0,
    outputTokens: relay.usage?.outputTokens ?? relay.outputTokens,
  }
}
