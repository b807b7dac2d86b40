/**
 * What is cached where, as far as history tells: the block index, the pressure that empties caches, what answers correct,
 * what engines and operators report; and how people are told of it.
 */
import type { Config } from '../config.ts'
import { BlockIndex } from '../kv/block-index.ts'
import { CacheReports, type ReportPorts } from '../kv/cache-reports.ts'
import { CacheCalibration } from '../kv/calibration.ts'
import { BLOCK_CHARACTERS } from '../kv/chain.ts'
import { Pressure } from '../kv/pressure.ts'
import type { CharactersPerToken } from '../learn/characters-per-token.ts'
import type { LatencyModel } from '../learn/latency.ts'
import type { Backend } from '../model/backend.ts'
import type { Fleet } from './fleet.ts'

/** A bound that is not in the configuration (`memory`). */
const CACHE_OBSERVATIONS = 200_000

export type CacheParts = {
  readonly memory: Config['memory']
  readonly fleet: Fleet
  readonly latency: LatencyModel
  readonly charactersPerToken: CharactersPerToken
  readonly sessions: ReportPorts['sessions']
  readonly nowMs: () => number
  readonly wallMs: () => number
}

export type CacheKnowledge = ReturnType<typeof buildCache>

export function buildCache({ memory, fleet, latency, charactersPerToken, sessions, nowMs, wallMs }: CacheParts) {
  const { registry } = fleet
  const index = new BlockIndex({ maxBytes: memory.blockIndexBytes, nowMs })
  const pressure = new Pressure({ index, nowMs, maxConversations: memory.sessions })
  const calibration = new CacheCalibration(index, pressure, latency)
  const cacheReports = new CacheReports(
    {
      index,
      backend: (id) => registry.get(id),
      sessions,
      charactersPerToken: (model) => charactersPerToken.ratio(model),
      wallMs,
    },
    { maxEntries: CACHE_OBSERVATIONS },
  )
  /** The index counts blocks of characters; people count tokens, of the first model where a backend serves several. */
  const survivalOf = (backend: Backend) => {
    const [model = ''] = backend.models.keys()
    const tokens = (blocks: number): number | null =>
      Number.isFinite(blocks) ? Math.round((blocks * BLOCK_CHARACTERS) / charactersPerToken.ratio(model)) : null
    return {
      half_gone_after_tokens: tokens(pressure.effectiveCapacity(backend.index)),
      stored_tokens_per_second: tokens(pressure.blocksPerSecond(backend.index)),
      observations: pressure.observations(backend.index),
    }
  }
  /** Where the conversation is now, and whether it will be there when it returns; null once it is forgotten. */
  const forecastOf = (conversation: string) => {
    const forecast = pressure.forecast(conversation)
    if (forecast === null) return null
    const { backendIndex, now, uncertainty, returns, expectedReturnMs, atReturn } = forecast
    const round = (share: number): number => Math.round(share * 1000) / 1000
    return {
      backendId: registry.list().find(({ index: at }) => at === backendIndex)?.id ?? null,
      residentNow: round(now),
      uncertainty: round(uncertainty),
      residentAtReturn: round(atReturn),
      returns: round(returns),
      expectedReturnMs,
    }
  }
  return { index, pressure, calibration, cacheReports, survivalOf, forecastOf }
}
