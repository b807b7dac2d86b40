import type { CancelSignal } from '../model/cancellation.ts'
import type { Decision, DecisionReason } from '../model/decision.ts'
import type { Assessment } from './assessment.ts'
import type { PrefillPiece } from './ports.ts'

/** A turn that waits for a backend. */
export type WaitingTurn = {
  readonly assessment: Assessment
  readonly enteredMs: number
  /** When its candidates were last looked for: backends come and go while it waits. */
  lookedMs: number
  /** Not started before this moment, so that turns that arrive together are weighed together. */
  notBeforeMs: number
  /** How a piece of its prompt is computed; null where it is sent whole. */
  prefill: PrefillPiece | null
  /** Pieces of it that are being computed now, and where the last of them is. */
  computing: number
  computingAt: number
  /** Milliseconds in which pieces of it were computed, up to a moment: it did not wait then. */
  computedMs: number
  computedUntilMs: number
  /** Where pieces were computed, how much, and why there; null before the first. */
  prepared: PreparedAt | null
  readonly signal: CancelSignal | undefined
  /** The backend that it would have gone to but for that one's token ceiling, the last time it was so. */
  ceilingAt: string | null
  readonly settle: { readonly resolve: (decision: Decision) => void; readonly reject: (error: unknown) => void }
  readonly release: () => void
}

export type PreparedAt = {
  readonly backendIndex: number
  readonly model: string
  readonly reason: DecisionReason
  /** Expected to be cached there before the first piece, and what was. */
  readonly expectedTokens: number
  readonly foundTokens: number
  /** Computed there since. */
  readonly tokens: number
  readonly pieces: number
  readonly ms: number
}

/**
 * Turns that wait at Homing instead of in an engine's queue, so that each is bound to a backend only when one is free.
 *
 *   order = work - AGING * waited + ahead(tenant) - URGENCY * p / (1 + |p|)      least first, in seconds; p: priority
 *
 * Least remaining work first makes the mean wait short; aging lets a long turn move up as if it shrank while it waits; `ahead` is
 * what its tenant was served more than the least served tenant that waits now (served seconds, halved every
 * `SERVED_HALF_LIFE_MS`), so tenants with equal demand get equal service however many turns each sends. Nobody waits
 * past the scheduler's bound.
 *
 * Bounded by what waits; a turn leaves by being placed, by its client going away, or by a refusal.
 */
export class WaitingRoom {
  readonly #turns = new Set<WaitingTurn>()
  readonly #served = new Map<string, { seconds: number; atMs: number }>()
  readonly counts = { entered: 0, placed: 0, overdue: 0, cancelled: 0, refused: 0 }

  get size(): number {
    return this.#turns.size
  }

  get turns(): Iterable<WaitingTurn> {
    return this.#turns
  }

  /** Somebody waits whose prompt is not being computed. */
  get crowded(): boolean {
    for (const { computing } of this.#turns) if (computing === 0) return true
    return false
  }

  /** Milliseconds that the first in the room has waited. */
  oldestMs(nowMs: number): number {
    const [first] = this.#turns
    return first === undefined ? 0 : nowMs - first.enteredMs
  }

  enter(turn: WaitingTurn): void {
    this.#turns.add(turn)
    this.counts.entered++
  }

  leave(turn: WaitingTurn): boolean {
    if (!this.#turns.delete(turn)) return false
    turn.release()
    return true
  }

  /** Seconds by which tenants are ordered, for all who wait now. */
  leastServed(nowMs: number): number {
    let least = Infinity
    for (const { assessment } of this.#turns)
      least = Math.min(least, this.#servedSeconds(assessment.request.tenant, nowMs))
    return least
  }

  order(turn: WaitingTurn, workSeconds: number, leastServed: number, nowMs: number): number {
    const { tenant, priority } = turn.assessment.request
    const ahead = this.#servedSeconds(tenant, nowMs) - leastServed
    const own = workSeconds - (AGING * (nowMs - turn.enteredMs)) / 1000
    const urgency = (priority ?? 0) / (1 + Math.abs(priority ?? 0))
    return own + ahead - URGENCY_SECONDS * urgency
  }

  /** Counted for turns that never waited as well: a tenant's share is of everything. */
  serve(tenant: string, seconds: number, nowMs: number): void {
    const total = this.#servedSeconds(tenant, nowMs) + seconds
    this.#served.delete(tenant)
    this.#served.set(tenant, { seconds: total, atMs: nowMs })
    // Least recently served first: what goes has decayed most.
    if (this.#served.size > MAX_TENANTS) this.#served.delete(this.#served.keys().next().value!)
  }

  #servedSeconds(tenant: string, nowMs: number): number {
    const served = this.#served.get(tenant)
    return served === undefined ? 0 : served.seconds * 2 ** ((served.atMs - nowMs) / SERVED_HALF_LIFE_MS)
  }
}

/** A turn of 3 s of work is level with a fresh one of none after 30 s; 0.01 to 0.1 cost nothing on the Mooncake trace. */
const AGING = 0.1
/**
 * The first step of priority is worth half of this, more than any prefill that fits a context today, and no priority is
 * worth more than all of it: who asks to go first is served half a minute ahead of the other tenants at most. That is below
 * the most that served seconds can come to (one backend, halved every 30 s: 43), so nobody goes first for ever.
 */
const URGENCY_SECONDS = 30
const SERVED_HALF_LIFE_MS = 30_000
const MAX_TENANTS = 10_000
