/**
 * Prefixes that several sessions begin with (an agent's prompt, its tools, a document), by a short name and size.
 *
 * A new session is found to begin as others did by what backends hold of its prompt: the longest held prefix names its
 * group. Later sessions count for every group that their prompt begins with. A group is called by a hash of its chain,
 * never by its text; the chain's seed holds tenant and model, so no two tenants share a group.
 *
 *   sessions   estimated by linear counting (Whang et al. 1990): each sets one of `BITS` bits by its hash,
 *              n = -BITS ln(share of bits not set); within 5 % up to about `BITS` sessions
 *
 * An entry costs 8 bytes a block of its prefix and 128 bytes of bits. At most `maxGroups`, of at most `MOST_BLOCKS` blocks;
 * the least recently used leaves first (`evicted`). A turn costs one comparison per group.
 */
import { fnv1a } from '../model/text-hash.ts'
import { prefixOf, startsWith, type BlockChain } from '../model/turn.ts'

export type PrefixGroup = {
  /** A name; the same for as long as the process lives and for the same prefix. */
  readonly hash: string
  readonly tenant: string
  readonly model: string
  readonly chain: BlockChain
  readonly sessions: number
  readonly lastUseMs: number
}

type Entry = Omit<PrefixGroup, 'sessions' | 'lastUseMs'> & { readonly bits: Uint8Array; lastUseMs: number }

export class PrefixGroups {
  readonly #index: { cachedBlocks(chain: BlockChain, backendIndex: number): number }
  readonly #nowMs: () => number
  readonly #maxGroups: number
  readonly #groups = new Map<string, Entry>()
  evicted = 0

  constructor(
    index: { cachedBlocks(chain: BlockChain, backendIndex: number): number },
    options: { readonly nowMs: () => number; readonly maxGroups: number },
  ) {
    this.#index = index
    this.#nowMs = options.nowMs
    this.#maxGroups = options.maxGroups
  }

  /**
   * A turn is sent; to be called before its blocks are entered. `isNew`: its session was never answered. Returns the
   * longest group of at least `leastSessions` that its prompt begins with.
   */
  observe(
    turn: { readonly tenant: string; readonly model: string; readonly sessionId: string; readonly chain: BlockChain },
    isNew: boolean,
    backends: readonly { readonly index: number }[],
    leastSessions = 2,
  ): PrefixGroup | null {
    const { tenant, model, sessionId, chain } = turn
    if (isNew) {
      let shared = 0
      for (const { index } of backends) shared = Math.max(shared, this.#index.cachedBlocks(chain, index))
      if (shared >= LEAST_BLOCKS) this.#enter(tenant, model, prefixOf(chain, Math.min(shared, MOST_BLOCKS)))
    }
    let longest: PrefixGroup | null = null
    for (const group of this.#groups.values()) {
      if (!startsWith(chain, group.chain)) continue
      mark(group.bits, sessionId)
      group.lastUseMs = this.#nowMs()
      if (longest !== null && group.chain.length <= longest.chain.length) continue
      const seen = shown(group)
      if (seen.sessions >= leastSessions) longest = seen
    }
    return longest
  }

  /** Those of at least two sessions, the most sessions first. */
  list(): PrefixGroup[] {
    const groups = [...this.#groups.values()].map(shown)
    return groups.filter(({ sessions }) => sessions >= 2).sort((one, other) => other.sessions - one.sessions)
  }

  get size(): number {
    return this.#groups.size
  }

  #enter(tenant: string, model: string, chain: BlockChain): void {
    const hash = nameOf(chain)
    const known = this.#groups.get(hash)
    if (known !== undefined) {
      this.#groups.delete(hash)
      this.#groups.set(hash, known)
      return
    }
    // one or two blocks more are the chance likeness of first words, not another group
    for (const group of this.#groups.values())
      if (startsWith(chain, group.chain) && chain.length - group.chain.length <= CHANCE_BLOCKS) return
    const own = { ...chain, hashes: chain.hashes.slice(0, 2 * chain.length) }
    this.#groups.set(hash, { hash, tenant, model, chain: own, bits: newBits(), lastUseMs: this.#nowMs() })
    if (this.#groups.size <= this.#maxGroups) return
    let oldest: Entry | null = null
    for (const group of this.#groups.values()) if (oldest === null || group.lastUseMs < oldest.lastUseMs) oldest = group
    this.#groups.delete(oldest!.hash)
    this.evicted++
  }
}

/** A thousand characters, about 250 tokens: less saves nobody anything. */
const LEAST_BLOCKS = 8
/** Two million characters. */
const MOST_BLOCKS = 16_384
const CHANCE_BLOCKS = 2
const BITS = 1024

/** The group's first session stands in it by being found, the second by finding it. */
function newBits(): Uint8Array {
  const bits = new Uint8Array(BITS / 8)
  bits[0] = 1
  return bits
}

function mark(bits: Uint8Array, sessionId: string): void {
  let hash = fnv1a(sessionId)
  // MurmurHash3's finaliser: names that count up differ in their last letters only
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  hash ^= hash >>> 16
  const bit = 1 + ((hash >>> 0) % (BITS - 1))
  bits[bit >> 3]! |= 1 << (bit & 7)
}

function shown({ bits, ...group }: Entry): PrefixGroup {
  let set = 0
  for (const byte of bits) for (let rest = byte; rest !== 0; rest &= rest - 1) set++
  const sessions = set === BITS ? BITS * Math.log(BITS) : -BITS * Math.log(1 - set / BITS)
  return { ...group, sessions: Math.round(sessions) }
}

const nameOf = ({ hashes, length }: BlockChain): string =>
  [hashes[2 * length - 2]!, hashes[2 * length - 1]!].map((half) => half.toString(16).padStart(8, '0')).join('').slice(0, 12)
