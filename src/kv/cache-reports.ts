/**
 * What engines and operators say about a session's cache, put into the block index (`registerCacheState`).
 *
 * A report names a backend, a session and how many tokens of that session's prompt the backend holds from its start. The
 * session's last chain is cut or continued there, so its next turn is weighed with the reported number. A block that
 * other sessions share is not one session's to deny: a report drops the session's own blocks only.
 *
 * Observations contradict each other; per (backend, session) the later one counts, whoever made it, and of two made at
 * the same moment the more trusted one: event, engine, operator, answer, the gateway's own record of what it placed
 * (`CACHE_SOURCES`). The gateway's own turns are observations too (`observed`), so a report that was on its way while a
 * turn ran does not undo what that turn left. Reports from before a backend's restart are outdated as well.
 *
 * Bounded by `maxEntries` observations of about 150 bytes; the oldest leaves first (`evicted`), and then any report about
 * that session counts again.
 */
import { CACHE_SOURCES, CACHE_TIERS, type CacheMetadata, type CacheSource, type CacheTier } from '../model/affinity.ts'
import type { Backend } from '../model/backend.ts'
import { InvalidCacheState } from '../model/error.ts'
import { prefixOf, type BlockChain } from '../model/turn.ts'

export type ReportPorts = {
  readonly index: {
    cachedBlocks(chain: BlockChain, backendIndex: number): number
    trunk(chain: BlockChain, backendIndex: number): { readonly blocks: number; readonly fanOut: number }
    insert(chain: BlockChain, backendIndex: number): void
    truncate(chain: BlockChain, backendIndex: number, keepBlocks: number): void
    setCapacity(backendIndex: number, blocks: number): void
  }
  readonly backend: (id: string) => Backend | undefined
  /** The sessions of that name; several where tenants share it. */
  readonly sessions: (name: string, tenant: string | null) => readonly ReportedSession[]
  readonly charactersPerToken: (model: string) => number
  readonly wallMs: () => number
}

export type ReportedSession = {
  readonly tenant: string
  readonly sessionId: string
  readonly model: string
  readonly chain: BlockChain
}

/** A report that can be applied. */
export type CacheReport = {
  readonly backend: Backend
  readonly session: ReportedSession
  readonly metadata: CacheMetadata
}

export type Registered = {
  readonly backendId: string
  readonly sessionId: string
  readonly source: CacheSource
  readonly tier: CacheTier
  readonly observedAt: number
  /** False: a later observation, or one as late of a more trusted source, is known. */
  readonly applied: boolean
  /** Tokens of the session's last prompt and answer that the gateway now believes to be there. */
  readonly cachedTokens: number
}

type Observation = { readonly atMs: number; readonly rank: number }

export class CacheReports {
  readonly #ports: ReportPorts
  readonly #maxEntries: number
  readonly #observations = new Map<string, Observation>()
  /** Per backend: the last report of its capacity, and when its cache was last known to be empty. */
  readonly #backends: { capacity: Observation; emptiedAtMs: number }[] = []
  readonly counts = { applied: 0, outdated: 0, refused: 0 }
  evicted = 0

  constructor(ports: ReportPorts, options: { readonly maxEntries: number }) {
    this.#ports = ports
    this.#maxEntries = options.maxEntries
  }

  /** Checks everything and changes nothing. `at` names the fields in refusals: `cached_tokens`, or `[2].cached_tokens`. */
  check(
    backendId: unknown,
    sessionId: unknown,
    metadata: unknown,
    options: { readonly tenant?: string | null; readonly at?: (field: keyof CacheMetadata | Ids) => string } = {},
  ): CacheReport {
    const at = options.at ?? ((field) => field)
    try {
      if (typeof backendId !== 'string') throw wrongType(at('backendId'), 'a string', backendId)
      if (typeof sessionId !== 'string') throw wrongType(at('sessionId'), 'a string', sessionId)
      const read = readMetadata(metadata, at, this.#ports.wallMs())
      const backend = this.#ports.backend(backendId)
      if (backend === undefined)
        throw new InvalidCacheState('backend_not_found', { id: backendId.slice(0, 256), param: at('backendId') })
      const [session, ...others] = this.#ports.sessions(sessionId, options.tenant ?? null)
      if (session === undefined)
        throw new InvalidCacheState('session_not_found', { id: sessionId.slice(0, 256), param: at('sessionId') })
      if (others.length > 0) throw wrongValue(at('tenant'), 'several tenants have a session of this name; say whose it is')
      return { backend, session, metadata: read }
    } catch (error) {
      this.counts.refused++
      throw error
    }
  }

  apply({ backend, session, metadata }: CacheReport): Registered {
    const { index } = this.#ports
    const { chain } = session
    const tokensPerBlock = chain.blockCharacters / this.#ports.charactersPerToken(session.model)
    const seen: Observation = { atMs: metadata.observedAt, rank: rankOf(metadata.source) }
    const known = this.#backend(backend.index)
    const applied = seen.atMs >= known.emptiedAtMs && this.#record(keyOf(backend.index, session), seen)
    if (applied) {
      const held = index.cachedBlocks(chain, backend.index)
      const reported = Math.min(chain.length, Math.floor(metadata.cachedTokens / tokensPerBlock + ROUNDING))
      if (reported > held) index.insert(prefixOf(chain, reported), backend.index)
      else if (reported < held) {
        const shared = index.trunk(chain, backend.index).blocks
        index.truncate(chain, backend.index, Math.max(reported, shared))
      }
      if (metadata.capacityTokens !== undefined && wins(seen, known.capacity)) {
        known.capacity = seen
        index.setCapacity(backend.index, metadata.capacityTokens / tokensPerBlock)
      }
    }
    this.counts[applied ? 'applied' : 'outdated']++
    return {
      backendId: backend.id,
      sessionId: session.sessionId,
      source: metadata.source,
      tier: metadata.tier ?? 'gpu',
      observedAt: metadata.observedAt,
      applied,
      cachedTokens: Math.round(index.cachedBlocks(chain, backend.index) * tokensPerBlock),
    }
  }

  /** One of the gateway's own observations: a turn was placed (`record`) or answered (`answer`) just now. */
  observed(backendIndex: number, tenant: string, sessionId: string, source: 'answer' | 'record'): void {
    this.#record(keyOf(backendIndex, { tenant, sessionId }), { atMs: this.#ports.wallMs(), rank: rankOf(source) })
  }

  /** The backend lost its cache just now: what was seen before says nothing any more. */
  emptied(backendIndex: number): void {
    this.#backend(backendIndex).emptiedAtMs = this.#ports.wallMs()
  }

  get size(): number {
    return this.#observations.size
  }

  /** False where a better one is known. */
  #record(key: string, seen: Observation): boolean {
    const known = this.#observations.get(key)
    if (known !== undefined && !wins(seen, known)) return false
    this.#observations.delete(key)
    this.#observations.set(key, seen)
    if (this.#observations.size > this.#maxEntries) {
      this.#observations.delete(this.#observations.keys().next().value!)
      this.evicted++
    }
    return true
  }

