/**
 * What a turn will cost and bring, as far as its fingerprint and earlier outcomes let expect: output tokens, the user's turns still to
 * come, the time until the conversation returns, and whether a small model fails. Each is a shipped prior and what was learned
 * on top of it (learned-quantity.ts); what is told is whichever was right more often so far.
 *
 *   quantity         prior                  learned from
 *   output tokens    the fingerprint's      every completed answer of this gateway
 *   remaining turns  the fingerprint's      conversations that ended: half an hour of silence (session-ends.ts)
 *   return gap       a median by its kind   the time from each answer to the conversation's next turn
 *   complexity       the fingerprint's      graded answers of the weakest model that is known
 *
 * A turn costs 6 microseconds when it is read and 4 when it was answered. Turns that are not answered yet are kept by
 * session, `MOST_PENDING` at most (1 KB each, for the embedding), the oldest leaves first and is counted.
 */
import type { Outcome } from '../model/outcome.ts'
import type { Lesson } from '../model/quality.ts'
import { LearnedQuantity, type LearnedQuantityJson, type QuantityErrors, type Reading } from './learned-quantity.ts'
import { QUANTITIES } from './quantities.ts'
import { SessionEnds, type GapKind } from './session-ends.ts'

/** What the fingerprint says of a turn; numbers are the shipped model's. */
export type Asked = {
  readonly tenant: string
  readonly sessionId: string
  readonly model: string
  readonly topic: string
  readonly intent: string
  readonly embedding: Float32Array
  readonly complexity: number
  readonly expectedOutputTokens: number
  readonly expectedOutputTokensP90: number
  readonly expectedRemainingTurns: number
}

export type Expected = {
  readonly complexity: number
  readonly expectedOutputTokens: number
  readonly expectedOutputTokensP90: number
  readonly expectedRemainingTurns: number
  /** Null where hardly any conversation of the kind returns. */
  readonly expectedReturnGapSeconds: number | null
}

export type ExpectationPorts = {
  /** Milliseconds since 1970. */
  readonly wallMs: () => number
  readonly random: () => number
  /** False where hardly any conversation comes back from a gap of the kind. */
  readonly returns: (kind: GapKind) => boolean
}

export type QuantityName = keyof typeof QUANTITIES

/** One part of the snapshots. */
export type LearnedSnapshot = {
  readonly name: string
  readonly save: () => Uint8Array
  readonly restore: (bytes: Uint8Array) => void
}

const MOST_PENDING = 4000
const MOST_SESSIONS = 20_000
const MOST_MODELS = 256
/** Grades before the mean of a model tells it from another. */
const FEWEST_GRADES = 20
/** The mean of a model follows its last grades. */
const GRADE_MEMORY = 500
/** Medians: of agents' tools, and of the follow-up questions of Mooncake's conversations. */
const FIRST_GAP_SECONDS: Readonly<Record<GapKind, number>> = { tool: 2, person: 123 }
const LEAST_GAP_SECONDS = 0.05
/** Whether any returns is asked again after so long: it moves slowly, and asking costs as much as all the rest. */
const RETURNS_FRESH_MS = 1000
/** Predictions are kept within what backends answer. */
const MOST_LOG_TOKENS = Math.log(16_384)
const SNAPSHOT_VERSION = 1

