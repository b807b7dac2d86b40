/** A whole simulated fleet over HTTP: one server per backend, one timeline and one ticker for all of them. */
import { randomBytes } from 'node:crypto'
import { buildEngine, type BackendSpec } from '../profile.ts'
import { WallTimeline } from '../wall-timeline.ts'
import { BackendServer } from './backend-server.ts'
import { KvPublisher, type KvEndpoints } from './kv-publisher.ts'

export type FleetServerOptions = {
  readonly fleet: readonly BackendSpec[]
  readonly host?: string
  /** The first port; the others follow. 0: any free ports. */
  readonly port: number
  readonly timeFactor?: number
  readonly model?: string
  readonly maxModelTokens?: number
  readonly medianOutputTokens?: number
  /** Each backend publishes KV events at `port + 2 index` and replays them at the next port; 0: any free ports. */
  readonly kvEvents?: { readonly port: number; readonly delayMs?: number }
}

export type FleetServer = {
  /** Base URLs, `/v1` included. */
  readonly urls: readonly string[]
  readonly servers: readonly BackendServer[]
  /** By backend; empty where they publish no events. */
  readonly kvEndpoints: readonly KvEndpoints[]
  readonly publishers: readonly KvPublisher[]
  readonly timeline: WallTimeline
  close(): Promise<void>
}

/** How often tokens leave, wall milliseconds: below a token's 20 ms, above what a busy core can keep up with. */
const TICK_MS = 10

/**
 * Longest prompt of Mooncake's conversation trace is 123k tokens; 131,072 is the usual context of that class of model.
 */
const DEFAULT_MAX_MODEL_TOKENS = 131_072

export const startFleetServer = async (options: FleetServerOptions): Promise<FleetServer> => {
  const timeline = new WallTimeline({ clock: () => performance.now(), timeFactor: options.timeFactor ?? 1 })
  const { kvEvents } = options
  // Loaded only where it is wanted: the fleet runs without it.
  const zeromq = kvEvents === undefined ? null : await import('zeromq')
  const engines = options.fleet.map((spec) => buildEngine(spec, timeline))
  const publishers =
    zeromq === null || kvEvents === undefined
      ? []
      : engines.map(
          (engine, index) =>
            new KvPublisher({
              zeromq,
              cache: engine.cache,
              blockTokens: engine.speed.blockTokens,
              host: options.host ?? '127.0.0.1',
              port: kvEvents.port === 0 ? 0 : kvEvents.port + 2 * index,
              delayMs: kvEvents.delayMs ?? 0,
              nowSeconds: () => Date.now() / 1000,
            }),
        )
  const servers = engines.map(
    (engine, index) =>
      new BackendServer({
        engine,
        kvPublisher: publishers[index] ?? null,
        timeline,
        model: options.model ?? 'homing-sim',
        maxModelTokens: options.maxModelTokens ?? DEFAULT_MAX_MODEL_TOKENS,
        medianOutputTokens: options.medianOutputTokens ?? 128,
        nowSeconds: () => Math.floor(Date.now() / 1000),
        newId: () => randomBytes(12).toString('hex'),
      }),
  )
  const urls: string[] = []
  const kvEndpoints: KvEndpoints[] = []
  const close = async (): Promise<void> => {
    clearInterval(ticker)
    timeline.stop()
    for (const publisher of publishers) publisher.close()
    await Promise.all(servers.slice(0, urls.length).map((server) => server.close()))
  }
  const ticker = setInterval(() => {
    timeline.catchUp()
    for (const server of servers) if (server.active > 0) server.tick()
  }, TICK_MS)
  try {
    for (const publisher of publishers) kvEndpoints.push(await publisher.listen())
    for (const [index, server] of servers.entries()) {
      urls.push(await server.listen(options.host ?? '127.0.0.1', options.port === 0 ? 0 : options.port + index))
    }
  } catch (error) {
    await close()
    throw error
  }
  return { urls, servers, kvEndpoints, publishers, timeline, close }
}
