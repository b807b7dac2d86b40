/**
 * The configuration: a YAML file, flags over it, defaults under it. Everything that is wrong is found in one pass and
 * thrown as one ConfigError. Values are ready to use: durations in milliseconds, secrets resolved, paths absolute.
 * Paths in the file are relative to the file's folder, paths in flags and defaults to the working directory.
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { isLoopback, listenAddress } from './config/address.ts'
import type { Listen } from './config/address.ts'
import { backendReader } from './config/backend.ts'
import { ConfigDocument } from './config/document.ts'
import { embeddingsReader, type EmbeddingsConfig } from './config/embeddings.ts'
import { readAskingRules, type AskingRule } from './config/ensembles.ts'
import { NO_OWN_LABELS, ownLabels, type OwnLabels } from './config/label-examples.ts'
import { readLearning, type LearningConfig } from './config/learning.ts'
import { declaredModels, modelGroups, type ModelConfig, type ModelGroupConfig } from './config/model-groups.ts'
import { formatPath, isMapping, Place, Section } from './config/place.ts'
import type { Path, Reader } from './config/place.ts'
import { ConfigError } from './config/problem.ts'
import type { ConfigProblem } from './config/problem.ts'
import { bytes, duration, identifier, integer, list, oneOf, orNone, secret, text, truth } from './config/values.ts'
import type { BackendConfig } from './model/backend.ts'
import { POLICY_NAMES, type PolicyName } from './schedule/policies/catalogue.ts'

export { BACKEND_DEFAULTS, parseBackend } from './config/backend.ts'
export type { EmbeddingsConfig } from './config/embeddings.ts'
export type { OwnLabels } from './config/label-examples.ts'
export { LEARNING_DEFAULTS, type LearningConfig } from './config/learning.ts'
export { ConfigError, formatProblem } from './config/problem.ts'
export type { ConfigProblem } from './config/problem.ts'

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Bounds of one tenant; null: none. */
export type TenantLimits = {
  readonly concurrency: number | null
  readonly requestsPerMinute: number | null
  readonly tokensPerMinute: number | null
  /** What of a turn counts as tokens: what an engine has to compute, or everything. */
  readonly tokensCounted: 'uncached' | 'all'
}
export type TenantConfig = {
  readonly id: string
  readonly keys: readonly string[]
  readonly limits: TenantLimits
  /** Prefixes of its conversations may be computed ahead. */
  readonly prewarm: boolean
}

export type StoreConfig = {
  /** Absolute folder; null: memory only. */
  readonly path: string | null
  /** null: kept until the size bound asks for room. */
  readonly retentionMs: number | null
  readonly maxBytes: number
  /** `full`: what a client saw finished survives a loss of power too. Without meaning in memory. */
  readonly synchronous: 'normal' | 'full'
}

/** Most that is held in memory; what each costs and what happens beyond is in docs/operations.md. */
export type MemoryBounds = {
  readonly blockIndexBytes: number
  readonly lineageCharacters: number
  readonly lineages: number
  readonly sessions: number
  readonly receipts: number
}

export type FingerprintConfig = {
  /** What is read of a turn within it is used; the rest is read with the next turn. */
  readonly deadlineMs: number
  readonly conversations: number
  /** An operator's own taxonomies, and labels by example that are added to these or to the shipped ones. */
  readonly topics: OwnLabels
  readonly intents: OwnLabels
  /** Null: the conversation's embedding is the shipped table's. */
  readonly embeddings: EmbeddingsConfig | null
}

export type Config = {
  /** The file it came from, null when there was none. */
  readonly file: string | null
  readonly listen: Listen
  /** Serves everybody who can connect, although other machines can. */
  readonly open: boolean
  readonly store: StoreConfig
  /** Empty: one tenant, no keys. */
  readonly tenants: readonly TenantConfig[]
  readonly backends: readonly BackendConfig[]
  /** `required`: backend routes answer only to one of `keys`; with no keys they then answer to nobody. */
  readonly admin: { readonly keys: readonly string[]; readonly required: boolean }
  /** `tenant` holds where there are no tenants, and for each tenant that sets no own. */
  readonly limits: {
    readonly bodyBytes: number
    readonly items: number
    readonly depth: number
    readonly tenant: TenantLimits
  }
  readonly memory: MemoryBounds
  /** How a backend is chosen: the cost model, or a published policy to compare with. */
  readonly policy: 'homing' | PolicyName
  /** Long prompts may be computed in pieces, with room for shorter turns between them. */
  readonly chunkedPrefill: boolean
  readonly streamCommitAfterMs: number
  readonly shutdownGraceMs: number
  readonly log: { readonly level: LogLevel }
  /** Null: conversations are not fingerprinted. */
  readonly fingerprint: FingerprintConfig | null
  /** Names that stand for several models. */
  readonly modelGroups: readonly ModelGroupConfig[]
  /** What the operator says of models, by public name. */
  readonly models: Readonly<Record<string, ModelConfig>>
  readonly learning: LearningConfig
  /** When several models are asked although the client did not say so. */
  readonly askingRules: readonly AskingRule[]
}

