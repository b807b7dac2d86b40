/**
 * The embeddings of conversations by a remote model, kept as the table's are: a decayed, role-weighted sum of turns, moved by
 * new items only (conversation-context.ts). Vectors of the two never meet: a conversation here holds the remote model's alone,
 * and whoever reads it gets either this or the table's.
 *
 *   follow   items that were not seen are sent; what comes back moves the conversation. What does not come back stays
 *            unseen and goes with the next turn
 *   read     the same for a look that leaves no trace; null where the model did not answer in time
 *
 * Bounded by entries, least recently used first; an entry holds one byte a dimension and some numbers. Of a history that was
 * never seen the first two items and the last fourteen are sent, of an item its two ends.
 */
import type { ConversationItem } from '../model/item.ts'
import { ConversationContext, type Speaker } from './conversation-context.ts'
import { spokenItem } from './conversation-items.ts'
import { FIRST_ITEMS, markOf, MOST_ITEMS } from './fingerprint-cache.ts'
import { toUnitLength } from './token-table.ts'

/** One vector a text; null where there are none. Never rejects. */
export type Embed = (texts: readonly string[]) => Promise<readonly Float32Array[] | null>

export type RemoteEmbeddingsOptions = {
  readonly embed: Embed
  readonly model: string
  /** Of an item, at most so many are sent. */
  readonly characters: number
  readonly maxConversations: number
}

type Entry = {
  /** Null until the model has answered once. */
  context: ConversationContext | null
  dimensions: number
  seen: number
  mark: number
  /** The model is being asked for what was not seen. */
  asking: boolean
}

export class RemoteEmbeddings {
  readonly model: string
  readonly #options: RemoteEmbeddingsOptions
  readonly #entries = new Map<string, Entry>()
  evicted = 0

  constructor(options: RemoteEmbeddingsOptions) {
    this.#options = options
    this.model = options.model
  }

  get size(): number {
    return this.#entries.size
  }

  /** Resolves when the model has answered or will not; nobody needs to wait for it. */
  async follow(key: string, context: readonly ConversationItem[]): Promise<void> {
    const entry = this.#entryOf(key, context) ?? begun()
    this.#keep(key, entry)
    if (entry.asking) return
    entry.asking = true
    try {
      await this.#advance(entry, context)
    } finally {
      entry.asking = false
    }
  }

  /** Of the conversation with all of `context`, at unit length. */
  async read(key: string, context: readonly ConversationItem[]): Promise<Float32Array | null> {
    const known = this.#entryOf(key, context)
    const entry = known === null ? begun() : copyOf(known)
    if (!(await this.#advance(entry, context)) || entry.context === null) return null
    const vector = new Float32Array(entry.dimensions)
    entry.context.vector(vector)
    return vector
  }

  /** What is known of this conversation, where `context` continues it. */
  #entryOf(key: string, context: readonly ConversationItem[]): Entry | null {
    const known = this.#entries.get(key)
    return known !== undefined && known.seen <= context.length && known.mark === markOf(context, known.seen) ? known : null
  }

  /** False where something stays unseen. */
  async #advance(entry: Entry, context: readonly ConversationItem[]): Promise<boolean> {
    const said = this.#unseen(entry.seen, context)
    if (said.length > 0) {
      const vectors = await this.#options.embed(said.map(({ text }) => text))
      if (vectors === null) return false
      vectors.forEach((vector, at) => add(entry, vector, said[at]!.speaker))
    }
    entry.seen = context.length
    entry.mark = markOf(context, context.length)
    return true
  }

  #unseen(seen: number, context: readonly ConversationItem[]): { readonly speaker: Speaker; readonly text: string }[] {
    const skipFrom = seen + FIRST_ITEMS
    const skipTo = context.length - (MOST_ITEMS - FIRST_ITEMS)
    return context.flatMap((item, at) => {
      if (at < seen || (at >= skipFrom && at < skipTo)) return []
      const spoken = spokenItem(item)
      return spoken === null || spoken.text.trim() === '' ? [] : [{ speaker: spoken.speaker, text: this.#ends(spoken.text) }]
    })
  }

  #ends(text: string): string {
    const { characters } = this.#options
    if (text.length <= characters) return text
    const tail = Math.floor(characters / 3)
    // a character of two units that was cut in two would be no text, and some servers refuse it
    return `${text.slice(0, characters - tail).replace(/[\ud800-\udbff]$/, '')}\n${text.slice(text.length - tail).replace(/^[\udc00-\udfff]/, '')}`
  }

  #keep(key: string, entry: Entry): void {
    const entries = this.#entries
    entries.delete(key)
    entries.set(key, entry)
    if (entries.size <= this.#options.maxConversations) return
    for (const oldest of entries.keys()) {
      entries.delete(oldest)
      this.evicted++
      break
    }
  }
}

const begun = (): Entry => ({ context: null, dimensions: 0, seen: 0, mark: 0, asking: false })

function copyOf(entry: Entry): Entry {
  if (entry.context === null) return { ...entry }
  const context = new ConversationContext(entry.dimensions)
  context.copyFrom(entry.context)
  return { ...entry, context }
}

function add(entry: Entry, vector: Float32Array, speaker: Speaker): void {
  if (entry.context === null) {
    entry.context = new ConversationContext(vector.length)
    entry.dimensions = vector.length
  }
  toUnitLength(vector)
  entry.context.add(vector, speaker, new Float32Array(vector.length))
}
