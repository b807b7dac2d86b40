/**
 * One connection pool per backend, kept alive between turns.
 *
 * No timeouts on headers or body here: a long prefill is silent and healthy. `exchange.ts` watches for silence after the
 * first output instead, and for a first-token limit where an operator set one.
 */
import { Pool, type Dispatcher } from 'undici'
import type { Backend } from '../model/backend.ts'

export class Connections {
  readonly #pools = new Map<string, Pool>()

  for(backend: Backend): Dispatcher {
    const { id, config } = backend
    let pool = this.#pools.get(id)
    if (pool === undefined) {
      pool = new Pool(new URL(config.url).origin, {
        connections: null,
        pipelining: 1,
        keepAliveTimeout: 30_000,
        headersTimeout: 0,
        bodyTimeout: 0,
        connect: { timeout: config.timeouts.connectMs, ...(config.ca === null ? {} : { ca: config.ca }) },
      })
      this.#pools.set(id, pool)
    }
    return pool
  }

  /** Closes the connections of a backend that left; requests in flight end by themselves. */
  async forget(backendId: string): Promise<void> {
    const pool = this.#pools.get(backendId)
    this.#pools.delete(backendId)
    await pool?.close()
  }

  async close(): Promise<void> {
    const pools = [...this.#pools.values()]
    this.#pools.clear()
    await Promise.all(pools.map((pool) => pool.destroy()))
  }
}
