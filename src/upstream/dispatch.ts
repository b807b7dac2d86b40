/**
 * Sends a placed turn to its backend; on failure to the next in rank, as long as nothing of an answer is visible.
 *
 * What counts as whose fault:
 *   backend unreachable, silent, reset, 5xx, 429, 3xx, 401/403/404 -> the next backend
 *   too long for its context                                       -> the next backend with a larger one
 *   any other 4xx                                                  -> the client's request; it is told, nobody else is asked
 *   a structured 500 of an engine                                  -> one more backend, then the client is told
 *
 * A status may come as the head of the answer or in an error event before any output; both mean the same.
 * The circuit breaker hears of transport trouble and of bare 5xx only: a request that makes every engine answer 500 must
 * not take the fleet down.
 */
import type { CancelSignal } from '../model/cancellation.ts'
import { HomingError } from '../model/error.ts'
import type { Backend, Protocol, ServedModel } from '../model/backend.ts'
import type { Decision, InFlight, RankedBackend } from '../model/decision.ts'
import { isObject } from '../model/json.ts'
import type { Connections } from './connections.ts'
import { openExchange, type Exchange, type ExchangePorts, type FailureKind } from './exchange.ts'
import type { ClientSink } from './client-sink.ts'
import type { BackendRequest, Relay, RelayEnd } from './relay.ts'
import { retentionHints, withFields, type HintedTurn } from './retention-hints.ts'

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
  | {
      readonly kind: 'failed'
      readonly why: string
      readonly report: BackendReport | null
      readonly refusal: HomingError | null
      readonly final: boolean
    }

export type DispatchRequest = {
  readonly decision: Decision
  readonly requestId: string
  /** The protocol that each backend would be spoken to. */
  readonly protocolFor: (backend: Backend) => Protocol
  readonly signal: CancelSignal
  /** Whose turn it is, for backends that take hints about keeping its prefix. */
  readonly hinted?: HintedTurn
}

/** Errors are HomingErrors: nothing was answered and nothing is visible. */
export async function dispatch(
  request: DispatchRequest,
  relay: Relay,
  sink: ClientSink,
  ports: DispatchPorts,
): Promise<DispatchResult> {
  const failovers: Failover[] = []
  let refusal: HomingError | null = null
  let engineErrors = 0
  let tooSmallTokens = 0
  for (const choice of request.decision.ranked) {
    const { backend } = choice
    if (request.signal.aborted) break
    const served = backend.models.get(choice.model)
    if (served === undefined || contextOf(backend, served) <= tooSmallTokens) continue
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
    const timing = {
      dispatchedAtMs: ports.nowMs(),
      firstOutputAtMs: null as number | null,
      lastOutputAtMs: null as number | null,
    }
    const hints = request.hinted === undefined ? null : retentionHints(backend, request.hinted)
    if (hints !== null) rendered = { ...rendered, body: withFields(rendered.body, hints.fields), headers: hints.headers }
    const attempt = await runAttempt(request, rendered, backend, relay, sink, inFlight, timing, ports)
    if (attempt.kind !== 'failed') {
      if (attempt.kind === 'answered' && relay.ended?.status !== 'failed') ports.report(backend, 'ok')
      return { kind: attempt.kind, choice, protocol, failovers, ...timing, inFlight }
    }
    inFlight.end('failed')
    if (attempt.report !== null) ports.report(backend, attempt.report)
    failovers.push({ backendId: backend.id, why: attempt.why })
    refusal = attempt.final ? attempt.refusal : graver(refusal, attempt.refusal)
    if (attempt.refusal?.code === 'context_too_long_for_backend') tooSmallTokens = contextOf(backend, served)
    else if (attempt.final || (attempt.refusal?.status === 500 && ++engineErrors === 2)) break
  }
  if (refusal !== null) throw Object.assign(refusal, { failovers })
  const why = failovers.map((failure) => `${failure.backendId}: ${failure.why}`).join('; ')
  throw Object.assign(
    new HomingError('backend_error', { why: `Every backend failed before an answer began (${why}).` }),
    { failovers },
  )
}

