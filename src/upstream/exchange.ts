/** One HTTP request to a backend: bytes out, bytes in, exactly one ending (`onEnd` or `onFailure`). */
import type { Dispatcher } from 'undici'
import type { Backend } from '../model/backend.ts'
import type { Connection } from './connections.ts'
import type { SilenceWatch, Watched } from './silence-watch.ts'

/**
 * `connect`: nothing was sent; `reset`: it broke later; `timeout`: silent past its limit; `stalled`: the client does not
 * read; `aborted`: we ended it.
 */
export type FailureKind = 'connect' | 'reset' | 'timeout' | 'stalled' | 'aborted'

export interface ExchangeHandler {
  onHead(status: number, headers: { readonly contentType: string; readonly retryAfter: string | null }): void
  onData(chunk: Buffer): void
  onEnd(): void
  onFailure(kind: FailureKind, why: string): void
}

export interface Exchange {
  /** Reads no more until `resume`: what is not read waits in the backend. Ends as `stalled` when that takes too long. */
  pause(): void
  resume(): void
  /** Ends it now; the handler hears `aborted`. */
  abort(): void
  /** Output has begun: from here on silence is measured against the idle limit. */
  outputBegan(): void
  /** The answer is complete: the connection may end by itself, so that it can be used again, but soon. */
  linger(): void
}

/** How long a client may leave a full buffer unread before its turn is given up. */
export const CLIENT_STALL_MS = 60_000
/** How long a backend may take to end its body behind the end of the answer. */
const LINGER_MS = 1000

export type ExchangePorts = { readonly watch: SilenceWatch; readonly nowMs: () => number }

const CONNECT_CODES = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'CERT_HAS_EXPIRED',
])

const NO_HEADERS = {}

export function openExchange(
  connection: Connection,
  backend: Backend,
  path: string,
  body: string | Buffer,
  requestId: string,
  handler: ExchangeHandler,
  ports: ExchangePorts,
  ownHeaders: Readonly<Record<string, string>> = NO_HEADERS,
): Exchange {
  const { timeouts, key, headers } = backend.config
  let controller: Dispatcher.DispatchController | null = null
  let ended = false
  let began = false
  let silent = false
  let abortRequested = false
  let paused = false
  let lingering = false

  const watched: Watched = {
    place: -1,
    deadlineMs: timeouts.firstTokenMs === null ? Infinity : ports.nowMs() + timeouts.firstTokenMs,
    onSilent: () => {
      silent = true
      controller?.abort(new Error('silent'))
    },
  }
  const finish = (): boolean => {
    if (ended) return false
    ended = true
    ports.watch.remove(watched)
    return true
  }
  ports.watch.add(watched)

  connection.dispatcher.dispatch(
    {
      method: 'POST',
      path: connection.basePath + path,
      headers: {
        'content-type': 'application/json',
        accept: 'text/event-stream',
        'x-request-id': requestId,
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        ...ownHeaders,
        ...headers,
      },
      body,
    },
    {
      onRequestStart(started) {
        controller = started
        if (abortRequested) started.abort(new Error('aborted'))
      },
      onResponseStart(_controller, status, responseHeaders) {
        // an error's body is short: it gets no more time than a pause within an answer
        if (status !== 200) watched.deadlineMs = ports.nowMs() + timeouts.idleMs
        const retryAfter = responseHeaders['retry-after']
        handler.onHead(status, {
          contentType: String(responseHeaders['content-type'] ?? ''),
          retryAfter: typeof retryAfter === 'string' ? retryAfter : null,
        })
      },
      onResponseData(_controller, chunk) {
        if (began && !lingering) watched.deadlineMs = ports.nowMs() + timeouts.idleMs
        handler.onData(chunk)
      },
      onResponseEnd() {
        if (finish()) handler.onEnd()
      },
      onResponseError(_controller, error) {
        if (!finish()) return
        const code = (error as NodeJS.ErrnoException).code ?? ''
        if (abortRequested) handler.onFailure('aborted', 'cancelled')
        else if (silent && paused) handler.onFailure('stalled', `the client read nothing for ${CLIENT_STALL_MS} ms`)
        else if (silent)
          handler.onFailure(
            'timeout',
            began ? `silent for more than ${timeouts.idleMs} ms` : `no output within ${timeouts.firstTokenMs} ms`,
          )
        else if (CONNECT_CODES.has(code)) handler.onFailure('connect', `cannot connect (${code})`)
        else handler.onFailure('reset', `connection lost (${code === '' ? error.message : code})`)
      },
    },
  )

  return {
    pause: () => {
      if (paused || ended) return
      paused = true
      watched.deadlineMs = ports.nowMs() + CLIENT_STALL_MS
      controller?.pause()
    },
    resume: () => {
      if (!paused || ended) return
      paused = false
      watched.deadlineMs = ports.nowMs() + timeouts.idleMs
      controller?.resume()
    },
    abort: () => {
      if (ended) return
      abortRequested = true
      controller?.abort(new Error('aborted'))
    },
    outputBegan: () => {
      if (began) return
      began = true
      watched.deadlineMs = ports.nowMs() + timeouts.idleMs
    },
    linger: () => {
      if (ended) return
      lingering = true
      watched.deadlineMs = ports.nowMs() + LINGER_MS
      if (paused) controller?.resume()
      paused = false
    },
  }
}
