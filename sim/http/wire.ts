/**
 * How an answer looks on the wire. One object per request; `open` comes with the first token, `token` once per token
 * (on the hot path: one concatenation), `close` at the end. The shapes are vLLM's.
 */
import type { JsonObject } from '../../src/model/json.ts'
import type { Answer } from './answer.ts'

export type WireUsage = { readonly promptTokens: number; readonly cachedTokens: number; readonly outputTokens: number }

export interface AnswerWire {
  open(): string
  token(text: string): string
  close(usage: WireUsage): string
  /** The answer to a request that does not stream. */
  body(usage: WireUsage): JsonObject
}

export type WireOptions = {
  readonly id: string
  readonly model: string
  readonly createdSeconds: number
  readonly answer: Answer
  readonly includeUsage: boolean
  readonly request: JsonObject
}

export const quoted = (text: string, plain: boolean): string => (plain ? `"${text}"` : JSON.stringify(text))

export const data = (payload: JsonObject): string => `data: ${JSON.stringify(payload)}\n\n`

export const chatUsage = (usage: WireUsage): JsonObject => ({
  prompt_tokens: usage.promptTokens,
  total_tokens: usage.promptTokens + usage.outputTokens,
  completion_tokens: usage.outputTokens,
  prompt_tokens_details: { cached_tokens: usage.cachedTokens },
})
