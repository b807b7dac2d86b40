/**
 * What kind of engine answers, and what it tells about itself. Every fact is read from a GET that neither generates nor
 * changes anything: SGLang's /health generates and its /flush_cache takes GET, so neither is ever asked. An answer of
 * an unexpected shape counts as no answer; some servers answer 200 to everything.
 */
import type { Engine } from '../model/backend.ts'
import type { JsonObject } from '../model/json.ts'
import type { ProbeAnswer } from './probe-get.ts'
import { label, readSamples } from './prometheus.ts'

/** GET a path of the backend; null when no answer came. */
export type Ask = (path: string) => Promise<ProbeAnswer | null>

/** One entry of GET /v1/models. */
export type ListedModel = { readonly id: string; readonly ownedBy: string; readonly contextTokens: number | null }

export type EngineFacts = {
  readonly engine: Engine
  /** Context of one sequence, for models that do not tell their own. */
  readonly contextTokens: number | null
  readonly contextByModel: ReadonlyMap<string, number>
  readonly vision: boolean | null
  readonly slots: number | null
  readonly cacheCapacityTokens: number | null
  /** Differs between two processes of the engine; null where nothing tells them apart. */
  readonly instance: string | null
}

const NOTHING: EngineFacts = {
  engine: 'unknown', contextTokens: null, contextByModel: new Map(), vision: null, slots: null,
  cacheCapacityTokens: null, instance: null,
}

type Detector = (ask: Ask, models: readonly ListedModel[]) => Promise<EngineFacts | null>

/** llama.cpp: context and slots are per server; its RAM cache (--cache-ram) is not told: capacity is a lower bound. */
const llamacpp: Detector = async (ask) => {
  const props = await json(ask('/props'))
  const slots = count(props?.['total_slots'])
  const settings = object(props?.['default_generation_settings'])
  if (props === null || (slots === null && settings === null)) return null
  const contextTokens = count(settings?.['n_ctx'])
  const vision = object(props['modalities'])?.['vision']
  // The media marker is drawn at random when the server starts.
  const marker = props['media_marker']
  return {
    ...NOTHING,
    engine: 'llamacpp',
    contextTokens,
    vision: typeof vision === 'boolean' ? vision : null,
    slots,
    cacheCapacityTokens: slots === null || contextTokens === null ? null : slots * contextTokens,
    instance: typeof marker === 'string' && marker.length > 20 ? marker : null,
  }
}

const VLLM_SAMPLES = new Set(['vllm:cache_config_info', 'process_start_time_seconds', 'vllm:num_requests_running'])

/** vLLM (and what imitates it): the cache's size is in a metric's labels, one line per data-parallel engine. */
const vllm: Detector = async (ask, models) => {
  const [version, page] = await Promise.all([json(ask('/version')), ask('/metrics')])
  const samples = readSamples(page?.status === 200 ? page.text : '', VLLM_SAMPLES)
  const listed = models.some((model) => model.ownedBy === 'vllm')
  if (!(listed && typeof version?.['version'] === 'string') && !samples.has('vllm:num_requests_running')) return null
  let capacity = 0
  for (const { labels } of samples.get('vllm:cache_config_info') ?? []) {
    const tokens = Number(label(labels, 'kv_cache_size_tokens') ?? Number.NaN)
    const blocks = Number(label(labels, 'num_gpu_blocks')) * Number(label(labels, 'block_size'))
    capacity += Number.isFinite(tokens) ? tokens : Number.isFinite(blocks) ? blocks : 0
  }
  const startedAt = samples.get('process_start_time_seconds')?.[0]?.value
  return {
    ...NOTHING,
    engine: models.some((model) => model.ownedBy === 'homing-sim') ? 'homing-sim' : 'vllm',
    cacheCapacityTokens: capacity > 0 ? capacity : null,
    instance: startedAt === undefined ? null : String(startedAt),
  }
}

