/** The stages of a turn as `serve-turn.ts` calls them, on the rooms that are built. */
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import { comparisonId, diagnoseCache } from '../conversation/cache-diagnostics.ts'
import { rememberTurn, resolveTurn } from '../conversation/resolve.ts'
import type { ResponseStore } from '../conversation/response-store.ts'
import type { TenantLimits, TokenCounts } from '../http/tenant-limits.ts'
import type { CharactersPerToken } from '../learn/characters-per-token.ts'
import type { Expectations } from '../learn/expectations.ts'
import type { ServedCentres } from '../learn/served-centres.ts'
import type { Metrics } from '../metrics.ts'
import type { SchedulingRequest } from '../model/decision.ts'
import type { ReceiptBook } from '../receipt-book.ts'
import type { Scheduler } from '../schedule/scheduler.ts'
import { estimateRequest, priorityOf } from '../scheduling-request.ts'
import type { Stages } from '../stages.ts'
import { prefillPrompt } from '../upstream/prefill.ts'
import { retentionHints } from '../upstream/retention-hints.ts'
import { newResource } from '../wire/response-resource.ts'
import type { CacheKnowledge } from './cache.ts'
import type { Conversations } from './conversations.ts'
import type { IdleQueue } from '../idle-queue.ts'
import type { Fingerprints } from './fingerprints.ts'
import type { Fleet } from './fleet.ts'
import type { ExactKnowledge, KvEvents } from './kv-events.ts'
import { logLine } from './log.ts'
import type { OutcomeLearning } from './outcomes.ts'
import type { Prewarming } from './prewarming.ts'
import type { ImplicitSignals } from './signals.ts'
import type { Specialisation } from './specialisation.ts'

export type StageParts = {
  readonly asking: Stages['asking']
  readonly config: Pick<Config, 'chunkedPrefill' | 'streamCommitAfterMs'>
  readonly fleet: Fleet
  readonly cache: CacheKnowledge
  readonly kvEvents: KvEvents
  readonly exactness: ExactKnowledge
  readonly prewarming: Prewarming
  readonly conversations: Conversations
  readonly scheduler: Scheduler
  readonly store: ResponseStore
  readonly receipts: ReceiptBook
  readonly outcomes: OutcomeLearning
  readonly charactersPerToken: CharactersPerToken
  readonly fingerprints: Fingerprints
  readonly specialisation: Specialisation
  readonly servedCentres: ServedCentres
  readonly expectations: Expectations
  readonly idle: IdleQueue
  readonly signals: ImplicitSignals
  readonly tenantLimits: TenantLimits
  readonly dispatchPorts: Stages['dispatch']
  readonly metrics: Metrics
  readonly log: Logger
  readonly answerIds: Stages['answerIds']
  readonly newId: Stages['newId']
  readonly nowMs: () => number
  readonly wallMs: () => number
}

export function buildStages(parts: StageParts): Stages {
  const { config, scheduler, store, receipts, charactersPerToken, specialisation, tenantLimits, dispatchPorts, metrics, log } = parts
  const { newId, nowMs, wallMs } = parts
  const { load } = parts.fleet
  const { cacheReports } = parts.cache
  const { anchors, eventsWatch } = parts.kvEvents
  const { exact } = parts.exactness
  const { prewarmTurns } = parts.prewarming
  const { lineages, sessions, sessionChains, lastTurns, resolvePorts } = parts.conversations
  const expectedTokens = (request: SchedulingRequest): TokenCounts => {
    const { ranked, promptTokens, expectedOutputTokens } = scheduler.rank(request)
    return { promptTokens, cachedTokens: ranked[0]!.expectedCachedTokens, outputTokens: expectedOutputTokens }
  }
  return {
    resolve: (turn) => resolveTurn(turn, resolvePorts),
    fingerprint: parts.fingerprints.add,
    whenIdle: parts.idle.run,
    schedulingRequest: (turn, look) => {
      const choice = specialisation.choiceFor(turn, look)
      return estimateRequest(
        turn,
        charactersPerToken.ratio(choice?.incumbent ?? choice?.options[0]!.model ?? turn.model),
        sessions.homeOf(turn.tenant, turn.session.id),
        anchors.find(turn.chain),
        turn.parent !== null && (lineages.get(turn.tenant, turn.parent.id)?.headKey ?? turn.headKey) !== turn.headKey,
        choice,
      )
    },
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
    remember: (asked, { turn, request }, output, storedId, backend) => {
      sessions.rememberHome(turn.tenant, turn.session.id, backend.id)
      const extended = rememberTurn(
        asked,
        output,
        storedId === null ? null : { id: storedId, outputIds: output.map((item) => item.id) },
        resolvePorts,
      )
      const chain = extended.forModel(turn.model)
      sessionChains.remember({ tenant: turn.tenant, sessionId: turn.session.id, model: turn.model, chain })
      prewarmTurns.ended(turn, output, chain, request, backend)
      lastTurns.remember(turn, chain, output.some(({ type }) => type === 'reasoning'))
      exact.remembered(turn, output, chain)
      return chain
    },
    learn: (outcome, turn, answer) => {
      try {
        if (answer !== null) parts.signals.notice(outcome, turn, answer)
        charactersPerToken.observe(outcome)
        parts.expectations.answered(outcome)
        const finding = scheduler.observe(outcome)
        if (turn.subject?.embedding !== undefined) parts.servedCentres.served(outcome.backend.index, turn.subject.embedding)
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
    asking: parts.asking,
    receipts: {
      put: (turn, receipt) => {
        receipts.put(turn.tenant, receipt)
        parts.outcomes.answered(turn, receipt)
      },
    },
    observe: (turn, receipt) => {
      metrics.turn(receipt)
      log.info({ turn: logLine(turn.tenant, receipt) }, 'turn')
    },
    answerIds: parts.answerIds,
    newId,
    wallMs,
    nowMs,
    streamCommitAfterMs: config.streamCommitAfterMs,
  }
}
