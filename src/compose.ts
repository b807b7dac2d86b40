/**
 * The composition of the gateway, and the only place that constructs, with its folder: each file there wires one thing from
 * the rooms and is handed what it needs from here. It sees all rooms and owns nothing of the logic.
 * Read serve-turn.ts for what happens to a turn; read this for what it happens with.
 */
import { randomInt } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { createAffinityRouter } from './affinity.ts'
import { AnswerIds } from './answer-ids.ts'
import { buildAsking } from './compose/asking.ts'
import { followBackends } from './compose/backend-changes.ts'
import { buildCache } from './compose/cache.ts'
import { buildConversations, openStore, rebuildIndex } from './compose/conversations.ts'
import { addDashboard } from './compose/dashboard.ts'
import { buildEmbeddings } from './compose/embeddings.ts'
import { buildFingerprints, openFingerprinter } from './compose/fingerprints.ts'
import { buildFleet, missingForReady } from './compose/fleet.ts'
import { gaugesOf } from './compose/gauges.ts'
import { buildExactTurns, buildKvEvents } from './compose/kv-events.ts'
import { openLog } from './compose/log.ts'
import { addOperatorRoutes } from './compose/operator-access.ts'
import { buildOutcomes } from './compose/outcomes.ts'
import { buildPrewarming } from './compose/prewarming.ts'
import { buildRoutes } from './compose/routes.ts'
import { buildSignals } from './compose/signals.ts'
import { buildSnapshots } from './compose/snapshots.ts'
import { buildSpecialisation, checkTopics } from './compose/specialisation.ts'
import { buildStages } from './compose/stages.ts'
import type { Config } from './config.ts'
import { isLoopback } from './config/address.ts'
import { LOOK_EVERY_MS } from './events-watch.ts'
import { fingerprintAssetPath } from './fingerprint-asset.ts'
import type { BackendRegistry } from './fleet/registry.ts'
import { systemAfter } from './fleet/timers.ts'
import { expertiseRoutes } from './http/expertise-routes.ts'
import { createDoor } from './http/server.ts'
import { TenantLimits } from './http/tenant-limits.ts'
import { OPEN_TENANT, Tenants } from './http/tenants.ts'
import { IdleQueue } from './idle-queue.ts'
import { Ids } from './ids.ts'
import { CharactersPerToken } from './learn/characters-per-token.ts'
import { Escalations } from './learn/escalations.ts'
import { Expectations } from './learn/expectations.ts'
import { LatencyModel } from './learn/latency.ts'
import { LogprobsRefused } from './learn/logprobs-refused.ts'
import { OutputLength } from './learn/output-length.ts'
import { ServedCentres } from './learn/served-centres.ts'
import { Metrics } from './metrics.ts'
import type { SemanticAffinityRouter } from './model/affinity.ts'
import { ReceiptBook } from './receipt-book.ts'
import { createPolicy } from './schedule/policies/catalogue.ts'
import { Scheduler } from './schedule/scheduler.ts'
import type { SnapshotPart } from './snapshots.ts'
import type { Stages } from './stages.ts'
import { Connections } from './upstream/connections.ts'
import { SilenceWatch } from './upstream/silence-watch.ts'

/** The snapshot of what outcomes and operators say of models. */
const EXPERTISE = 'expertise'
const SWEEP_EVERY_MS = 10 * 60_000
/** /readyz does not wait longer than this for backends that do not answer their first probe. */
const FIRST_PROBE_PATIENCE_MS = 5000

export type Gateway = {
  readonly url: string
  /** The page for people; null where its files are not there. */
  readonly dashboardUrl: string | null
  /** The published interface, on the gateway's own state. */
  readonly affinity: SemanticAffinityRouter
  readonly fleet: BackendRegistry
  close(graceMs: number): Promise<void>
  abort(): void
}

/** What only the labels of the fingerprint can tell of a configuration. Throws what would refuse the start. */
export function checkLabels(config: Config): void {
  checkTopics(config, config.fingerprint === null ? [] : openFingerprinter(config.fingerprint, fingerprintAssetPath()).topics)
}

