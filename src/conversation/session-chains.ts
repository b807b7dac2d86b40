/**
 * The prompt and answer of each session's last turn, as a block chain: what a report about a session's cache is about.
 *
 * A session is found by the id that receipts show (`header:NAME`, `conv_...`, `sess_...`), or by the bare name its client
 * gave. Two tenants may use the same name; then the tenant has to be said. An entry costs about 100 bytes and, where it
 * shares its hashes with nobody, 8 bytes a block of 128 characters. Bounded by entries and by bytes; the least recently
 * answered leaves first (`evictions.size`), and a report about it is refused as unknown.
 */
import type { BlockChain } from '../model/turn.ts'

export type SessionChain = {
  readonly tenant: string
  readonly sessionId: string
  readonly model: string
  readonly chain: BlockChain
}

export class SessionChains {
  readonly #byKey = new Map<string, SessionChain>()
  /** Tenants that use a session id; nearly always one. */
  readonly #tenants = new Map<string, string[]>()
  readonly #maxEntries: number
  readonly #maxBytes: number
  #bytes = 0
  readonly evictions = { size: 0 }

  constructor(options: { readonly maxEntries: number; readonly maxBytes: number }) {
    this.#maxEntries = options.maxEntries
    this.#maxBytes = options.maxBytes
  }

  remember(session: SessionChain): void {
    const key = keyOf(session.tenant, session.sessionId)
    const known = this.#byKey.get(key)
    if (known === undefined) {
      const tenants = this.#tenants.get(session.sessionId)
      if (tenants === undefined) this.#tenants.set(session.sessionId, [session.tenant])
      else tenants.push(session.tenant)
    } else {
      this.#byKey.delete(key)
      this.#bytes -= bytesOf(known)
    }
    this.#byKey.set(key, session)
    this.#bytes += bytesOf(session)
    for (const [oldest, entry] of this.#byKey) {
      if (this.#byKey.size <= this.#maxEntries && this.#bytes <= this.#maxBytes) break
      this.#forget(oldest, entry)
      this.evictions.size++
    }
  }

  /** Every session of that name: none, one, or one for each tenant that uses it. */
  find(name: string, tenant: string | null): readonly SessionChain[] {
    for (const id of [name, `header:${name}`, `agent:${name}`]) {
      const tenants = tenant === null ? (this.#tenants.get(id) ?? []) : [tenant]
      const found = tenants.flatMap((owner) => this.#byKey.get(keyOf(owner, id)) ?? [])
      if (found.length > 0) return found
    }
    return []
  }

  get size(): number {
    return this.#byKey.size
  }

  get bytes(): number {
    return this.#bytes
  }

  #forget(key: string, { tenant, sessionId, chain }: SessionChain): void {
    this.#byKey.delete(key)
    this.#bytes -= 8 * chain.length
    const others = (this.#tenants.get(sessionId) ?? []).filter((other) => other !== tenant)
    if (others.length === 0) this.#tenants.delete(sessionId)
    else this.#tenants.set(sessionId, others)
  }
}

const keyOf = (tenant: string, sessionId: string): string => `${tenant}\u0000${sessionId}`
const bytesOf = ({ chain }: SessionChain): number => 8 * chain.length
