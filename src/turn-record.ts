/** An answered turn as it is stored. */
import type { Protocol } from './model/backend.ts'
import type { StoredItem } from './model/item.ts'
import type { JsonObject } from './model/json.ts'
import type { Receipt } from './model/receipt.ts'
import type { StoredResponse } from './model/response.ts'
import type { ResolvedTurn } from './model/turn.ts'

export type SaveTurn = {
  readonly response: StoredResponse
  readonly items: readonly StoredItem[]
  readonly conversationAppend: readonly string[] | null
}

export function recordOf(
  turn: ResolvedTurn,
  resource: JsonObject,
  output: readonly StoredItem[],
  receipt: Receipt,
  createdAtMs: number,
): SaveTurn {
  const outputItemIds = output.map((item) => item.id)
  const failed = resource['status'] === 'failed'
  return {
    response: {
      id: String(resource['id']),
      tenant: turn.tenant,
      createdAtMs,
      previousResponseId: turn.previousResponseId,
      conversationId: turn.conversationId,
      sessionId: turn.session.id,
      model: receipt.model,
      resource,
      inputItemIds: turn.contextItemIds,
      outputItemIds,
      tools: turn.effectiveTools,
      home: { backendId: receipt.backendId, servedModel: receipt.servedModel, protocol: receipt.protocol as Protocol },
      promptTokens: receipt.promptTokens.actual,
      receipt,
    },
    items: [...turn.newItems, ...output],
    conversationAppend: turn.conversationId === null || failed ? null : [...turn.inputItemIds, ...outputItemIds],
  }
}
