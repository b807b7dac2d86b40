/**
 * One input item of the Responses API -> a ConversationItem: `type` is present, `content` of a message is an array of
 * parts, everything else (ids, `phase`, `namespace`, `status`, unknown fields, the bytes of arguments) stays as it
 * came. What this gateway and its backends can do nothing with is refused by name, never dropped.
 */
import { HomingError } from '../model/error.ts'
import type { ConversationItem } from '../model/item.ts'
import { isObject } from '../model/json.ts'
import type { JsonObject, JsonValue } from '../model/json.ts'
import { inputText, normaliseContent, normaliseToolOutput } from './normalise-content.ts'
import {
  isArray,
  listed,
  optionalArray,
  optionalString,
  requireName,
  requireObject,
  requireString,
  wrongType,
  wrongValue,
} from './parse-checks.ts'

const ROLES = ['user', 'assistant', 'system', 'developer']

const HOSTED = 'it belongs to a tool that only its provider can run'
const COMPACTED = 'no backend of this gateway can read a compacted context'

/** Item types of the API that no backend here can be given, and why. */
const REFUSED: ReadonlyMap<string, string> = new Map([
  ...[
    'file_search_call',
    'web_search_call',
    'computer_call',
    'computer_call_output',
    'image_generation_call',
    'code_interpreter_call',
    'mcp_list_tools',
    'mcp_approval_request',
    'mcp_approval_response',
    'mcp_call',
    'tool_search_call',
    'tool_search_output',
    'program',
    'program_output',
  ].map((type) => [type, HOSTED] as const),
  ...[
    'local_shell_call',
    'local_shell_call_output',
    'shell_call',
    'shell_call_output',
    'apply_patch_call',
    'apply_patch_call_output',
  ].map((type) => [type, 'the backends know function and custom tools only'] as const),
  ['compaction', COMPACTED],
  ['compaction_summary', COMPACTED],
  ['context_compaction', COMPACTED],
  ['compaction_trigger', 'compaction is not offered'],
  ['configuration_update', 'send the setting as a field of the request'],
  ['additional_tools', "send the tools in the field 'tools'"],
])

const SUPPORTED = [
  'message',
  'function_call',
  'function_call_output',
  'custom_tool_call',
  'custom_tool_call_output',
  'reasoning',
  'item_reference',
]

/** A string or a list of items, as in `input` and in the Conversations API's `items`. */
export function normaliseItems(value: JsonValue, param: string, maxItems: number): readonly ConversationItem[] {
  if (typeof value === 'string') return [{ type: 'message', role: 'user', content: [inputText(value)] }]
  if (!isArray(value)) throw wrongType(param, 'a string or an array of items', value)
  if (value.length > maxItems) throw new HomingError('too_many_items', { param, count: value.length, limit: maxItems })
  return value.map((item, index) => normaliseItem(item, `${param}[${index}]`))
}

/** `at` is the path of the item, such as `input[2]`. */
export function normaliseItem(value: JsonValue, at: string): ConversationItem {
  const item = requireObject(value, at)
  optionalString(item, 'id', at)
  const type = item['type'] ?? impliedType(item, at)
  switch (type) {
    case 'message':
      return message(item, at)
    case 'function_call':
      requireName(item, 'call_id', at)
      requireName(item, 'name', at)
      requireString(item, 'arguments', at)
      optionalString(item, 'namespace', at)
      return item as ConversationItem
    case 'function_call_output':
    case 'custom_tool_call_output':
      return toolOutput(item, at)
    case 'custom_tool_call':
      requireName(item, 'call_id', at)
      requireName(item, 'name', at)
      requireString(item, 'input', at)
      optionalString(item, 'namespace', at)
      return item as ConversationItem
    case 'reasoning':
      return reasoning(item, at)
    case 'item_reference':
      requireName(item, 'id', at)
      return { ...item, type: 'item_reference' }
    default:
      throw refused(type, at)
  }
}

/** Easy messages carry no type, and a reference may leave it out. */
function impliedType(item: JsonObject, at: string): string {
  if (item['role'] !== undefined) return 'message'
  if (typeof item['id'] === 'string' && item['content'] === undefined) return 'item_reference'
  throw new HomingError('missing_required_parameter', { param: `${at}.type` })
}

function message(item: JsonObject, at: string): ConversationItem {
  const role = requireString(item, 'role', at)
  if (!ROLES.includes(role)) {
    const hint = role === 'tool' ? "; the Responses API sends a tool's answer as a 'function_call_output' item" : ''
    throw wrongValue(`${at}.role`, `supported values are ${listed(ROLES)}${hint}`)
  }
  const content = normaliseContent(item['content'], role, `${at}.content`)
  if (item['type'] === 'message' && content === item['content']) return item as ConversationItem
  return { ...item, type: 'message', role, content }
}

function toolOutput(item: JsonObject, at: string): ConversationItem {
  requireName(item, 'call_id', at)
  if (item['output'] === undefined) throw new HomingError('missing_required_parameter', { param: `${at}.output` })
  const output = normaliseToolOutput(item['output'], `${at}.output`)
  if (output === item['output']) return item as ConversationItem
  return { ...item, type: item['type'] as string, output }
}

function reasoning(item: JsonObject, at: string): ConversationItem {
  optionalString(item, 'encrypted_content', at)
  checkTexts(optionalArray(item, 'summary', at), `${at}.summary`)
  checkTexts(optionalArray(item, 'content', at), `${at}.content`)
  return isArray(item['summary']) ? (item as ConversationItem) : { ...item, type: 'reasoning', summary: [] }
}

function checkTexts(parts: readonly JsonValue[] | null, at: string): void {
  if (parts === null) return
  for (let index = 0; index < parts.length; index++) {
    const part = parts[index]
    if (!isObject(part)) throw wrongType(`${at}[${index}]`, 'an object', part)
    requireString(part, 'text', `${at}[${index}]`)
  }
}

function refused(type: JsonValue, at: string): HomingError {
  if (typeof type !== 'string') return wrongType(`${at}.type`, 'a string', type)
  const why = REFUSED.get(type)
  if (why === undefined) return wrongValue(`${at}.type`, `supported values are ${listed(SUPPORTED)}`)
  return new HomingError('unsupported_item', { param: at, type, why })
}