export async function startGateway(config: Config, options: { readonly version: string }): Promise<Gateway> {
  const nowMs = (): number => performance.now()
  const wallMs = (): number => Date.now()
  const startedMs = nowMs()
  const { log, logSink, flushLog } = openLog(config.log.level)
  const ids = new Ids(wallMs)
  const newId = (prefix: string): string => ids.next(prefix)
  const fallback = (what: string): void => metrics.fallback(what)

  // before the store is opened: a model or taxonomy that cannot be used refuses the start
  const idle = new IdleQueue()
  const embeddings = buildEmbeddings(config.fingerprint, {
    nowMs,
    fallback,
    told: (about, what) => log.info(about, what),
    warn: (error) => log.warn({ err: error }, 'no embedding came from the embeddings model'),
  })
  const expectations = new Expectations({
    wallMs,
    random: Math.random,
    returns: (kind) => pressure.gaps.expectedReturnMs(kind, 0) !== null,
  })
  const fingerprints = buildFingerprints(config.fingerprint, {
    modelPath: fingerprintAssetPath(),
    placedByContent: (model) => specialisation.isGroup(model),
    remote: embeddings?.remote ?? null,
    whenIdle: idle.run,
    nowMs,
    expectations,
    observe: (microseconds, partial) => metrics.fingerprint(microseconds / 1e6, partial),
    failed: (error) => {
      fallback('fingerprint_failed')
      log.error({ err: error }, 'a turn could not be fingerprinted')
    },
  })
  // which model answers
  const specialisation = buildSpecialisation({
    config,
    topics: fingerprints.topics,
    lastModel: (turn) => conversations.lastTurns.modelOf(turn),
    random: Math.random,
    wallMs,
  })
  const store = await openStore(config, wallMs)
  const signals = buildSignals({
    enabled: config.learning.implicitSignals,
    observe: (lesson) => specialisation.expertise.observe(lesson),
    compact: (subject) => specialisation.expertise.compact(subject),
    wallMs,
    salt: randomInt(2 ** 32),
    failed: (error) => {
      fallback('signals_failed')
      log.error({ err: error }, 'signs of an answer could not be learned from')
    },
  })

  // fleet
  const latency = new LatencyModel()
  const fleet = buildFleet({ latency, nowMs, onUnread: () => fallback('engine_metrics_unread') })
  const { registry, ledger, metricsProbe } = fleet

  // kv, learn, schedule
  const outputLength = new OutputLength()
  const escalations = new Escalations(Math.random)
  const charactersPerToken = new CharactersPerToken()
  const cache = buildCache({
    memory: config.memory,
    sessions: (name, tenant) => conversations.sessionChains.find(name, tenant),
    fleet, latency, charactersPerToken, nowMs, wallMs,
  })
  const { index, pressure, calibration, cacheReports } = cache
  const kvEvents = buildKvEvents({ fleet, index, latency, nowMs, log, fallback })
  const { events, residency, eventsWatch } = kvEvents
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
  const conversations = buildConversations({ memory: config.memory, store, newId })

  const servedCentres = new ServedCentres()

  const limitsOf = new Map(config.tenants.map((tenant) => [tenant.id, tenant.limits]))
  const tenantLimits = new TenantLimits((tenant) => limitsOf.get(tenant) ?? config.limits.tenant, nowMs)
  const exactness = buildExactTurns({ kvEvents, chains: conversations.chains, index, nowMs })

  // upstream
  const connections = new Connections()
  const watch = new SilenceWatch(nowMs)
  const receipts = new ReceiptBook(config.memory.receipts)
  const outcomes = await buildOutcomes({
    config, store, nowMs, wallMs, log, fallback,
    learner: {
      observe: (lesson) => {
        specialisation.expertise.observe(lesson)
        expectations.observe(lesson)
      },
    },
    compact: (subject) => specialisation.expertise.compact(subject),
    choiceOf: specialisation.choiceOf,
    graded: signals.outcome,
  }).catch(async (error: unknown) => {
    await store.close()
    throw error
  })
  const metrics = new Metrics(
    gaugesOf({
      fleet, cache, kvEvents, exactness, conversations, fingerprints, idle, signals, specialisation, scheduler, store, receipts, outcomes, latency, outputLength,
      expectations, escalations, tenantLimits,
      prewarming: () => prewarming,
    }),
  )
  const dispatchPorts: Stages['dispatch'] = {
    connections,
    watch,
    nowMs,
    report: (backend, result) => registry.report(backend, result),
  }

  // pre-warming
  const prewarming = buildPrewarming({
    tenants: config.tenants,
    newRequestId: () => ids.next('prewarm'),
    fleet, cache, scheduler, latency, charactersPerToken, dispatchPorts, nowMs, wallMs, log, fallback,
  })

  // what is learnt and outlives the process: each part is restored before the first turn
  const { expertise } = specialisation
  const snapshotParts: SnapshotPart[] = [
    signals.snapshot,
    ...fingerprints.snapshots,
    ...expectations.snapshots,
    outcomes.dated({ name: EXPERTISE, changed: specialisation.changed, save: () => expertise.snapshot(), restore: (bytes) => expertise.restore(bytes) }),
    escalations.snapshotPart,
  ]
  const snapshots = buildSnapshots({ parts: config.store.path === null ? [] : snapshotParts, store, log, fallback })

  const asking = buildAsking({
    config, fleet, conversations, fingerprints, escalations, signals, metrics, log, logprobs: new LogprobsRefused(), expertise,
  })
  const answerIds = new AnswerIds({
    isKnown: (tenant, id) => receipts.get(tenant, id) !== null || outcomes.book.has(tenant, id),
    newId: () => ids.next('chatcmpl').replace('_', '-'),
    replaced: fallback,
  })
  const stages = buildStages({
    asking, answerIds, config, fleet, cache, kvEvents, exactness, prewarming, conversations, scheduler, store, receipts, outcomes, charactersPerToken,
    fingerprints, specialisation, servedCentres, expectations, idle, signals, tenantLimits, dispatchPorts, metrics, log, newId, nowMs, wallMs,
  })

  // http
  let closing = false
  const limits = { maxItems: config.limits.items, maxDepth: config.limits.depth }
  let firstProbeDone = false
  const router = buildRoutes({
    stages, limits, groups: config.modelGroups, fleet, cache, prewarming, conversations, scheduler, store, outcomes, charactersPerToken, metrics, wallMs,
    version: options.version,
    notReady: () =>
      missingForReady(registry.list(), firstProbeDone || nowMs() - startedMs > FIRST_PROBE_PATIENCE_MS, closing),
    newConversationId: () => newId('conv'),
  })
  const affinity = createAffinityRouter({
    resolve: stages.resolve,
    request: (turn) => stages.schedulingRequest(turn, true),
    fingerprint: fingerprints.look,
    read: fingerprints.glance,
    likeness: (backend, embedding) => servedCentres.likeness(backend.index, embedding),
    rank: (request, backends) => scheduler.rank(request, backends),
    registerCacheState: (backendId, sessionId, metadata) =>
      void cacheReports.apply(cacheReports.check(backendId, sessionId, metadata)),
  })
  outcomes.addRoutes(router)
  expertiseRoutes(router, {
    expertise: specialisation.editable,
    tenants: config.tenants.length === 0 ? [OPEN_TENANT] : config.tenants.map(({ id }) => id),
    shared: config.learning.shareBetweenTenants,
    models: [...new Set(config.modelGroups.flatMap(({ models }) => models))],
    topics: fingerprints.topics,
    written: () => snapshots.writeNow(EXPERTISE),
  })
  const hasDashboard = addDashboard(router, log)
  addOperatorRoutes(router, {
    limits, fleet, cache, kvEvents, connections, receipts, store, affinity, nowMs,
    learnedFrom: (tenant, id) => ({ outcomes: outcomes.book.gradesOf(tenant, id), signs: signals.conclusion(tenant, id) }),
  })

  registry.onChange(({ kind, backend }) => {
    if (kind === 'removed') servedCentres.forget(backend.index)
    if (kind === 'described') specialisation.described(backend)
  })
  followBackends({ fleet, cache, kvEvents, exactness, prewarming, scheduler, metrics, log })
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
  await snapshots.start()
  outcomes.catchUp()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(config.listen.port, config.listen.host, () => resolve())
  }).catch(async (error: unknown) => {
    await snapshots.close()
    await store.close()
    throw error
  })
  registry.start()
  metricsProbe.start()
  void registry.firstProbeDone.then(() => {
    firstProbeDone = true
  })
  rebuildIndex({ store, fleet, cache, conversations, log, fallback })
  const sweep = setInterval(() => {
    store.sweep(wallMs()).catch((error: unknown) => log.error({ err: error }, 'sweeping the store failed'))
  }, SWEEP_EVERY_MS).unref()
  const lookAtEvents = setInterval(() => eventsWatch.look(), LOOK_EVERY_MS).unref()

  const end = async (): Promise<void> => {
    clearInterval(sweep)
    clearInterval(lookAtEvents)
    clearInterval(flushLog)
    signals.close()
    prewarming.prewarmer.close()
    registry.close()
    metricsProbe.close()
    await Promise.all([embeddings?.close(), connections.close(), fleet.probeConnections.close(), events.close(), outcomes.close()])
    await snapshots.close()
    await store.close()
    logSink.flushSync()
  }
  const { address, port, family } = server.address() as AddressInfo
  const url = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
  return {
    url,
    dashboardUrl: hasDashboard ? `${url}/homing/` : null,
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
      outcomes.flushSync()
      logSink.flushSync()
    },
  }
}
