/**
 * Messages of Chat Completions -> the items that the same conversation has in the Responses API, so that both share
 * one lineage. An assistant message becomes, in this order, its reasoning, its message, its calls. Hot path: a few
 * small objects a message, no copy of text. Parts that the Responses API has no word for stay as they are.
 */
import { HomingError } from '../model/error.ts'
import type { ConversationItem } from '../model/item.ts'
import { isObject } from '../model/json.ts'
import type { JsonObject, JsonValue } from '../model/json.ts'
import { inputText, outputText } from './normalise-content.ts'
import { isArray, listed, requireName, requireString, wrongType, wrongValue } from './parse-checks.ts'

const ROLES = ['system', 'developer', 'user', 'assistant', 'tool']

export function itemsOfMessages(messages: readonly JsonValue[]): readonly ConversationItem[] {
  const items: ConversationItem[] = []
  const customCalls = new Set<string>()
  for (let index = 0; index < messages.length; index++) {
    const message = messages[index]
    if (!isObject(message)) throw wrongType(`messages[${index}]`, 'an object', message)
    const role = message['role']
    if (role === 'user' || role === 'system' || role === 'developer') {
      const content = inputContent(message['content'], index)
      const name = message['name']
      items.push(name === undefined ? { type: 'message', role, content } : { type: 'message', role, content, name })
    } else if (role === 'assistant') {
      pushAssistant(items, message, index, customCalls)
    } else if (role === 'tool') {
      items.push(toolOutput(message, index, customCalls))
    } else {
      throw wrongRole(message, index)
    }
  }
  return items
}

function pushAssistant(items: ConversationItem[], message: JsonObject, index: number, customCalls: Set<string>): void {
  const before = items.length
  const thought = message['reasoning_content'] ?? message['reasoning']
  if (typeof thought === 'string' && thought !== '') {
    items.push({ type: 'reasoning', summary: [{ type: 'summary_text', text: thought }] })
  }
  const content = assistantContent(message, index)
  if (content.length > 0) items.push({ type: 'message', role: 'assistant', content })
  const calls = message['tool_calls'] ?? null
  if (calls !== null) {
    if (!isArray(calls)) throw wrongType(`messages[${index}].tool_calls`, 'an array', calls)
    for (let at = 0; at < calls.length; at++) items.push(toolCall(calls[at], index, at, customCalls))
  }
  if (items.length === before) items.push({ type: 'message', role: 'assistant', content: [outputText('')] })
}

/** Empty where the message has no text of its own. */
function assistantContent(message: JsonObject, index: number): readonly JsonValue[] {
  const content = message['content'] ?? null
  const refusal = message['refusal'] ?? null
  let parts: JsonValue[] = []
  if (typeof content === 'string') {
    if (content !== '') parts = [outputText(content)]
  } else if (isArray(content)) {
    parts = content.map((part, at) => assistantPart(part, index, at))
  } else if (content !== null) {
    throw wrongType(`messages[${index}].content`, 'a string or an array of content parts', content)
  }
  if (refusal !== null && typeof refusal !== 'string') {
    throw wrongType(`messages[${index}].refusal`, 'a string', refusal)
  }
  if (refusal !== null && refusal !== '') parts.push({ type: 'refusal', refusal })
  return parts
}

function assistantPart(part: JsonValue, index: number, at: number): JsonValue {
  if (!isObject(part)) throw wrongType(`messages[${index}].content[${at}]`, 'an object', part)
  const { type, text } = part
  return type === 'text' && typeof text === 'string' ? outputText(text) : part
}

function inputContent(content: JsonValue | undefined, index: number): readonly JsonValue[] {
  if (typeof content === 'string') return [inputText(content)]
  if (isArray(content)) return content.map((part, at) => inputPart(part, index, at))
  throw wrongType(`messages[${index}].content`, 'a string or an array of content parts', content)
}

function inputPart(part: JsonValue, index: number, at: number): JsonValue {
  if (!isObject(part)) throw wrongType(`messages[${index}].content[${at}]`, 'an object', part)
  const { type, text, image_url: image } = part
  if (type === 'text' && typeof text === 'string') return inputText(text)
  if (type !== 'image_url' || !isObject(image) || typeof image['url'] !== 'string') return part
  const { url, detail } = image
  return detail === undefined
    ? { type: 'input_image', image_url: url }
    : { type: 'input_image', image_url: url, detail }
}

function toolCall(call: JsonValue | undefined, index: number, at: number, customCalls: Set<string>): ConversationItem {
  const path = `messages[${index}].tool_calls[${at}]`
  if (!isObject(call)) throw wrongType(path, 'an object', call)
  const callId = requireString(call, 'id', path)
  const custom = call['custom']
  if (call['type'] === 'custom' && isObject(custom)) {
    customCalls.add(callId)
    const input = requireString(custom, 'input', `${path}.custom`)
    return { type: 'custom_tool_call', call_id: callId, name: requireName(custom, 'name', `${path}.custom`), input }
  }
  const called = call['function']
  if (!isObject(called)) throw wrongType(`${path}.function`, 'an object', called)
  const name = requireString(called, 'name', `${path}.function`)
  return {
    type: 'function_call',
    call_id: callId,
    name,
    arguments: requireString(called, 'arguments', `${path}.function`),
  }
}

function toolOutput(message: JsonObject, index: number, customCalls: ReadonlySet<string>): ConversationItem {
  const callId = requireString(message, 'tool_call_id', `messages[${index}]`)
  const content = message['content']
  const output = typeof content === 'string' ? content : inputContent(content, index)
  const type = customCalls.has(callId) ? 'custom_tool_call_output' : 'function_call_output'
  return { type, call_id: callId, output }
}

function wrongRole(message: JsonObject, index: number): Error {
  const param = `messages[${index}].role`
  const role = requireString(message, 'role', `messages[${index}]`)
  if (role === 'function') {
    return new HomingError('unsupported_parameter', { param, why: "the role 'function' was replaced by 'tool'" })
  }
  return wrongValue(param, `supported values are ${listed(ROLES)}`)
}
