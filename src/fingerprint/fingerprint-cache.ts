/**
 * The fingerprints of the conversations of a process. A turn brings the whole history; only items that were not seen are read,
 * and the state is moved by them.
 *
 *   seen      so many items, the last of which looked like this -> read what follows
 *   unlike    a fork or a rewritten history -> begin anew (counted)
 *   new       at most `MOST_ITEMS` are read: the first, which set the subject, and the last
 *
 * Reading stops at the deadline; what is left is read with the next turn, and the fingerprint is marked partial. Bounded by
 * entries, least recently used first within each of the shards that snapshots are written by. An entry is one array of bytes
 * (conversation-record.ts): 0.9 to 1.4 KB with its key and the engine's own overhead.
 */
import type { SemanticFingerprint } from '../model/fingerprint.ts'
import type { ConversationItem } from '../model/item.ts'
import { fnv1a } from '../model/text-hash.ts'
import type { Speaker } from './conversation-context.ts'
import { spokenItem } from './conversation-items.ts'
import { markIn, seenIn, WorkingConversation } from './conversation-record.ts'
import { checksumOf, ConversationShard, readShard, type RecordForm } from './conversation-shard.ts'
import { withValues } from './entities/entity-values.ts'
import { normalised } from './entities/normalise.ts'
import { ENTITY_TYPES } from './entities/spans.ts'
import type { Fingerprinter } from './fingerprinter.ts'

/** What the conversation itself says of its turn; what was learned of others is added by who composes. */
export type TurnReading = Omit<SemanticFingerprint, 'entities' | 'expectedReturnGapSeconds'>

export type FingerprintCounts = {
  full: number
  partial: number
  begunAnew: number
  evicted: number
  /** Values of entities that their conversation had no room for. */
  valuesEvicted: number
}

export type FingerprintCacheOptions = {
  readonly fingerprinter: Fingerprinter
  readonly maxConversations: number
  readonly deadlineMs: number
  readonly nowMs: () => number
}

/** Of a history that was never seen: 2 at its beginning, the rest at its end. */
export const MOST_ITEMS = 16
export const FIRST_ITEMS = 2

/** Shards of at least so many conversations, and at most so many shards. */
const SHARD_CONVERSATIONS = 64
const MOST_SHARDS = 128

/** One share of the cache for the snapshots. */
export type FingerprintSnapshot = {
  readonly name: string
  readonly changed: () => boolean
  readonly save: () => Uint8Array
  readonly restore: (bytes: Uint8Array) => void
}

export class FingerprintCache {
  readonly #options: FingerprintCacheOptions
  readonly #shards: readonly ConversationShard[]
  readonly #form: RecordForm
  /** The conversation that is being read. */
  readonly #working: WorkingConversation
  readonly #counts = { full: 0, partial: 0, begunAnew: 0, valuesEvicted: 0 }

  constructor(options: FingerprintCacheOptions) {
    this.#options = options
    const { maxConversations } = options
    const shards = Math.max(1, Math.min(MOST_SHARDS, Math.floor(maxConversations / SHARD_CONVERSATIONS)))
    this.#shards = Array.from({ length: shards }, () => new ConversationShard(Math.floor(maxConversations / shards)))
    this.#working = new WorkingConversation(() => options.fingerprinter.begin())
    this.#form = { checksum: checksumOf(options.fingerprinter), bytes: this.#working.fixedBytes }
  }

  get size(): number {
    return this.#shards.reduce((sum, { size }) => sum + size, 0)
  }

