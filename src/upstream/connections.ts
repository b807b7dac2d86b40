/**
 * One connection pool per backend, kept alive between turns.
 *
 * No timeouts on headers or body here: a long prefill is silent and healthy. `exchange.ts` watches for silence after the
 * first output instead, and for a first-token limit where an operator set one.
 */
import { Pool, type Dispatcher } from 'undici'
import type { Backend } from '../model/backend.ts'

export type Connection = {
  readonly dispatcher: Dispatcher
  /** What stands before `/v1` in every path of this backend. */
  readonly basePath: string
}

export class Connections {
  /** By backend and not by id: that may be used again, for another url, while turns still try the one that left. */
  readonly #pools = new Map<Backend, { readonly dispatcher: Pool; readonly basePath: string }>()

  for(backend: Backend): Connection {
    const { config } = backend
    let connection = this.#pools.get(backend)
    if (connection === undefined) {
      const url = new URL(config.url)
      const dispatcher = new Pool(url.origin, {
        connections: null,
        pipelining: 1,
        keepAliveTimeout: 30_000,
        headersTimeout: 0,
        bodyTimeout: 0,
        connect: { timeout: config.timeouts.connectMs, ...(config.ca === null ? {} : { ca: config.ca }) },
      })
      connection = { dispatcher, basePath: url.pathname.replace(/\/$/, '') }
      this.#pools.set(backend, connection)
    }
    return connection
  }

  /** Closes the connections of a backend that left; requests in flight end by themselves. */
  async forget(backendId: string): Promise<void> {
    const left = [...this.#pools].filter(([{ id }]) => id === backendId)
    for (const [backend] of left) this.#pools.delete(backend)
    await Promise.all(left.map(([, { dispatcher }]) => dispatcher.close()))
  }

  async close(): Promise<void> {
    const pools = [...this.#pools.values()]
    this.#pools.clear()
    await Promise.all(pools.map(({ dispatcher }) => dispatcher.destroy()))
  }
}
