/**
 * Sends a placed turn to its backend; on failure to the next in rank, as long as nothing of an answer is visible.
 *
 * What counts as whose fault:
 *   backend unreachable, silent, reset, 5xx, 429, 401/403/404 -> the next backend
 *   any other 4xx                                             -> the client's request; it is told, nobody else is asked
 *   a structured 500 of an engine                             -> one more backend, then the client is told
 * The circuit breaker hears of transport trouble and of bare 5xx only: a request that makes every engine answer 500 must
 * not take the fleet down.
 */
import type { CancelSignal } from '../model/cancellation.ts'
import { HomingError } from '../model/error.ts'
import type { Backend, Protocol } from '../model/backend.ts'
import type { Decision, InFlight, RankedBackend } from '../model/decision.ts'
import { isObject } from '../model/json.ts'
import type { Connections } from './connections.ts'
import { openExchange, type Exchange, type ExchangePorts, type FailureKind } from './exchange.ts'
import type { ClientSink } from './client-sink.ts'
import type { Relay } from './relay.ts'

export type Failover = { readonly backendId: string; readonly why: string }

export type DispatchResult = {
  readonly kind: 'answered' | 'cancelled'
  readonly choice: RankedBackend
  readonly protocol: Protocol
  readonly failovers: readonly Failover[]
  readonly dispatchedAtMs: number
  readonly firstOutputAtMs: number | null
  readonly lastOutputAtMs: number | null
  readonly inFlight: InFlight
}

export type BackendReport = 'ok' | 'connect' | '5xx' | 'timeout' | 'reset'

export type DispatchPorts = ExchangePorts & {
  readonly connections: Connections
  /** Opens the ledger entry of an attempt. */
  readonly begin: (choice: RankedBackend) => InFlight
  readonly report: (backend: Backend, result: BackendReport) => void
}

type Attempt =
  | { readonly kind: 'answered' | 'cancelled' }
  | { readonly kind: 'failed'; readonly why: string; readonly report: BackendReport | null; readonly refusal: HomingError | null; readonly final: boolean }

export type DispatchRequest = {
  readonly decision: Decision
  readonly model: string
  readonly requestId: string
  /** The protocol that each backend would be spoken to. */
  readonly protocolFor: (backend: Backend) => Protocol
  readonly signal: CancelSignal
}

/** Errors are HomingErrors: nothing was answered and nothing is visible. */
export async function dispatch(request: DispatchRequest, relay: Relay, sink: ClientSink, ports: DispatchPorts): Promise<DispatchResult> {
  const failovers: Failover[] = []
  let refusal: HomingError | null = null
  let engineErrors = 0
  for (const choice of request.decision.ranked) {
    const { backend } = choice
    if (request.signal.aborted) break
    const served = backend.models.get(request.model)
    if (served === undefined) continue
    const protocol = request.protocolFor(backend)
    let rendered
    try {
      rendered = relay.begin(backend, served, protocol)
    } catch (error) {
      if (!(error instanceof HomingError)) throw error
      refusal = error
      failovers.push({ backendId: backend.id, why: error.code })
      continue
    }
    const inFlight = ports.begin(choice)
    const timing = { dispatchedAtMs: ports.nowMs(), firstOutputAtMs: null as number | null, lastOutputAtMs: null as number | null }
    const attempt = await runAttempt(request, rendered, backend, relay, sink, inFlight, timing, ports)
    if (attempt.kind !== 'failed') {
      if (attempt.kind === 'answered' && relay.ended?.status !== 'failed') ports.report(backend, 'ok')
      return { kind: attempt.kind, choice, protocol, failovers, ...timing, inFlight }
    }
    inFlight.end('failed')
    if (attempt.report !== null) ports.report(backend, attempt.report)
    failovers.push({ backendId: backend.id, why: attempt.why })
    if (attempt.refusal !== null) refusal = attempt.refusal
    if (attempt.final || (attempt.refusal?.status === 500 && ++engineErrors === 2)) break
  }
  if (refusal !== null) throw Object.assign(refusal, { failovers })
  const why = failovers.map((failure) => `${failure.backendId}: ${failure.why}`).join('; ')
  throw Object.assign(new HomingError('backend_error', { why: `Every backend failed before an answer began (${why}).` }), { failovers })
}

