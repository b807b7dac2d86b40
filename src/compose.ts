/**
 * The only file that constructs. It sees all rooms, hands each the ports it declares, and owns nothing of the logic.
 * Read serve-turn.ts for what happens to a turn; read this for what it happens with.
 */
import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import type { Config } from './config.ts'
import { BACKEND_DEFAULTS, ConfigError, parseBackend } from './config.ts'
import { isLoopback } from './config/address.ts'
import { comparisonId, diagnoseCache } from './conversation/cache-diagnostics.ts'
import { LastTurns } from './conversation/last-turns.ts'
import { LineageCache } from './conversation/lineage-cache.ts'
import { MemoryStore } from './conversation/memory-store.ts'
import { identifyItems, rememberTurn, resolveTurn, type ChainMaker, type ResolvePorts } from './conversation/resolve.ts'
import type { ResponseStore } from './conversation/response-store.ts'
import { SessionChains } from './conversation/session-chains.ts'
import { SessionIndex } from './conversation/session-index.ts'
import { openSqliteStore } from './conversation/sqlite-store.ts'
import { EngineLoad } from './fleet/engine-load.ts'
import { Ledger } from './fleet/ledger.ts'
import { MetricsProbe } from './fleet/metrics-probe.ts'
import { OthersWork } from './fleet/others-work.ts'
import { createProbeGet, ProbeConnections } from './fleet/probe-get.ts'
import { BackendRegistry } from './fleet/registry.ts'
import { systemAfter } from './fleet/timers.ts'
import { createDoor } from './http/server.ts'
import { cacheRoutes } from './http/cache-routes.ts'
import { fleetRoutes } from './http/fleet-routes.ts'
import { operatorRoutes } from './http/operator-routes.ts'
import { passthroughRoutes } from './http/passthrough-routes.ts'
import { Router } from './http/router.ts'
import { storedRoutes } from './http/stored-routes.ts'
import { TenantLimits, type TokenCounts } from './http/tenant-limits.ts'
import { Tenants } from './http/tenants.ts'
import { turnRoutes } from './http/turn-routes.ts'
import type { Handler } from './http/call.ts'
import { BlockIndex } from './kv/block-index.ts'
import { CacheReports } from './kv/cache-reports.ts'
import { CacheCalibration } from './kv/calibration.ts'
import { canonicalHead, canonicalItem } from './kv/canonical.ts'
import { PrefixGroups } from './kv/prefix-groups.ts'
import { EVENTS_PROCESS, EventsLink } from './kv/events/events-link.ts'
import { ExactResidency } from './kv/events/exact-residency.ts'
import { TokenAnchors } from './kv/events/token-anchors.ts'
import { TokenSource } from './kv/events/token-source.ts'
import { BLOCK_CHARACTERS, PrefixChain } from './kv/chain.ts'
import { conversationKey, Pressure } from './kv/pressure.ts'
import { CharactersPerToken } from './learn/characters-per-token.ts'
import { LatencyModel } from './learn/latency.ts'
import { OutputLength } from './learn/output-length.ts'
import { tenantCounters, waitingTurns } from './admission-totals.ts'
import { Metrics } from './metrics.ts'
import type { Backend, BackendConfig, Engine } from './model/backend.ts'
import type { Decision, SchedulingRequest } from './model/decision.ts'
import { Cancellation } from './model/cancellation.ts'
import type { SemanticAffinityRouter } from './model/affinity.ts'
import { fingerprintAssetPath } from './fingerprint-asset.ts'
import { fingerprintStage } from './fingerprint-stage.ts'
import { HomingError } from './model/error.ts'
import { createAffinityRouter } from './affinity.ts'
import type { Receipt } from './model/receipt.ts'
import { EventsWatch, LOOK_EVERY_MS } from './events-watch.ts'
import { ExactTurns } from './exact-turns.ts'
import { Ids } from './ids.ts'
import { ReceiptBook } from './receipt-book.ts'
import { estimateRequest, priorityOf } from './scheduling-request.ts'
import { createPolicy } from './schedule/policies/catalogue.ts'
import { Scheduler } from './schedule/scheduler.ts'
import { cacheReportCounter, prewarmCounters } from './cache-totals.ts'
import { PrewarmTurns } from './prewarm-turns.ts'
import { forward } from './serve-passthrough.ts'
import { serveTurn } from './serve-turn.ts'
import type { Stages } from './stages.ts'
import { warmStart } from './warm-start.ts'
import { Connections } from './upstream/connections.ts'
import { prefill, prefillPrompt } from './upstream/prefill.ts'
import { PrewarmAccount } from './upstream/prewarm-account.ts'
import { Foresight } from './upstream/prewarm-foresight.ts'
import { prewarmRequest, type PrewarmPrompt } from './upstream/prewarm-request.ts'
import { Prewarmer } from './upstream/prewarm.ts'
import { ReturnGaps } from './upstream/return-gaps.ts'
import { hintsSent, PREWARM_PRIORITY, retentionHints } from './upstream/retention-hints.ts'
import { SilenceWatch } from './upstream/silence-watch.ts'
import { newResource } from './wire/response-resource.ts'

