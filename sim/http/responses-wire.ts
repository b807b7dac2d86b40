/** `POST /v1/responses`: stateless, as engines are; one message or one function call. */
import type { JsonObject } from '../../src/model/json.ts'
import { quoted, type AnswerWire, type WireOptions, type WireUsage } from './wire.ts'

export const responsesWire = (options: WireOptions): AnswerWire => {
  const { answer, request } = options
  const call = answer.toolCall
  const itemId = `${call === null ? 'msg' : 'fc'}_${options.id.slice(5)}`
  let sequence = 0
  const event = (payload: JsonObject & { readonly type: string }): string =>
    `event: ${payload.type}\ndata: ${JSON.stringify({ ...payload, sequence_number: sequence++ })}\n\n`
  const item = (done: boolean): JsonObject => {
    const status = done ? (answer.finishReason === 'length' ? 'incomplete' : 'completed') : 'in_progress'
    if (call !== null) {
      return {
        id: itemId,
        type: 'function_call',
        status,
        call_id: call.id,
        name: call.name,
        arguments: done ? answer.text : '',
      }
    }
    const content = done ? [{ type: 'output_text', text: answer.text, annotations: [], logprobs: [] }] : []
    return { id: itemId, type: 'message', role: 'assistant', status, content }
  }
  const resource = (status: string, usage: WireUsage | null): JsonObject => ({
    id: options.id,
    object: 'response',
    created_at: options.createdSeconds,
    status,
    model: options.model,
    error: null,
    incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    instructions: request['instructions'] ?? null,
    max_output_tokens: request['max_output_tokens'] ?? null,
    output: usage === null ? [] : [item(true)],
    parallel_tool_calls: request['parallel_tool_calls'] ?? true,
    previous_response_id: null,
    temperature: request['temperature'] ?? 1,
    top_p: request['top_p'] ?? 1,
    tool_choice: request['tool_choice'] ?? 'auto',
    tools: request['tools'] ?? [],
    truncation: 'disabled',
    metadata: request['metadata'] ?? {},
    usage:
      usage === null
        ? null
        : {
            input_tokens: usage.promptTokens,
            input_tokens_details: { cached_tokens: usage.cachedTokens },
            output_tokens: usage.outputTokens,
            output_tokens_details: { reasoning_tokens: 0 },
            total_tokens: usage.promptTokens + usage.outputTokens,
          },
  })
  const place =
    call === null ? { item_id: itemId, output_index: 0, content_index: 0 } : { item_id: itemId, output_index: 0 }
  const name = call === null ? 'response.output_text' : 'response.function_call_arguments'
  const before = `event: ${name}.delta\ndata: ${JSON.stringify({
    type: `${name}.delta`,
    ...place,
    ...(call === null ? { logprobs: [] } : {}),
  }).slice(0, -1)},"delta":`
  const part = (text: string): JsonObject => ({ type: 'output_text', text, annotations: [], logprobs: [] })
  const finalStatus = answer.finishReason === 'length' ? 'incomplete' : 'completed'
  return {
    open: () =>
      event({ type: 'response.created', response: resource('in_progress', null) }) +
      event({ type: 'response.in_progress', response: resource('in_progress', null) }) +
      event({ type: 'response.output_item.added', output_index: 0, item: item(false) }) +
      (call === null ? event({ type: 'response.content_part.added', ...place, part: part('') }) : ''),
    token: (text) => `${before}${quoted(text, answer.plain)},"sequence_number":${sequence++}}\n\n`,
    close: (usage: WireUsage) =>
      (call === null
        ? event({ type: 'response.output_text.done', ...place, text: answer.text, logprobs: [] }) +
          event({ type: 'response.content_part.done', ...place, part: part(answer.text) })
        : event({ type: 'response.function_call_arguments.done', ...place, name: call.name, arguments: answer.text })) +
      event({ type: 'response.output_item.done', output_index: 0, item: item(true) }) +
      event({ type: `response.${finalStatus}`, response: resource(finalStatus, usage) }),
    body: (usage: WireUsage) => resource(finalStatus, usage),
  }
}