/** Every default outside a backend (those are BACKEND_DEFAULTS). */
export const DEFAULTS = {
  listen: { host: '127.0.0.1', port: 8787 },
  storePath: './homing-data',
  /** OpenAI keeps responses for 30 days. */
  retentionDays: 30,
  diskBytes: 10 * 2 ** 30,
  memoryBytes: 256 * 2 ** 20,
  bodyBytes: 32 * 2 ** 20,
  items: 10_000,
  depth: 64,
  tenant: { concurrency: null, requestsPerMinute: null, tokensPerMinute: null, tokensCounted: 'uncached' },
  policy: 'homing',
  chunkedPrefill: true,
  memory: {
    blockIndexBytes: 256 * 2 ** 20,
    lineageCharacters: 64 * 2 ** 20,
    lineages: 50_000,
    sessions: 200_000,
    receipts: 20_000,
  },
  streamCommitAfterMs: 15_000,
  shutdownGraceMs: 30_000,
  logLevel: 'info',
  fingerprint: { deadlineMs: 5, conversations: 20_000 },
} as const

export type ConfigFlags = {
  readonly listen?: string
  readonly backends?: readonly string[]
  /** A folder or `memory`. */
  readonly store?: string
  readonly open?: boolean
  readonly logLevel?: string
}

export type ConfigSource = {
  readonly file?: string
  /** The content of the file, when it is already at hand. */
  readonly text?: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly flags?: ConfigFlags
}

/** One entry per top-level key of the file; a new section is one more row here and one more line in `build`. */
const KEYS = [
  'listen', 'open', 'store', 'tenants', 'backends', 'admin', 'limits', 'memory', 'policy', 'chunked_prefill',
  'stream_commit_after', 'shutdown_grace', 'log', 'fingerprint', 'model_groups', 'models', 'learning',
  'ensembles', 'cascades',
]
const TENANT_LIMIT_KEYS = ['concurrency', 'requests_per_minute', 'tokens_per_minute', 'tokens_counted']
const LIMIT_KEYS = ['body_bytes', 'items', 'depth', ...TENANT_LIMIT_KEYS]
const STORE_KEYS = ['path', 'memory', 'retention_days', 'max_bytes', 'synchronous']
const MEMORY_KEYS = ['block_index_bytes', 'lineage_characters', 'lineages', 'sessions', 'receipts']
const FINGERPRINT_KEYS = ['enabled', 'deadline', 'conversations', 'topics', 'intents', 'embeddings']
const DAY_MS = 86_400_000

/** Throws ConfigError with every problem. */
export function loadConfig(source: ConfigSource): Config {
  const file = source.file ?? null
  const document = new ConfigDocument(source.text ?? (file === null ? '' : readText(file)))
  if (document.problems.length > 0) throw new ConfigError(document.problems, file)
  const problems: ConfigProblem[] = []
  const report = (path: Path, message: string): void => {
    const fromFlag = typeof path[0] === 'string' && path[0].startsWith('--')
    problems.push({ path: formatPath(path), message, line: fromFlag ? null : document.lineOf(path) })
  }
  const config = build(document.value ?? {}, new Place([], report), source)
  // In the order of the file; what has no line (flags) comes last.
  problems.sort((a, b) => (a.line ?? Number.MAX_SAFE_INTEGER) - (b.line ?? Number.MAX_SAFE_INTEGER))
  if (problems.length > 0) throw new ConfigError(problems, file)
  return config
}