  get counts(): Readonly<FingerprintCounts> {
    return { ...this.#counts, evicted: this.#shards.reduce((sum, { evicted }) => sum + evicted, 0) }
  }

  /** Of each shard; what is restored is put where its key belongs, also when there were more or fewer shards. */
  get snapshots(): readonly FingerprintSnapshot[] {
    return this.#shards.map((shard, number) => ({
      name: `fingerprints-${number}`,
      changed: () => shard.changed,
      save: () => shard.save(this.#form),
      restore: (bytes) => {
        for (const [key, record] of readShard(bytes, this.#form)) this.#shardOf(key).keep(key, record)
      },
    }))
  }

  /** Whether what `update` would read is longer than so many characters. */
  isLong(key: string, context: readonly ConversationItem[], characters: number): boolean {
    const known = this.#shardOf(key).get(key)
    const seen = known !== undefined && continuesFrom(known, context) ? seenIn(known) : 0
    let length = 0
    for (let at = Math.max(seen, context.length - MOST_ITEMS); at < context.length; at++) {
      length += spokenItem(context[at]!)?.text.length ?? 0
      if (length > characters) return true
    }
    return false
  }

  /** Null when nothing was ever said. */
  update(key: string, context: readonly ConversationItem[]): TurnReading | null {
    const shard = this.#shardOf(key)
    const known = shard.get(key)
    const continues = this.#takeUp(known, context)
    if (known !== undefined && !continues) this.#counts.begunAnew++
    const partial = this.#readNews(context, true)
    this.#counts[partial ? 'partial' : 'full']++
    shard.keep(key, this.#working.pack(known))
    return this.#told(partial)
  }

  /** What `update` would tell, with the entities; leaves no trace. */
  look(key: string, context: readonly ConversationItem[]): (TurnReading & Pick<SemanticFingerprint, 'entities'>) | null {
    this.#takeUp(this.#shardOf(key).get(key), context)
    const told = this.#told(this.#readNews(context, false))
    if (told === null) return null
    return { ...told, entities: withValues(this.#working.entities(), this.#working.values.list()) }
  }

  #shardOf(key: string): ConversationShard {
    return this.#shards[(fnv1a(key) >>> 0) % this.#shards.length]!
  }

  /** True where the context continues what is known. */
  #takeUp(known: Uint8Array | undefined, context: readonly ConversationItem[]): boolean {
    const continues = known !== undefined && continuesFrom(known, context)
    if (continues) this.#working.unpack(known)
    else this.#working.clear()
    return continues
  }

  /** True where the deadline left items unread. */
  #readNews(context: readonly ConversationItem[], counted: boolean): boolean {
    const { deadlineMs, nowMs } = this.#options
    const working = this.#working
    const until = nowMs() + deadlineMs
    const skipFrom = working.seen + FIRST_ITEMS
    const skipTo = context.length - (MOST_ITEMS - FIRST_ITEMS)
    let partial = false
    let at = working.seen
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
      if (spoken === null) continue
      const gone = this.#read(spoken.speaker, spoken.text)
      if (counted) this.#counts.valuesEvicted += gone
    }
    working.seen = context.length
    working.mark = markOf(context, context.length)
    return partial
  }

  /** How many values of entities had to go. */
  #read(speaker: Speaker, text: string): number {
    const working = this.#working
    const turn = working.state.turns
    const found = this.#options.fingerprinter.read(working.state, speaker, text)
    const { entities, shift, complexity, expectedOutputTokens, expectedOutputTokensP90, expectedRemainingTurns, shape } = found
    let gone = 0
    for (const { type, start, end } of entities) {
      working.sawEntity(ENTITY_TYPES.indexOf(type), turn)
      gone += working.values.see(type, normalised(type, text.slice(start, end)), turn)
    }
    working.last = { shift, complexity, expectedOutputTokens, expectedOutputTokensP90, expectedRemainingTurns }
    working.setShape(shape)
    return gone
  }

  #told(partial: boolean): TurnReading | null {
    const { state, last, shape } = this.#working
    if (last === null) return null
    const { fingerprinter } = this.#options
    return { ...fingerprinter.describe(state), ...last, shape: shape.slice(), driftTurn: state.driftTurn, partial }
  }
}

const continuesFrom = (known: Uint8Array, context: readonly ConversationItem[]): boolean =>
  seenIn(known) <= context.length && markIn(known) === markOf(context, seenIn(known))

/** A number that the item before place `end` looks like; its text is not kept. */
export function markOf(context: readonly ConversationItem[], end: number): number {
  const item = context[end - 1]
  if (item === undefined) return 0
  const spoken = spokenItem(item)
  const text = spoken === null ? item.type : `${spoken.speaker}${spoken.text.length}${spoken.text.slice(0, 64)}${spoken.text.slice(-64)}`
  return fnv1a(text)
}
