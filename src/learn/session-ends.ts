/**
 * What only time tells of a conversation: how long it stayed away, and how many of the user's turns were still to come. A
 * conversation that was silent for `ENDED_AFTER_MS` has ended; then one of its turns, drawn evenly, tells what was right (one,
 * since the turns of a conversation are no independent outcomes, and each would keep its embedding).
 *
 * At most `maxSessions`, the least recently used leaves first, untold and counted: what it would have told is not known. Some
 * 600 bytes each, 256 of them the embedding as int8. O(1) amortised a turn.
 */
import type { Reading } from './learned-quantity.ts'

export type SessionEndPorts = {
  readonly random: () => number
  /** Milliseconds from the end of an answer to the next turn. */
  readonly returned: (kind: GapKind, reading: Reading, gapMs: number) => void
  /** `reading` was followed by so many turns of the user. */
  readonly ended: (reading: Reading, remainingTurns: number) => void
}

export type GapKind = 'tool' | 'person'

type Session = {
  userTurns: number
  atMs: number
  /** What the answer left it waiting for, and the reading of that turn; null while a turn runs. */
  left: { readonly kind: GapKind; readonly atMs: number; readonly reading: Reading } | null
  lastKind: GapKind
  drawn: { readonly reading: Omit<Reading, 'embedding'>; readonly embedding: Int8Array | null; readonly userTurn: number } | null
}

/** The usual time-out of web analytics; nine of ten follow-up questions of Mooncake's conversations come within it. */
export const ENDED_AFTER_MS = 30 * 60_000

export class SessionEnds {
  readonly #ports: SessionEndPorts
  readonly #maxSessions: number
  readonly #sessions = new Map<string, Session>()
  evicted = 0

  constructor(ports: SessionEndPorts, maxSessions: number) {
    this.#ports = ports
    this.#maxSessions = maxSessions
  }

  get size(): number {
    return this.#sessions.size
  }

  /** What its last answer left it waiting for; a person where that is not known. */
  awaited(key: string): GapKind {
    return this.#sessions.get(key)?.lastKind ?? 'person'
  }

  /** A turn came. `gap` is about its return, `remaining` about the turns that follow it. */
  arrived(key: string, remaining: Reading, atMs: number): void {
    this.#endSilent(atMs)
    const session = this.#sessions.get(key) ?? { userTurns: 0, atMs, left: null, lastKind: 'person', drawn: null }
    if (session.left !== null && atMs >= session.left.atMs) {
      this.#ports.returned(session.left.kind, session.left.reading, atMs - session.left.atMs)
    }
    if (session.lastKind === 'person') {
      session.userTurns++
      // every turn so far has the same chance to be the one that is kept
      if (this.#ports.random() * session.userTurns < 1) {
        const { embedding, ...reading } = remaining
        session.drawn = { reading, embedding: embedding === null ? null : packed(embedding), userTurn: session.userTurns }
      }
    }
    session.left = null
    this.#keep(key, session, atMs)
  }

  answered(key: string, kind: GapKind, gap: Reading, atMs: number): void {
    const session = this.#sessions.get(key)
    if (session === undefined) return
    session.left = { kind, atMs, reading: gap }
    session.lastKind = kind
    this.#keep(key, session, atMs)
  }

  #keep(key: string, session: Session, atMs: number): void {
    session.atMs = Math.max(session.atMs, atMs)
    this.#sessions.delete(key)
    this.#sessions.set(key, session)
    if (this.#sessions.size <= this.#maxSessions) return
    this.#sessions.delete(this.#sessions.keys().next().value!)
    this.evicted++
  }

  #endSilent(nowMs: number): void {
    for (const [key, { atMs, drawn, userTurns }] of this.#sessions) {
      if (nowMs - atMs < ENDED_AFTER_MS) return
      this.#sessions.delete(key)
      if (drawn === null) continue
      const embedding = drawn.embedding === null ? null : Float32Array.from(drawn.embedding, (value) => value / 127)
      this.#ports.ended({ ...drawn.reading, embedding }, userTurns - drawn.userTurn)
    }
  }
}

/** Of unit length, so no number is above 1; half a percent of rounding. */
function packed(embedding: Float32Array): Int8Array {
  const bytes = new Int8Array(embedding.length)
  for (let axis = 0; axis < bytes.length; axis++) bytes[axis] = Math.round(embedding[axis]! * 127)
  return bytes
}
