/**
 * What an engine may be told about how to keep a prefix, where the operator says that it listens.
 *
 *   priority        vLLM with `--scheduling-policy priority` (it refuses the field without): lower goes first and is
 *                   preempted last. Ours is the negative of the turn's priority; what is computed ahead comes last.
 *   cache_salt      vLLM, SGLang: prefixes are shared only under the same salt. The HMAC of the tenant, so that no tenant
 *                   learns from its times to first token what another has cached; tenants then share no prefix.
 *   session header  a hash of tenant and session, for proxies and engines that keep sessions together
 *
 * An engine that does not take a hint is not sent it, and the list of backends says so. Fields are put at the end of the
 * body: of two of one name the last counts in the parsers of both engines, so a client cannot choose another's salt.
 * llama.cpp's `id_slot` is not among them: it picks the slot with the longest common prefix by itself.
 */
import { createHash, createHmac } from 'node:crypto'
import type { Backend, Engine } from '../model/backend.ts'
import type { JsonObject } from '../model/json.ts'

export type RetentionHints = {
  readonly fields: JsonObject
  readonly headers: Readonly<Record<string, string>>
}

export type HintedTurn = { readonly tenant: string; readonly sessionId: string; readonly priority: number }

/** Behind every turn: clients' priorities lie within 10 of 0. */
export const PREWARM_PRIORITY = -1000

const TAKES: Readonly<Record<'priority' | 'cache_salt', ReadonlySet<Engine>>> = {
  priority: new Set<Engine>(['vllm']),
  cache_salt: new Set<Engine>(['vllm', 'sglang']),
}

const NO_HINTS: RetentionHints = { fields: {}, headers: {} }

export function retentionHints({ engine, config }: Backend, turn: HintedTurn): RetentionHints {
  const { hints } = config
  if (hints === undefined) return NO_HINTS
  const { priority, cacheSaltKey, sessionHeader } = hints
  if (!priority && cacheSaltKey === null && sessionHeader === null) return NO_HINTS
  return {
    fields: {
      ...(priority && TAKES.priority.has(engine) && turn.priority !== 0 && { priority: Math.round(-turn.priority) }),
      ...(cacheSaltKey !== null && TAKES.cache_salt.has(engine) && { cache_salt: saltOf(cacheSaltKey, turn.tenant) }),
    },
    headers: sessionHeader === null ? {} : { [sessionHeader]: sessionOf(turn) },
  }
}

/** The salt under which the engine keeps the turn's prefix: the operator's, else the client's own. */
export function saltSent({ engine, config }: Backend, turn: { readonly tenant: string; readonly body: JsonObject }): string | null {
  const key = config.hints?.cacheSaltKey ?? null
  if (key !== null && TAKES.cache_salt.has(engine)) return saltOf(key, turn.tenant)
  const own = turn.body['cache_salt']
  return typeof own === 'string' && own !== '' ? own : null
}

/** For the list of backends: `sent`, `off`, or why it is not sent although it is configured. */
export function hintsSent({ engine, config: { hints } }: Backend): Readonly<Record<string, string>> {
  const state = (name: 'priority' | 'cache_salt', on: boolean): string =>
    !on ? 'off' : TAKES[name].has(engine) ? 'sent' : `not taken by ${engine}`
  return {
    priority: state('priority', hints?.priority ?? false),
    cache_salt: state('cache_salt', (hints?.cacheSaltKey ?? null) !== null),
    session_header: (hints?.sessionHeader ?? null) === null ? 'off' : 'sent',
  }
}

/** A body of JSON text with fields at its end; the bytes before them stay as they are. */
export function withFields(body: string | Buffer, fields: JsonObject): string | Buffer {
  const added = JSON.stringify(fields)
  if (added === '{}') return body
  if (typeof body === 'string') {
    const end = body.lastIndexOf('}')
    return `${body.slice(0, end)},${added.slice(1)}`
  }
  return Buffer.concat([body.subarray(0, body.lastIndexOf('}')), Buffer.from(`,${added.slice(1)}`)])
}

const saltOf = (key: string, tenant: string): string => createHmac('sha256', key).update(tenant).digest('base64url')
const sessionOf = ({ tenant, sessionId }: HintedTurn): string =>
  createHash('sha256').update(`${tenant}\u0000${sessionId}`).digest('hex').slice(0, 32)
