/** The receipt of a turn, and its short form in the response headers. Neither holds text of the conversation. */
import { accountOf, type CacheEvidence } from './cache-account.ts'
import type { Protocol } from './model/backend.ts'
import type { ConsideredModel, Decision, RankedBackend } from './model/decision.ts'
import type { Receipt } from './model/receipt.ts'
import type { ResolvedTurn, Turn } from './model/turn.ts'
import type { Failover } from './upstream/dispatch.ts'
import type { Relay } from './upstream/relay.ts'

/** At most so many candidates are kept: with 200 backends a receipt stays a few kilobytes. */
const KEPT_CANDIDATES = 16

export type Ending = {
  /** Null: no backend answered. */
  readonly choice: RankedBackend | null
  readonly protocol: Protocol | null
  readonly failovers: readonly Failover[]
  readonly relay: Relay
  readonly status: Receipt['outcome']
  readonly prewarmed?: boolean
  /** How the prefix relates to the session's last turn. */
  readonly change: CacheEvidence['change']
  /** What the answer showed of the cache; null without an answer. */
  readonly finding: CacheEvidence['finding']
  /** What the turn before left, and where. */
  readonly left: { readonly tokens: number; readonly backendId: string | null }
  readonly timing: {
    readonly dispatchedAtMs: number
    readonly firstOutputAtMs: number | null
    readonly lastOutputAtMs: number | null
  } | null
}

/** Written once, when the turn has ended. Plain literals: a spread of twenty fields costs ten microseconds. */
export function writeReceipt(
  turn: ResolvedTurn,
  decision: Decision,
  id: string,
  createdAtMs: number,
  ending: Ending,
): Receipt {
  const { relay, timing } = ending
  const { usage } = relay
  const choice = ending.choice ?? decision.ranked[0]!
  const prepared = choice === decision.ranked[0] ? decision.prepared : undefined
  const found = usage?.cachedTokens ?? null
  const first = timing?.firstOutputAtMs ?? null
  const last = timing?.lastOutputAtMs ?? null
  return {
    id,
    requestId: turn.requestId,
    createdAtMs,
    endpoint: turn.endpoint,
    model: choice.model,
    ...(decision.considered === undefined ? {} : { group: { name: turn.model, incumbent: decision.considered.incumbent, considered: decision.considered.models.map(consideredOf) } }),
    session: turn.session,
    backendId: choice.backend.id,
    servedModel: choice.backend.models.get(choice.model)?.served ?? choice.model,
    protocol: ending.protocol ?? 'chat',
    reason: decision.reason,
    ...(decision.policy === undefined ? {} : { policy: decision.policy }),
    promptTokens: { expected: Math.round(decision.promptTokens), actual: usage?.promptTokens ?? null },
    cachedTokens: {
      expected: Math.round(expectedCached(decision, choice)),
      actual: found === null ? null : Math.round(Math.min(found, prepared?.foundTokens ?? Infinity)),
    },
    ...(prepared === undefined
      ? {}
      : { prepared: { tokens: Math.round(prepared.tokens), pieces: prepared.pieces, ms: round(prepared.ms) } }),
    ...(ending.prewarmed === true ? { prewarmed: true } : {}),
    cache:
      ending.finding === null
        ? UNANSWERED
        : accountOf({
            decision,
            choice,
            leftTokens: ending.left.tokens,
            homeBackendId: ending.left.backendId,
            change: ending.change,
            finding: ending.finding,
            promptTokens: usage?.promptTokens ?? null,
            cachedTokens: usage?.cachedTokens ?? null,
            failedOver: ending.failovers.length > 0,
          }),
    outputTokens: usage?.outputTokens ?? relay.outputTokens,
    ...(turn.fingerprint === undefined ? {} : { fingerprint: turn.fingerprint }),
    ttftMs: first === null ? null : round(first - timing!.dispatchedAtMs),
    totalMs: last === null ? null : round(last - timing!.dispatchedAtMs),
    queuedMs: round(decision.queuedMs),
    ...(decision.ceilingAt === undefined ? {} : { ceilingAt: decision.ceilingAt }),
    decideMicroseconds: Math.round(decision.decideMicroseconds),
    candidates: decision.ranked.slice(0, KEPT_CANDIDATES).map((ranked) => candidateOf(ranked, decision.considered !== undefined)),
    filteredOut: decision.filteredOut.length === 0 ? NOTHING : decision.filteredOut.slice(0, KEPT_CANDIDATES),
    failovers: ending.failovers,
    omitted: relay.omitted,
    outcome: ending.status,
    trouble: relay.ended?.trouble ?? null,
  }
}

