/**
 * Turn -> ResolvedTurn: the whole prompt, its block chain, and whose session it is.
 *
 * History comes from the lineage cache (O(new items)) or, after a restart or an eviction, from the store (one look-up
 * and one bulk read, never a walk along the chain). Unknown or foreign ids are refused; history that cannot be read
 * whole is refused too, never shortened.
 */
import { HomingError } from '../model/error.ts'
import type { ConversationItem, StoredItem } from '../model/item.ts'
import type { JsonObject } from '../model/json.ts'
import type { StoredResponse } from '../model/response.ts'
import type { GrowingChain, ResolvedTurn, SessionSource, Turn } from '../model/turn.ts'
import type { LineageCache } from './lineage-cache.ts'
import type { ResponseStore } from './response-store.ts'
import type { SessionIndex } from './session-index.ts'

/** How text becomes blocks; `kv` provides it. */
export interface ChainMaker {
  root(tenant: string, model: string): GrowingChain
  head(instructions: string | null, tools: readonly JsonObject[]): string
  item(item: ConversationItem): string
}

export type ResolvePorts = {
  readonly store: ResponseStore
  readonly lineages: LineageCache
  readonly sessions: SessionIndex
  readonly chains: ChainMaker
  readonly newId: (prefix: 'msg' | 'fc' | 'fco' | 'rs' | 'item' | 'ctc' | 'ctco' | 'sess') => string
}

type History = {
  readonly items: readonly ConversationItem[]
  readonly itemIds: readonly string[]
  readonly parent: StoredResponse | null
  /** Cache key of this history: the parent response or the conversation. */
  readonly cacheId: string | null
}

const EMPTY: History = { items: [], itemIds: [], parent: null, cacheId: null }

export async function resolveTurn(turn: Turn, ports: ResolvePorts): Promise<ResolvedTurn> {
  if (turn.endpoint === 'chat') return resolveChat(turn, ports)
  const history = await readHistory(turn, ports)
  const input = await identifyItems(turn.tenant, turn.input, history, ports)
  const effectiveTools = turn.tools ?? history.parent?.tools ?? []
  const context = input.items.length === 0 ? history.items : [...history.items, ...input.items]
  const head = headOf(turn, effectiveTools, ports)
  const chain = buildChain(turn, head, history, input.items, ports)
  return withHistory(turn, {
    headKey: head.key,
    headCharacters: head.characters,
    context,
    contextItemIds: [...history.itemIds, ...input.ids],
    newItems: input.fresh,
    inputItemIds: input.ids,
    effectiveTools,
    chain,
    parent: history.parent,
    session: sessionOf(turn, history.parent, chain, ports),
  })
}

function resolveChat(turn: Turn, ports: ResolvePorts): ResolvedTurn {
  const effectiveTools = turn.tools ?? []
  const root = ports.chains.root(turn.tenant, turn.model)
  const head = ports.chains.head(turn.instructions, effectiveTools)
  const chain = extendByItems(root, turn.input, ports.chains, head)
  let headCharacters = head.length
  for (const item of turn.input) {
    if (item['role'] !== 'system' && item['role'] !== 'developer') break
    headCharacters += ports.chains.item(item).length
  }
  return withHistory(turn, {
    headKey: 0,
    headCharacters,
    context: turn.input,
    contextItemIds: [],
    newItems: [],
    inputItemIds: [],
    effectiveTools,
    chain,
    parent: null,
    session: sessionOf(turn, null, chain, ports),
  })
}

/** Field by field: a spread of so many fields costs 12 us, a literal nothing measurable. */
const withHistory = (turn: Turn, history: Omit<ResolvedTurn, keyof Turn>): ResolvedTurn => ({
  endpoint: turn.endpoint,
  tenant: turn.tenant,
  requestId: turn.requestId,
  receivedAtMs: turn.receivedAtMs,
  model: turn.model,
  input: turn.input,
  instructions: turn.instructions,
  tools: turn.tools,
  previousResponseId: turn.previousResponseId,
  conversationId: turn.conversationId,
  store: turn.store,
  stream: turn.stream,
  sessionHint: turn.sessionHint,
  cacheKey: turn.cacheKey,
  maxOutputTokens: turn.maxOutputTokens,
  body: turn.body,
  bodyBytes: turn.bodyBytes,
  asking: turn.asking,
  context: history.context,
  contextItemIds: history.contextItemIds,
  newItems: history.newItems,
  inputItemIds: history.inputItemIds,
  effectiveTools: history.effectiveTools,
  headKey: history.headKey,
  headCharacters: history.headCharacters,
  chain: history.chain,
  parent: history.parent,
  session: history.session,
})

