/**
 * What is cached where, for operators and engines: reports about sessions (`registerCacheState` over HTTP), shared
 * prefixes, pre-warming.
 */
import { HomingError } from '../model/error.ts'
import { isObject, type JsonObject } from '../model/json.ts'
import { describe } from '../wire/parse-checks.ts'
import type { Call, Handler } from './call.ts'
import type { Router } from './router.ts'

export type CacheRoutePorts = {
  /** All or none. Throws InvalidCacheState. */
  readonly registerCacheStates: (reports: readonly CacheStateBody[]) => readonly object[]
  /** Prefixes that sessions share: names and numbers. */
  readonly prefixes: () => readonly object[]
  /** What pre-warming did, by rule. */
  readonly prewarming: () => {
    readonly rules: Readonly<Record<string, object>>
    readonly counts: Readonly<Record<string, object>>
    readonly running: readonly object[]
    readonly wishes: number
  }
  readonly wallMs: () => number
}

export type CacheStateBody = {
  readonly backendId: unknown
  readonly sessionId: unknown
  readonly tenant: string | null
  readonly metadata: object
  /** The name of a field in a refusal. */
  readonly at: (field: string) => string
}

export function cacheRoutes(router: Router<Handler>, ports: CacheRoutePorts): void {
  const admin = (method: string, path: string, name: string, handle: (call: Call) => Promise<void>): void => {
    router.on(method, `/homing/v1/${path}`, { access: 'admin', limited: false, name, handle })
  }
  admin('POST', 'cache-state', 'cache_state', async (call) => {
    const body = await call.body()
    const many = Array.isArray(body)
    const entries: readonly unknown[] = many ? body : [body]
    if (entries.length > MOST_REPORTS)
      throw new HomingError('too_many_items', { param: 'body', count: entries.length, limit: MOST_REPORTS })
    const registered = ports.registerCacheStates(
      entries.map((entry, index) => reportOf(entry, many ? `[${index}]` : '', ports.wallMs())),
    )
    call.sink.json(200, many ? { object: 'list', data: registered.map(snake) } : snake(registered[0]!))
  })
  admin('GET', 'prefixes', 'prefixes', async ({ sink }) =>
    sink.json(200, { object: 'list', data: ports.prefixes().map((group) => ({ object: 'prefix', ...snake(group) })) }),
  )
  admin('GET', 'prewarm', 'prewarm', async ({ sink }) => {
    const { rules, counts, running, wishes } = ports.prewarming()
    sink.json(200, {
      object: 'prewarming',
      rules: Object.entries(rules).map(([rule, account]) => ({ rule, ...snake(account), counts: counts[rule] as JsonObject })),
      running: running.map(snake),
      wishes,
    })
  })
}

/** A fleet's worth of sessions in one call. */
const MOST_REPORTS = 10_000

/** Over HTTP a report is an operator's and of this moment unless it says otherwise. */
function reportOf(value: unknown, place: string, nowMs: number): CacheStateBody {
  const at = (field: string): string => `${place}${place === '' ? '' : '.'}${snakeName(field)}`
  if (!isObject(value))
    throw new HomingError('invalid_type', { param: place === '' ? 'body' : place, expected: 'an object', got: describe(value) })
  for (const key of Object.keys(value))
    if (!FIELDS.has(key)) throw new HomingError('invalid_value', { param: at(key), why: `unknown field; known are ${[...FIELDS].join(', ')}` })
  const { tenant = null } = value
  if (tenant !== null && typeof tenant !== 'string')
    throw new HomingError('invalid_type', { param: at('tenant'), expected: 'a string', got: describe(tenant) })
  return {
    backendId: value['backend_id'],
    sessionId: value['session_id'],
    tenant,
    metadata: {
      cachedTokens: value['cached_tokens'],
      capacityTokens: value['capacity_tokens'] ?? undefined,
      tier: value['tier'] ?? undefined,
      observedAt: value['observed_at'] ?? nowMs,
      source: value['source'] ?? 'operator',
    },
    at,
  }
}

const FIELDS = new Set([
  'backend_id', 'session_id', 'tenant', 'cached_tokens', 'capacity_tokens', 'tier', 'observed_at', 'source',
])

const snakeName = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
const snake = (value: object): JsonObject =>
  Object.fromEntries(Object.entries(value).map(([key, entry]) => [snakeName(key), entry as JsonObject[string]]))
