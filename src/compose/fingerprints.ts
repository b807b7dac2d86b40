/**
 * The stage between resolve and schedule: what the conversation is about, from its new items only. Policy: degrade. A turn that
 * cannot be fingerprinted goes on without, which is counted; a late one goes on with what was read.
 */
import type { FingerprintConfig } from '../config.ts'
import { FingerprintCache, type FingerprintSnapshot, type TurnReading } from '../fingerprint/fingerprint-cache.ts'
import { loadFingerprintModel } from '../fingerprint/fingerprint-model.ts'
import { Fingerprinter } from '../fingerprint/fingerprinter.ts'
import type { RemoteEmbeddings } from '../fingerprint/remote-embeddings.ts'
import { Taxonomy } from '../fingerprint/taxonomy.ts'
import type { Asked, Expectations, Expected } from '../learn/expectations.ts'
import { HomingError } from '../model/error.ts'
import type { FingerprintNote, SemanticFingerprint } from '../model/fingerprint.ts'
import type { Subject } from '../model/quality.ts'
import type { ResolvedTurn } from '../model/turn.ts'

export type Fingerprints = {
  /** With `shortOnly` a turn whose news are long comes back as it was: it is read when it was sent. */
  readonly add: (turn: ResolvedTurn, shortOnly: boolean) => ResolvedTurn
  /** Leaves no trace; refused where there is none. Waits for a remote embedding, at most until its deadline. */
  readonly look: (turn: ResolvedTurn) => Promise<SemanticFingerprint>
  /** The turn with what it is about, as a look: leaves no trace, and as it was where it could not be read. */
  readonly glance: (turn: ResolvedTurn) => ResolvedTurn
  /** Names of the topics in scope; empty where fingerprints are switched off. */
  readonly topics: readonly string[]
  readonly size: () => number
  readonly counts: () => Readonly<Record<string, number>>
  /** Conversations that hold a remote embedding. */
  readonly embeddings: () => { readonly size: number; readonly evicted: number }
  readonly snapshots: readonly FingerprintSnapshot[]
}

export type FingerprintParts = {
  readonly modelPath: string
  /** Turns whose placement waits to be read, however long: the choice of their model depends on it. */
  readonly placedByContent: (model: string) => boolean
  readonly nowMs: () => number
  readonly expectations: Expectations
  /** Microseconds of each; counted as a fallback where `failed`. */
  readonly observe: (microseconds: number, partial: boolean) => void
  readonly failed: (error: unknown) => void
  /** Makes the conversations' embeddings; null: the shipped table does. */
  readonly remote: RemoteEmbeddings | null
  /** Runs it when the turn was sent and the event loop has a moment. */
  readonly whenIdle: (task: () => void) => void
}

const KEPT_TOPICS = 3
/**
 * What is read before a turn is placed: some 0.3 ms. Of a burst of ten long prompts each would wait for the reading of those
 * before it, 2 to 6 ms each, and placement only learns the expected length of the answer from it.
 */
const SHORT_CHARACTERS = 3000
const NOT_ENABLED = 'fingerprints are switched off in the configuration'