/**
 * The same turn for another model, `added` behind its context: only the chain differs, since it names the model. The parent
 * says where the conversation is warm only where the same model answered it.
 */
export function underModel(
  turn: ResolvedTurn,
  model: string,
  added: readonly ConversationItem[],
  ports: Pick<ResolvePorts, 'chains'>,
): ResolvedTurn {
  return {
    ...turn,
    model,
    context: added.length === 0 ? turn.context : [...turn.context, ...added],
    headKey: turn.endpoint === 'chat' ? 0 : headOf({ ...turn, model }, turn.effectiveTools, ports).key,
    chain: extendByItems(turn.chain.forModel(model), added, ports.chains),
    parent: turn.parent?.model === model ? turn.parent : null,
  }
}

async function readHistory(turn: Turn, ports: ResolvePorts): Promise<History> {
  if (turn.previousResponseId !== null) {
    const id = turn.previousResponseId
    const parent = await ports.store.getResponse(turn.tenant, id)
    if (parent === null) throw new HomingError('previous_response_not_found', { id, param: 'previous_response_id' })
    if (parent.resource['status'] === 'failed') {
      throw new HomingError('invalid_value', {
        param: 'previous_response_id',
        why: `response '${id}' failed and cannot be continued`,
      })
    }
    const cached = ports.lineages.get(turn.tenant, id)
    if (cached !== null) return { items: cached.items, itemIds: cached.itemIds, parent, cacheId: id }
    const itemIds = [...parent.inputItemIds, ...parent.outputItemIds]
    return { items: await readItems(turn.tenant, itemIds, ports), itemIds, parent, cacheId: id }
  }
  if (turn.conversationId !== null) {
    const id = turn.conversationId
    const itemIds = await ports.store.conversationItemIds(turn.tenant, id)
    if (itemIds === null) throw new HomingError('conversation_not_found', { id, param: 'conversation' })
    const cached = ports.lineages.get(turn.tenant, id)
    if (cached !== null && sameIds(cached.itemIds, itemIds)) {
      return { items: cached.items, itemIds: cached.itemIds, parent: null, cacheId: id }
    }
    return { items: await readItems(turn.tenant, itemIds, ports), itemIds, parent: null, cacheId: null }
  }
  return EMPTY
}

async function readItems(tenant: string, ids: readonly string[], ports: ResolvePorts): Promise<readonly StoredItem[]> {
  const items = await ports.store.getItems(tenant, ids)
  return items.map((item, index) => {
    if (item === null) throw new HomingError('item_not_found', { id: ids[index]!, param: 'previous_response_id' })
    return item
  })
}

export type IdentifiedItems = {
  readonly items: readonly StoredItem[]
  readonly ids: readonly string[]
  readonly fresh: readonly StoredItem[]
}

/**
 * Gives every new item its identity and replaces references by what they name. A client's id is kept while it is free
 * (or names the same content); otherwise the item gets a new one, because stored items never change.
 */
export async function identifyItems(
  tenant: string,
  input: readonly ConversationItem[],
  history: { readonly items: readonly ConversationItem[]; readonly itemIds: readonly string[] },
  ports: Pick<ResolvePorts, 'store' | 'chains' | 'newId'>,
): Promise<IdentifiedItems> {
  const named = input.flatMap((item) => (typeof item.id === 'string' ? [item.id] : []))
  const known = named.length === 0 ? [] : await ports.store.getItems(tenant, named)
  const byId = new Map(named.map((id, index) => [id, known[index] ?? null]))
  if (named.length > 0)
    for (const item of history.items)
      if (item.id !== undefined && byId.has(item.id)) byId.set(item.id, item as StoredItem)
  const used = new Set(named.length === 0 ? [] : history.itemIds)
  const items: StoredItem[] = []
  const fresh: StoredItem[] = []
  for (const [index, item] of input.entries()) {
    const existing = item.id === undefined ? null : (byId.get(item.id) ?? null)
    if (item.type === 'item_reference') {
      if (existing === null)
        throw new HomingError('item_not_found', { id: String(item.id), param: `input[${index}].id` })
      items.push(existing)
      used.add(existing.id)
      continue
    }
    if (existing !== null && !used.has(existing.id) && ports.chains.item(existing) === ports.chains.item(item)) {
      items.push(existing)
      used.add(existing.id)
      continue
    }
    const keepId = item.id !== undefined && existing === null && !used.has(item.id) && item.id.length <= 128
    const id = keepId ? item.id! : ports.newId(idPrefix(item.type))
    const stored: StoredItem = { ...item, id }
    used.add(id)
    items.push(stored)
    fresh.push(stored)
  }
  return { items, ids: items.map((item) => item.id), fresh }
}

