import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { BackendConfig, KvEventsConfig } from '../model/backend.ts'
import { backendUrl, hostAndPort } from './address.ts'
import { kvEventsReader } from './kv-events.ts'
import { declaredExpertise, type DeclaredExpertise } from './model-groups.ts'
import { describe, formatPath, isMapping, Place, Section } from './place.ts'
import type { Reader } from './place.ts'
import { ConfigError } from './problem.ts'
import type { ConfigProblem } from './problem.ts'
import { duration, identifier, integer, oneOf, orNone, secret, text, truth } from './values.ts'

const KEYS = [
  'id', 'url', 'protocol', 'key', 'headers', 'models', 'context_tokens', 'max_inflight_tokens', 'timeouts', 'ca', 'prewarm', 'hints', 'kv_events',
  'specialises_in',
]
const PREWARM_KEYS = ['enabled', 'tokens_per_minute']
const HINT_KEYS = ['priority', 'cache_salt', 'session_header']
const TIMEOUT_KEYS = ['connect', 'idle', 'first_token']

export const BACKEND_DEFAULTS = {
  protocol: 'auto',
  /** How long a connection may take to open. */
  connectMs: 2000,
  /** How long a stream may be silent after its first output. */
  idleMs: 60_000,
  /** How long the first output may take; null: as long as it takes. */
  firstTokenMs: null,
  /** A quarter of what an engine computes that reads 8,000 tokens a second. */
  prewarmTokensPerMinute: 120_000,
} as const satisfies { protocol: BackendConfig['protocol']; prewarmTokensPerMinute: number } & BackendConfig['timeouts']

/** Homing sets these itself, or they belong to one connection. */
const RESERVED_HEADERS = new Set([
  'accept-encoding', 'connection', 'content-encoding', 'content-length', 'content-type', 'expect', 'host', 'keep-alive',
  'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade',
])

/** Where a declaration comes from: a file may name variables and files of this machine, a request may not. */
export type Origin = {
  readonly env: Readonly<Record<string, string | undefined>> | null
  /** Folder that `ca` is relative to; null: `ca` is the PEM text itself. */
  readonly folder: string | null
}

/** One declared backend. */
export function backendReader(origin: Origin): Reader<BackendConfig> {
  return (value, place) => {
    const section = new Section(value, place, KEYS)
    if (!isMapping(value)) return undefined
    const url = section.required('url', backendUrl)
    const times = new Section(section.raw('timeouts') ?? {}, place.at('timeouts'), TIMEOUT_KEYS)
    const prewarm = new Section(shortPrewarm(section.raw('prewarm')), place.at('prewarm'), PREWARM_KEYS)
    const hints = new Section(section.raw('hints') ?? {}, place.at('hints'), HINT_KEYS)
    const config = {
      protocol: section.read<BackendConfig['protocol']>(
        'protocol', oneOf('chat', 'responses', 'auto'), BACKEND_DEFAULTS.protocol,
      ),
      key: section.read<string | null>('key', secret(origin.env), null),
      headers: section.read('headers', headersReader(origin), {}),
      models: section.read<BackendConfig['models']>('models', modelNames, null),
      contextTokens: section.read<number | null>('context_tokens', integer(1), null),
      maxInFlightTokens: section.read<number | null>('max_inflight_tokens', orNone(integer(1)), null),
      timeouts: {
        connectMs: times.read('connect', duration(1), BACKEND_DEFAULTS.connectMs),
        idleMs: times.read('idle', duration(1), BACKEND_DEFAULTS.idleMs),
        firstTokenMs: times.read<number | null>('first_token', orNone(duration(1)), BACKEND_DEFAULTS.firstTokenMs),
      },
      ca: section.read<string | null>('ca', certificate(origin.folder), null),
      hints: {
        priority: hints.read('priority', truth, false),
        cacheSaltKey: hints.read<string | null>('cache_salt', secret(origin.env), null),
        sessionHeader: hints.read<string | null>('session_header', headerName, null),
      },
      prewarm: {
        enabled: prewarm.read<boolean | null>('enabled', truth, null),
        tokensPerMinute: prewarm.read('tokens_per_minute', integer(1), BACKEND_DEFAULTS.prewarmTokensPerMinute),
      },
    }
    if (config.key !== null && config.headers['authorization'] !== undefined) {
      place.at('headers').at('authorization').problem("'key' already sends this header; keep one of the two")
    }
    const id = section.read<string | undefined>('id', identifier, url === undefined ? undefined : hostAndPort(url))
    if (url === undefined || id === undefined) return undefined
    if (config.ca !== null && !url.startsWith('https:')) place.at('ca').problem('needs an https:// url')
    const kvEvents = section.read<KvEventsConfig | undefined>('kv_events', kvEventsReader, undefined)
    const specialisesIn = section.read<DeclaredExpertise | undefined>('specialises_in', declaredExpertise, undefined)
    return {
      id,
      url,
      ...config,
      ...(kvEvents === undefined ? {} : { kvEvents }),
      ...(specialisesIn === undefined ? {} : { specialisesIn }),
    }
  }
}