  #backend(backendIndex: number): { capacity: Observation; emptiedAtMs: number } {
    for (let next = this.#backends.length; next <= backendIndex; next++)
      this.#backends.push({ capacity: { atMs: -Infinity, rank: -1 }, emptiedAtMs: -Infinity })
    return this.#backends[backendIndex]!
  }
}

type Ids = 'backendId' | 'sessionId' | 'tenant'
type Naming = (field: keyof CacheMetadata | Ids) => string

/** Half a token lost in a conversion from characters is no lost block. */
const ROUNDING = 0.01
/** Ten times the longest context that any engine offers today. */
const MOST_CACHED_TOKENS = 100_000_000
/** A thousand times the largest cache of one engine today. */
const MOST_CAPACITY_TOKENS = 10_000_000_000
/** Clocks of machines that are kept in step differ by less. */
const CLOCK_SKEW_MS = 60_000
/** 2020-01-01: seconds taken for milliseconds lie before it. */
const EARLIEST_MS = 1_577_836_800_000

const rankOf = (source: CacheSource): number => CACHE_SOURCES.length - CACHE_SOURCES.indexOf(source)
const wins = (seen: Observation, known: Observation): boolean =>
  seen.atMs > known.atMs || (seen.atMs === known.atMs && seen.rank >= known.rank)
const keyOf = (backendIndex: number, session: { readonly tenant: string; readonly sessionId: string }): string =>
  `${backendIndex}\u0000${session.tenant}\u0000${session.sessionId}`

const wrongType = (param: string, expected: string, value: unknown): InvalidCacheState =>
  value === undefined
    ? new InvalidCacheState('missing_required_parameter', { param })
    : new InvalidCacheState('invalid_type', { param, expected, got: value === null ? 'null' : typeof value })
const wrongValue = (param: string, why: string): InvalidCacheState => new InvalidCacheState('invalid_value', { param, why })

function readMetadata(value: unknown, at: Naming, nowMs: number): CacheMetadata {
  if (typeof value !== 'object' || value === null) throw wrongType('metadata', 'an object', value)
  const given = value as Readonly<Record<string, unknown>>
  const { cachedTokens, capacityTokens, tier, observedAt, source } = given
  const tokens = wholeNumber(cachedTokens, at('cachedTokens'), 0, MOST_CACHED_TOKENS)
  const capacity =
    capacityTokens === undefined ? undefined : wholeNumber(capacityTokens, at('capacityTokens'), 1, MOST_CAPACITY_TOKENS)
  if (capacity !== undefined && tokens > capacity)
    throw wrongValue(at('cachedTokens'), `${tokens} tokens do not fit a cache of ${capacity}`)
  if (typeof observedAt !== 'number') throw wrongType(at('observedAt'), 'a number of milliseconds since 1970', observedAt)
  if (!Number.isFinite(observedAt)) throw wrongValue(at('observedAt'), 'it is not a moment')
  if (observedAt < EARLIEST_MS) throw wrongValue(at('observedAt'), 'it lies before 2020; milliseconds since 1970 are expected')
  if (observedAt > nowMs + CLOCK_SKEW_MS) throw wrongValue(at('observedAt'), 'it lies in the future')
  return {
    cachedTokens: tokens,
    ...(capacity === undefined ? {} : { capacityTokens: capacity }),
    ...(tier === undefined ? {} : { tier: oneOf(tier, at('tier'), CACHE_TIERS) }),
    observedAt,
    source: oneOf(source, at('source'), CACHE_SOURCES),
  }
}

function wholeNumber(value: unknown, param: string, least: number, most: number): number {
  if (typeof value !== 'number') throw wrongType(param, 'a whole number', value)
  if (!Number.isInteger(value) || value < least || value > most)
    throw wrongValue(param, `expected a whole number from ${least} to ${most}`)
  return value
}

function oneOf<Name extends string>(value: unknown, param: string, names: readonly Name[]): Name {
  if (typeof value !== 'string') throw wrongType(param, 'a string', value)
  const found = names.find((name) => name === value)
  if (found === undefined) throw wrongValue(param, `expected one of ${names.join(', ')}`)
  return found
}