const ID_PREFIXES = {
  message: 'msg',
  function_call: 'fc',
  function_call_output: 'fco',
  reasoning: 'rs',
  custom_tool_call: 'ctc',
  custom_tool_call_output: 'ctco',
} as const

const idPrefix = (type: string): 'msg' | 'fc' | 'fco' | 'rs' | 'item' | 'ctc' | 'ctco' =>
  (ID_PREFIXES as Record<string, (typeof ID_PREFIXES)[keyof typeof ID_PREFIXES]>)[type] ?? 'item'

type Head = { readonly chain: GrowingChain; readonly key: number; readonly characters: number }

/** What stands before the items. The key names all of it: the text is filled up to whole blocks, since only those are hashed. */
function headOf(turn: Turn, tools: readonly JsonObject[], ports: Pick<ResolvePorts, 'chains'>): Head {
  const text = ports.chains.head(turn.instructions, tools)
  const root = ports.chains.root(turn.tenant, turn.model)
  const chain = text === '' ? root : root.extend(text)
  const filled = (chain.length + 1) * root.blockCharacters
  return { chain, key: chain.extend('\u0000'.repeat(filled - text.length)).key(), characters: text.length }
}

/** The parent's chain continued where the head is the same, else the whole prompt from the start. */
function buildChain(
  turn: Turn,
  head: Head,
  history: History,
  input: readonly ConversationItem[],
  ports: ResolvePorts,
): GrowingChain {
  const cached = history.cacheId === null ? null : ports.lineages.get(turn.tenant, history.cacheId)
  if (cached !== null && cached.headKey === head.key && cached.items.length === history.items.length) {
    return extendByItems(cached.chain, input, ports.chains)
  }
  return extendByItems(head.chain, history.items.length === 0 ? input : [...history.items, ...input], ports.chains)
}

export function extendByItems(
  chain: GrowingChain,
  items: readonly ConversationItem[],
  chains: ChainMaker,
  head = '',
): GrowingChain {
  let text = head
  for (const item of items) text += chains.item(item)
  return text === '' ? chain : chain.extend(text)
}

const sameIds = (left: readonly string[], right: readonly string[]): boolean => {
  if (left.length !== right.length) return false
  for (let i = left.length - 1; i >= 0; i--) if (left[i] !== right[i]) return false
  return true
}

/** The identity ladder: explicit header, conversation, root of the response chain, agent header, longest known prefix. */
function sessionOf(
  turn: Turn,
  parent: StoredResponse | null,
  chain: GrowingChain,
  ports: ResolvePorts,
): { id: string; source: SessionSource } {
  const hint = turn.sessionHint
  if (hint !== null && hint.startsWith('header:')) return { id: hint, source: 'header' }
  if (turn.conversationId !== null) return { id: turn.conversationId, source: 'conversation' }
  if (parent !== null) return { id: parent.sessionId, source: 'previous_response' }
  if (hint !== null) return { id: hint, source: 'agent' }
  const known = ports.sessions.find(chain)
  if (known !== null) return { id: known, source: 'prefix' }
  return { id: ports.newId('sess'), source: 'new' }
}

/** Remembers an answered turn, so that its continuation is cheap and recognised. */
export function rememberTurn(
  turn: ResolvedTurn,
  output: readonly ConversationItem[],
  stored: { readonly id: string; readonly outputIds: readonly string[] } | null,
  ports: ResolvePorts,
): GrowingChain {
  const chain = extendByItems(turn.chain, output, ports.chains)
  ports.sessions.remember(chain, turn.session.id)
  if (stored !== null) {
    const parentCharacters =
      turn.parent === null ? 0 : (ports.lineages.get(turn.tenant, turn.parent.id)?.chain.totalCharacters ?? 0)
    const lineage = {
      headKey: turn.headKey,
      items: [...turn.context, ...output],
      itemIds: [...turn.contextItemIds, ...stored.outputIds],
      chain,
      ownCharacters: Math.max(0, chain.totalCharacters - parentCharacters),
    }
    ports.lineages.set(turn.tenant, stored.id, lineage)
    if (turn.conversationId !== null) ports.lineages.set(turn.tenant, turn.conversationId, lineage)
  }
  return chain
}
