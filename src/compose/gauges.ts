/** What metrics read when they are scraped: sizes, evictions and states of everything that is held. */
import { tenantCounters, waitingTurns } from '../admission-totals.ts'
import { cacheReportCounter, prewarmCounters } from '../cache-totals.ts'
import type { ResponseStore } from '../conversation/response-store.ts'
import type { TenantLimits } from '../http/tenant-limits.ts'
import type { Expectations, QuantityName } from '../learn/expectations.ts'
import type { Escalations } from '../learn/escalations.ts'
import type { LatencyModel } from '../learn/latency.ts'
import type { OutputLength } from '../learn/output-length.ts'
import type { Gauges } from '../metrics.ts'
import type { ReceiptBook } from '../receipt-book.ts'
import type { Scheduler } from '../schedule/scheduler.ts'
import type { CacheKnowledge } from './cache.ts'
import type { Conversations } from './conversations.ts'
import type { IdleQueue } from '../idle-queue.ts'
import type { Fingerprints } from './fingerprints.ts'
import type { Fleet } from './fleet.ts'
import type { ExactKnowledge, KvEvents } from './kv-events.ts'
import type { OutcomeLearning } from './outcomes.ts'
import type { Prewarming } from './prewarming.ts'
import type { ImplicitSignals } from './signals.ts'
import type { Specialisation } from './specialisation.ts'

export type GaugeParts = {
  readonly escalations: Escalations
  readonly fleet: Fleet
  readonly cache: CacheKnowledge
  readonly kvEvents: KvEvents
  readonly exactness: ExactKnowledge
  readonly scheduler: Scheduler
  readonly conversations: Conversations
  readonly fingerprints: Fingerprints
  readonly idle: IdleQueue
  readonly specialisation: Specialisation
  readonly signals: ImplicitSignals
  readonly store: ResponseStore
  readonly receipts: ReceiptBook
  readonly outcomes: OutcomeLearning
  readonly latency: LatencyModel
  readonly outputLength: OutputLength
  readonly expectations: Expectations
  readonly tenantLimits: TenantLimits
  /** Built after the metrics that it is counted in. */
  readonly prewarming: () => Prewarming
}

export function gaugesOf(parts: GaugeParts): Gauges {
  const { store, receipts, scheduler, latency, outputLength, expectations, tenantLimits, prewarming } = parts
  const { registry, ledger, others } = parts.fleet
  const { index, pressure, calibration, cacheReports } = parts.cache
  const { anchors, residency, eventsWatch } = parts.kvEvents
  const { tokenSource } = parts.exactness
  const { lineages, sessions, sessionChains, lastTurns } = parts.conversations
  return {
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
      ...parts.outcomes.counters,
      ...parts.signals.counters,
      ...parts.specialisation.counters,
      {
        name: 'homing_escalations_weighed_total',
        help: 'Answers of a cascade without a set threshold, by whether asking the next model was thought to pay.',
        labelNames: ['decision'],
        read: () => Object.entries(parts.escalations.counts).map(([decision, value]) => ({ labels: { decision }, value })),
      },
      ...prewarmCounters({ rules: () => prewarming().prewarmAccount.rules, counts: () => prewarming().prewarmer.counts }),
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
    expectations: () => [
      ...expectations.errors().flatMap(({ quantity, prior, learned, mean, belowP90 }) => [
        { quantity: WORDS[quantity], predictor: 'prior', error: prior, belowP90: quantity === 'outputTokens' ? belowP90 : null },
        { quantity: WORDS[quantity], predictor: 'learned', error: learned, belowP90: null },
        { quantity: WORDS[quantity], predictor: 'mean', error: mean, belowP90: null },
      ]),
      // the guess of the content that a session without answers of its own begins with, and what it has to beat
      ...Object.entries(outputLength.errors ?? {}).map(([predictor, error]) => ({ quantity: 'answer_length', predictor, error, belowP90: null })),
    ],
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
    signalRates: parts.signals.rates,
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
        fingerprints: parts.fingerprints.size(),
        embeddings: parts.fingerprints.embeddings().size,
        ...expectations.sizes,
        session_chains: sessionChains.size,
        session_chain_bytes: sessionChains.bytes,
        cache_observations: cacheReports.size,
        foreseen_conversations: prewarming().foresight.size,
        foreseen_characters: prewarming().foresight.characters,
        prewarm_wishes: prewarming().prewarmer.wishes,
        prefix_groups: prewarming().prefixGroups.size,
        receipts: receipts.size,
        escalation_cells: parts.escalations.size,
        expertise_tenants: parts.specialisation.expertise.tenants.length,
        gradable_answers: parts.outcomes.book.size,
        gradable_answer_bytes: parts.outcomes.book.bytes,
        token_anchors: anchors.size,
        token_anchor_bytes: anchors.bytes,
        ...prefixed('implicit_', parts.signals.sizes()),
        turns_waiting: scheduler.waiting.turns,
        turns_waiting_oldest_ms: scheduler.waiting.oldestMs,
      }
    },
    pieces: () => scheduler.pieces,
    prewarmRules: () => Object.entries(prewarming().prewarmAccount.rules).map(([rule, { on }]) => ({ rule, on })),
    evictions: () => ({
      lineages_size: lineages.evictions.size,
      sessions_size: sessions.evictions.size,
      idle_tasks_size: parts.idle.dropped,
      fingerprints_size: parts.fingerprints.counts()['evicted'] ?? 0,
      embeddings_size: parts.fingerprints.embeddings().evicted,
      entity_values_size: parts.fingerprints.counts()['valuesEvicted'] ?? 0,
      ...expectations.evictions,
      session_chains_size: sessionChains.evictions.size,
      cache_observations_size: cacheReports.evicted,
      foreseen_conversations_size: prewarming().foresight.evicted,
      prefix_groups_size: prewarming().prefixGroups.evicted,
      last_turns_size: lastTurns.evictions.size,
      expertise_tenants: parts.specialisation.expertise.counts.evictedTenants,
      expertise_models: parts.specialisation.expertise.counts.evictedModels,
      expertise_labels: parts.specialisation.expertise.overflowedLabels,
      ...prefixed('residences_', pressure.evictions),
      receipts_size: receipts.evictions.size,
      escalation_cells_size: parts.escalations.evictions.size,
      ...prefixed('gradable_answers_', parts.outcomes.book.evictions),
      token_anchors_size: anchors.evictions.size,
      output_length_size: outputLength.evicted,
      ...prefixed('implicit_', parts.signals.evictions()),
      ...prefixed('ledger_', ledger.lost),
      ...prefixed('block_index_', index.stats.removed),
      ...prefixed('store_expired_', store.stats().evicted.expired),
      ...prefixed('store_size_', store.stats().evicted.size),
    }),
  }
}

const WORDS: Readonly<Record<QuantityName, string>> = {
  complexity: 'complexity',
  outputTokens: 'output_tokens',
  remainingTurns: 'remaining_turns',
  returnGap: 'return_gap',
}

const prefixed = (prefix: string, counts: object): Record<string, number> =>
  Object.fromEntries(Object.entries(counts).map(([name, value]) => [`${prefix}${name}`, Number(value)]))
