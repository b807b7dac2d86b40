/** What operators can see and change of the fleet, and tenants of their decisions. */
import type { AffinityRouter } from '../affinity.ts'
import { ConfigError, parseBackend } from '../config.ts'
import type { ResponseStore } from '../conversation/response-store.ts'
import type { Handler } from '../http/call.ts'
import { operatorRoutes } from '../http/operator-routes.ts'
import type { Router } from '../http/router.ts'
import { conversationKey } from '../kv/pressure.ts'
import type { BackendConfig } from '../model/backend.ts'
import { HomingError } from '../model/error.ts'
import type { ReceiptBook } from '../receipt-book.ts'
import type { Connections } from '../upstream/connections.ts'
import { hintsSent } from '../upstream/retention-hints.ts'
import type { Limits } from '../wire/parse-responses.ts'
import type { CacheKnowledge } from './cache.ts'
import type { Fleet } from './fleet.ts'
import type { KvEvents } from './kv-events.ts'
import { prewarmAllowance } from './prewarming.ts'

export type OperatorParts = {
  readonly limits: Limits
  readonly fleet: Fleet
  readonly cache: CacheKnowledge
  readonly kvEvents: KvEvents
  readonly connections: Connections
  readonly receipts: ReceiptBook
  readonly store: ResponseStore
  readonly affinity: AffinityRouter
  /** What was said and concluded of an answer. */
  readonly learnedFrom: (tenant: string, id: string) => object
  readonly nowMs: () => number
}

export function addOperatorRoutes(router: Router<Handler>, parts: OperatorParts): void {
  const { limits, connections, receipts, store, affinity, learnedFrom, nowMs } = parts
  const { registry, others, ledger, engineLoad, metricsProbe, load } = parts.fleet
  const { index, pressure, cacheReports, survivalOf, forecastOf } = parts.cache
  const { eventsWatch } = parts.kvEvents
  operatorRoutes(router, {
    list: () => registry.list(),
    limits,
    add: async (body) => {
      const added = registry.add(declared(body))
      if ('problem' in added) throw new HomingError('conflict', { why: added.problem })
      await registry.probe(added.backend.id)
      return added.backend
    },
    drain: (id, on) => registry.drain(id, on),
    remove: async (id) => {
      const known = registry.get(id)
      if (known === undefined) return false
      registry.remove(id)
      engineLoad.forget(known)
      index.clearBackend(known.index)
      pressure.cleared(known.index)
      cacheReports.emptied(known.index)
      void connections.forget(id)
      return true
    },
    load: (backend) => {
      const { othersSeconds } = load(backend)
      const page = metricsProbe.page(backend)
      const beside = engineLoad.others(backend)
      return {
        running_requests: ledger.ownCount(backend.index),
        queued_prefill_tokens: ledger.queuedPrefillTokens(backend.index),
        inflight_tokens: Math.round(ledger.inFlightTokens(backend.index)),
        max_inflight_tokens: backend.config.maxInFlightTokens,
        load_source: others.trust(backend.index) > 0 ? 'engine' : 'own record',
        engine_running_requests: page?.running ?? null,
        engine_waiting_requests: page?.waiting ?? null,
        engine_cache_usage: page?.cacheUsage ?? null,
        engine_metrics_age_ms: page === null ? null : Math.round(nowMs() - page.observedAtMs),
        others_running_requests: beside?.running ?? null,
        others_waiting_requests: beside?.waiting ?? null,
        others_wait_seconds: Math.round(othersSeconds * 1000) / 1000,
        cached_blocks: index.blocks(backend.index),
        prewarm_tokens_per_minute: prewarmAllowance(backend),
        hints: hintsSent(backend),
        kv_events: eventsWatch.report(backend),
        cached_sequences: index.chains(backend.index),
        cache_survival: survivalOf(backend),
      }
    },
    receipt: async (tenant, id) => {
      const receipt = receipts.get(tenant, id) ?? (await store.getResponse(tenant, id))?.receipt ?? null
      if (receipt === null) return null
      return { ...receipt, forecast: forecastOf(conversationKey(tenant, receipt.session.id)), learned: learnedFrom(tenant, id) }
    },
    recent: (tenant, limit) => receipts.recent(tenant, limit),
    affinity: (turn) => affinity.scoresOf(turn),
    fingerprint: (turn) => affinity.fingerprintOf(turn),
  })
}

function declared(body: unknown): BackendConfig {
  try {
    return parseBackend(body)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const [first] = error.problems
    throw new HomingError('invalid_value', {
      param: first?.path ?? 'body',
      why: error.problems.map(({ path, message }) => `${path} ${message}`).join('; '),
    })
  }
}