/** Throws as `openFingerprinter` does. */
export function buildFingerprints(config: FingerprintConfig | null, ports: FingerprintParts): Fingerprints {
  const { remote } = ports
  const embeddings = () => ({ size: remote?.size ?? 0, evicted: remote?.evicted ?? 0 })
  if (config === null) {
    const look = (): Promise<never> =>
      Promise.reject(new HomingError('invalid_value', { param: 'fingerprint', why: NOT_ENABLED }))
    return { add: (turn) => turn, look, glance: (turn) => turn, topics: [], size: () => 0, counts: () => ({}), embeddings, snapshots: [] }
  }
  const fingerprinter = openFingerprinter(config, ports.modelPath)
  const cache = new FingerprintCache({
    fingerprinter,
    maxConversations: config.conversations,
    deadlineMs: config.deadlineMs,
    nowMs: ports.nowMs,
  })
  return {
    add: (turn, shortOnly) => {
      const started = ports.nowMs()
      try {
        if (shortOnly && !ports.placedByContent(turn.model) && cache.isLong(keyOf(turn), turn.context, SHORT_CHARACTERS)) return turn
        const found = cache.update(keyOf(turn), turn.context)
        const asked = found === null ? null : askedOf(turn, found)
        const expected = asked === null ? null : ports.expectations.expect(asked)
        if (asked !== null) ports.expectations.arrived(asked, turn.receivedAtMs)
        const microseconds = Math.round(1000 * (ports.nowMs() - started))
        ports.observe(microseconds, found?.partial ?? false)
        // nothing on a turn's way reads it, so the turn goes first
        if (remote !== null) ports.whenIdle(() => void remote.follow(keyOf(turn), turn.context).catch(ports.failed))
        if (found === null || expected === null) return turn
        return { ...turn, fingerprint: noteOf(found, expected, microseconds), subject: subjectOf(found) }
      } catch (error) {
        ports.failed(error)
        return turn
      }
    },
    look: async (turn) => {
      const found = cache.look(keyOf(turn), turn.context)
      if (found === null) throw new HomingError('invalid_value', { param: 'input', why: 'holds nothing that was said' })
      const told = { ...found, ...ports.expectations.expect(askedOf(turn, found)) }
      const embedding = (await remote?.read(keyOf(turn), turn.context)) ?? null
      return embedding === null ? told : { ...told, embedding, embeddingModel: remote!.model }
    },
    glance: (turn) => {
      try {
        const found = cache.look(keyOf(turn), turn.context)
        return found === null ? turn : { ...turn, subject: subjectOf(found) }
      } catch (error) {
        ports.failed(error)
        return turn
      }
    },
    topics: fingerprinter.topics,
    size: () => cache.size,
    counts: () => cache.counts,
    embeddings,
    snapshots: cache.snapshots,
  }
}

/** The shipped model with the operator's labels. Throws where one of them cannot be used. */
export function openFingerprinter({ topics, intents }: FingerprintConfig, modelPath: string): Fingerprinter {
  const model = loadFingerprintModel(modelPath)
  const own = {
    ...(topics.folder === null ? {} : { topics: taxonomyOf(topics.folder, 'topics', model.table) }),
    ...(intents.folder === null ? {} : { intents: taxonomyOf(intents.folder, 'intents', model.table) }),
  }
  return new Fingerprinter(model, own, { topics: topics.examples, intents: intents.examples })
}

function taxonomyOf(directory: string, kind: Taxonomy['kind'], table: string): Taxonomy {
  const taxonomy = Taxonomy.load(directory, table)
  if (taxonomy.kind !== kind) throw new Error(`${directory}: is a taxonomy of ${taxonomy.kind}, not of ${kind}`)
  return taxonomy
}

const keyOf = (turn: ResolvedTurn): string => `${turn.tenant}\n${turn.session.id}`

const askedOf = (turn: ResolvedTurn, found: TurnReading): Asked => ({
  tenant: turn.tenant,
  sessionId: turn.session.id,
  model: turn.model,
  topic: found.topics[0]?.[0] ?? '',
  intent: found.intent[0],
  embedding: found.embedding,
  complexity: found.complexity,
  expectedOutputTokens: found.expectedOutputTokens,
  expectedOutputTokensP90: found.expectedOutputTokensP90,
  expectedRemainingTurns: found.expectedRemainingTurns,
})

const noteOf = (found: TurnReading, expected: Expected, microseconds: number): FingerprintNote => ({
  topics: found.topics.slice(0, KEPT_TOPICS).map(([name, probability]) => [name, rounded(probability)] as const),
  intent: [found.intent[0], rounded(found.intent[1])],
  inScope: rounded(found.inScope),
  shift: rounded(found.shift),
  driftTurn: found.driftTurn,
  complexity: rounded(expected.complexity),
  shippedComplexity: rounded(found.complexity),
  expectedOutputTokens: Math.round(expected.expectedOutputTokens),
  expectedRemainingTurns: rounded(expected.expectedRemainingTurns),
  expectedReturnGapSeconds: expected.expectedReturnGapSeconds === null ? null : rounded(expected.expectedReturnGapSeconds),
  partial: found.partial,
  microseconds,
})

const subjectOf = ({ topics, intent, inScope, complexity, embedding, shape }: TurnReading): Subject => ({
  topics,
  intent,
  inScope,
  complexity,
  embedding,
  shape,
})

const rounded = (value: number): number => Math.round(value * 1000) / 1000
