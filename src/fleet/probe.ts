/**
 * Asks a backend what it is. A first probe (and one each minute) finds engine, protocols and sizes with a handful of
 * GETs; the probes between ask only whether it lives and which models it lists.
 */
import type { BackendConfig, Engine, Protocol, ServedModel } from '../model/backend.ts'
import { count, detectEngine, json, object, parse, recheckEngine } from './engine-facts.ts'
import type { Ask, EngineFacts, ListedModel } from './engine-facts.ts'
import { ProbeFailure } from './probe-get.ts'
import type { FailureKind, ProbeAnswer, ProbeGet } from './probe-get.ts'

export type Description = {
  readonly facts: EngineFacts
  readonly protocols: ReadonlySet<Protocol>
  /** By public name. */
  readonly models: ReadonlyMap<string, ServedModel>
  /** Things an operator may want to know, each one phrase. */
  readonly notes: readonly string[]
}

export type ProbeResult =
  | { readonly ok: true; readonly description: Description }
  /** `answer`: it answered, but not as a usable engine does. */
  | { readonly ok: false; readonly kind: FailureKind | 'answer'; readonly why: string }

const MAX_MODELS = 1000
/** The liveness route of engines that have one which does not generate. */
const HEALTH_PATH: Readonly<Partial<Record<Engine, string>>> = { vllm: '/health', llamacpp: '/health' }

/** `known`: what an earlier probe found; null asks everything. */
export async function probeBackend(
  get: ProbeGet, config: BackendConfig, known: Description | null,
): Promise<ProbeResult> {
  const ask: Ask = (path) => get(config, path).catch(() => null)
  try {
    const healthPath = known === null ? undefined : HEALTH_PATH[known.facts.engine]
    const [answer, health] = await Promise.all([
      get(config, '/v1/models'), healthPath === undefined ? null : get(config, healthPath),
    ])
    const ill = health !== null && health.status >= 500
    const sick = ill ? refusal(health, healthPath ?? '') : listTrouble(answer, config)
    if (sick !== null) return { ok: false, kind: 'answer', why: sick }
    const listed = readModels(answer) ?? []
    return { ok: true, description: await describe(ask, config, listed, known) }
  } catch (cause) {
    if (cause instanceof ProbeFailure) return { ok: false, kind: cause.kind, why: cause.message }
    return { ok: false, kind: 'unreachable', why: cause instanceof Error ? cause.message : String(cause) }
  }
}

async function describe(
  ask: Ask, config: BackendConfig, listed: readonly ListedModel[], known: Description | null,
): Promise<Description> {
  const notes: string[] = []
  if (known !== null) {
    const facts = (await recheckEngine(known.facts.engine, ask, listed)) ?? known.facts
    return { ...known, facts, models: offeredModels(config, listed, facts, notes), notes: known.notes }
  }
  const facts = await detectEngine(ask, listed)
  const protocols = await findProtocols(ask, config, facts.engine, notes)
  return { facts, protocols, models: offeredModels(config, listed, facts, notes), notes }
}

/** Why the list of models shows no usable engine; null when it does. */
function listTrouble(answer: ProbeAnswer, config: BackendConfig): string | null {
  const listed = readModels(answer)
  if (answer.status >= 500 || answer.status === 401 || answer.status === 403 || answer.status === 429) {
    return refusal(answer, '/v1/models')
  }
  // Declared by the operator, the list is not needed: some servers have none.
  if (config.models !== null) return null
  if (listed === null) return `${refusal(answer, '/v1/models')}; an OpenAI-compatible server lists its models there`
  return listed.length === 0 ? 'it lists no model' : null
}

function refusal(answer: ProbeAnswer, path: string): string {
  if (answer.status === 401 || answer.status === 403) {
    return `GET ${path} answered ${answer.status}: the key is missing or wrong`
  }
  const error = object(parse(answer.text))?.['error']
  const message = object(error)?.['message'] ?? error
  const detail = typeof message === 'string' ? `: ${message.slice(0, 200)}` : ''
  const unread = answer.status === 200 ? ', but not with a list of models' : ''
  return `GET ${path} answered ${answer.status}${unread}${detail}`
}

function readModels(answer: ProbeAnswer): readonly ListedModel[] | null {
  if (answer.status !== 200) return null
  const body = parse(answer.text)
  const data = Array.isArray(body) ? (body as unknown[]) : object(body)?.['data']
  if (!Array.isArray(data)) return null
  const models: ListedModel[] = []
  for (const entry of data.slice(0, MAX_MODELS).map(object)) {
    const id = entry?.['id']
    if (entry === null || typeof id !== 'string' || id === '' || id.length > 512) continue
    const owner = entry['owned_by']
    models.push({
      id,
      ownedBy: typeof owner === 'string' ? owner : '',
      contextTokens: count(entry['max_model_len']) ?? count(object(entry['meta'])?.['n_ctx']),
    })
  }
  return models
}

/** The declared names, else those that are listed. What the operator declares is believed; a doubt is a note. */
function offeredModels(
  config: BackendConfig, listed: readonly ListedModel[], facts: EngineFacts, notes: string[],
): ReadonlyMap<string, ServedModel> {
  const byId = new Map(listed.map((model) => [model.id, model]))
  const pairs = Object.entries(config.models ?? Object.fromEntries(listed.map(({ id }) => [id, id])))
  const models = new Map<string, ServedModel>()
  const missing: string[] = []
  for (const [name, served] of pairs) {
    // Ollama lists `qwen3:latest` and also serves it as `qwen3`.
    const found = byId.get(served) ?? byId.get(`${served}:latest`)
    // llama.cpp serves its one model under any name.
    if (found === undefined && listed.length > 0 && facts.engine !== 'llamacpp') missing.push(served)
    const told = facts.contextByModel.get(found?.id ?? served) ?? facts.contextTokens ?? found?.contextTokens ?? null
    models.set(name, { name, served, contextTokens: config.contextTokens ?? told })
  }
  if (missing.length > 0) notes.push(`it does not list the configured ${missing.map((name) => `'${name}'`).join(', ')}`)
  return models
}

/**
 * `auto` is Chat where Chat exists, Responses only where there is nothing else. A GET on a POST-only route tells:
 * 405 it exists, 404 it does not. llama.cpp and LM Studio answer otherwise and always have Chat.
 */
async function findProtocols(
  ask: Ask, config: BackendConfig, engine: Engine, notes: string[],
): Promise<ReadonlySet<Protocol>> {
  const [chat, responses] = await Promise.all([ask('/v1/chat/completions'), ask('/v1/responses')])
  const hidesRoutes = engine === 'llamacpp' || engine === 'lmstudio'
  if (config.protocol !== 'auto') {
    const route = config.protocol === 'chat' ? chat : responses
    const other = config.protocol === 'chat' ? responses : chat
    const lacksIt = !hidesRoutes && route?.status === 404 && other?.status === 405
    if (lacksIt) notes.push(`it seems not to offer ${config.protocol}`)
    return new Set([config.protocol])
  }
  if (hidesRoutes || chat?.status === 405) return new Set(['chat'])
  if (responses?.status === 405) return new Set(['responses'])
  const paths = object((await json(ask('/openapi.json')))?.['paths'])
  if (paths !== null) {
    if (paths['/v1/chat/completions'] !== undefined) return new Set(['chat'])
    if (paths['/v1/responses'] !== undefined) return new Set(['responses'])
  }
  if (paths !== null || engine === 'vllm' || engine === 'sglang') {
    notes.push('it offers neither chat nor responses')
    return new Set()
  }
  notes.push('it does not tell which routes it has; taken as chat')
  return new Set(['chat'])
}
