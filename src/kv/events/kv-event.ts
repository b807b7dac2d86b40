/** What an engine says about its KV cache. */

/** Where blocks lie: the accelerator's memory, the host's, or a store that several engines share. */
export type Tier = 0 | 1 | 2
export const TIERS = ['gpu', 'cpu', 'store'] as const

/** One `BlockStored`, in arrays that the decoder uses again for the next event. */
export type StoredBlocks = {
  /** Halves of the blocks' hashes: [low0, high0, ...]; `blocks` are valid. */
  hashes: Uint32Array<ArrayBuffer>
  blocks: number
  hasParent: boolean
  parentLow: number
  parentHigh: number
  tokens: Uint32Array<ArrayBuffer>
  tokenCount: number
  blockTokens: number
  tier: Tier
  group: number | null
  /** Null where the engine does not say; then it is full attention. */
  attention: string | null
  /** Where the elements of `extra_keys` lie in `payload`, [from, to] a block; empty: none has any. */
  extras: readonly number[]
  /** Where texts lie in `payload` that set the whole chain apart (salt, adapter), [from, to] a text. */
  names: readonly number[]
  payload: Uint8Array
}

export type RemovedBlocks = Pick<StoredBlocks, 'hashes' | 'blocks' | 'tier' | 'group'>

/** Takes the events of a batch in their order. */
export interface EventSink {
  stored(event: StoredBlocks): void
  removed(event: RemovedBlocks): void
  cleared(): void
}
