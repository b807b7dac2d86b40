/**
 * The door. Every request gets an id, is authenticated, limited, routed, answered and counted here; whatever a handler
 * throws becomes OpenAI's error shape. A failure that is not a HomingError is a bug: the client sees 500, the log has
 * the cause under the request id.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { HomingError } from '../model/error.ts'
import { parseJson, readBody } from './body.ts'
import type { Call, Handler } from './call.ts'
import type { Router } from './router.ts'
import { SocketSink } from './socket-sink.ts'
import type { TenantLimits } from './tenant-limits.ts'
import type { Caller, Tenants } from './tenants.ts'

export type DoorPorts = {
  readonly router: Router<Handler>
  readonly tenants: Tenants
  readonly limits: TenantLimits
  readonly bodyLimitBytes: number
  readonly newRequestId: () => string
  readonly wallMs: () => number
  readonly nowMs: () => number
  readonly observe: (route: string, status: number, seconds: number) => void
  readonly onBug: (requestId: string, error: unknown) => void
  /** True while shutting down: new requests are refused, running ones finish. */
  readonly closing: () => boolean
}

const ANYONE: Caller = { tenant: '', admin: false }
/** What a client may send as its request id and get back. */
const REQUEST_ID = /^[\w.:-]{1,128}$/

/** What Node finds wrong with a request before there is one. */
const NO_HTTP: Readonly<Record<string, readonly [status: string, message: string]>> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'The headers are larger than 16 KiB.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request did not arrive in time.'],
}
/** For a whole request to arrive, body included; answers take as long as they take. */
const REQUEST_TIMEOUT_MS = 300_000

export function createDoor(ports: DoorPorts): Server {
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: 60_000, keepAliveTimeout: 75_000, noDelay: true },
    (request, response) => {
      void admit(request, response, ports)
    },
  )
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // as Node's own handler does: nothing may land inside an answer that has begun
    const { _httpMessage: answering } = socket as { _httpMessage?: ServerResponse | null }
    if (!socket.writable || answering?.headersSent === true) return socket.destroy()
    const [status, message] = NO_HTTP[error.code ?? ''] ?? ['400 Bad Request', 'The request is not valid HTTP.']
    const body = JSON.stringify({ error: { message, type: 'invalid_request_error', param: null, code: 'bad_request' } })
    socket.end(
      `HTTP/1.1 ${status}\r\nx-request-id: ${ports.newRequestId()}\r\ncontent-type: application/json\r\n` +
        `content-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    )
  })
  return server
}

async function admit(request: IncomingMessage, response: ServerResponse, ports: DoorPorts): Promise<void> {
  const startedMs = ports.nowMs()
  const sent = request.headers['x-request-id']
  const requestId = typeof sent === 'string' && REQUEST_ID.test(sent) ? sent : ports.newRequestId()
  const sink = new SocketSink(response, requestId)
  let route = 'unknown'
  let leave = (): void => {}
  response.once('close', () => {
    leave()
    ports.observe(route, response.statusCode, (ports.nowMs() - startedMs) / 1000)
  })
  response.on('error', () => sink.end()) // the peer is gone; 'close' does the rest
  try {
    const url = request.url ?? '/'
    const question = url.indexOf('?')
    const path = question === -1 ? url : url.slice(0, question)
    const { handler, params } = ports.router.find(
      request.method ?? 'GET',
      path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path,
    )
    route = handler.name
    if (ports.closing() && handler.access !== 'public')
      throw new HomingError('shutting_down', {}, { retryAfterSeconds: 1 })
    const caller = handler.access === 'public' ? ANYONE : ports.tenants.authenticate(request)
    if (handler.access === 'admin' && !caller.admin) throw new HomingError('forbidden', { what: 'the operator routes' })
    if (handler.limited) {
      sink.standing = () => ports.limits.headers(caller.tenant)
      leave = ports.limits.enter(caller.tenant)
    }
    const bytes = (): Promise<Buffer> => readBody(request, ports.bodyLimitBytes)
    const call: Call = {
      request,
      sink,
      params,
      requestId,
      caller,
      bytes,
      query: new URLSearchParams(question === -1 ? '' : url.slice(question + 1)),
      receivedAtMs: ports.wallMs(),
      body: async () => parseJson(await bytes()),
    }
    await handler.handle(call)
  } catch (error) {
    refuse(error, sink, response, requestId, ports)
  } finally {
    if (!request.complete) request.resume()
  }
}

function refuse(error: unknown, sink: SocketSink, response: ServerResponse, requestId: string, ports: DoorPorts): void {
  const storage = error instanceof Error && error.name === 'StorageError'
  const known =
    error instanceof HomingError
      ? error
      : storage
        ? new HomingError('storage_error', { why: error.message })
        : new HomingError('server_error')
  if (known !== error) ports.onBug(requestId, error)
  if (sink.closed) return
  if (sink.headSent) {
    response.destroy() // half an answer is out; a cut connection is the only honest ending left
    return
  }
  sink.json(known.status, known.toBody(), {
    ...(known.retryAfterSeconds === null ? {} : { 'retry-after': String(known.retryAfterSeconds) }),
    // nothing is stored when a turn is refused, so retrying is safe; storage trouble will not go away by itself
    ...(known.code === 'storage_error' || known.code === 'conflict' ? { 'x-should-retry': 'false' } : {}),
    ...(known.status === 405 ? { allow: known.message.split('use ')[1]?.replace(/\.$/, '') ?? '' } : {}),
    ...(known.status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
  })
}
