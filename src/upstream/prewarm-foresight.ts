/**
 * Which conversations will come back, when, and whether their prefix will be where they go: the source of wishes.
 *
 *   drain      the home of a conversation was drained or is not healthy any more
 *   overload   turns queue up at its home for longer than it is expected to be away
 *   tool       its turn ended in a tool call, so the next one is near, and it will not go (or not find its prefix) home
 *   reasoning  its turn ended in words: templates drop the thoughts of earlier turns when a person speaks again, so the
 *              prompt goes on from before them, and what follows them is computed anew, at home
 *   shared     a prefix of several sessions is missing where the next new session would go
 *
 * When it comes back, after a tool call or after words, others have learned over everybody (`GapsPort`). Nothing is wished
 * for a conversation that hardly comes back (`LIKELY`) while what is computed now still counts (`LIFE_MS`).
 *
 * Kept: the last turn of at most `maxConversations`, and at most `maxCharacters` of prompts (which they share with the
 * lineage cache where that still has them); the least recently seen leaves first (`evicted`).
 */
import type { Backend } from '../model/backend.ts'
import type { Decision, SchedulingRequest } from '../model/decision.ts'
import { LIFE_MS, type PrewarmRule } from './prewarm-account.ts'
import type { Wish } from './prewarm.ts'

/** What is awaited: the output of a tool, or a person. */
export type Gap = 'tool' | 'person'

/** How long conversations stay away. */
export type GapsPort = {
  /** Probability that one which has been silent for `elapsedMs` comes back within the next `withinMs`. */
  returns(gap: Gap, elapsedMs: number, withinMs: number): number
  /** Time from now at which half of those that come back at all have; null where hardly any does. */
  expectedReturnMs(gap: Gap, elapsedMs: number): number | null
}

/** A turn as far as it is known, as the one that follows it would begin. */
export type Conversation<Prompt> = {
  readonly key: string
  readonly request: SchedulingRequest
  readonly prompt: Prompt
  readonly home: Backend
}

export type ForesightPorts<Prompt> = {
  readonly wish: (wish: Wish<Prompt>) => void
  /** Where such a turn would go now; null where it can go nowhere. */
  readonly rank: (request: SchedulingRequest) => Decision | null
  readonly gaps: GapsPort
  readonly nowMs: () => number
}

type Known<Prompt> = Conversation<Prompt> & {
  /** Null while it runs. */
  readonly gap: Gap | null
  readonly sinceMs: number
}

export class Foresight<Prompt> {
  readonly #ports: ForesightPorts<Prompt>
  readonly #maxConversations: number
  readonly #maxCharacters: number
  readonly #known = new Map<string, Known<Prompt>>()
  readonly #overloadSeenMs = new Map<number, number>()
  #characters = 0
  evicted = 0

  constructor(
    ports: ForesightPorts<Prompt>,
    options: { readonly maxConversations: number; readonly maxCharacters: number },
  ) {
    this.#ports = ports
    this.#maxConversations = options.maxConversations
    this.#maxCharacters = options.maxCharacters
  }

  /** A turn is sent to `home`; `queuedSeconds` of work stand before it there. */
  began(conversation: Conversation<Prompt>, queuedSeconds: number): void {
    const now = this.#ports.nowMs()
    this.#keep({ ...conversation, gap: null, sinceMs: now })
    if (queuedSeconds > OVERLOAD_SECONDS) this.#overloaded(conversation.home, queuedSeconds, now)
  }

