import type { Asking } from './asking.ts'
import type { SchedulingRequest } from './decision.ts'
import type { FingerprintNote } from './fingerprint.ts'
import type { ConversationItem, StoredItem } from './item.ts'
import type { JsonObject } from './json.ts'
import type { Subject } from './quality.ts'
import type { StoredResponse } from './response.ts'

export type Endpoint = 'responses' | 'chat' | 'completions' | 'embeddings'

/** What a client asked for, validated, before anything was looked up. */
export type Turn = {
  readonly endpoint: 'responses' | 'chat'
  readonly tenant: string
  readonly requestId: string
  readonly receivedAtMs: number
  readonly model: string
  /** Responses: the new items only. Chat: the whole history, as items. */
  readonly input: readonly ConversationItem[]
  readonly instructions: string | null
  /** `undefined`: left out, so the parent's tools apply. */
  readonly tools: readonly JsonObject[] | undefined
  readonly previousResponseId: string | null
  readonly conversationId: string | null
  readonly store: boolean
  readonly stream: boolean
  /**
   * The client's own name for the session, `header:...` for an explicit session header or `agent:...` for one that a
   * known agent sends by itself; null when it gave none. docs/lineage.md has the ladder.
   */
  readonly sessionHint: string | null
  /** `prompt_cache_key`: a cache group, not a session. */
  readonly cacheKey: string | null
  readonly maxOutputTokens: number | null
  /** The body as parsed; unknown fields are passed through from here. */
  readonly body: JsonObject
  /** The bytes it was parsed from, where they may be sent on as they are. */
  readonly bodyBytes?: Buffer | undefined
  /** How several models are to be asked; null: one, whatever the rules say; left out: as the rules say. */
  readonly asking?: Asking | null | undefined
}

/**
 * A prefix in blocks: `hashes[i]` names everything up to the end of block i (a chained hash), so two chains with the
 * same `hashes[i]` have the same text up to there. Positions are in canonical characters, see `kv/chain.ts`.
 */
export type BlockChain = {
  /** Two unsigned 32-bit halves a block: [low0, high0, low1, high1, ...]; `length` blocks are valid. */
  readonly hashes: Uint32Array
  readonly length: number
  readonly blockCharacters: number
  /** All canonical characters, the unfinished last block included. */
  readonly totalCharacters: number
}

/** The first so many whole blocks of a chain; shares its hashes. */
export const prefixOf = (chain: BlockChain, blocks: number): BlockChain => ({
  hashes: chain.hashes,
  length: blocks,
  blockCharacters: chain.blockCharacters,
  totalCharacters: blocks * chain.blockCharacters,
})

/** A chained hash names all that stands before it, so one comparison is enough. Nothing starts with the empty chain. */
export const startsWith = (chain: BlockChain, prefix: BlockChain): boolean => {
  const last = 2 * (prefix.length - 1)
  return (
    prefix.length > 0 &&
    chain.length >= prefix.length &&
    chain.hashes[last] === prefix.hashes[last] &&
    chain.hashes[last + 1] === prefix.hashes[last + 1]
  )
}

/** A chain that can be continued; every extension is a new value. */
export interface GrowingChain extends BlockChain {
  extend(text: string): GrowingChain
  /** The chain of the same text for another model; the same chain where it is its own. */
  forModel(model: string): GrowingChain
  /** A number (53 bits) that names the prefix of so many whole blocks; 0 for none. */
  key(blocks?: number): number
}

/** A turn whose history is known. */
export type ResolvedTurn = Turn & {
  /** Everything the model is to see, in order, without instructions. */
  readonly context: readonly ConversationItem[]
  /** Ids of `context`, in order; empty for a Chat turn. */
  readonly contextItemIds: readonly string[]
  /** Items of `context` that the store does not have yet. */
  readonly newItems: readonly StoredItem[]
  /** This turn's own input as it enters a conversation: ids of the last items of `context`. */
  readonly inputItemIds: readonly string[]
  readonly effectiveTools: readonly JsonObject[]
  /** Names model, tools and instructions: a chain is only continued under the same head. */
  readonly headKey: number
  /** Canonical characters of tools and instructions (Chat: of the system messages at the front), where the items begin. */
  readonly headCharacters: number
  /** The whole prompt: tools, instructions, context. */
  readonly chain: GrowingChain
  readonly parent: StoredResponse | null
  readonly session: { readonly id: string; readonly source: SessionSource }
  /** Left out until the turn has been fingerprinted, and where it could not be. */
  readonly fingerprint?: FingerprintNote
  /** The same as the choice of a model reads it. */
  readonly subject?: Subject
}

/** A turn as it is sent, and what the scheduler was asked: with the name and the chain of the model that answers. */
export type PlacedTurn = { readonly turn: ResolvedTurn; readonly request: SchedulingRequest }

export type SessionSource = 'header' | 'conversation' | 'previous_response' | 'agent' | 'prefix' | 'new'

