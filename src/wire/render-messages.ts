/**
 * Items -> messages of Chat Completions. The result is a pure function of its arguments: it decides the engine's
 * prefix, so the same context must give the same bytes on every turn.
 *
 *   instructions, leading system and developer messages   one system message, blank lines between; many templates
 *                                                         accept a system message in first place only
 *   reasoning, assistant text, calls without outputs yet  one assistant message {content, reasoning, tool_calls}
 *   function_call_output, custom_tool_call_output         tool message
 *   text parts of one user or system message              one string, a line each, as the engines join them;
 *                                                         with an image: a list of parts
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
import { customArguments } from './render-tools.ts'
import type { ToolNaming } from './tool-names.ts'

type AssistantDraft = { text: string | null; reasoning: string; calls: JsonObject[] }

export function renderMessages(turn: ResolvedTurn, engine: Engine, naming: ToolNaming): readonly JsonObject[] {
  const drafts = new MessageList(engine === 'vllm' ? 'reasoning' : 'reasoning_content')
  if (turn.instructions !== null && turn.instructions !== '') drafts.system(turn.instructions)
  turn.context.forEach((item, index) => add(drafts, turn, item, index, naming))
  return drafts.finish()
}

function add(list: MessageList, turn: ResolvedTurn, item: ConversationItem, index: number, naming: ToolNaming): void {
  switch (item.type) {
    case 'message':
      if (item['role'] === 'assistant') list.assistantText(assistantText(item))
      else if (item['role'] === 'user') list.push({ role: 'user', content: inputContent(turn, item, index) })
      else list.system(inputContent(turn, item, index))
      return
    case 'reasoning':
      list.reasoning(reasoningText(item))
      return
    case 'function_call':
    case 'custom_tool_call':
      list.call(toolCall(item, naming))
      return
    case 'function_call_output':
    case 'custom_tool_call_output': {
      const content = toolOutputText(item, turn, index)
      list.push({ role: 'tool', tool_call_id: String(item['call_id']), content })
      return
    }
    default:
      throw unsupportedItem(item, placeOf(turn, index))
  }
}

/** The name and the arguments' bytes of a call, as the engine once wrote them. */
export function calledFunction(item: ConversationItem, naming: ToolNaming): { name: string; arguments: string } {
  const custom = item.type === 'custom_tool_call'
  const namespace = item['namespace']
  const name = naming.of({
    kind: custom ? 'custom' : 'function',
    name: String(item['name']),
    ...(typeof namespace === 'string' && { namespace }),
  })
  return { name, arguments: custom ? customArguments(item['input']) : String(item['arguments']) }
}

function toolCall(item: ConversationItem, naming: ToolNaming): JsonObject {
  return { id: String(item['call_id']), type: 'function', function: calledFunction(item, naming) }
}

function inputContent(turn: ResolvedTurn, item: ConversationItem, index: number): string | JsonObject[] {
  const parts = partsOf(item['content'])
  if (parts.every((part) => part['type'] === 'input_text')) return parts.map(textOf).join('\n')
  return parts.map((part, at) => {
    if (part['type'] === 'input_text') return { type: 'text', text: textOf(part) }
    const place = `${placeOf(turn, index)}.content[${at}]`
    if (part['type'] !== 'input_image') throw unsupportedPart(part, place, 'the backends read text and images only')
    return { type: 'image_url', image_url: imageUrl(part, place) }
  })
}

function imageUrl(part: JsonObject, place: string): JsonObject {
  const { image_url: url, detail } = part
  if (typeof url !== 'string') {
    throw unsupportedPart(part, place, "no backend can look up a 'file_id'; give the image as a URL or as data")
  }
  return typeof detail === 'string' ? { url, detail } : { url }
}

class MessageList {
  readonly #messages: JsonObject[] = []
  readonly #reasoningField: string
  #preamble: string[] | null = []
  #draft: AssistantDraft | null = null

  constructor(reasoningField: string) {
    this.#reasoningField = reasoningField
  }

  push(message: JsonObject): void {
    this.#close()
    this.#messages.push(message)
  }

  system(content: string | JsonObject[]): void {
    if (this.#preamble !== null && typeof content === 'string') this.#preamble.push(content)
    else this.push({ role: 'system', content })
  }

  /** A second text, with no call between, is a message of its own, as its writer had it. */
  assistantText(text: string): void {
    const draft = this.#open()
    if (draft.text === null) draft.text = text
    else if (draft.calls.length > 0) draft.text += `\n${text}`
    else {
      this.#close()
      this.#open().text = text
    }
  }

  /** Thoughts belong to what follows them. */
  reasoning(text: string): void {
    if (text === '') return
    if (this.#draft !== null && this.#draft.text !== null && this.#draft.calls.length === 0) this.#close()
    const draft = this.#open()
    draft.reasoning = draft.reasoning === '' ? text : `${draft.reasoning}\n\n${text}`
  }

  call(call: JsonObject): void {
    this.#open().calls.push(call)
  }

  finish(): readonly JsonObject[] {
    this.#close()
    return this.#messages
  }

  #open(): AssistantDraft {
    this.#closePreamble()
    return (this.#draft ??= { text: null, reasoning: '', calls: [] })
  }

  #close(): void {
    this.#closePreamble()
    const draft = this.#draft
    if (draft === null) return
    this.#draft = null
    this.#messages.push({
      role: 'assistant',
      content: draft.text ?? (draft.calls.length > 0 ? null : ''),
      ...(draft.reasoning !== '' && { [this.#reasoningField]: draft.reasoning }),
      ...(draft.calls.length > 0 && { tool_calls: draft.calls }),
    })
  }

  #closePreamble(): void {
    const preamble = this.#preamble
    this.#preamble = null
    if (preamble !== null && preamble.length > 0) {
      this.#messages.push({ role: 'system', content: preamble.join('\n\n') })
    }
  }
}
