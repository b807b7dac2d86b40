/** What follows in every room when a backend comes, changes, restarts or leaves. */
import type { Logger } from 'pino'
import type { Metrics } from '../metrics.ts'
import type { Scheduler } from '../schedule/scheduler.ts'
import type { CacheKnowledge } from './cache.ts'
import type { Fleet } from './fleet.ts'
import type { ExactKnowledge, KvEvents } from './kv-events.ts'
import type { Prewarming } from './prewarming.ts'

export type BackendChangeParts = {
  readonly fleet: Fleet
  readonly cache: CacheKnowledge
  readonly kvEvents: KvEvents
  readonly exactness: ExactKnowledge
  readonly prewarming: Prewarming
  readonly scheduler: Scheduler
  readonly metrics: Metrics
  readonly log: Logger
}

export function followBackends(parts: BackendChangeParts): void {
  const { scheduler, metrics, log } = parts
  const { registry, engineLoad } = parts.fleet
  const { index, pressure, cacheReports } = parts.cache
  const { events, residency } = parts.kvEvents
  const { tokenSource } = parts.exactness
  const { prewarmTurns } = parts.prewarming
  registry.onChange((change) => {
    metrics.backendChanged(change.backend.id, change.kind)
    const routine = change.kind === 'added' || change.kind === 'described'
    log[routine ? 'debug' : 'info']({ backend: change.backend.id, change: change.kind, why: change.why }, 'backend')
  })
  registry.onChange(({ kind, backend }) => {
    if (kind === 'drained' || kind === 'unhealthy' || kind === 'removed') prewarmTurns.lost(backend)
    // Of the engines that tell a number of slots only llama.cpp keeps one sequence in each.
    if (kind === 'described')
      index.setSlots(backend.index, (backend.engine === 'llamacpp' ? backend.slots : null) ?? Infinity)
  })
  registry.onRestart((backend) => {
    prewarmTurns.emptied(backend)
    index.clearBackend(backend.index)
    pressure.cleared(backend.index)
    scheduler.forget(backend.index)
    cacheReports.emptied(backend.index)
    engineLoad.forget(backend)
    events.restarted(backend.index)
    residency.forgetTie(backend.index)
  })
  registry.onChange(({ kind, backend }) => {
    if (kind === 'added' && backend.config.kvEvents !== undefined) events.watch(backend.index, backend.config.kvEvents)
    if (kind === 'removed') {
      events.unwatch(backend.index)
      tokenSource.forget(backend.index)
      residency.forgetTie(backend.index)
    }
  })
}