/** Bounds that are not in the configuration (`memory`). */
const BOUNDS = {
  sessionWalkBlocks: 4096,
  sessionChains: 50_000,
  sessionChainBytes: 64 * 2 ** 20,
  cacheObservations: 200_000,
  foreseenConversations: 2000,
  prefixGroups: 512,
  foreseenCharacters: 32 * 2 ** 20,
  tokenAnchorBytes: 64 * 2 ** 20,
  /** Responses whose blocks are put back into the index at start. */
  warmStartResponses: 2000,
}
const LOG_FLUSH_MS = 100
const SWEEP_EVERY_MS = 10 * 60_000
/** /readyz does not wait longer than this for backends that do not answer their first probe. */
const FIRST_PROBE_PATIENCE_MS = 5000

export type Gateway = {
  readonly url: string
  /** The published interface, on the gateway's own state. */
  readonly affinity: SemanticAffinityRouter
  readonly fleet: BackendRegistry
  close(graceMs: number): Promise<void>
  abort(): void
}

export async function startGateway(config: Config, options: { readonly version: string }): Promise<Gateway> {
  const nowMs = (): number => performance.now()
  const wallMs = (): number => Date.now()
  const startedMs = nowMs()
  // buffered: one write per line would be a sixth of a turn's cost; what is left is written at the latest after LOG_FLUSH_MS
  const logSink = pino.destination({ fd: 1, sync: false, minLength: 16_000 })
  const log = pino({ level: config.log.level, base: null }, logSink)
  const flushLog = setInterval(() => logSink.flush(), LOG_FLUSH_MS).unref()
  const ids = new Ids(wallMs)
  const newId = (prefix: string): string => ids.next(prefix)

  // before the store is opened: a model or taxonomy that cannot be used refuses the start
  const fingerprints = fingerprintStage(config.fingerprint, {
    modelPath: fingerprintAssetPath(),
    nowMs,
    observe: (microseconds, partial) => metrics.fingerprint(microseconds / 1e6, partial),
    failed: (error) => {
      metrics.fallback('fingerprint_failed')
      log.error({ err: error }, 'a turn could not be fingerprinted')
    },
  })
  const store = await openStore(config, wallMs)

  // fleet
  const probeConnections = new ProbeConnections()
  const probeGet = createProbeGet({ dispatcherFor: probeConnections.dispatcherFor, timeoutMs: 3000 })
  const registry = new BackendRegistry({
    get: probeGet,
    nowMs,
    after: systemAfter,
    random: Math.random,
  })
  const others = new OthersWork({ nowMs })
  const ledger = new Ledger({ nowMs, others })
  const latency = new LatencyModel()
  const engineLoad = new EngineLoad({
    ledger,
    others,
    nowMs,
    prefillSeconds: (tokens, backend) => {
      const [model] = backend.models.keys()
      return latency.prefillSeconds(tokens, backend.index, model ?? '')
    },
  })
  const metricsProbe = new MetricsProbe({
    backends: () => registry.list(),
    get: probeGet,
    nowMs,
    after: systemAfter,
    random: Math.random,
    onRestart: (backend, why) => registry.noteRestart(backend, why),
    reader: engineLoad,
    onUnread: () => metrics.fallback('engine_metrics_unread'),
  })

  // kv, learn, schedule
  const index = new BlockIndex({ maxBytes: config.memory.blockIndexBytes, nowMs })
  const pressure = new Pressure({ index, nowMs, maxConversations: config.memory.sessions })
  const calibration = new CacheCalibration(index, pressure, latency)
  const outputLength = new OutputLength()
  const charactersPerToken = new CharactersPerToken()
  const events = new EventsLink({
    spawn: () => fork(EVENTS_PROCESS, { serialization: 'advanced', execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }),
    nowMs,
    after: systemAfter,
    onTrouble: (why) => {
      metrics.fallback('kv_events_down')
      log.error({ why }, 'KV events')
    },
    onChange: () => eventsWatch.look(),
  })
  const anchors = new TokenAnchors({ maxBytes: BOUNDS.tokenAnchorBytes })
  const residency = new ExactResidency({
    watched: (backend) => events.of(backend),
    anchors,
    history: index,
    prefillTokensPerSecond: (backend, model) => 1000 / Math.max(1e-9, latency.prefillSeconds(2000, backend, model) - latency.prefillSeconds(1000, backend, model)),
    nowMs,
  })
  const eventsWatch = new EventsWatch({
    events,
    residency,
    backends: () => registry.list(),
    onChange: (backend, state, before) => {
      if (before === 'exact') metrics.fallback('kv_events_not_exact')
      const trouble = state === 'lost' || state === 'silent' || state === 'contradicted' || before === 'exact'
      log[trouble ? 'warn' : 'info']({ backend: backend.id, state, before }, 'KV events')
    },
  })
  const scheduler = new Scheduler({
    fleet: registry,
    index,
    residency,
    ledger,
    latency,
    outputLength,
    calibration,
    returnsSoon: (elapsedMs) => pressure.returnsSoon(elapsedMs),
    random: Math.random,
    nowMs,
    after: systemAfter,
    ...(config.policy === 'homing'
      ? {}
      : { policy: createPolicy(config.policy, { ledger, random: Math.random }) }),
  })

  // conversation
  const chains: ChainMaker = {
    root: (tenant, model) => PrefixChain.root(tenant, model),
    head: canonicalHead,
    item: canonicalItem,
  }
  const lineages = new LineageCache({
    maxCharacters: config.memory.lineageCharacters,
    maxEntries: config.memory.lineages,
  })
  const sessions = new SessionIndex({ maxEntries: config.memory.sessions, maxWalkBlocks: BOUNDS.sessionWalkBlocks })
  const sessionChains = new SessionChains({ maxEntries: BOUNDS.sessionChains, maxBytes: BOUNDS.sessionChainBytes })
  const cacheReports = new CacheReports(
    {
      index,
      backend: (id) => registry.get(id),
      sessions: (name, tenant) => sessionChains.find(name, tenant),
      charactersPerToken: (model) => charactersPerToken.ratio(model),
      wallMs,
    },
    { maxEntries: BOUNDS.cacheObservations },
  )
  const lastTurns = new LastTurns(config.memory.sessions)
  const resolvePorts: ResolvePorts = { store, lineages, sessions, chains, newId }

  const limitsOf = new Map(config.tenants.map((tenant) => [tenant.id, tenant.limits]))
  const tenantLimits = new TenantLimits((tenant) => limitsOf.get(tenant) ?? config.limits.tenant, nowMs)
  const tokenSource = new TokenSource({
    anchors,
    tokenize: (request) => events.tokenize(request),
    observe: (backend, observation) => events.observe(backend, observation),
    nowMs,
    after: systemAfter,
  })
  const exact = new ExactTurns({
    residency,
    source: tokenSource,
    chains,
    index,
    nowMs,
    onProof: () => eventsWatch.look(),
  })

  // upstream
  const connections = new Connections()
  const watch = new SilenceWatch(nowMs)
  const receipts = new ReceiptBook(config.memory.receipts)
  const metrics = new Metrics({
    backends: () =>
      registry.list().map((backend) => ({
        id: backend.id,
        up: backend.healthy,
        draining: backend.draining,
        running: ledger.ownCount(backend.index),
        queuedTokens: ledger.queuedPrefillTokens(backend.index),
        inFlightTokens: ledger.inFlightTokens(backend.index),
        othersWaitSeconds: others.waitSeconds(backend.index),
        othersRunning: others.running(backend.index),
        corrected: others.trust(backend.index),
      })),
    counters: [
      waitingTurns(() => scheduler.waiting.counts),
      ...tenantCounters(() => tenantLimits.use()),
      cacheReportCounter(() => cacheReports.counts),
      ...prewarmCounters({ rules: () => prewarmAccount.rules, counts: () => prewarmer.counts }),
    ],
    tokensLeft: () =>
      tenantLimits
        .use()
        .flatMap(({ tenant, tokensLeft }) => (tokensLeft === null ? [] : [{ tenant, tokens: tokensLeft }])),
    predictionErrors: () =>
      registry.list().flatMap((backend) =>
        [...backend.models.keys()].flatMap((model) => {
          const ttft = latency.error(backend.index, model)
          const step = latency.stepError(backend.index, model)
          return ttft === null ? [] : [{ backend: backend.id, model, ttft, step }]
        }),
      ),
    kvEvents: () =>
      registry.list().flatMap((backend) => {
        const report = eventsWatch.report(backend)
        return report === null ? [] : [{ backend: backend.id, ...report }]
      }),
    exactness: () => ({
      ...prefixed('tokens_', tokenSource.counts),
      ...prefixed('residency_', residency.counts),
    }),
    survival: () => pressure.score,
    hidden: () => ({ ...calibration.hidden }),
    sizes: () => {
      const { responses, conversations, items, bytes } = store.stats()
      return {
        store_responses: responses,
        store_conversations: conversations,
        store_items: items,
        store_bytes: bytes,
        block_index_blocks: index.stats.blocks,
        block_index_bytes: index.stats.bytes,
        lineages: lineages.size,
        last_turns: lastTurns.size,
        residences: pressure.conversations,
        lineage_characters: lineages.characters,
        sessions: sessions.size,
        session_chains: sessionChains.size,
        session_chain_bytes: sessionChains.bytes,
        cache_observations: cacheReports.size,
        foreseen_conversations: foresight.size,
        foreseen_characters: foresight.characters,
        prewarm_wishes: prewarmer.wishes,
        prefix_groups: prefixGroups.size,
        fingerprints: fingerprints.size(),
        receipts: receipts.size,
        token_anchors: anchors.size,
        token_anchor_bytes: anchors.bytes,
        turns_waiting: scheduler.waiting.turns,
        turns_waiting_oldest_ms: scheduler.waiting.oldestMs,
      }
    },
    pieces: () => scheduler.pieces,
    prewarmRules: () => Object.entries(prewarmAccount.rules).map(([rule, { on }]) => ({ rule, on })),
    evictions: () => ({
      lineages_size: lineages.evictions.size,
      sessions_size: sessions.evictions.size,
      session_chains_size: sessionChains.evictions.size,
      cache_observations_size: cacheReports.evicted,
      foreseen_conversations_size: foresight.evicted,
      prefix_groups_size: prefixGroups.evicted,
      last_turns_size: lastTurns.evictions.size,
      ...prefixed('residences_', pressure.evictions),
      fingerprints_size: fingerprints.counts()['evicted'] ?? 0,
      receipts_size: receipts.evictions.size,
      token_anchors_size: anchors.evictions.size,
      output_length_size: outputLength.evicted,
      ...prefixed('ledger_', ledger.lost),
      ...prefixed('block_index_', index.stats.removed),
      ...prefixed('store_expired_', store.stats().evicted.expired),
      ...prefixed('store_size_', store.stats().evicted.size),
    }),
  })
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
  const dispatchPorts = {
    connections,
    watch,
    nowMs,
    report: (backend: Backend, result: 'ok' | 'connect' | '5xx' | 'timeout' | 'reset') =>
      registry.report(backend, result),
  }
  const expectedTokens = (request: SchedulingRequest): TokenCounts => {
    const { ranked, promptTokens, expectedOutputTokens } = scheduler.rank(request)
    return { promptTokens, cachedTokens: ranked[0]!.expectedCachedTokens, outputTokens: expectedOutputTokens }
  }
  const load = (backend: Backend) => ({
    running: ledger.runningCount(backend.index),
    queuedTokens: ledger.remainingPrefillTokens(backend.index),
    othersSeconds: others.waitSeconds(backend.index),
  })

  // pre-warming
  const unwarmedTenants = new Set(config.tenants.filter((tenant) => !tenant.prewarm).map((tenant) => tenant.id))
  const prewarmAccount = new PrewarmAccount({
    nowMs,
    seconds: (tokens, backend, model) =>
      latency.prefillSeconds(tokens, backend, model) - latency.prefillSeconds(0, backend, model),
    onSwitch: (rule, on, why) => log.info({ rule, on, why }, 'pre-warming'),
  })
  const prewarmer = new Prewarmer<PrewarmPrompt>(
    {
      rank: (request) => scheduler.rank(request),
      index,
      ledger,
      turnsWaiting: () => scheduler.waiting.turns,
      tokensPerMinute: prewarmAllowance,
      prefillSeconds: (tokens, backend, model) => latency.prefillSeconds(tokens, backend, model),
      send: ({ prompt, request }, backend, handler) => {
        const served = backend.models.get(request.model)
        let asked
        try {
          asked = served === undefined ? null : prewarmRequest(prompt, backend, served)
        } catch (error) {
          if (error instanceof HomingError) return null
          metrics.fallback('prewarm_failed')
          log.error({ err: error }, 'rendering what is to be computed ahead failed')
          return null
        }
        if (asked === null) return null
        const signal = new Cancellation()
        const hinted = { tenant: request.tenant, sessionId: request.sessionId, priority: PREWARM_PRIORITY }
        const body = { ...asked.body, ...retentionHints(backend, hinted).fields }
        void prefill({ ...asked, body, backend, requestId: ids.next('prewarm'), signal }, dispatchPorts).then((result) => {
          if (signal.aborted) return
          if (result === null) handler.failed()
          else handler.done({ ...result.usage, ttftMs: result.ms })
        })
        return { cancel: () => signal.abort() }
      },
      learn: ({ request }, backend, expectedCachedTokens, { promptTokens, cachedTokens, ttftMs }) => {
        // beside turns, or where the engine hides what it computed, its time says nothing of its speed
        if (cachedTokens === null || ledger.runningCount(backend.index) > 0) return
        latency.observe({
          backend,
          model: request.model,
          tenant: request.tenant,
          sessionId: request.sessionId,
          status: 'completed',
          promptChain: request.chain,
          fullChain: request.chain,
          expectedCachedTokens,
          expectedPromptTokens: request.promptTokens,
          usage: { promptTokens, cachedTokens, outputTokens: 1, reasoningTokens: null },
          ttftMs,
          decodeMs: null,
          inFlightAtDispatch: 0,
          queuedTokensAtDispatch: 0,
        })
      },
      nowMs,
      after: systemAfter,
    },
    prewarmAccount,
  )
  const foresight = new Foresight<PrewarmPrompt>(
    {
      wish: (wish) => prewarmer.wish(wish),
      rank: (request) => rankOrNull(scheduler, request),
      gaps: new ReturnGaps(),
      nowMs,
    },
    { maxConversations: BOUNDS.foreseenConversations, maxCharacters: BOUNDS.foreseenCharacters },
  )
  const prefixGroups = new PrefixGroups(index, { nowMs: wallMs, maxGroups: BOUNDS.prefixGroups })
  const prewarmTurns = new PrewarmTurns({
    groupOf: (request, leastSessions) =>
      prefixGroups.observe(request, request.homeBackendId === null, registry.list(), leastSessions),
    prewarmer,
    account: prewarmAccount,
    foresight,
    waitSeconds: (backend) => ledger.waitSeconds(backend),
    charactersPerToken: (model) => charactersPerToken.ratio(model),
    itemCharacters: (item) => canonicalItem(item).length,
    isWanted: (tenant, model) =>
      !unwarmedTenants.has(tenant) &&
      registry.list().some((backend) => backend.models.has(model) && prewarmAllowance(backend) !== null),
  })

  const stages: Stages = {
    resolve: (turn) => resolveTurn(turn, resolvePorts),
    fingerprint: fingerprints.add,
    schedulingRequest: (turn) =>
      estimateRequest(
        turn,
        charactersPerToken.ratio(turn.model),
        sessions.homeOf(turn.session.id),
        anchors.find(turn.chain),
        turn.parent !== null && (lineages.get(turn.tenant, turn.parent.id)?.headKey ?? turn.headKey) !== turn.headKey,
      ),
    charge: (request) => tenantLimits.charge(request.tenant, () => expectedTokens(request)),
    place: (request, signal, piece) => scheduler.place(request, signal, config.chunkedPrefill ? piece : null),
    prefill: (turn, backend, protocol, share, signal) => {
      prewarmTurns.pieceBegins(turn, backend)
      const { tenant, session } = turn
      const { fields } = retentionHints(backend, { tenant, sessionId: session.id, priority: priorityOf(turn.body) })
      return prefillPrompt({ ...turn, body: { ...turn.body, ...fields } }, share, { backend, protocol, signal }, dispatchPorts)
    },
    release: (decision) => scheduler.release(decision),
    begin: (decision, choice, request, turn) => {
      if (request.chain.length > 0)
        cacheReports.observed(choice.backend.index, request.tenant, request.sessionId, 'record')
      prewarmTurns.begins(turn, request, choice)
      const arrived = exact.dispatching(request.chain, choice.backend)
      return prewarmTurns.watched(exact.watch(scheduler.begin(decision, choice, request), arrived))
    },
    load,
    dispatch: dispatchPorts,
    newResource,
    diagnose: async (turn, receipt) => {
      const id = comparisonId(turn)
      return id === null ? null : diagnoseCache(turn, await store.getResponse(turn.tenant, id), receipt)
    },
    prefixChange: (turn) => lastTurns.changeOf(turn),
    save: (save) => store.saveResponse(save),
    remember: (turn, output, storedId, backend, request) => {
      sessions.rememberHome(turn.session.id, backend.id)
      const chain = rememberTurn(
        turn,
        output,
        storedId === null ? null : { id: storedId, outputIds: output.map((item) => item.id) },
        resolvePorts,
      )
      sessionChains.remember({ tenant: turn.tenant, sessionId: turn.session.id, model: turn.model, chain })
      prewarmTurns.ended(turn, output, chain, request, backend)
      lastTurns.remember(turn, chain, output.some(({ type }) => type === 'reasoning'))
      exact.remembered(turn, output, chain)
      return chain
    },
    learn: (outcome, turn) => {
      try {
        charactersPerToken.observe(outcome)
        const finding = scheduler.observe(outcome)
        exact.learn(outcome)
        eventsWatch.look()
        if (outcome.ttftMs !== null)
          cacheReports.observed(outcome.backend.index, outcome.tenant, outcome.sessionId, 'answer')
        return { prewarmed: prewarmTurns.settled(outcome, turn), finding }
      } catch (error) {
        metrics.fallback('learning_failed')
        log.error({ err: error }, 'learning from an answer failed')
        return { prewarmed: false, finding: null }
      }
    },
    receipts,
    observe: (turn, receipt) => {
      metrics.turn(receipt)
      log.info({ turn: logLine(turn.tenant, receipt) }, 'turn')
    },
    newId,
    wallMs,
    nowMs,
    streamCommitAfterMs: config.streamCommitAfterMs,
  }

  // http
  let closing = false
  const limits = { maxItems: config.limits.items, maxDepth: config.limits.depth }
  const router = new Router<Handler>()
  turnRoutes(router, { serve: (turn, sink) => serveTurn(turn, sink, stages), limits })
  passthroughRoutes(router, {
    maxDepth: limits.maxDepth,
    forward: (endpoint, model, body, call) =>
      forward({ endpoint, model, body, tenant: call.caller.tenant, requestId: call.requestId }, call.sink, {
        rank: (request) => scheduler.rank(request),
        charge: stages.charge,
        begin: (decision, choice, request) => {
          prewarmer.turnBegins(request.sessionId, choice.backend.index)
          return prewarmTurns.watched(scheduler.begin(decision, choice, request))
        },
        dispatch: dispatchPorts,
        emptyChain: (tenant, name) => PrefixChain.root(tenant, name),
      }),
  })
  storedRoutes(router, {
    store,
    wallMs,
    maxDepth: limits.maxDepth,
    identify: (tenant, items) => identifyItems(tenant, items, { items: [], itemIds: [] }, resolvePorts),
    forgetLineage: (tenant, id) => lineages.delete(tenant, id),
    newConversationId: () => newId('conv'),
  })
  let firstProbeDone = false
  fleetRoutes(router, {
    backends: () => registry.list(),
    version: options.version,
    startedAtSeconds: Math.floor(wallMs() / 1000),
    notReady: () =>
      missingForReady(registry.list(), firstProbeDone || nowMs() - startedMs > FIRST_PROBE_PATIENCE_MS, closing),
    metrics: () => metrics.page(),
  })
  const affinity = createAffinityRouter({
    resolve: stages.resolve,
    request: stages.schedulingRequest,
    fingerprint: fingerprints.look,
    rank: (request, backends) => scheduler.rank(request, backends),
    registerCacheState: (backendId, sessionId, metadata) =>
      void cacheReports.apply(cacheReports.check(backendId, sessionId, metadata)),
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
      return receipt === null ? null : { ...receipt, forecast: forecastOf(conversationKey(tenant, receipt.session.id)) }
    },
    affinity: (turn) => affinity.scoresOf(turn),
    fingerprint: (turn) => affinity.fingerprintOf(turn),
  })

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
  for (const backend of config.backends) {
    const added = registry.add(backend)
    if ('problem' in added) throw new Error(added.problem)
  }

  const server = createDoor({
    router,
    tenants: new Tenants({
      tenants: config.tenants,
      adminKeys: config.admin.keys,
      loopback: isLoopback(config.listen.host),
    }),
    limits: tenantLimits,
    bodyLimitBytes: config.limits.bodyBytes,
    newRequestId: () => newId('req'),
    wallMs,
    nowMs,
    observe: (route, status, seconds) => metrics.request(route, status, seconds),
    onBug: (requestId, error) => log.error({ request_id: requestId, err: error }, 'unexpected failure'),
    closing: () => closing,
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(config.listen.port, config.listen.host, () => resolve())
  }).catch(async (error: unknown) => {
    await store.close()
    throw error
  })
  registry.start()
  metricsProbe.start()
  void registry.firstProbeDone.then(() => {
    firstProbeDone = true
  })
  void warmStart(
    {
      store,
      chains,
      backend: (id) => registry.get(id),
      insert: (chain, backend) => index.insert(chain, backend.index),
      rememberSession: (chain, { tenant, sessionId, model }, backendId) => {
        sessions.remember(chain, sessionId)
        sessions.rememberHome(sessionId, backendId)
        sessionChains.remember({ tenant, sessionId, model, chain })
      },
      yield: () => new Promise((resolve) => setImmediate(resolve)),
    },
    BOUNDS.warmStartResponses,
  ).then(
    (restored) => log.debug({ restored }, 'block index rebuilt from the store'),
    (error: unknown) => {
      metrics.fallback('warm_start_failed')
      log.error({ err: error }, 'rebuilding the block index from the store failed')
    },
  )
  const sweep = setInterval(() => {
    store.sweep(wallMs()).catch((error: unknown) => log.error({ err: error }, 'sweeping the store failed'))
  }, SWEEP_EVERY_MS).unref()
  const lookAtEvents = setInterval(() => eventsWatch.look(), LOOK_EVERY_MS).unref()

  const end = async (): Promise<void> => {
    clearInterval(sweep)
    clearInterval(lookAtEvents)
    clearInterval(flushLog)
    prewarmer.close()
    registry.close()
    metricsProbe.close()
    await Promise.all([connections.close(), probeConnections.close(), events.close()])
    await store.close()
    logSink.flushSync()
  }
  const { address, port, family } = server.address() as AddressInfo
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    fleet: registry,
    affinity,
    close: async (graceMs) => {
      closing = true
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeIdleConnections()
      const cut = setTimeout(() => server.closeAllConnections(), graceMs)
      const idle = setInterval(() => server.closeIdleConnections(), 200)
      await closed
      clearTimeout(cut)
      clearInterval(idle)
      await end()
    },
    abort: () => {
      closing = true
      server.close()
      server.closeAllConnections()
      logSink.flushSync()
    },
  }
}

