/**
 * Has a backend compute the beginning of a prompt: one request for one token, whose answer nobody sees. It resolves with
 * what the backend reported, or with null where it could not be done; it never rejects and never fails over, since what
 * comes after it does both.
 */
import type { Backend, Protocol } from '../model/backend.ts'
import { HomingError } from '../model/error.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import { promptStart } from '../wire/prompt-start.ts'
import { renderChat } from '../wire/render-chat.ts'
import { renderResponses } from '../wire/render-responses.ts'
import type { CancelSignal } from '../model/cancellation.ts'
import { isObject, type JsonObject } from '../model/json.ts'
import type { Usage } from '../model/usage.ts'
import { SseReader } from '../wire/sse.ts'
import { usageFromChat, usageFromResponses } from '../wire/usage-shape.ts'
import type { Connections } from './connections.ts'
import type { BackendReport } from './dispatch.ts'
import { openExchange, type Exchange, type ExchangePorts } from './exchange.ts'
import { retentionHints } from './retention-hints.ts'

export type PrefillPorts = ExchangePorts & {
  readonly connections: Connections
  readonly report: (backend: Backend, result: BackendReport) => void
}

export type PrefillRequest = {
  readonly backend: Backend
  readonly protocol: Protocol
  /** Asks for one token as a stream. */
  readonly body: JsonObject
  readonly requestId: string
  readonly signal: CancelSignal | undefined
  /** Beside those of the backend. */
  readonly headers?: Readonly<Record<string, string>>
}

export type Prefilled = { readonly usage: Usage; readonly ms: number }

/** About `share` (0..1) of the turn's prompt, as it would be rendered for this backend. */
export function prefillPrompt(
  turn: ResolvedTurn,
  share: number,
  { backend, protocol, signal }: Omit<PrefillRequest, 'body' | 'requestId' | 'headers'>,
  ports: PrefillPorts,
): Promise<Prefilled | null> {
  const body = bodyFor(turn, backend, protocol)
  const start = body === null ? null : promptStart(body, protocol, share)
  if (start === null) return Promise.resolve(null)
  // What keeps a session together behind this backend must see its pieces as well.
  const { headers } = retentionHints(backend, { tenant: turn.tenant, sessionId: turn.session.id, priority: 0 })
  return prefill({ backend, protocol, body: start, requestId: turn.requestId, signal, headers }, ports)
}

/** Null where the backend does not offer the model, or cannot be told what the turn says. */
function bodyFor(turn: ResolvedTurn, backend: Backend, protocol: Protocol): JsonObject | null {
  const served = backend.models.get(turn.model)
  if (served === undefined) return null
  if (turn.endpoint === 'chat') return { ...turn.body, model: served.served }
  try {
    const render = protocol === 'chat' ? renderChat : renderResponses
    return render(turn, served, backend.engine).body
  } catch (error) {
    if (error instanceof HomingError) return null
    throw error
  }
}

export function prefill(request: PrefillRequest, ports: PrefillPorts): Promise<Prefilled | null> {
  const { backend, protocol, body, requestId, signal, headers } = request
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve(null)
    const sentMs = ports.nowMs()
    let status = 0
    let usage: Usage | null = null
    let failed = false
    let bytes = 0
    const reader = new SseReader((data) => {
      if (data === '[DONE]') return
      const event: unknown = JSON.parse(data)
      if (!isObject(event)) return
      if (event['error'] !== undefined && event['error'] !== null) failed = true
      const told =
        protocol === 'chat'
          ? usageFromChat(event['usage'], event['timings'])
          : usageFromResponses(isObject(event['response']) ? event['response']['usage'] : undefined, event['timings'])
      usage = told ?? usage
    })
    // A request that cannot be made fails before it is handed back.
    let exchange: Exchange | null = null
    const cancel = (): void => exchange?.abort()
    const settle = (result: Prefilled | null): void => {
      signal?.removeEventListener('abort', cancel)
      resolve(result)
    }
    signal?.addEventListener('abort', cancel, { once: true })
    exchange = openExchange(
      ports.connections.for(backend),
      backend,
      protocol === 'chat' ? '/v1/chat/completions' : '/v1/responses',
      JSON.stringify(body),
      requestId,
      {
        onHead: (code) => {
          status = code
        },
        onData: (chunk) => {
          exchange?.outputBegan()
          bytes += chunk.length
          if (failed || status !== 200 || bytes > MAX_ANSWER_BYTES) return
          try {
            reader.push(chunk)
          } catch {
            failed = true // not a stream of JSON: the request is sent whole then, and dispatch says what is wrong
          }
        },
        onEnd: () => {
          if (status >= 500 && status !== 501) ports.report(backend, '5xx')
          if (status !== 200 || failed || usage === null) return settle(null)
          ports.report(backend, 'ok')
          settle({ usage, ms: ports.nowMs() - sentMs })
        },
        onFailure: (kind) => {
          if (kind !== 'aborted' && kind !== 'stalled') ports.report(backend, kind)
          settle(null)
        },
      },
      ports,
      headers,
    )
  })
}

/** One token of answer; the rest is the engine's own frame around it. */
const MAX_ANSWER_BYTES = 1_048_576
