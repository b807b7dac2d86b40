/**
 * Which backends' KV events can be relied on, and the word of it: state changes are told once, `exact` lost is a fallback to
 * what calibration knows. Looked at when a stream connects or breaks, after each answer, and every `LOOK_EVERY_MS`, since
 * silence announces itself by nothing.
 */
import type { EventsLink } from './kv/events/events-link.ts'
import type { EventsState, ExactResidency } from './kv/events/exact-residency.ts'
import type { Backend } from './model/backend.ts'

export type EventsWatchPorts = {
  readonly events: EventsLink
  readonly residency: ExactResidency
  readonly backends: () => readonly Backend[]
  readonly onChange: (backend: Backend, state: EventsState, before: EventsState | null) => void
}

export const LOOK_EVERY_MS = 2000

/** What operators see of one backend's events, by field of the admin API. */
export type EventsReport = {
  readonly state: EventsState
  /** Every block that the engine holds is known. */
  readonly complete: boolean
  readonly blocks: number
  readonly block_tokens: number | null
  readonly lag_ms: number | null
  readonly silent_ms: number | null
  readonly counts: Readonly<Record<string, number>>
}

export class EventsWatch {
  readonly #ports: EventsWatchPorts
  /** By index; a handful of words each. */
  readonly #states: (EventsState | null)[] = []

  constructor(ports: EventsWatchPorts) {
    this.#ports = ports
  }

  look(): void {
    if (this.#ports.events.watched.size === 0) return
    for (const backend of this.#ports.backends()) {
      const state = this.#ports.residency.state(backend.index)
      const before = this.#states[backend.index] ?? null
      if (state === null || state === before) continue
      this.#states[backend.index] = state
      this.#ports.onChange(backend, state, before)
    }
  }

  report(backend: Backend): EventsReport | null {
    const watched = this.#ports.events.of(backend.index)
    const state = this.#ports.residency.state(backend.index)
    if (watched === undefined || state === null) return null
    const { status } = watched
    return {
      state,
      complete: watched.complete,
      blocks: watched.held.size,
      block_tokens: watched.blockTokens === 0 ? null : watched.blockTokens,
      lag_ms: status?.lagMs ?? null,
      silent_ms: status?.silentMs ?? null,
      counts: status?.counts ?? {},
    }
  }
}
