/** `POST /v1/chat/completions`. */
import type { JsonObject } from '../../src/model/json.ts'
import { chatUsage, data, quoted, type AnswerWire, type WireOptions, type WireUsage } from './wire.ts'

export const chatWire = (options: WireOptions): AnswerWire => {
  const { answer } = options
  const base = { id: options.id, created: options.createdSeconds, model: options.model }
  const chunk = (delta: JsonObject, finishReason: string | null): JsonObject => ({
    ...base,
    object: 'chat.completion.chunk',
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
  })
  const [before, after] = data(
    chunk(
      answer.toolCall === null
        ? { content: '\u0001' }
        : { tool_calls: [{ index: 0, function: { arguments: '\u0001' } }] },
      null,
    ),
  ).split('"\\u0001"') as [string, string]
  const message: JsonObject =
    answer.toolCall === null
      ? { role: 'assistant', content: answer.text, tool_calls: [] }
      : {
          role: 'assistant',
          content: null,
          tool_calls: [
            {
              id: answer.toolCall.id,
              type: 'function',
              function: { name: answer.toolCall.name, arguments: answer.text },
            },
          ],
        }
  return {
    open: () => {
      const first = data(chunk({ role: 'assistant', content: answer.toolCall === null ? '' : null }, null))
      if (answer.toolCall === null) return first
      const { id, name } = answer.toolCall
      return (
        first +
        data(chunk({ tool_calls: [{ index: 0, id, type: 'function', function: { name, arguments: '' } }] }, null))
      )
    },
    token: (text) => before + quoted(text, answer.plain) + after,
    close: (usage: WireUsage) =>
      data(chunk({}, answer.finishReason)) +
      (options.includeUsage
        ? data({ ...base, object: 'chat.completion.chunk', choices: [], usage: chatUsage(usage) })
        : '') +
      'data: [DONE]\n\n',
    body: (usage: WireUsage) => ({
      ...base,
      object: 'chat.completion',
      choices: [{ index: 0, message, logprobs: null, finish_reason: answer.finishReason }],
      usage: chatUsage(usage),
    }),
  }
}