/** One that does not tell may be as large as any. */
const contextOf = ({ config }: Backend, { contextTokens }: ServedModel): number =>
  config.contextTokens ?? contextTokens ?? Infinity

function runAttempt(
  request: DispatchRequest,
  rendered: BackendRequest,
  backend: Backend,
  relay: Relay,
  sink: ClientSink,
  inFlight: InFlight,
  timing: { dispatchedAtMs: number; firstOutputAtMs: number | null; lastOutputAtMs: number | null },
  ports: DispatchPorts,
): Promise<Attempt> {
  return new Promise((resolve) => {
    let status = 0
    let streaming: boolean | null = null
    let retryAfter: string | null = null
    let body: Buffer[] = []
    let bodyBytes = 0
    let waiting = false
    let settled = false
    let exchange: Exchange | null = null

    const settle = (attempt: Attempt): void => {
      if (settled) return
      settled = true
      request.signal.removeEventListener('abort', cancel)
      if (attempt.kind === 'failed') exchange?.abort()
      else if (attempt.kind === 'answered') exchange?.linger()
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
        if (relay.ended.status === 'failed' && !relay.visible) settle(failedAttempt(relay.ended))
        else settle({ kind: 'answered' })
      } else if (relay.clogged && !waiting) {
        waiting = true
        exchange?.pause()
        sink.onDrain(() => {
          waiting = false
          exchange?.resume()
        })
      }
    }
    const failure = (kind: FailureKind, why: string): void => {
      if (settled) return
      if (kind === 'aborted') return settle({ kind: 'cancelled' })
      if (kind === 'stalled') {
        settle({ kind: 'cancelled' })
        return sink.cut()
      }
      // an answer whose finish was seen is whole, however its connection ended
      relay.broken(why)
      if (relay.ended?.status === 'failed') {
        if (!relay.visible) return settle({ kind: 'failed', why, report: kind, refusal: null, final: false })
        ports.report(backend, kind)
      }
      timing.lastOutputAtMs = ports.nowMs()
      settle({ kind: 'answered' })
    }

    request.signal.addEventListener('abort', cancel, { once: true })
    exchange = openExchange(
      ports.connections.for(backend),
      backend,
      rendered.path,
      rendered.body,
      request.requestId,
      {
        onHead: (code, head) => {
          status = code
          retryAfter = head.retryAfter
          streaming = code === 200 ? head.contentType.includes('text/event-stream') || null : false
        },
        onData: (chunk) => {
          if (settled) return
          streaming ??= looksLikeEvents(chunk)
          if (streaming) {
            relay.data(chunk)
            return progress()
          }
          body.push(chunk)
          bodyBytes += chunk.length
          if (status !== 200 && bodyBytes > MAX_ERROR_BYTES) settle(refused(status, readError(''), retryAfter))
          else if (bodyBytes > MAX_BODY_BYTES)
            settle({
              kind: 'failed',
              why: `a body of more than ${MAX_BODY_BYTES} bytes`,
              report: null,
              refusal: null,
              final: false,
            })
        },
        onEnd: () => {
          if (settled) return
          const text = streaming === true ? '' : Buffer.concat(body).toString('utf8')
          body = []
          if (streaming === true) relay.eof()
          else if (status === 200) relay.whole(text)
          else return settle(refused(status, readError(text), retryAfter))
          progress()
          if (!settled)
            settle({
              kind: 'failed',
              why: 'the stream ended without an answer',
              report: 'reset',
              refusal: null,
              final: false,
            })
        },
        onFailure: failure,
      },
      ports,
      rendered.headers,
    )
  })
}

/** Bodies that are no streams: an answer, an error. Longer ones are cut off. */
const MAX_BODY_BYTES = 33_554_432
const MAX_ERROR_BYTES = 1_048_576