/** Engines that are usually run by whoever uses them: nobody pays for their idle time by the token. */
const SELF_HOSTED: ReadonlySet<Engine> = new Set<Engine>(['vllm', 'sglang', 'llamacpp', 'homing-sim'])

/** Tokens a minute that may be computed ahead there; null: none. */
const prewarmAllowance = ({ engine, config: { prewarm } }: Backend): number | null =>
  (prewarm?.enabled ?? SELF_HOSTED.has(engine))
    ? (prewarm?.tokensPerMinute ?? BACKEND_DEFAULTS.prewarmTokensPerMinute)
    : null

function rankOrNull(scheduler: Scheduler, request: SchedulingRequest): Decision | null {
  try {
    return scheduler.rank(request)
  } catch (error) {
    if (error instanceof HomingError) return null
    throw error
  }
}

async function openStore(config: Config, wallMs: () => number): Promise<ResponseStore> {
  const retention = { maxAgeMs: config.store.retentionMs ?? Infinity, maxBytes: config.store.maxBytes }
  if (config.store.path === null) return new MemoryStore({ nowMs: wallMs, retention })
  const { path, synchronous } = config.store
  return openSqliteStore({ directory: path, nowMs: wallMs, retention, synchronous })
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

function missingForReady(backends: readonly Backend[], probed: boolean, closing: boolean): string[] {
  const missing: string[] = []
  if (closing) missing.push('the gateway is shutting down')
  if (!probed) missing.push('not every backend has been probed yet')
  if (backends.length === 0) missing.push('no backend is configured')
  else if (!backends.some((backend) => backend.healthy && !backend.draining && backend.models.size > 0))
    missing.push('no backend is usable')
  return missing
}

const prefixed = (prefix: string, counts: object): Record<string, number> =>
  Object.fromEntries(Object.entries(counts).map(([name, value]) => [`${prefix}${name}`, Number(value)]))

/** What a client called its session may name a person: only that two are the same is told. */
const sessionName = ({ id, source }: Receipt['session']): string =>
  source === 'header' || source === 'agent'
    ? `${source}:${createHash('sha256').update(id).digest('hex').slice(0, 16)}`
    : id

/** What operators read; ids and numbers only. */
function logLine(tenant: string, receipt: Receipt): object {
  return {
    id: receipt.id,
    request_id: receipt.requestId,
    tenant,
    endpoint: receipt.endpoint,
    model: receipt.model,
    session: sessionName(receipt.session),
    session_source: receipt.session.source,
    backend: receipt.backendId,
    reason: receipt.reason,
    cache: receipt.cache.why,
    missed_tokens: receipt.cache.missedTokens ?? undefined,
    outcome: receipt.outcome,
    trouble: receipt.trouble ?? undefined,
    prompt_tokens: receipt.promptTokens.actual,
    cached_tokens: receipt.cachedTokens.actual,
    expected_cached_tokens: receipt.cachedTokens.expected,
    output_tokens: receipt.outputTokens,
    ttft_ms: receipt.ttftMs,
    total_ms: receipt.totalMs,
    queued_ms: receipt.queuedMs,
    decide_us: Math.round(receipt.decideMicroseconds),
    failovers: receipt.failovers.length === 0 ? undefined : receipt.failovers,
  }
}
