/** One request on its way through a handler. */
import type { IncomingMessage } from 'node:http'
import type { Params } from './router.ts'
import type { SocketSink } from './socket-sink.ts'
import type { Caller } from './tenants.ts'

export type Call = {
  readonly request: IncomingMessage
  readonly sink: SocketSink
  readonly params: Params
  readonly query: URLSearchParams
  readonly requestId: string
  readonly receivedAtMs: number
  readonly caller: Caller
  /** Reads, decompresses and parses the body; throws what a client is to be told. */
  readonly body: () => Promise<unknown>
  readonly bytes: () => Promise<Buffer>
}

export type Handler = {
  /** Who may call: anyone (no key asked), a tenant, an operator. */
  readonly access: 'public' | 'tenant' | 'admin'
  /** Counts against the tenant's concurrency and rate. */
  readonly limited: boolean
  /** Name in metrics; a route, never a path. */
  readonly name: string
  readonly handle: (call: Call) => Promise<void>
}
