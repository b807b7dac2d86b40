/** Turns for the request tests, made without a store: the context is what was said before plus the parsed input. */
import type { ServedModel } from '../../src/model/backend.ts'
import type { ConversationItem, StoredItem } from '../../src/model/item.ts'
import type { JsonObject } from '../../src/model/json.ts'
import type { GrowingChain, ResolvedTurn } from '../../src/model/turn.ts'
import { parseResponses } from '../../src/wire/parse-responses.ts'
import type { Limits, TurnMeta } from '../../src/wire/parse-responses.ts'

export const META: TurnMeta = { tenant: 'acme', requestId: 'req_1', receivedAtMs: 1_000, sessionHint: null }
export const LIMITS: Limits = { maxItems: 50, maxDepth: 32 }
export const SERVED: ServedModel = { name: 'm', served: 'org/m', contextTokens: null }

/** No renderer looks at the chain. */
const CHAIN: GrowingChain = {
  hashes: new Uint32Array(0),
  length: 0,
  blockCharacters: 64,
  totalCharacters: 0,
  extend: () => CHAIN,
  forModel: () => CHAIN,
  key: () => 0,
}

export function resolved(body: JsonObject, history: readonly ConversationItem[] = []): ResolvedTurn {
  const turn = parseResponses({ model: 'm', input: 'hi', ...body }, META, LIMITS)
  const newItems = turn.input.map((item, index): StoredItem => ({ ...item, id: item.id ?? `new_${index}` }))
  return {
    ...turn,
    context: [...history, ...newItems],
    newItems,
    contextItemIds: [...history, ...newItems].map((item) => item.id ?? ''),
    inputItemIds: newItems.map(({ id }) => id),
    effectiveTools: turn.tools ?? [],
    headKey: 0, headCharacters: 0,
    chain: CHAIN,
    parent: null,
    session: { id: 's', source: 'new' },
  }
}