/** Some servers and proxies mislabel event streams. */
const looksLikeEvents = (start: Buffer): boolean => /^\s*(data|event|id|retry)?:/.test(start.toString('latin1', 0, 16))

/** A failure that the stream itself told. */
function failedAttempt({ trouble, reported }: RelayEnd): Attempt {
  const why = trouble ?? 'failed'
  const status = reported?.status ?? null
  if (reported === undefined || status === null)
    return { kind: 'failed', why, report: null, refusal: null, final: false }
  return refused(status, { message: reported.message, param: null, structured: true }, null)
}

type BackendError = { readonly message: string | null; readonly param: string | null; readonly structured: boolean }

/** Statuses that speak of how the gateway asks, not of what the client asked. */
const OPERATORS_FAULT = new Set([401, 403, 404, 405, 407, 408])

/** What an error status of a backend means for the turn. `why` goes to logs and receipts, so it holds no text of the backend. */
function refused(status: number, { message, param, structured }: BackendError, retryAfter: string | null): Attempt {
  const why = `HTTP ${status}`
  const told = message === null ? why : `${why}: ${message}`
  if (status === 429) {
    return {
      kind: 'failed',
      why,
      report: null,
      refusal: new HomingError(
        'rate_limit_exceeded',
        { why: message ?? 'The backends are saturated.' },
        { retryAfterSeconds: seconds(retryAfter) },
      ),
      final: false,
    }
  }
  // 501: the engine lives and does not offer this route, which says nothing about its health
  if (status >= 500 && status !== 501) {
    const engineError = status === 500 && structured
    const refusal = engineError
      ? new HomingError('backend_error', { why: `The backend answered ${told}` }, { status: 500 })
      : null
    return { kind: 'failed', why, report: engineError ? null : '5xx', refusal, final: false }
  }
  if (status < 400 || status === 501 || OPERATORS_FAULT.has(status)) {
    // what a backend says about the operator's key is not for clients
    const secret = status === 401 || status === 403 || status === 407
    return {
      kind: 'failed',
      why,
      report: null,
      refusal: new HomingError('backend_error', { why: `The backend answered ${secret ? why : told}` }),
      final: false,
    }
  }
  const place = param === null ? {} : { param }
  const refusal =
    /context|too long|maximum.*(length|tokens)/i.test(message ?? '') && /exceed|long|maximum/i.test(message ?? '')
      ? new HomingError('context_too_long_for_backend', { why: message!, ...place })
      : // clients retry a 409 by themselves, and this one would be refused again
        new HomingError(
          'backend_rejected',
          { why: message ?? `The backend refused the request with ${why}.`, ...place },
          { status: status === 409 ? 400 : status },
        )
  return { kind: 'failed', why, report: null, refusal, final: true }
}

/** Of two refusals the one that helps the client most: when to come back (the sooner), else the later. */
function graver(before: HomingError | null, now: HomingError | null): HomingError | null {
  if (before === null || now === null) return now ?? before
  if (before.code !== 'rate_limit_exceeded') return now
  return now.code === 'rate_limit_exceeded' && (now.retryAfterSeconds ?? 0) < (before.retryAfterSeconds ?? 0)
    ? now
    : before
}

/** `retry-after` where it is a number of seconds, else 1; a minute at most. */
function seconds(retryAfter: string | null): number {
  if (retryAfter === null || !/^\d+$/.test(retryAfter.trim())) return 1
  return Math.min(60, Math.max(1, Number(retryAfter)))
}

function readError(body: string): BackendError {
  try {
    const parsed: unknown = JSON.parse(body)
    const error = isObject(parsed) && isObject(parsed['error']) ? parsed['error'] : isObject(parsed) ? parsed : {}
    const message =
      typeof error['message'] === 'string'
        ? error['message']
        : isObject(parsed) && typeof parsed['detail'] === 'string'
          ? parsed['detail']
          : null
    return { message, param: typeof error['param'] === 'string' ? error['param'] : null, structured: message !== null }
  } catch {
    return { message: null, param: null, structured: false }
  }
}
