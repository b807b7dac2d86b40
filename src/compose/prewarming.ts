/** Prefixes computed ahead: what would be wanted, where there is room for it, and what it is sent with. */
import type { Logger } from 'pino'
import { BACKEND_DEFAULTS, type Config } from '../config.ts'
import { systemAfter } from '../fleet/timers.ts'
import { canonicalItem } from '../kv/canonical.ts'
import { PrefixGroups } from '../kv/prefix-groups.ts'
import type { CharactersPerToken } from '../learn/characters-per-token.ts'
import type { LatencyModel } from '../learn/latency.ts'
import type { Backend, Engine } from '../model/backend.ts'
import { Cancellation } from '../model/cancellation.ts'
import type { Decision, SchedulingRequest } from '../model/decision.ts'
import { HomingError } from '../model/error.ts'
import { PrewarmTurns } from '../prewarm-turns.ts'
import type { Scheduler } from '../schedule/scheduler.ts'
import type { Stages } from '../stages.ts'
import { prefill } from '../upstream/prefill.ts'
import { PrewarmAccount } from '../upstream/prewarm-account.ts'
import { Foresight } from '../upstream/prewarm-foresight.ts'
import { prewarmRequest, type PrewarmPrompt } from '../upstream/prewarm-request.ts'
import { Prewarmer } from '../upstream/prewarm.ts'
import { PREWARM_PRIORITY, retentionHints } from '../upstream/retention-hints.ts'
import type { CacheKnowledge } from './cache.ts'
import type { Fleet } from './fleet.ts'

/** Bounds that are not in the configuration (`memory`). */
const BOUNDS = {
  foreseenConversations: 2000,
  prefixGroups: 512,
  foreseenCharacters: 32 * 2 ** 20,
}

export type PrewarmingParts = {
  readonly tenants: Config['tenants']
  readonly fleet: Fleet
  readonly cache: CacheKnowledge
  readonly scheduler: Scheduler
  readonly latency: LatencyModel
  readonly charactersPerToken: CharactersPerToken
  readonly dispatchPorts: Stages['dispatch']
  readonly newRequestId: () => string
  readonly nowMs: () => number
  readonly wallMs: () => number
  readonly log: Logger
  readonly fallback: (what: string) => void
}

export type Prewarming = ReturnType<typeof buildPrewarming>

export function buildPrewarming(parts: PrewarmingParts) {
  const { tenants, scheduler, latency, charactersPerToken, dispatchPorts, newRequestId, nowMs, wallMs, log, fallback } = parts
  const { registry, ledger } = parts.fleet
  const { index, pressure } = parts.cache
  const unwarmedTenants = new Set(tenants.filter((tenant) => !tenant.prewarm).map((tenant) => tenant.id))
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
          fallback('prewarm_failed')
          log.error({ err: error }, 'rendering what is to be computed ahead failed')
          return null
        }
        if (asked === null) return null
        const signal = new Cancellation()
        const hinted = { tenant: request.tenant, sessionId: request.sessionId, priority: PREWARM_PRIORITY }
        const { fields, headers } = retentionHints(backend, hinted)
        const body = { ...asked.body, ...fields }
        void prefill({ ...asked, body, backend, requestId: newRequestId(), signal, headers }, dispatchPorts).then((result) => {
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
      gaps: pressure.gaps,
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
  return { prewarmAccount, prewarmer, foresight, prefixGroups, prewarmTurns }
}

/** Engines that are usually run by whoever uses them: nobody pays for their idle time by the token. */
const SELF_HOSTED: ReadonlySet<Engine> = new Set<Engine>(['vllm', 'sglang', 'llamacpp', 'homing-sim'])

/** Tokens a minute that may be computed ahead there; null: none. */
export const prewarmAllowance = ({ engine, config: { prewarm } }: Backend): number | null =>
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
