/**
 * `computeAffinity`: the decision's costs as scores from 0 to 1. The gateway's own decision is the source, so sorting by
 * `combinedScore` is the order in which backends would be tried.
 */
import type { AffinityScore, CacheMetadata, SemanticAffinityRouter, SessionContext } from './model/affinity.ts'
import type { SemanticFingerprint } from './model/fingerprint.ts'
import type { Subject } from './model/quality.ts'
import type { Backend } from './model/backend.ts'
import type { Decision, SchedulingRequest } from './model/decision.ts'
import type { ResolvedTurn, Turn } from './model/turn.ts'

/** Expected waits are judged against this: the time to a first token that interactive users accept. */
const LATENCY_BUDGET_SECONDS = 2

export type AffinityPorts = {
  readonly resolve: (turn: Turn) => Promise<ResolvedTurn>
  readonly request: (turn: ResolvedTurn) => SchedulingRequest
  readonly fingerprint: (turn: ResolvedTurn) => Promise<SemanticFingerprint>
  /** Adds what the turn is about, where that can be read. */
  readonly read: (turn: ResolvedTurn) => ResolvedTurn
  /** 0..1 between what a backend served lately and a conversation; null where nothing is known. */
  readonly likeness: (backend: Backend, embedding: Float32Array) => number | null
  readonly rank: (request: SchedulingRequest, backends?: readonly Backend[]) => Decision
  /** Throws InvalidCacheState. */
  readonly registerCacheState: (backendId: string, sessionId: string, metadata: CacheMetadata) => void
}

export type AffinityRouter = SemanticAffinityRouter & {
  scoresOf(turn: Turn, backends?: readonly Backend[]): Promise<AffinityScore[]>
  fingerprintOf(turn: Turn): Promise<SemanticFingerprint>
}

export function createAffinityRouter(ports: AffinityPorts): AffinityRouter {
  const scoresOf = async (turn: Turn, backends?: readonly Backend[]): Promise<AffinityScore[]> => {
    const resolved = ports.read(await ports.resolve(turn))
    const decision = ports.rank(ports.request(resolved), backends)
    return scores(decision, semanticScores(decision, resolved.subject, ports.likeness))
  }
  const fingerprintOf = async (turn: Turn): Promise<SemanticFingerprint> => ports.fingerprint(await ports.resolve(turn))
  return {
    scoresOf,
    fingerprintOf,
    getFingerprint: (session) => fingerprintOf(turnOf(session)),
    computeAffinity: async (session, backends, options) => {
      options?.signal?.throwIfAborted()
      return scoresOf(turnOf(session), backends)
    },
    registerCacheState: (backendId, sessionId, metadata) => ports.registerCacheState(backendId, sessionId, metadata),
  }
}

/** Expected quality of each candidate's model; between candidates of one model, likeness to what each served lately. */
function semanticScores(decision: Decision, subject: Subject | undefined, likeness: AffinityPorts['likeness']): (number | null)[] {
  const { considered, ranked } = decision
  if (considered !== undefined) {
    const means = new Map(considered.models.map(({ model, mean }) => [model, mean]))
    return ranked.map(({ model }) => clamp(means.get(model)!))
  }
  const embedding = subject?.embedding
  return ranked.map(({ backend }) => (embedding === undefined ? null : likeness(backend, embedding)))
}

function scores(decision: Decision, semantic: readonly (number | null)[]): AffinityScore[] {
  const cheapest = decision.ranked[0]!.costSeconds
  return decision.ranked.map((candidate, place) => ({
    backendId: candidate.backend.id,
    semanticScore: semantic[place]!,
    cacheScore: decision.promptTokens === 0 ? 0 : clamp(candidate.expectedCachedTokens / decision.promptTokens),
    loadScore: clamp(1 - candidate.waitSeconds / LATENCY_BUDGET_SECONDS),
    // 1 for the choice, falling with the seconds that another choice would cost; equal costs keep the order of trial
    combinedScore: clamp(
      1 / (1 + Math.max(0, candidate.costSeconds - cheapest) / LATENCY_BUDGET_SECONDS) - place * 1e-9,
    ),
    expectedTtftMs: 1000 * (candidate.waitSeconds + candidate.prefillSeconds),
    expectedCachedTokens: candidate.expectedCachedTokens,
    expectedOutputTokens: decision.expectedOutputTokens,
    reasons: place === 0 ? [decision.reason] : [],
  }))
}

const clamp = (value: number): number => Math.min(1, Math.max(0, value))

function turnOf(session: SessionContext): Turn {
  const input =
    typeof session.input === 'string'
      ? [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: session.input }] }]
      : session.input
  return {
    endpoint: 'responses',
    tenant: session.tenant,
    requestId: 'affinity',
    receivedAtMs: 0,
    model: session.model,
    input,
    instructions: session.instructions ?? null,
    tools: session.tools,
    previousResponseId: session.previousResponseId ?? null,
    conversationId: session.conversation ?? null,
    store: false,
    stream: false,
    sessionHint: session.sessionId === undefined ? null : `header:${session.sessionId}`,
    cacheKey: null,
    maxOutputTokens: null,
    body: {},
  }
}