function build(value: unknown, root: Place, source: ConfigSource): Config {
  const { env, flags = {} } = source
  const section = new Section(value, root, KEYS)
  const folder = source.file === undefined ? process.cwd() : dirname(resolve(source.file))
  const limits = new Section(section.raw('limits') ?? {}, root.at('limits'), LIMIT_KEYS)
  const tenantLimits = readTenantLimits(limits, DEFAULTS.tenant)
  const keys = new Owners()
  const tenants = section.read('tenants', list(tenantReader(env, keys, tenantLimits)), [])
  const hasTenants = section.has('tenants') && !isEmptyList(section.raw('tenants'))
  const admin = new Section(section.raw('admin') ?? {}, root.at('admin'), ['keys'])
  const adminKeys = admin.read('keys', list(keyReader(env, keys)), [])
  const log = new Section(section.raw('log') ?? {}, root.at('log'), ['level'])
  const open = flags.open ?? section.read('open', truth, false)

  const listenPlace = root.at(flags.listen === undefined ? 'listen' : '--listen')
  const fileListen = section.read<Listen>('listen', listenAddress, DEFAULTS.listen)
  const listen = flags.listen === undefined ? fileListen : (listenAddress(flags.listen, listenPlace) ?? fileListen)
  const loopback = isLoopback(listen.host)
  if (!loopback && !hasTenants && !open) {
    listenPlace.problem(
      `${listen.host} can be reached from other machines and there are no tenants; ` +
        "configure tenants, or serve everybody with 'open: true' (--open)",
    )
  }
  if (open && hasTenants) {
    const openPlace = root.at(flags.open === undefined ? 'open' : '--open')
    openPlace.problem('tenants are configured, so it cannot be open; drop one')
  }

  const store = readStore(section, root, flags, folder)
  const groups = section.read<Config['modelGroups']>('model_groups', modelGroups, [])
  return {
    file: source.file ?? null,
    listen,
    open,
    store,
    tenants,
    backends: readBackends(section, root, source, folder),
    admin: { keys: adminKeys, required: adminKeys.length > 0 || tenants.length > 0 || !loopback },
    limits: {
      bodyBytes: limits.read('body_bytes', bytes, DEFAULTS.bodyBytes),
      items: limits.read('items', integer(1), DEFAULTS.items),
      depth: limits.read('depth', integer(1), DEFAULTS.depth),
      tenant: tenantLimits,
    },
    fingerprint: readFingerprint(
      new Section(section.raw('fingerprint') ?? {}, root.at('fingerprint'), FINGERPRINT_KEYS),
      folder,
      env,
    ),
    modelGroups: groups,
    models: section.read<Config['models']>('models', declaredModels, {}),
    learning: readLearning(section.raw('learning'), root.at('learning'), folder, store.path),
    memory: readMemory(new Section(section.raw('memory') ?? {}, root.at('memory'), MEMORY_KEYS)),
    policy: section.read<Config['policy']>('policy', oneOf('homing', ...POLICY_NAMES), DEFAULTS.policy),
    chunkedPrefill: section.read('chunked_prefill', truth, DEFAULTS.chunkedPrefill),
    streamCommitAfterMs: section.read('stream_commit_after', duration(0), DEFAULTS.streamCommitAfterMs),
    shutdownGraceMs: section.read('shutdown_grace', duration(0), DEFAULTS.shutdownGraceMs),
    log: { level: readLogLevel(log, root, flags) },
    askingRules: readAskingRules(section, new Set(groups.map(({ name }) => name))),
  }
}

function readBackends(section: Section, root: Place, source: ConfigSource, folder: string): readonly BackendConfig[] {
  const read = backendReader({ env: source.env, folder })
  const urls = new Owners()
  const ids = new Owners()
  const take: Reader<BackendConfig> = (value, place) => {
    const backend = read(value, place)
    if (backend === undefined) return undefined
    const owner = formatPath(place.path)
    const urlIsNew = urls.claim(backend.url, owner, place.at('url'), `backend url '${backend.url}'`)
    if (urlIsNew) ids.claim(backend.id, owner, place.at('id'), `backend id '${backend.id}'`)
    return backend
  }
  const declared = section.read('backends', list(take), [])
  const flags = source.flags?.backends ?? []
  return [...declared, ...flags.flatMap((url, index) => take({ url }, flagBackend(root, index)) ?? [])]
}

/** A flag's problem names the flag: its value is a URL, so what is inside it has no own path. */
function flagBackend(root: Place, index: number): Place {
  return new Place(['--backend', index], (_path, message) => root.at('--backend').at(index).problem(message))
}

/** Values that may have one owner each. */
class Owners {
  readonly #owners = new Map<string, string>()

  /** False, and reported, when the value has an owner already. */
  claim(value: string, owner: string, place: Place, what: string): boolean {
    const holder = this.#owners.get(value)
    if (holder === undefined) this.#owners.set(value, owner)
    else place.problem(`${what} is already taken by ${holder}`)
    return holder === undefined
  }
}

/** A key that nobody else has. No message shows the key. */
function keyReader(env: ConfigSource['env'], keys: Owners): Reader<string> {
  const read = secret(env)
  return (value, place) => {
    const key = read(value, place)
    return key !== undefined && keys.claim(key, formatPath(place.path), place, 'this key') ? key : undefined
  }
}