  /** It was answered. `droppedTokens`: of its thoughts and what follows them. */
  ended(conversation: Conversation<Prompt>, gap: Gap, droppedTokens: number): void {
    const known: Known<Prompt> = { ...conversation, gap, sinceMs: this.#ports.nowMs() }
    this.#keep(known)
    const { home } = conversation
    if (!this.#isLikely(known)) return
    if (!isThere(home)) return this.#wishFor(known, 'drain')
    const next = this.#ports.rank(conversation.request)?.ranked[0]
    if (next === undefined) return
    const missing = conversation.request.promptTokens - next.expectedCachedTokens
    const much = missing > AT_HOME * conversation.request.promptTokens
    if (gap === 'tool' && much) return this.#wishFor(known, 'tool')
    if (next.backend !== home && much) return this.#wishFor(known, 'overload')
    if (gap === 'person' && droppedTokens >= LEAST_DROPPED_TOKENS) this.#wishFor(known, 'reasoning', home)
  }

  /** It failed, or its client left: nothing follows from it. */
  dropped(key: string): void {
    const known = this.#known.get(key)
    if (known !== undefined) this.#forget(known)
  }

  /** A backend takes no turns any more: whoever is at home there will go elsewhere. */
  lost(backend: Backend): void {
    for (const known of this.#known.values())
      if (known.home === backend && this.#isLikely(known)) this.#wishFor(known, 'drain')
  }

  /** Several sessions begin with this; the next such session would go where `rank` says. */
  shared(key: string, request: SchedulingRequest, prompt: Prompt): void {
    const now = this.#ports.nowMs()
    const [expectedAtMs, untilMs] = [now + SHARED_MS, now + LIFE_MS]
    this.#ports.wish({ rule: 'shared', key, request, prompt, at: null, expectedAtMs, untilMs })
  }

  get size(): number {
    return this.#known.size
  }

  get characters(): number {
    return this.#characters
  }

  /** Those who come back while the queue lasts; looked at once a second per backend. */
  #overloaded(home: Backend, queuedSeconds: number, now: number): void {
    if (now - (this.#overloadSeenMs.get(home.index) ?? -Infinity) < OVERLOAD_LOOK_MS) return
    this.#overloadSeenMs.set(home.index, now)
    let wished = 0
    for (const known of this.#known.values()) {
      if (known.home !== home || known.gap === null || !this.#isLikely(known)) continue
      if (this.#expectedAtMs(known) > now + 1000 * queuedSeconds) continue
      if (this.#ports.rank(known.request)?.ranked[0]?.backend === home) continue
      this.#wishFor(known, 'overload')
      if (++wished === OVERLOAD_WISHES) return
    }
  }

  #wishFor(known: Known<Prompt>, rule: PrewarmRule, at: Backend | null = null): void {
    const { key, request, prompt } = known
    const [expectedAtMs, untilMs] = [this.#expectedAtMs(known), this.#untilMs(known)]
    this.#ports.wish({ rule, key, request, prompt, at, expectedAtMs, untilMs })
  }

  /** While a turn still runs, it and the gap after it lie ahead. */
  #expectedAtMs({ gap, sinceMs }: Known<Prompt>): number {
    const { gaps } = this.#ports
    const now = this.#ports.nowMs()
    const [runningMs, awayMs] = gap === null ? [RUNNING_MS, 0] : [0, now - sinceMs]
    return now + runningMs + (gaps.expectedReturnMs(gap ?? 'tool', awayMs) ?? LIFE_MS)
  }

  /** When it is given up, unless it has come: away for so long, it would not be likely to come any more. */
  #untilMs(known: Known<Prompt>): number {
    const now = this.#ports.nowMs()
    if (known.gap === null) return now + LIFE_MS
    let awayMs = Math.max(LEAST_AWAY_MS, now - known.sinceMs)
    while (awayMs < LIFE_MS && this.#isLikelyAfter(known.gap, awayMs)) awayMs *= 2
    return known.sinceMs + Math.min(LIFE_MS, awayMs)
  }

  #isLikely({ gap, sinceMs }: Known<Prompt>): boolean {
    return gap === null || this.#isLikelyAfter(gap, this.#ports.nowMs() - sinceMs)
  }

  #isLikelyAfter(gap: Gap, awayMs: number): boolean {
    return awayMs < LIFE_MS && this.#ports.gaps.returns(gap, awayMs, LIFE_MS) >= LIKELY
  }

  #keep(known: Known<Prompt>): void {
    const before = this.#known.get(known.key)
    if (before !== undefined) this.#forget(before)
    this.#known.set(known.key, known)
    this.#characters += known.request.chain.totalCharacters
    const now = this.#ports.nowMs()
    for (const oldest of this.#known.values()) {
      const gone = oldest.gap !== null && now > oldest.sinceMs + LIFE_MS
      const fits = this.#known.size <= this.#maxConversations && this.#characters <= this.#maxCharacters
      if (!gone && fits) break
      if (!gone) this.evicted++
      this.#forget(oldest)
    }
  }

  #forget(known: Known<Prompt>): void {
    this.#known.delete(known.key)
    this.#characters -= known.request.chain.totalCharacters
  }
}

const isThere = (backend: Backend): boolean => backend.healthy && !backend.draining

/**
 * One in three comes back. `PrewarmAccount` asks for half of what a rule spends, of all its wishes together, and most of
 * them are likelier than that. At one half first turns after a drain wait an eighth to a third longer (laboratory, two seeds).
 */
const LIKELY = 1 / 3
/** An answer of 444 tokens at 20 ms each, the median of agents (docs/laboratory.md), half of it over. */
const RUNNING_MS = 4000
/** The least life of a wish: the prefill of a long prompt takes 10 s, and another one may stand before it. */
const LEAST_AWAY_MS = 30_000
/** Missing less than this of the prompt is no reason: the turn adds as much itself. */
const AT_HOME = 0.1
const LEAST_DROPPED_TOKENS = 256
/** The budget of time to a first token that interactive users accept (src/affinity.ts). */
const OVERLOAD_SECONDS = 2
const OVERLOAD_LOOK_MS = 1000
const OVERLOAD_WISHES = 8
/** A shared prefix is nobody's in particular: whoever is expected within this goes first. */
const SHARED_MS = 30_000
