/**
 * The name of a token prefix: a 64-bit rolling hash over token ids, two 32-bit multiply-rotate lanes.
 *
 *   tokens   t0 t1 ... t15 | t16 ... t31 | ...
 *   state      -> . -> ... -> s16 -> ... -> s32      `s(n)` names the first n tokens
 *
 * It knows nothing of blocks, so engines with blocks of 1, 16 or 128 tokens can be compared: their block ends are states
 * of the same sequence. States are kept at every multiple of GRAIN_TOKENS only. Equal states mean equal prefixes (two
 * independent lanes, 64 bits: at 10 million names the chance of one false match anywhere is about 3 in a million).
 * What an engine mixes into a block beside its tokens (a salt, an adapter, an image) is folded in before the block.
 */
export type TokenState = { low: number; high: number }

/** vLLM's default block. Block ends of an engine count where they are multiples of it. */
export const GRAIN_TOKENS = 16

export const startOfTokens = (): TokenState => ({ low: 0x9747b28c, high: 0x3c6ef372 })

/** Feeds `count` token ids from `from`. 2 ns a token. */
export function feedTokens(state: TokenState, tokens: ArrayLike<number>, from: number, count: number): void {
  let { low, high } = state
  for (let at = from; at < from + count; at++) {
    const token = tokens[at]! + 1
    low = Math.imul(low ^ token, 0x9e3779b1)
    low = (low << 13) | (low >>> 19)
    high = Math.imul(high ^ token, 0x85ebca77)
    high = (high << 17) | (high >>> 15)
  }
  state.low = low >>> 0
  state.high = high >>> 0
}

/** Folds in the bytes of what a block holds beside tokens, as the engine publishes them (one element of `extra_keys`). */
export function foldExtra(state: TokenState, bytes: Uint8Array, from: number, to: number): void {
  fold(state, FNV_START, bytes, from, to)
}

/** Folds in a text that an engine publishes bare (SGLang's `cache_salt`) as if it were a list of it alone, `saltBytes`. */
export function foldName(state: TokenState, bytes: Uint8Array, from: number, to: number): void {
  fold(state, Math.imul(FNV_START ^ LIST_OF_ONE, FNV_PRIME), bytes, from, to)
}

function fold(state: TokenState, start: number, bytes: Uint8Array, from: number, to: number): void {
  let hash = start
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ bytes[at]!, FNV_PRIME)
  state.low = Math.imul(state.low ^ hash, 0x27d4eb2f) >>> 0
  state.high = Math.imul(state.high ^ hash, 0x165667b1) >>> 0
}

/** `[salt]` in msgpack: what vLLM publishes for the first block of a salted prompt. */
export function saltBytes(salt: string): Uint8Array {
  const text = Buffer.from(salt, 'utf8')
  const head =
    text.length < 32 ? [0xa0 | text.length] : text.length < 256 ? [0xd9, text.length] : [0xda, text.length >> 8, text.length & 255]
  return Buffer.concat([Buffer.from([LIST_OF_ONE, ...head]), text])
}

/** The states of a whole token list at every grain: [low0, high0, low1, high1, ...]. */
export function statesOf(tokens: ArrayLike<number>, salt: string | null): Uint32Array {
  const grains = Math.floor(tokens.length / GRAIN_TOKENS)
  const states = new Uint32Array(2 * grains)
  const state = startOfTokens()
  if (salt !== null) {
    const bytes = saltBytes(salt)
    foldExtra(state, bytes, 0, bytes.length)
  }
  for (let grain = 0; grain < grains; grain++) {
    feedTokens(state, tokens, grain * GRAIN_TOKENS, GRAIN_TOKENS)
    states[2 * grain] = state.low
    states[2 * grain + 1] = state.high
  }
  return states
}

/** FNV-1a, 32 bits (http://www.isthe.com/chongo/tech/comp/fnv). */
const FNV_START = 0x811c9dc5
const FNV_PRIME = 0x01000193
/** msgpack's head of a list of one element. */
const LIST_OF_ONE = 0x91
