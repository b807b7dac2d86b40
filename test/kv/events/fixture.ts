import { EngineBlocks, type EngineBlocksOptions } from '../../../src/kv/events/engine-blocks.ts'
import { HeldBlocks } from '../../../src/kv/events/held-blocks.ts'
import type { StoredBlocks } from '../../../src/kv/events/kv-event.ts'
import { GRAIN_TOKENS, statesOf } from '../../../src/kv/events/token-hash.ts'

/** An engine's blocks with the set that their changes keep. */
export function picture(options: Partial<EngineBlocksOptions> = {}) {
  const held = new HeldBlocks(1 << 20)
  let complete = false
  const blocks = new EngineBlocks({
    maxBlocks: 1 << 20,
    changes: {
      held: (low, high, tier) => held.hold(low, high, tier),
      gone: (low, high, tier) => held.release(low, high, tier),
      allGone: (whole) => {
        held.clear()
        complete = whole
      },
    },
    ...options,
  })
  const resident = (tokens: readonly number[], blockTokens: number, salt: string | null = null, tiers = 7): number => {
    const states = statesOf(tokens, salt)
    let count = 0
    for (let end = blockTokens; end <= tokens.length; end += blockTokens) {
      if (end % GRAIN_TOKENS !== 0) continue
      const grain = end / GRAIN_TOKENS - 1
      if ((held.tiersOf(states[2 * grain]!, states[2 * grain + 1]!) & tiers) === 0) break
      count = end
    }
    return count
  }
  return { held, blocks, resident, complete: () => complete }
}

export const storedEvent = (event: {
  readonly hashes: readonly number[]
  readonly parent?: number | null
  readonly tokens: readonly number[]
  readonly blockTokens: number
  readonly tier?: 0 | 1 | 2
  readonly group?: number | null
  readonly attention?: string | null
}): StoredBlocks => ({
  hashes: Uint32Array.from(event.hashes.flatMap((hash) => [hash, hash ^ 0x5bd1e995])),
  blocks: event.hashes.length,
  hasParent: event.parent !== undefined && event.parent !== null,
  parentLow: event.parent ?? 0,
  parentHigh: ((event.parent ?? 0) ^ 0x5bd1e995) >>> 0,
  tokens: Uint32Array.from(event.tokens),
  tokenCount: event.tokens.length,
  blockTokens: event.blockTokens,
  tier: event.tier ?? 0,
  group: event.group ?? null,
  attention: event.attention ?? null,
  extras: [],
  names: [],
  payload: new Uint8Array(0),
})

export const tokensFrom = (seed: number, count: number): number[] =>
  Array.from({ length: count }, (_, at) => (Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(at + 7, 0x85ebca6b)) >>> 12)
