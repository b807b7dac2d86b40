/** `POST /v1/completions`. */
import type { JsonObject } from '../../src/model/json.ts'
import { chatUsage, data, quoted, type AnswerWire, type WireOptions, type WireUsage } from './wire.ts'

export const completionWire = (options: WireOptions): AnswerWire => {
  const { answer } = options
  const reason = answer.finishReason === 'tool_calls' ? 'stop' : answer.finishReason
  const base = { id: options.id, object: 'text_completion', created: options.createdSeconds, model: options.model }
  const choice = (text: string, finishReason: string | null): JsonObject => ({
    ...base,
    choices: [{ index: 0, text, logprobs: null, finish_reason: finishReason }],
  })
  const [before, after] = data(choice('\u0001', null)).split('"\\u0001"') as [string, string]
  return {
    open: () => '',
    token: (text) => before + quoted(text, answer.plain) + after,
    close: (usage: WireUsage) =>
      data(choice('', reason)) +
      (options.includeUsage ? data({ ...base, choices: [], usage: chatUsage(usage) }) : '') +
      'data: [DONE]\n\n',
    body: (usage: WireUsage) => ({ ...choice(answer.text, reason), usage: chatUsage(usage) }),
  }
}