const NOTHING: readonly never[] = []
const UNANSWERED: Receipt['cache'] = { why: 'unanswered', reusableTokens: 0, missedTokens: null, inferred: false }

/** Four digits of quality, milliseconds. A mean beyond 0..1 stays: the probabilities of the choice are computed from it. */
const consideredOf = ({ model, mean, deviation, observations, drawn, drawnShare, seconds }: ConsideredModel): ConsideredModel => ({
  model,
  mean: round4(mean),
  deviation: round4(deviation),
  observations: round(observations),
  drawn: round4(drawn),
  ...(drawnShare === undefined ? {} : { drawnShare: round4(drawnShare) }),
  seconds: seconds === null ? null : Math.round(1000 * seconds) / 1000,
})
const round4 = (value: number): number => Math.round(10_000 * value) / 10_000

const candidateOf = (ranked: RankedBackend, ofGroup: boolean): Receipt['candidates'][number] => ({
  backendId: ranked.backend.id,
  ...(ofGroup ? { model: ranked.model } : {}),
  ...(ranked.qualitySeconds === 0 ? {} : { qualitySeconds: ranked.qualitySeconds }),
  expectedCachedTokens: ranked.expectedCachedTokens,
  waitSeconds: ranked.waitSeconds,
  prefillSeconds: ranked.prefillSeconds,
  decodeSeconds: ranked.decodeSeconds,
  regretSeconds: ranked.regretSeconds,
  costSeconds: ranked.costSeconds,
})

/** `choice` null: no backend has answered yet, `decision` null: the turn still waits (the stream had to be opened early). */
export function decisionHeaders(
  turn: Turn,
  decision: Decision | null,
  choice: RankedBackend | null,
): Record<string, string> {
  if (decision === null) return { 'x-homing-backend': 'pending', 'x-homing-model': headerSafe(turn.model) }
  return {
    'x-homing-backend': choice?.backend.id ?? 'pending',
    'x-homing-model': headerSafe(modelName(turn, decision, choice)),
    'x-homing-reason': decision.reason,
    'x-homing-expected-cached-tokens': String(Math.round(expectedCached(decision, choice ?? decision.ranked[0]!))),
    ...(decision.prepared === undefined ? {} : { 'x-homing-prepared-tokens': String(Math.round(decision.prepared.tokens)) }),
    ...(decision.queuedMs > 0 ? { 'x-homing-queued-ms': String(Math.round(decision.queuedMs)) } : {}),
  }
}

/** What the engine calls it; where the client asked for a group, the name by which it may ask for this model itself. */
const modelName = (turn: Turn, { considered }: Decision, choice: RankedBackend | null): string => {
  if (choice === null) return turn.model
  return considered === undefined ? (choice.backend.models.get(turn.model)?.served ?? turn.model) : choice.model
}

/** What the turn was expected to find cached when it came. */
const expectedCached = (decision: Decision, choice: RankedBackend): number => {
  const prepared = choice === decision.ranked[0] ? decision.prepared : undefined
  return prepared?.expectedTokens ?? choice.expectedCachedTokens
}

/** Names of models may hold any letter; header values may not. */
const headerSafe = (name: string): string => (/^[\x21-\x7e]+$/.test(name) ? name : encodeURIComponent(name))

const round = (value: number): number => Math.round(value * 10) / 10