function runAttempt(
  request: DispatchRequest, rendered: { path: string; body: string }, backend: Backend, relay: Relay, sink: ClientSink, inFlight: InFlight,
  timing: { dispatchedAtMs: number; firstOutputAtMs: number | null; lastOutputAtMs: number | null }, ports: DispatchPorts,
): Promise<Attempt> {
  return new Promise((resolve) => {
    let status = 0
    let streaming = false
    let body = ''
    let settled = false
    let exchange: Exchange | null = null

    const settle = (attempt: Attempt): void => {
      if (settled) return
      settled = true
      request.signal.removeEventListener('abort', cancel)
      resolve(attempt)
    }
    const cancel = (): void => {
      exchange?.abort()
      settle({ kind: 'cancelled' })
    }
    const progress = (): void => {
      if (relay.outputBegan && timing.firstOutputAtMs === null) {
        timing.firstOutputAtMs = ports.nowMs()
        inFlight.firstToken()
        exchange?.outputBegan()
      }
      if (relay.ended !== null) {
        timing.lastOutputAtMs = ports.nowMs()
        if (relay.ended.status === 'failed' && !relay.visible) {
          settle({ kind: 'failed', why: relay.ended.trouble ?? 'failed', report: null, refusal: null, final: false })
        } else settle({ kind: 'answered' })
      } else if (relay.clogged) {
        exchange?.pause()
        sink.onDrain(() => exchange?.resume())
      }
    }
    const failure = (kind: FailureKind, why: string): void => {
      if (settled) return
      if (kind === 'aborted') return settle({ kind: 'cancelled' })
      const report = kind
      if (relay.visible) {
        ports.report(backend, report)
        relay.broken(why)
        timing.lastOutputAtMs = ports.nowMs()
        return settle({ kind: 'answered' })
      }
      settle({ kind: 'failed', why, report, refusal: null, final: false })
    }

    request.signal.addEventListener('abort', cancel, { once: true })
    exchange = openExchange(
      ports.connections.for(backend), backend, rendered.path, rendered.body, request.requestId,
      {
        onHead: (code, contentType) => {
          status = code
          streaming = code === 200 && contentType.includes('text/event-stream')
        },
        onData: (chunk) => {
          if (settled) return
          if (streaming) {
            relay.data(chunk)
            progress()
          } else if (body.length < 1_048_576 || status === 200) body += chunk.toString('utf8')
        },
        onEnd: () => {
          if (settled) return
          if (streaming) relay.eof()
          else if (status === 200) relay.whole(body)
          else return settle(refused(status, body))
          progress()
          if (!settled) settle({ kind: 'failed', why: 'the stream ended without an answer', report: 'reset', refusal: null, final: false })
        },
        onFailure: failure,
      },
      ports,
    )
  })
}

/** What a non-200 answer of a backend means for the turn. */
function refused(status: number, body: string): Attempt {
  const { message, param, structured } = readError(body)
  const why = `HTTP ${status}${message === null ? '' : `: ${message}`}`
  if (status === 429) {
    return { kind: 'failed', why: 'HTTP 429', report: null, refusal: new HomingError('rate_limit_exceeded', { why: message ?? 'The backends are saturated.' }, { retryAfterSeconds: 1 }), final: false }
  }
  if (status >= 500) {
    const engineError = status === 500 && structured
    const refusal = engineError ? new HomingError('backend_error', { why: `The backend answered ${why}` }, { status: 500 }) : null
    return { kind: 'failed', why: `HTTP ${status}`, report: engineError ? null : '5xx', refusal, final: false }
  }
  const refusal = /context|too long|maximum.*(length|tokens)/i.test(message ?? '') && /exceed|long|maximum/i.test(message ?? '')
    ? new HomingError('context_too_long_for_backend', { why: message!, ...(param === null ? {} : { param }) })
    : new HomingError('backend_rejected', { why: message ?? `The backend refused the request with ${why}.`, ...(param === null ? {} : { param }) }, { status: status === 422 ? 422 : 400 })
  const operatorsFault = status === 401 || status === 403 || status === 404 || status === 405 || status === 408
  if (operatorsFault) return { kind: 'failed', why, report: null, refusal: new HomingError('backend_error', { why: `The backend answered ${why}` }), final: false }
  return { kind: 'failed', why: `HTTP ${status}`, report: null, refusal, final: true }
}

function readError(body: string): { message: string | null; param: string | null; structured: boolean } {
  try {
    const parsed: unknown = JSON.parse(body)
    const error = isObject(parsed) && isObject(parsed['error']) ? parsed['error'] : isObject(parsed) ? parsed : {}
    const message = typeof error['message'] === 'string' ? error['message'] : isObject(parsed) && typeof parsed['detail'] === 'string' ? parsed['detail'] : null
    return { message, param: typeof error['param'] === 'string' ? error['param'] : null, structured: message !== null }
  } catch {
    return { message: null, param: null, structured: false }
  }
}