/** `prewarm: false` is short for `prewarm: { enabled: false }`. */
const shortPrewarm = (value: unknown): unknown => (typeof value === 'boolean' ? { enabled: value } : (value ?? {}))

/** A backend declared over HTTP. Throws ConfigError with every problem. */
export function parseBackend(value: unknown): BackendConfig {
  const problems: ConfigProblem[] = []
  const place = new Place([], (path, message) => problems.push({ path: formatPath(path), message, line: null }))
  const backend = backendReader({ env: null, folder: null })(value, place)
  if (backend === undefined || problems.length > 0) throw new ConfigError(problems, null)
  return backend
}

const headerName: Reader<string> = (value, place) => {
  const name = text(value, place)?.toLowerCase()
  if (name === undefined) return undefined
  // RFC 9110 token.
  if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) return place.problem('is not a header name')
  return RESERVED_HEADERS.has(name) ? place.problem('is set by Homing itself') : name
}

function headersReader(origin: Origin): Reader<Readonly<Record<string, string>>> {
  const readValue = secret(origin.env)
  return (value, place) => {
    if (!isMapping(value)) return place.problem(`expected a mapping of names to values, but got ${describe(value)}`)
    const headers: Record<string, string> = {}
    for (const [given, content] of Object.entries(value)) {
      const name = given.toLowerCase()
      if (headerName(given, place.at(given)) === undefined) continue
      if (headers[name] !== undefined) place.at(given).problem('is given twice')
      else headers[name] = readValue(content, place.at(given)) ?? ''
    }
    return headers
  }
}

/** Public name -> served name, or a list of names that are the same on both sides. */
const modelNames: Reader<Readonly<Record<string, string>>> = (value, place) => {
  const models: Record<string, string> = Object.create(null) as Record<string, string>
  if (Array.isArray(value)) {
    value.forEach((entry: unknown, index) => {
      const name = text(entry, place.at(index))
      if (name !== undefined) models[name] = name
    })
  } else if (isMapping(value)) {
    for (const [name, served] of Object.entries(value)) models[name] = text(served, place.at(name)) ?? name
  } else {
    return place.problem(`expected a mapping of public to served names, but got ${describe(value)}`)
  }
  return Object.keys(models).length === 0 ? place.problem('names no model; leave it out to offer all') : { ...models }
}

function certificate(folder: string | null): Reader<string> {
  return (value, place) => {
    const given = text(value, place)
    if (given === undefined) return undefined
    let pem = given
    if (folder !== null) {
      try {
        pem = readFileSync(resolve(folder, given), 'utf8')
      } catch (cause) {
        return place.problem(`cannot read '${given}': ${cause instanceof Error ? cause.message : String(cause)}`)
      }
    }
    if (pem.includes('-----BEGIN CERTIFICATE-----')) return pem
    if (folder === null) return place.problem('expected the PEM text of a certificate')
    return place.problem(`'${given}' holds no PEM certificate`)
  }
}
