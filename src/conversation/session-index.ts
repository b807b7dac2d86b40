/**
 * Recognises a session that has no name: clients that resend the full history send the same prefix again.
 *
 * After each answer the deepest whole block of prompt + answer is remembered with its session. A new prompt is walked
 * from its end; the first remembered block names the session. A continued turn is found within its own new blocks; a
 * prompt nobody has seen is walked at most `maxWalkBlocks` deep. Only block ends of answered turns are remembered, so a
 * system prompt that many sessions share never makes them one. Bounded by entries, least recently used leaves first.
 */
import type { GrowingChain } from '../model/turn.ts'

export class SessionIndex {
  readonly #sessions = new Map<number, string>()
  readonly #maxEntries: number
  readonly #maxWalkBlocks: number
  /** Where each session was answered last; a session with no stored parent has its home here only. */
  readonly #homes = new Map<string, string>()
  readonly evictions = { size: 0 }

  constructor(options: { readonly maxEntries: number; readonly maxWalkBlocks: number }) {
    this.#maxEntries = options.maxEntries
    this.#maxWalkBlocks = options.maxWalkBlocks
  }

  find(chain: GrowingChain): string | null {
    const stop = Math.max(0, chain.length - this.#maxWalkBlocks)
    for (let blocks = chain.length; blocks > stop; blocks--) {
      const found = this.#sessions.get(chain.key(blocks))
      if (found !== undefined) return found
    }
    return null
  }

  remember(chain: GrowingChain, sessionId: string): void {
    if (chain.length > 0) this.#put(this.#sessions, chain.key(), sessionId)
  }

  /** Names of sessions are their tenant's own. */
  homeOf(tenant: string, sessionId: string): string | null {
    return this.#homes.get(`${tenant}\n${sessionId}`) ?? null
  }

  rememberHome(tenant: string, sessionId: string, backendId: string): void {
    this.#put(this.#homes, `${tenant}\n${sessionId}`, backendId)
  }

  get size(): number {
    return this.#sessions.size
  }

  #put<Key>(map: Map<Key, string>, key: Key, value: string): void {
    map.delete(key)
    map.set(key, value)
    if (map.size <= this.#maxEntries) return
    for (const oldest of map.keys()) {
      map.delete(oldest)
      this.evictions.size++
      break
    }
  }
}
