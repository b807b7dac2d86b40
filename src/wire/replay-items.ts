/** Finished output items as the events with which they would have come: each text in one delta, under the same ids. */
import type { StoredItem } from '../model/item.ts'
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'
import { OpenCall } from './open-call.ts'
import { OpenMessage, OpenReasoning, type Emit } from './open-item.ts'

export function replayItems(output: readonly StoredItem[], emit: Emit): void {
  output.forEach((item, index) => {
    const status = item['status'] === 'incomplete' ? 'incomplete' : 'completed'
    switch (item.type) {
      case 'message': {
        const message = new OpenMessage(item.id, index, emit)
        const parts = listOf(item['content'])
        for (const part of parts) {
          if (part['type'] === 'refusal') message.refusal(textOf(part['refusal']))
          else if (textOf(part['text']) === '' && parts.length === 1) message.leaveEmpty()
          else message.text(textOf(part['text']), listOf(part['logprobs']))
        }
        return message.close(status)
      }
      case 'reasoning': {
        const reasoning = new OpenReasoning(item.id, index, emit)
        reasoning.text(listOf(item['summary']).map((part) => textOf(part['text'])).join('\n\n'))
        return reasoning.close(status)
      }
      case 'function_call': {
        const name = { name: textOf(item['name']), ...(typeof item['namespace'] === 'string' ? { namespace: item['namespace'] } : {}) }
        const call = new OpenCall(item.id, index, textOf(item['call_id']), { kind: 'function', ...name }, emit)
        call.append(textOf(item['arguments']))
        return call.close(status)
      }
      default:
        // a custom call's input is decoded from JSON as it comes: here it is whole
        emit({ type: 'response.output_item.added', output_index: index, item: { ...item, status: 'in_progress', input: '' } })
        emit({ type: 'response.custom_tool_call_input.delta', item_id: item.id, output_index: index, delta: textOf(item['input']) })
        emit({ type: 'response.custom_tool_call_input.done', item_id: item.id, output_index: index, input: textOf(item['input']) })
        emit({ type: 'response.output_item.done', output_index: index, item })
    }
  })
}

const textOf = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '')
const listOf = (value: JsonValue | undefined): readonly JsonObject[] =>
  Array.isArray(value) ? (value as readonly JsonValue[]).filter(isObject) : []
