/**
 * What can be asked over HTTP: turns, stored responses, the fleet's state, caches. What is asked of backends and decisions is
 * in operator-access.ts.
 */
import { identifyItems } from '../conversation/resolve.ts'
import type { ResponseStore } from '../conversation/response-store.ts'
import type { ModelGroupConfig } from '../config/model-groups.ts'
import type { Handler } from '../http/call.ts'
import { cacheRoutes } from '../http/cache-routes.ts'
import { fleetRoutes } from '../http/fleet-routes.ts'
import { passthroughRoutes } from '../http/passthrough-routes.ts'
import { Router } from '../http/router.ts'
import { storedRoutes } from '../http/stored-routes.ts'
import { turnRoutes } from '../http/turn-routes.ts'
import { PrefixChain } from '../kv/chain.ts'
import type { CharactersPerToken } from '../learn/characters-per-token.ts'
import type { Metrics } from '../metrics.ts'
import type { Scheduler } from '../schedule/scheduler.ts'
import { forward } from '../serve-passthrough.ts'
import { serveTurn } from '../serve-turn.ts'
import type { Stages } from '../stages.ts'
import type { Limits } from '../wire/parse-responses.ts'
import type { CacheKnowledge } from './cache.ts'
import type { Conversations } from './conversations.ts'
import type { Fleet } from './fleet.ts'
import type { OutcomeLearning } from './outcomes.ts'
import type { Prewarming } from './prewarming.ts'

export type RouteParts = {
  readonly stages: Stages
  readonly limits: Limits
  readonly fleet: Fleet
  readonly cache: CacheKnowledge
  readonly prewarming: Prewarming
  readonly conversations: Conversations
  readonly scheduler: Scheduler
  readonly store: ResponseStore
  readonly outcomes: OutcomeLearning
  readonly charactersPerToken: CharactersPerToken
  readonly metrics: Metrics
  readonly groups: readonly ModelGroupConfig[]
  readonly version: string
  readonly notReady: () => string[]
  readonly newConversationId: () => string
  readonly wallMs: () => number
}

export function buildRoutes(parts: RouteParts): Router<Handler> {
  const { stages, limits, groups, scheduler, store, charactersPerToken, metrics, version, notReady, newConversationId, wallMs } = parts
  const { registry } = parts.fleet
  const { index, cacheReports } = parts.cache
  const { prewarmAccount, prewarmer, prefixGroups, prewarmTurns } = parts.prewarming
  const { lineages, resolvePorts } = parts.conversations
  const router = new Router<Handler>()
  turnRoutes(router, { serve: (turn, sink) => serveTurn(turn, sink, stages), limits })
  const groupNames = new Set(groups.map(({ name }) => name))
  passthroughRoutes(router, {
    maxDepth: limits.maxDepth,
    isGroup: (model) => groupNames.has(model),
    forward: (endpoint, model, body, call) =>
      forward({ endpoint, model, body, tenant: call.caller.tenant, requestId: call.requestId }, call.sink, {
        rank: (request) => scheduler.rank(request),
        charge: stages.charge,
        begin: (decision, choice, request) => {
          prewarmer.turnBegins(request.sessionId, choice.backend.index)
          return prewarmTurns.watched(scheduler.begin(decision, choice, request))
        },
        dispatch: stages.dispatch,
        emptyChain: (tenant, name) => PrefixChain.root(tenant, name),
      }),
  })
  storedRoutes(router, {
    store,
    wallMs,
    maxDepth: limits.maxDepth,
    identify: (tenant, items) => identifyItems(tenant, items, { items: [], itemIds: [] }, resolvePorts),
    forgetLineage: (tenant, id) => {
      lineages.delete(tenant, id)
      parts.outcomes.book.forget(tenant, id)
    },
    newConversationId,
  })
  fleetRoutes(router, {
    groups,
    backends: () => registry.list(),
    version,
    startedAtSeconds: Math.floor(wallMs() / 1000),
    notReady,
    metrics: () => metrics.page(),
  })
  cacheRoutes(router, {
    wallMs,
    prefixes: () =>
      prefixGroups.list().map(({ hash, tenant, model, chain, sessions: several, lastUseMs }) => ({
        hash,
        tenant,
        model,
        tokens: Math.round(chain.totalCharacters / charactersPerToken.ratio(model)),
        sessions: several,
        backends: registry.list().flatMap(({ id, index: b }) => (index.cachedBlocks(chain, b) >= chain.length ? [id] : [])),
        lastUse: Math.round(lastUseMs / 1000),
      })),
    prewarming: () => ({
      rules: prewarmAccount.rules,
      counts: Object.fromEntries(prewarmer.counts),
      running: prewarmer.running,
      wishes: prewarmer.wishes,
    }),
    registerCacheStates: (bodies) =>
      bodies
        .map(({ backendId, sessionId, metadata, tenant, at }) =>
          cacheReports.check(backendId, sessionId, metadata, { tenant, at }),
        )
        .map((report) => cacheReports.apply(report)),
  })
  return router
}