/** SGLang: its server_info holds the API key too; nothing of it is kept but the numbers below. */
const sglang: Detector = async (ask) => {
  const [fresh, old] = await Promise.all([json(ask('/server_info')), json(ask('/get_server_info'))])
  const info = fresh?.['max_total_num_tokens'] === undefined ? old : fresh
  const capacity = count(info?.['max_total_num_tokens'])
  if (info === null || capacity === null || info['tokenizer_path'] === undefined) return null
  const state = Array.isArray(info['internal_states']) ? object(info['internal_states'][0]) : null
  // Drawn at random at start unless the operator fixed it.
  const seed = info['random_seed']
  return {
    ...NOTHING,
    engine: 'sglang',
    contextTokens: count(info['context_length']),
    slots: count(info['max_running_requests']) ?? count(state?.['max_running_requests']),
    cacheCapacityTokens: capacity,
    instance: typeof seed === 'number' ? String(seed) : null,
  }
}

/** Ollama: the context of a model is known while it is loaded. */
const ollama: Detector = async (ask) => {
  const [version, running] = await Promise.all([json(ask('/api/version')), json(ask('/api/ps'))])
  if (typeof version?.['version'] !== 'string') return null
  return { ...NOTHING, engine: 'ollama', contextByModel: contexts(running?.['models'], 'name', ['context_length']) }
}

const lmstudio: Detector = async (ask) => {
  const listed = (await json(ask('/api/v0/models')))?.['data']
  if (!Array.isArray(listed)) return null
  const entries = listed.map(object).filter((entry) => entry !== null)
  if (!entries.some((entry) => typeof entry['compatibility_type'] === 'string')) return null
  const loaded = entries.filter((entry) => entry['state'] === 'loaded')
  return {
    ...NOTHING,
    engine: 'lmstudio',
    contextByModel: contexts(entries, 'id', ['loaded_context_length', 'max_context_length']),
    vision: loaded.length === 0 ? null : loaded.some((entry) => entry['type'] === 'vlm'),
  }
}

/** The simulated fleet without a metrics page: known by its own name. */
const sim: Detector = (_ask, models) =>
  Promise.resolve(models.some((model) => model.ownedBy === 'homing-sim') ? { ...NOTHING, engine: 'homing-sim' } : null)

/** `owned_by` in the list of models names the engine, which saves asking the others. */
const BY_OWNER: Readonly<Record<string, Detector>> = {
  llamacpp, vllm, sglang, library: ollama, organization_owner: lmstudio, 'homing-sim': vllm,
}
const IN_ORDER: readonly Detector[] = [llamacpp, vllm, sglang, lmstudio, ollama, sim]

export async function detectEngine(ask: Ask, models: readonly ListedModel[]): Promise<EngineFacts> {
  const owners = new Set(models.map((model) => model.ownedBy))
  for (const owner of owners) {
    const facts = Object.hasOwn(BY_OWNER, owner) ? await BY_OWNER[owner]?.(ask, models) : null
    if (facts !== null && facts !== undefined) return facts
  }
  const answers = await Promise.all(IN_ORDER.map((detect) => detect(ask, models)))
  return answers.find((facts) => facts !== null) ?? NOTHING
}

/** The facts of a known engine again; null when it does not answer as that engine any more. */
export function recheckEngine(engine: Engine, ask: Ask, models: readonly ListedModel[]): Promise<EngineFacts | null> {
  return engine === 'llamacpp' ? llamacpp(ask, models) : Promise.resolve(null)
}

/** Parsed when the answer is 200 and an object, else null. */
export async function json(answer: Promise<ProbeAnswer | null>): Promise<JsonObject | null> {
  const got = await answer
  return got?.status === 200 ? object(parse(got.text)) : null
}

/** Undefined when it is not JSON. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

export function object(value: unknown): JsonObject | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : null
}

export function count(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : null
}

function contexts(entries: unknown, nameKey: string, lengthKeys: readonly string[]): ReadonlyMap<string, number> {
  const found = new Map<string, number>()
  for (const entry of Array.isArray(entries) ? entries.map(object) : []) {
    const name = entry?.[nameKey]
    const tokens = lengthKeys.map((key) => count(entry?.[key])).find((length) => length !== null)
    if (typeof name === 'string' && tokens !== undefined && tokens !== null) found.set(name, tokens)
  }
  return found
}
