/**
 * Items -> `input` of a backend that speaks the Responses API itself, in the one form that vLLM, SGLang and llama.cpp
 * all read: messages typed, one output_text an answer (vLLM reads only the first), reasoning as text in `content`
 * (llama.cpp requires it there), tool outputs as strings, ciphertext gone. Ids stay where vLLM's schema wants them
 * (assistant messages, reasoning) and go elsewhere and for unknown servers, which would look them up.
 */
import type { Engine } from '../model/backend.ts'
import type { ConversationItem } from '../model/item.ts'
import type { JsonObject } from '../model/json.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import {
  assistantText,
  partsOf,
  placeOf,
  reasoningText,
  textOf,
  toolOutputText,
  unsupportedItem,
  unsupportedPart,
} from './item-text.ts'
import { calledFunction } from './render-messages.ts'
import type { ToolNaming } from './tool-names.ts'

export function renderItems(turn: ResolvedTurn, engine: Engine, naming: ToolNaming): readonly JsonObject[] {
  const items: JsonObject[] = []
  turn.context.forEach((item, index) => {
    const rendered = renderItem(turn, item, index, engine, naming)
    if (rendered !== null) items.push(rendered)
  })
  return items
}

function renderItem(
  turn: ResolvedTurn,
  item: ConversationItem,
  index: number,
  engine: Engine,
  naming: ToolNaming,
): JsonObject | null {
  const id = engine === 'unknown' || item.id === undefined ? {} : { id: item.id }
  switch (item.type) {
    case 'message':
      if (item['role'] !== 'assistant') return inputMessage(turn, item, index)
      return {
        type: 'message',
        ...id,
        role: 'assistant',
        status: 'completed',
        content: [{ type: 'output_text', text: assistantText(item), annotations: [] }],
      }
    case 'reasoning': {
      const text = reasoningText(item)
      if (text === '') return null
      return { type: 'reasoning', ...id, summary: [], content: [{ type: 'reasoning_text', text }] }
    }
    case 'function_call':
    case 'custom_tool_call':
      return { type: 'function_call', call_id: String(item['call_id']), ...calledFunction(item, naming) }
    case 'function_call_output':
    case 'custom_tool_call_output': {
      const output = toolOutputText(item, turn, index)
      return { type: 'function_call_output', call_id: String(item['call_id']), output }
    }
    default:
      throw unsupportedItem(item, placeOf(turn, index))
  }
}

function inputMessage(turn: ResolvedTurn, item: ConversationItem, index: number): JsonObject {
  const content = partsOf(item['content']).map((part, at) => {
    if (part['type'] === 'input_text') return { type: 'input_text', text: textOf(part) }
    const place = `${placeOf(turn, index)}.content[${at}]`
    if (part['type'] !== 'input_image') throw unsupportedPart(part, place, 'the backends read text and images only')
    const { image_url: url, detail } = part
    if (typeof url !== 'string') {
      throw unsupportedPart(part, place, "no backend can look up a 'file_id'; give the image as a URL or as data")
    }
    return { type: 'input_image', image_url: url, detail: typeof detail === 'string' ? detail : 'auto' }
  })
  return { type: 'message', role: item['role'] === 'user' ? 'user' : 'system', content }
}
