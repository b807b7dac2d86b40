import type { JsonObject } from './json.ts'

/**
 * One entry of a conversation, in the shape of the Responses API (`message`, `function_call`,
 * `function_call_output`, `reasoning`, `custom_tool_call`, ...). `wire` normalises what clients send:
 * `type` is always present, `content` of a message is always an array of parts, and stored items have an `id`.
 * Fields that this gateway does not know are kept as they came.
 */
export type ConversationItem = JsonObject & { readonly type: string; readonly id?: string }

/** An item that has been given its identity. */
export type StoredItem = ConversationItem & { readonly id: string }
