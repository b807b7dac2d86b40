/** The receipt of a turn, and its short form in the response headers. Neither holds text of the conversation. */
import type { Protocol } from './model/backend.ts'
import type { Decision, RankedBackend } from './model/decision.ts'
import type { Receipt } from './model/receipt.ts'
import type { ResolvedTurn, Turn } from './model/turn.ts'
import type { Failover } from './upstream/dispatch.ts'
import type { Relay } from './upstream/relay.ts'

/** At most so many candidates are kept: with 200 backends a receipt stays a few kilobytes. */
const KEPT_CANDIDATES = 16

export function openReceipt(turn: ResolvedTurn, decision: Decision, id: string, createdAtMs: number): Receipt {
  const first = decision.ranked[0]!
  return {
    id,
    requestId: turn.requestId,
    createdAtMs,
    endpoint: turn.endpoint,
    model: turn.model,
    session: turn.session,
    backendId: first.backend.id,
    servedModel: first.backend.models.get(turn.model)?.served ?? turn.model,
    protocol: 'chat',
    reason: decision.reason,
    promptTokens: { expected: Math.round(decision.promptTokens), actual: null },
    cachedTokens: { expected: Math.round(first.expectedCachedTokens), actual: null },
    outputTokens: null,
    ttftMs: null,
    totalMs: null,
    queuedMs: decision.queuedMs,
    decideMicroseconds: decision.decideMicroseconds,
    candidates: decision.ranked.slice(0, KEPT_CANDIDATES).map(({ backend, ...costs }) => ({ backendId: backend.id, ...costs })),
    filteredOut: decision.filteredOut.slice(0, KEPT_CANDIDATES),
    failovers: [],
    omitted: [],
    outcome: 'in_progress',
    trouble: null,
  }
}

type Ending = {
  readonly choice: RankedBackend | null
  readonly protocol: Protocol | null
  readonly failovers: readonly Failover[]
  readonly relay: Relay
  readonly status: Receipt['outcome']
  readonly timing: { readonly dispatchedAtMs: number; readonly firstOutputAtMs: number | null; readonly lastOutputAtMs: number | null } | null
}

export function completeReceipt(open: Receipt, ending: Ending): Receipt {
  const { choice, relay, timing } = ending
  const usage = relay.usage
  return {
    ...open,
    ...(choice === null ? {} : { backendId: choice.backend.id, servedModel: choice.backend.models.get(open.model)?.served ?? open.model }),
    protocol: ending.protocol ?? open.protocol,
    promptTokens: { ...open.promptTokens, actual: usage?.promptTokens ?? null },
    cachedTokens: { expected: Math.round(choice?.expectedCachedTokens ?? open.cachedTokens.expected), actual: usage?.cachedTokens ?? null },
    outputTokens: usage?.outputTokens ?? relay.outputTokens,
    ttftMs: timing === null || timing.firstOutputAtMs === null ? null : round(timing.firstOutputAtMs - timing.dispatchedAtMs),
    totalMs: timing === null || timing.lastOutputAtMs === null ? null : round(timing.lastOutputAtMs - timing.dispatchedAtMs),
    failovers: ending.failovers,
    omitted: relay.omitted,
    outcome: ending.status,
    trouble: relay.ended?.trouble ?? null,
  }
}

/** `choice` null: no backend has answered yet (the stream had to be opened early). */
export function decisionHeaders(turn: Turn, decision: Decision, choice: RankedBackend | null): Record<string, string> {
  return {
    'x-homing-backend': choice?.backend.id ?? 'pending',
    'x-homing-model': choice?.backend.models.get(turn.model)?.served ?? turn.model,
    'x-homing-reason': decision.reason,
    'x-homing-expected-cached-tokens': String(Math.round(choice?.expectedCachedTokens ?? decision.ranked[0]!.expectedCachedTokens)),
    ...(decision.queuedMs > 0 ? { 'x-homing-queued-ms': String(Math.round(decision.queuedMs)) } : {}),
  }
}

const round = (value: number): number => Math.round(value * 10) / 10
