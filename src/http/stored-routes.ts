/** Stored responses and the Conversations API: reading and changing what is kept. */
import type { ResponseStore } from '../conversation/response-store.ts'
import type { IdentifiedItems } from '../conversation/resolve.ts'
import { HomingError } from '../model/error.ts'
import type { ConversationItem } from '../model/item.ts'
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'
import type { StoredConversation, StoredResponse } from '../model/response.ts'
import { itemResource } from '../wire/item-resource.ts'
import { normaliseItems } from '../wire/normalise-item.ts'
import { checkDepth, checkMetadata } from '../wire/parse-checks.ts'
import { parseJson } from './body.ts'
import type { Call, Handler } from './call.ts'
import { listOf, pageOf, readPage, unknownAfter } from './page.ts'
import type { Router } from './router.ts'

export type StoredRoutePorts = {
  readonly store: ResponseStore
  readonly identify: (tenant: string, items: readonly ConversationItem[]) => Promise<IdentifiedItems>
  readonly forgetLineage: (tenant: string, id: string) => void
  readonly newConversationId: () => string
  readonly wallMs: () => number
  readonly maxDepth: number
}

/** The API's bound on items of one call. */
const MAX_ITEMS = 20

export function storedRoutes(router: Router<Handler>, ports: StoredRoutePorts): void {
  const { store } = ports
  const route = (method: string, pattern: string, name: string, handle: (call: Call) => Promise<void>): void => {
    router.on(method, pattern, { access: 'tenant', limited: false, name, handle })
  }

  route('GET', '/v1/responses/{id}', 'responses_retrieve', async (call) => {
    if (call.query.get('stream') === 'true')
      throw new HomingError('unsupported_parameter', {
        param: 'stream',
        why: 'only background responses can be replayed, and they are not offered',
      })
    const stored = await responseOf(call)
    call.sink.json(200, stored.resource)
  })

  route('DELETE', '/v1/responses/{id}', 'responses_delete', async (call) => {
    const id = checkedId(call, 'resp_', 'response_id')
    if (!(await store.deleteResponse(call.caller.tenant, id)))
      throw new HomingError('response_not_found', { id, param: 'response_id' })
    ports.forgetLineage(call.caller.tenant, id)
    call.sink.json(200, { id, object: 'response.deleted', deleted: true })
  })

  route('GET', '/v1/responses/{id}/input_items', 'responses_input_items', async (call) => {
    const page = readPage(call.query)
    const stored = await responseOf(call)
    const { ids, hasMore } = pageOf(stored.inputItemIds, page)
    const items = await store.getItems(call.caller.tenant, ids)
    call.sink.json(200, listOf(items.filter((item) => item !== null).map(itemResource), hasMore))
  })

  route('POST', '/v1/conversations', 'conversations_create', async (call) => {
    const body = await objectBody(call, ports.maxDepth, true)
    const metadata = checkMetadata(body, '') ?? {}
    const given = body['items'] ?? null
    const identified =
      given === null ? null : await ports.identify(call.caller.tenant, normaliseItems(given, 'items', MAX_ITEMS))
    const conversation: StoredConversation = {
      id: ports.newConversationId(),
      tenant: call.caller.tenant,
      createdAtMs: ports.wallMs(),
      metadata,
    }
    await store.createConversation(conversation, identified?.items ?? [])
    call.sink.json(200, resourceOf(conversation))
  })

  route('GET', '/v1/conversations/{id}', 'conversations_retrieve', async (call) => {
    call.sink.json(200, resourceOf(await conversationOf(call)))
  })

  route('POST', '/v1/conversations/{id}', 'conversations_update', async (call) => {
    const id = checkedId(call, 'conv_', 'conversation_id')
    const body = await objectBody(call, ports.maxDepth)
    if (body['metadata'] === undefined) throw new HomingError('missing_required_parameter', { param: 'metadata' })
    const updated = await store.updateConversation(call.caller.tenant, id, checkMetadata(body, '') ?? {})
    if (updated === null) throw noConversation(id)
    call.sink.json(200, resourceOf(updated))
  })

  route('DELETE', '/v1/conversations/{id}', 'conversations_delete', async (call) => {
    const id = checkedId(call, 'conv_', 'conversation_id')
    if (!(await store.deleteConversation(call.caller.tenant, id))) throw noConversation(id)
    ports.forgetLineage(call.caller.tenant, id)
    call.sink.json(200, { id, object: 'conversation.deleted', deleted: true })
  })

  route('POST', '/v1/conversations/{id}/items', 'conversations_items_create', async (call) => {
    const id = checkedId(call, 'conv_', 'conversation_id')
    const body = await objectBody(call, ports.maxDepth)
    if (body['items'] === undefined) throw new HomingError('missing_required_parameter', { param: 'items' })
    const identified = await ports.identify(
      call.caller.tenant,
      normaliseItems(body['items'] as JsonValue, 'items', MAX_ITEMS),
    )
    if (!(await store.appendItems(call.caller.tenant, id, identified.items))) throw noConversation(id)
    call.sink.json(200, listOf(identified.items.map(itemResource), false))
  })

  route('GET', '/v1/conversations/{id}/items', 'conversations_items_list', async (call) => {
    const page = readPage(call.query)
    const id = checkedId(call, 'conv_', 'conversation_id')
    const found = await store.listConversationItems(call.caller.tenant, id, page)
    if (found === null) throw noConversation(id)
    if (found === 'unknown_after') throw unknownAfter(page.after!)
    call.sink.json(200, listOf(found.items.map(itemResource), found.hasMore))
  })

  route('GET', '/v1/conversations/{id}/items/{item}', 'conversations_items_retrieve', async (call) => {
    await conversationOf(call)
    const item = await store.getConversationItem(call.caller.tenant, call.params['id']!, call.params['item']!)
    if (item === null) throw noItem(call.params['item']!)
    call.sink.json(200, itemResource(item))
  })

  route('DELETE', '/v1/conversations/{id}/items/{item}', 'conversations_items_delete', async (call) => {
    const conversation = await conversationOf(call)
    if (!(await store.removeConversationItem(call.caller.tenant, conversation.id, call.params['item']!)))
      throw noItem(call.params['item']!)
    ports.forgetLineage(call.caller.tenant, conversation.id)
    call.sink.json(200, resourceOf(conversation))
  })

  async function responseOf(call: Call): Promise<StoredResponse> {
    const id = checkedId(call, 'resp_', 'response_id')
    const stored = await store.getResponse(call.caller.tenant, id)
    if (stored === null) throw new HomingError('response_not_found', { id, param: 'response_id' })
    return stored
  }

  async function conversationOf(call: Call): Promise<StoredConversation> {
    const id = checkedId(call, 'conv_', 'conversation_id')
    const stored = await store.getConversation(call.caller.tenant, id)
    if (stored === null) throw noConversation(id)
    return stored
  }
}

const noConversation = (id: string): HomingError =>
  new HomingError('conversation_not_found', { id, param: 'conversation_id' })
const noItem = (id: string): HomingError =>
  new HomingError('conversation_item_not_found', { id: id.slice(0, 128), param: 'item_id' })

function checkedId(call: Call, prefix: string, param: string): string {
  const id = call.params['id']!
  if (!id.startsWith(prefix))
    throw new HomingError('invalid_value', { param, why: `expected an id that begins with '${prefix}'` })
  return id.slice(0, 256)
}

async function objectBody(call: Call, maxDepth: number, mayBeEmpty = false): Promise<JsonObject> {
  const bytes = await call.bytes()
  if (mayBeEmpty && bytes.length === 0) return {}
  const body = parseJson(bytes)
  if (!isObject(body))
    throw new HomingError('invalid_type', {
      param: 'body',
      expected: 'an object',
      got: Array.isArray(body) ? 'an array' : typeof body,
    })
  checkDepth(body, maxDepth)
  return body
}

const resourceOf = (conversation: StoredConversation): JsonObject => ({
  id: conversation.id,
  object: 'conversation',
  created_at: Math.floor(conversation.createdAtMs / 1000),
  metadata: conversation.metadata,
})
