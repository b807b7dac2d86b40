import type { Protocol } from './backend.ts'
import type { JsonObject } from './json.ts'
import type { Receipt } from './receipt.ts'

/** Where a response ran: read by whoever continues it, on any replica. */
export type Home = {
  readonly backendId: string
  readonly servedModel: string
  readonly protocol: Protocol
}

/** One answered turn. Items are stored apart, once; a response holds ordered ids, so no chain is ever walked. */
export type StoredResponse = {
  readonly id: string
  readonly tenant: string
  readonly createdAtMs: number
  readonly previousResponseId: string | null
  readonly conversationId: string | null
  readonly sessionId: string
  readonly model: string
  /** The Response resource as it was sent, `output` included. */
  readonly resource: JsonObject
  /** All the model saw, in order: what `input_items` lists. */
  readonly inputItemIds: readonly string[]
  readonly outputItemIds: readonly string[]
  /** Request tools, as sent or inherited: a child that leaves `tools` out gets these. */
  readonly tools: readonly JsonObject[]
  readonly home: Home | null
  readonly promptTokens: number | null
  readonly receipt: Receipt | null
}

export type StoredConversation = {
  readonly id: string
  readonly tenant: string
  readonly createdAtMs: number
  readonly metadata: JsonObject
}
