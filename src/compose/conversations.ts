/**
 * The store, and what is known of conversations on top of it: their lineages, sessions and last turns. Read once at start,
 * so that the block index knows what engines may still hold.
 */
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import { LastTurns } from '../conversation/last-turns.ts'
import { LineageCache } from '../conversation/lineage-cache.ts'
import { MemoryStore } from '../conversation/memory-store.ts'
import type { ChainMaker, ResolvePorts } from '../conversation/resolve.ts'
import type { ResponseStore } from '../conversation/response-store.ts'
import { SessionChains } from '../conversation/session-chains.ts'
import { SessionIndex } from '../conversation/session-index.ts'
import { openSqliteStore } from '../conversation/sqlite-store.ts'
import { canonicalHead, canonicalItem } from '../kv/canonical.ts'
import { PrefixChain } from '../kv/chain.ts'
import { warmStart } from '../warm-start.ts'
import type { CacheKnowledge } from './cache.ts'
import type { Fleet } from './fleet.ts'

/** Bounds that are not in the configuration (`memory`). */
const BOUNDS = {
  sessionWalkBlocks: 4096,
  sessionChains: 50_000,
  sessionChainBytes: 64 * 2 ** 20,
  /** Responses whose blocks are put back into the index at start. */
  warmStartResponses: 2000,
}

export async function openStore(config: Config, wallMs: () => number): Promise<ResponseStore> {
  const retention = { maxAgeMs: config.store.retentionMs ?? Infinity, maxBytes: config.store.maxBytes }
  if (config.store.path === null) return new MemoryStore({ nowMs: wallMs, retention })
  const { path, synchronous } = config.store
  return openSqliteStore({ directory: path, nowMs: wallMs, retention, synchronous })
}

export type ConversationParts = {
  readonly memory: Config['memory']
  readonly store: ResponseStore
  readonly newId: ResolvePorts['newId']
}

export type Conversations = ReturnType<typeof buildConversations>

export function buildConversations({ memory, store, newId }: ConversationParts) {
  const chains: ChainMaker = {
    root: (tenant, model) => PrefixChain.root(tenant, model),
    head: canonicalHead,
    item: canonicalItem,
  }
  const lineages = new LineageCache({
    maxCharacters: memory.lineageCharacters,
    maxEntries: memory.lineages,
  })
  const sessions = new SessionIndex({ maxEntries: memory.sessions, maxWalkBlocks: BOUNDS.sessionWalkBlocks })
  const sessionChains = new SessionChains({ maxEntries: BOUNDS.sessionChains, maxBytes: BOUNDS.sessionChainBytes })
  const lastTurns = new LastTurns(memory.sessions)
  const resolvePorts: ResolvePorts = { store, lineages, sessions, chains, newId }
  return { chains, lineages, sessions, sessionChains, lastTurns, resolvePorts }
}

export type RebuildParts = {
  readonly store: ResponseStore
  readonly fleet: Fleet
  readonly cache: CacheKnowledge
  readonly conversations: Conversations
  readonly log: Logger
  readonly fallback: (what: string) => void
}

/** What the store says that engines may still hold, beside the first turns. */
export function rebuildIndex({ store, fleet, cache, conversations, log, fallback }: RebuildParts): void {
  const { registry } = fleet
  const { index } = cache
  const { chains, sessions, sessionChains } = conversations
  index.rebuilding = true
  void warmStart(
    {
      store,
      chains,
      backend: (id) => registry.get(id),
      insert: (chain, backend) => index.insert(chain, backend.index),
      rememberSession: (chain, { tenant, sessionId, model }, backendId) => {
        sessions.remember(chain, sessionId)
        sessions.rememberHome(tenant, sessionId, backendId)
        sessionChains.remember({ tenant, sessionId, model, chain })
      },
      yield: () => new Promise((resolve) => setImmediate(resolve)),
    },
    BOUNDS.warmStartResponses,
  ).then(
    (restored) => log.debug({ restored }, 'block index rebuilt from the store'),
    (error: unknown) => {
      fallback('warm_start_failed')
      log.error({ err: error }, 'rebuilding the block index from the store failed')
    },
  ).finally(() => {
    index.rebuilding = false
  })
}
