import { Agent, request } from 'undici'
import type { Dispatcher } from 'undici'
import type { BackendConfig } from '../model/backend.ts'

/** Answer to a GET; the body is cut off by the size bound with an error, never silently. */
export type ProbeAnswer = { readonly status: number; readonly headers: ProbeHeaders; readonly text: string }
export type ProbeHeaders = Readonly<Record<string, string | readonly string[] | undefined>>

/** The one way in which the fleet speaks to a backend: GET, with its key and headers. Throws ProbeFailure. */
export type ProbeGet = (backend: BackendConfig, path: string) => Promise<ProbeAnswer>

export type FailureKind = 'refused' | 'timeout' | 'reset' | 'unreachable'

/** No answer came. `message` is one phrase for people. */
export class ProbeFailure extends Error {
  readonly kind: FailureKind

  constructor(kind: FailureKind, message: string, options: { readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause })
    this.name = 'ProbeFailure'
    this.kind = kind
  }
}

const MAX_BODY_BYTES = 4 * 2 ** 20

export function createProbeGet(options: {
  readonly dispatcherFor: (backend: BackendConfig) => Dispatcher
  /** For the whole exchange. */
  readonly timeoutMs: number
}): ProbeGet {
  return async (backend, path) => {
    const headers: Record<string, string> = { accept: '*/*', ...backend.headers }
    if (backend.key !== null) headers['authorization'] = `Bearer ${backend.key}`
    const signal = AbortSignal.timeout(options.timeoutMs)
    try {
      const dispatcher = options.dispatcherFor(backend)
      const answer = await request(backend.url + path, { method: 'GET', headers, signal, dispatcher })
      const chunks: Buffer[] = []
      let size = 0
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        size += chunk.length
        if (size > MAX_BODY_BYTES) {
          throw new ProbeFailure('unreachable', `GET ${path} answered more than ${MAX_BODY_BYTES} bytes`)
        }
        chunks.push(chunk)
      }
      return { status: answer.statusCode, headers: answer.headers, text: Buffer.concat(chunks).toString('utf8') }
    } catch (cause) {
      throw cause instanceof ProbeFailure ? cause : toFailure(cause, path, options.timeoutMs)
    }
  }
}

function toFailure(cause: unknown, path: string, timeoutMs: number): ProbeFailure {
  const error = cause instanceof Error ? (cause as NodeJS.ErrnoException) : new Error(String(cause))
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  if (code === 'ECONNREFUSED') return new ProbeFailure('refused', 'connection refused', { cause })
  if (error.name === 'TimeoutError' || /TIMEOUT|TIMEDOUT/.test(code)) {
    return new ProbeFailure('timeout', `no answer to GET ${path} within ${timeoutMs / 1000} s`, { cause })
  }
  if (code === 'ECONNRESET' || code === 'EPIPE' || code === 'UND_ERR_SOCKET') {
    return new ProbeFailure('reset', 'the connection was closed without an answer', { cause })
  }
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return new ProbeFailure('unreachable', 'the host name is unknown', { cause })
  }
  if (/CERT|SSL|TLS/.test(code)) return new ProbeFailure('unreachable', `TLS: ${error.message}`, { cause })
  return new ProbeFailure('unreachable', error.message === '' ? code : error.message, { cause })
}

/** Connections for probes only, apart from those of turns: a full pool never delays a probe. One Agent per own CA. */
export class ProbeConnections {
  readonly #agents = new Map<string, Agent>()

  readonly dispatcherFor = (backend: BackendConfig): Dispatcher => {
    const key = `${backend.timeouts.connectMs} ${backend.ca ?? ''}`
    let agent = this.#agents.get(key)
    if (agent === undefined) {
      const connect = { timeout: backend.timeouts.connectMs, ...(backend.ca === null ? {} : { ca: backend.ca }) }
      agent = new Agent({ connections: 4, connect })
      this.#agents.set(key, agent)
    }
    return agent
  }

  async close(): Promise<void> {
    const agents = [...this.#agents.values()]
    this.#agents.clear()
    await Promise.all(agents.map((agent) => agent.destroy()))
  }
}