function tenantReader(env: ConfigSource['env'], keys: Owners, fallback: TenantLimits): Reader<TenantConfig> {
  const ids = new Owners()
  return (value, place) => {
    const section = new Section(value, place, ['id', 'keys', 'limits', 'prewarm'])
    if (!isMapping(value)) return undefined
    const id = section.required('id', identifier)
    if (id !== undefined) ids.claim(id, formatPath(place.path), place.at('id'), `tenant id '${id}'`)
    const own = section.required('keys', list(keyReader(env, keys)))
    if (isEmptyList(section.raw('keys'))) place.at('keys').problem('is empty: nobody could use this tenant')
    const limits = new Section(section.raw('limits') ?? {}, place.at('limits'), TENANT_LIMIT_KEYS)
    const bounds = readTenantLimits(limits, fallback)
    const prewarm = section.read('prewarm', truth, true)
    return id === undefined || own === undefined ? undefined : { id, keys: own, limits: bounds, prewarm }
  }
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0
}

function readTenantLimits(section: Section, fallback: TenantLimits): TenantLimits {
  return {
    concurrency: section.read('concurrency', orNone(integer(1)), fallback.concurrency),
    requestsPerMinute: section.read('requests_per_minute', orNone(integer(1)), fallback.requestsPerMinute),
    tokensPerMinute: section.read('tokens_per_minute', orNone(integer(1)), fallback.tokensPerMinute),
    tokensCounted: section.read('tokens_counted', oneOf('uncached', 'all'), fallback.tokensCounted),
  }
}

/** `memory`, a folder, or a mapping; `--store` replaces the place and keeps the bounds. */
function readStore(section: Section, root: Place, flags: ConfigFlags, folder: string): StoreConfig {
  const raw = section.raw('store') ?? {}
  const short = typeof raw === 'string' ? (raw === 'memory' ? { memory: true } : { path: raw }) : raw
  const store = new Section(short, root.at('store'), STORE_KEYS)
  const inMemory = store.read('memory', truth, false)
  const given = store.read<string | null>('path', text, null)
  if (inMemory && given !== null) root.at('store').problem("'memory' and 'path' exclude each other")
  if (inMemory && store.has('synchronous')) root.at('store').at('synchronous').problem('has no meaning in memory')
  const retentionDays = store.read<number | null>('retention_days', orNone(integer(1)), DEFAULTS.retentionDays)
  const filePath = inMemory ? null : given === null ? resolve(DEFAULTS.storePath) : resolve(folder, given)
  if (flags.store?.trim() === '') root.at('--store').problem('names no folder')
  const path = flags.store === undefined ? filePath : flags.store === 'memory' ? null : resolve(flags.store)
  return {
    path,
    retentionMs: retentionDays === null ? null : retentionDays * DAY_MS,
    maxBytes: store.read('max_bytes', bytes, path === null ? DEFAULTS.memoryBytes : DEFAULTS.diskBytes),
    synchronous: store.read('synchronous', oneOf('normal', 'full'), 'normal'),
  }
}

function readMemory(section: Section): MemoryBounds {
  const fallback = DEFAULTS.memory
  return {
    blockIndexBytes: section.read<number>('block_index_bytes', bytes, fallback.blockIndexBytes),
    lineageCharacters: section.read<number>('lineage_characters', integer(1), fallback.lineageCharacters),
    lineages: section.read<number>('lineages', integer(1), fallback.lineages),
    sessions: section.read<number>('sessions', integer(1), fallback.sessions),
    receipts: section.read<number>('receipts', integer(1), fallback.receipts),
  }
}

function readFingerprint(section: Section, folder: string, env: ConfigSource['env']): FingerprintConfig | null {
  const config = {
    deadlineMs: section.read<number>('deadline', duration(0), DEFAULTS.fingerprint.deadlineMs),
    conversations: section.read<number>('conversations', integer(1), DEFAULTS.fingerprint.conversations),
    topics: section.read('topics', ownLabels(folder), NO_OWN_LABELS),
    intents: section.read('intents', ownLabels(folder), NO_OWN_LABELS),
    embeddings: section.read<EmbeddingsConfig | null>('embeddings', embeddingsReader(env), null),
  }
  return section.read('enabled', truth, true) ? config : null
}

function readLogLevel(log: Section, root: Place, flags: ConfigFlags): LogLevel {
  const level = log.read<LogLevel>('level', oneOf(...LOG_LEVELS), DEFAULTS.logLevel)
  return flags.logLevel === undefined ? level : (oneOf(...LOG_LEVELS)(flags.logLevel, root.at('--log-level')) ?? level)
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    const why = code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a folder' : String(cause)
    throw new ConfigError([{ path: '', message: `cannot be read: ${why}`, line: null }], file)
  }
}
