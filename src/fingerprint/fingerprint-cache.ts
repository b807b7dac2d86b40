/**
 * The fingerprints of the conversations of a process. A turn brings the whole history; only items that were not seen are read,
 * and the state is moved by them.
 *
 *   seen      so many items, the last of which looked like this -> read what follows
 *   unlike    a fork or a rewritten history -> begin anew (counted)
 *   new       at most `MOST_ITEMS` are read: the first, which set the subject, and the last
 *
 * Reading stops at the deadline; what is left is read with the next turn, and the fingerprint is marked partial. Bounded by
 * entries, least recently used first. An entry holds 256 bytes of context, 4 a label, 4 a type of entity and a few numbers:
 * with the engine's own overhead below 2 KB.
 */
import type { SemanticFingerprint } from '../model/fingerprint.ts'
import type { ConversationItem } from '../model/item.ts'
import type { Speaker } from './conversation-context.ts'
import { spokenItem } from './conversation-items.ts'
import { ENTITY_TYPES } from './entities/spans.ts'
import { SHAPE } from './text-shape.ts'
import type { ConversationState, Fingerprinter, TurnFingerprint } from './fingerprinter.ts'

export type FingerprintCounts = { full: number; partial: number; begunAnew: number; evicted: number }

export type FingerprintCacheOptions = {
  readonly fingerprinter: Fingerprinter
  readonly maxConversations: number
  readonly deadlineMs: number
  readonly nowMs: () => number
}

/** Of a history that was never seen: 2 at its beginning, the rest at its end. */
export const MOST_ITEMS = 16
export const FIRST_ITEMS = 2
const SHAPE_AT = 2 * ENTITY_TYPES.length
/** Shapes are 0 to about 1.6. */
const SHAPE_STEPS = 40_000

type Entry = {
  readonly state: ConversationState
  /**
   * Of each type of entity its count, then its last turn; behind them the shape of the last turn, in steps. One array, since
   * each costs 200 bytes beside its numbers.
   */
  readonly numbers: Uint16Array
  seen: number
  mark: number
  last: TurnNumbers | null
}

/** What a state does not hold of its last turn. */
type TurnNumbers = Pick<
  TurnFingerprint,
  'shift' | 'complexity' | 'expectedOutputTokens' | 'expectedOutputTokensP90' | 'expectedRemainingTurns'
>

export class FingerprintCache {
  readonly #options: FingerprintCacheOptions
  readonly #entries = new Map<string, Entry>()
  readonly counts: FingerprintCounts = { full: 0, partial: 0, begunAnew: 0, evicted: 0 }

  constructor(options: FingerprintCacheOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#entries.size
  }

  /** Whether what `update` would read is longer than so many characters. */
  isLong(key: string, context: readonly ConversationItem[], characters: number): boolean {
    const known = this.#entries.get(key)
    const seen = known !== undefined && known.seen <= context.length && known.mark === markOf(context, known.seen) ? known.seen : 0
    let length = 0
    for (let at = Math.max(seen, context.length - MOST_ITEMS); at < context.length; at++) {
      length += spokenItem(context[at]!)?.text.length ?? 0
      if (length > characters) return true
    }
    return false
  }

  /** `remember` false: a look that leaves no trace. Null when nothing was ever said. */
  update(key: string, context: readonly ConversationItem[], remember = true): SemanticFingerprint | null {
    const { fingerprinter, deadlineMs, nowMs } = this.#options
    const until = nowMs() + deadlineMs
    const known = this.#entries.get(key)
    const continues = known !== undefined && known.seen <= context.length && known.mark === markOf(context, known.seen)
    if (known !== undefined && !continues) this.counts.begunAnew++
    const entry = continues ? (remember ? known : copyOf(known, fingerprinter)) : this.#begin()
    const skipFrom = entry.seen + FIRST_ITEMS
    const skipTo = context.length - (MOST_ITEMS - FIRST_ITEMS)
    let partial = false
    let at = entry.seen
    for (; at < context.length; at++) {
      if (at >= skipFrom && at < skipTo) {
        at = skipTo - 1
        continue
      }
      // the last item is what the turn is about: it is read even when time is up
      if (nowMs() > until && at < context.length - 1) {
        partial = true
        at = context.length - 2
        continue
      }
      const spoken = spokenItem(context[at]!)
      if (spoken !== null) this.#read(entry, spoken.speaker, spoken.text)
    }
    entry.seen = context.length
    entry.mark = markOf(context, context.length)
    this.counts[partial ? 'partial' : 'full']++
    if (remember) this.#keep(key, entry)
    return entry.last === null ? null : { ...fingerprinter.describe(entry.state), ...published(entry, entry.last, partial) }
  }

  #begin(): Entry {
    return {
      state: this.#options.fingerprinter.begin(),
      numbers: new Uint16Array(SHAPE_AT + SHAPE.length),
      seen: 0,
      mark: 0,
      last: null,
    }
  }

  #read(entry: Entry, speaker: Speaker, text: string): void {
    const turn = entry.state.turns
    const found = this.#options.fingerprinter.update(entry.state, speaker, text)
    const { entities, shift, complexity, expectedOutputTokens, expectedOutputTokensP90, expectedRemainingTurns, shape } = found
    for (const { type } of entities) {
      const place = 2 * ENTITY_TYPES.indexOf(type)
      entry.numbers[place] = Math.min(65_535, entry.numbers[place]! + 1)
      entry.numbers[place + 1] = Math.min(65_535, turn)
    }
    entry.last = { shift, complexity, expectedOutputTokens, expectedOutputTokensP90, expectedRemainingTurns }
    for (let at = 0; at < SHAPE.length; at++) entry.numbers[SHAPE_AT + at] = Math.min(65_535, SHAPE_STEPS * shape[at]!)
  }

  #keep(key: string, entry: Entry): void {
    const entries = this.#entries
    entries.delete(key)
    entries.set(key, entry)
    if (entries.size <= this.#options.maxConversations) return
    for (const oldest of entries.keys()) {
      entries.delete(oldest)
      this.counts.evicted++
      break
    }
  }
}

function published(
  entry: Entry,
  last: TurnNumbers,
  partial: boolean,
): Omit<SemanticFingerprint, 'topics' | 'intent' | 'inScope' | 'embedding'> {
  const entities = ENTITY_TYPES.flatMap((type, place) => {
    const count = entry.numbers[2 * place]!
    return count === 0 ? [] : [{ type, count, lastTurn: entry.numbers[2 * place + 1]! }]
  })
  const shape = Float32Array.from(entry.numbers.subarray(SHAPE_AT), (steps) => steps / SHAPE_STEPS)
  return { ...last, driftTurn: entry.state.driftTurn, entities, shape, partial }
}

/** A number that the item before place `end` looks like; its text is not kept. */
export function markOf(context: readonly ConversationItem[], end: number): number {
  const item = context[end - 1]
  if (item === undefined) return 0
  const spoken = spokenItem(item)
  const text = spoken === null ? item.type : `${spoken.speaker}${spoken.text.length}${spoken.text.slice(0, 64)}${spoken.text.slice(-64)}`
  let hash = 0x811c9dc5
  for (let place = 0; place < text.length; place++) hash = Math.imul(hash ^ text.charCodeAt(place), 0x01000193)
  return hash
}

function copyOf(entry: Entry, fingerprinter: Fingerprinter): Entry {
  return {
    ...entry,
    state: fingerprinter.copy(entry.state),
    numbers: entry.numbers.slice(),
  }
}