export class Expectations {
  readonly #ports: ExpectationPorts
  readonly #quantities: Readonly<Record<QuantityName, LearnedQuantity>> = {
    complexity: new LearnedQuantity(QUANTITIES.complexity),
    outputTokens: new LearnedQuantity(QUANTITIES.outputTokens),
    remainingTurns: new LearnedQuantity(QUANTITIES.remainingTurns),
    returnGap: new LearnedQuantity(QUANTITIES.returnGap),
  }
  readonly #pending = new Map<string, Asked>()
  readonly #sessions: SessionEnds
  readonly #grades = new Map<string, { mean: number; count: number }>()
  readonly #returns: Record<GapKind, { known: boolean; untilMs: number }> = {
    tool: { known: true, untilMs: 0 },
    person: { known: true, untilMs: 0 },
  }
  #pendingEvicted = 0

  constructor(ports: ExpectationPorts) {
    this.#ports = ports
    const { remainingTurns, returnGap } = this.#quantities
    this.#sessions = new SessionEnds(
      {
        random: ports.random,
        returned: (_, reading, gapMs) => returnGap.observe(reading, Math.log(Math.max(LEAST_GAP_SECONDS, gapMs / 1000))),
        ended: (reading, turns) => remainingTurns.observe(reading, Math.log1p(turns)),
      },
      MOST_SESSIONS,
    )
  }

  /** Leaves no trace. */
  expect(asked: Asked): Expected {
    const { complexity, outputTokens, remainingTurns, returnGap } = this.#quantities
    const tokens = outputTokens.expect(tokensReading(asked, asked.model))
    // what is not learned yet has the fingerprint's own spread
    const spread = tokens.learned
      ? outputTokens.spread
      : Math.log1p(asked.expectedOutputTokensP90) - Math.log1p(asked.expectedOutputTokens)
    const gap = this.#gapReading(asked, this.#sessions.awaited(keyOf(asked)))
    return {
      complexity: limited(complexity.expect(complexityReading(asked)).value, 0, 1),
      expectedOutputTokens: Math.expm1(limited(tokens.value, 0, MOST_LOG_TOKENS)),
      expectedOutputTokensP90: Math.expm1(limited(tokens.value + spread, 0, MOST_LOG_TOKENS)),
      expectedRemainingTurns: Math.expm1(Math.max(0, remainingTurns.expect(remainingReading(asked)).value)),
      expectedReturnGapSeconds: gap === null ? null : Math.exp(returnGap.expect(gap).value),
    }
  }

  /** A turn came that will be answered. */
  arrived(asked: Asked, atMs: number): void {
    const key = keyOf(asked)
    this.#pending.delete(key)
    this.#pending.set(key, asked)
    if (this.#pending.size > MOST_PENDING) {
      this.#pending.delete(this.#pending.keys().next().value!)
      this.#pendingEvicted++
    }
    this.#sessions.arrived(key, remainingReading(asked), atMs)
  }

  answered(outcome: Outcome): void {
    const key = keyOf(outcome)
    const asked = this.#pending.get(key)
    if (asked === undefined || outcome.partial === true) return
    this.#pending.delete(key)
    // a cut answer is as long as it was cut
    if (outcome.usage !== null && outcome.status === 'completed') {
      const tokens = Math.log1p(outcome.usage.outputTokens)
      this.#quantities.outputTokens.observe(tokensReading(asked, outcome.model), Math.min(MOST_LOG_TOKENS, tokens))
    }
    const kind = outcome.awaits ?? 'person'
    const gap = this.#gapReading(asked, kind)
    if (gap !== null) this.#sessions.answered(key, kind, gap, this.#ports.wallMs())
  }

  /** Grades of the weakest model that is known tell where a small model fails; others only tell which one that is. */
  observe({ tenant, model, subject, score, weight }: Lesson): void {
    // a grade that was taken back fades; one of a turn that nothing read says nothing of what was asked
    if (weight <= 0 || subject.topics.length === 0) return
    const grade = this.#grades.get(model) ?? { mean: 0, count: 0 }
    grade.count++
    grade.mean += (score - grade.mean) / Math.min(grade.count, GRADE_MEMORY)
    this.#grades.delete(model)
    this.#grades.set(model, grade)
    if (this.#grades.size > MOST_MODELS) this.#grades.delete(this.#grades.keys().next().value!)
    if (this.#weakest() !== model) return
    const { topics, intent, complexity } = subject
    this.#quantities.complexity.observe(complexityReading({ tenant, topic: topics[0]![0], intent: intent[0], complexity }), 1 - score, weight)
  }

  errors(): readonly (QuantityErrors & { readonly quantity: QuantityName })[] {
    return NAMES.flatMap((quantity) => {
      const errors = this.#quantities[quantity].errors
      return errors === null ? [] : [{ quantity, ...errors }]
    })
  }

  get sizes(): Readonly<Record<string, number>> {
    const labels = NAMES.reduce((sum, name) => sum + this.#quantities[name].sizes.labels, 0)
    return { expectation_sessions: this.#sessions.size, expectation_pending: this.#pending.size, expectation_labels: labels }
  }

  get evictions(): Readonly<Record<string, number>> {
    const labels = NAMES.reduce((sum, name) => sum + this.#quantities[name].sizes.evicted, 0)
    return {
      expectation_sessions_size: this.#sessions.evicted,
      expectation_pending_size: this.#pendingEvicted,
      expectation_labels_size: labels,
    }
  }

  get snapshots(): readonly LearnedSnapshot[] {
    return NAMES.map((name) => ({
      name: `learned-${name.toLowerCase()}`,
      save: () => {
        const grades = name === 'complexity' ? [...this.#grades] : []
        return Buffer.from(JSON.stringify({ version: SNAPSHOT_VERSION, quantity: this.#quantities[name].toJson(), grades }))
      },
      restore: (bytes) => {
        const { version, quantity, grades } = JSON.parse(Buffer.from(bytes).toString()) as SnapshotJson
        if (version !== SNAPSHOT_VERSION) throw new Error(`has version ${version}; this version of Homing reads ${SNAPSHOT_VERSION}`)
        this.#quantities[name].restore(quantity)
        for (const [model, grade] of grades) this.#grades.set(model, grade)
      },
    }))
  }

  #weakest(): string | null {
    let weakest: string | null = null
    let least = Infinity
    for (const [model, { mean, count }] of this.#grades) {
      if (count < FEWEST_GRADES || mean >= least) continue
      least = mean
      weakest = model
    }
    return weakest
  }

  #gapReading(asked: Asked, kind: GapKind): Reading | null {
    if (!this.#anyReturns(kind)) return null
    const prior = Math.log(FIRST_GAP_SECONDS[kind])
    // a tool's result and a person's answer have nothing in common
    const { tenant, topic } = asked
    return { prior, tenant: `${kind} ${tenant}`, topic: `${kind} ${topic}`, also: [kind], embedding: null }
  }

  #anyReturns(kind: GapKind): boolean {
    const returns = this.#returns[kind]
    const nowMs = this.#ports.wallMs()
    if (nowMs < returns.untilMs) return returns.known
    returns.known = this.#ports.returns(kind)
    returns.untilMs = nowMs + RETURNS_FRESH_MS
    return returns.known
  }
}

type SnapshotJson = {
  readonly version: number
  readonly quantity: LearnedQuantityJson
  readonly grades: readonly (readonly [model: string, grade: { mean: number; count: number }])[]
}

const NAMES: readonly QuantityName[] = ['complexity', 'outputTokens', 'remainingTurns', 'returnGap']

const keyOf = ({ tenant, sessionId }: { readonly tenant: string; readonly sessionId: string }): string => `${tenant}\n${sessionId}`
const limited = (value: number, least: number, most: number): number => Math.max(least, Math.min(most, value))

const tokensReading = ({ tenant, topic, intent, embedding, expectedOutputTokens }: Asked, model: string): Reading => ({
  prior: Math.log1p(expectedOutputTokens),
  tenant,
  topic,
  also: [`model ${model}`, `intent ${intent}`],
  embedding,
})

const remainingReading = ({ tenant, topic, intent, embedding, expectedRemainingTurns }: Asked): Reading => ({
  prior: Math.log1p(expectedRemainingTurns),
  tenant,
  topic,
  also: [`intent ${intent}`],
  embedding,
})

const complexityReading = ({ tenant, topic, intent, complexity }: Pick<Asked, 'tenant' | 'topic' | 'intent' | 'complexity'>): Reading => ({
  prior: complexity,
  tenant,
  topic,
  also: [`intent ${intent}`],
  embedding: null,
})
