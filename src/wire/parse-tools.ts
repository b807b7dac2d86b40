/**
 * Checks `tools` of a Responses body. Function, custom and namespace tools are checked in full; any other kind is a
 * hosted tool, kept here (the client sees it echoed) and left out, visibly, when the turn is rendered. Computer tools
 * change what the model is expected to do in every answer, so offering one is refused outright.
 */
import { HomingError } from '../model/error.ts'
import { isObject } from '../model/json.ts'
import type { JsonObject, JsonValue } from '../model/json.ts'
import {
  isArray,
  listed,
  missing,
  optionalBoolean,
  optionalObject,
  optionalOneOf,
  optionalString,
  requireName,
  requireObject,
  requireString,
  wrongType,
  wrongValue,
} from './parse-checks.ts'

const COMPUTER = ['computer', 'computer_use', 'computer_use_preview']

/** Kinds are shown in a header and in metrics, so they are short plain words. */
const KIND = /^[a-zA-Z0-9_.:-]{1,64}$/

export function parseTools(value: JsonValue | undefined): readonly JsonObject[] | undefined {
  if (value === undefined || value === null) return undefined
  if (!isArray(value)) throw wrongType('tools', 'an array', value)
  return value.map((tool, index) => checkTool(requireObject(tool, `tools[${index}]`), `tools[${index}]`))
}

function checkTool(tool: JsonObject, at: string): JsonObject {
  const type = requireString(tool, 'type', at)
  if (type === 'function') return checkFunction(tool, at)
  if (type === 'custom') return checkCustom(tool, at)
  if (type === 'namespace') return checkNamespace(tool, at)
  if (COMPUTER.includes(type)) {
    const why = 'no backend of this gateway can use a computer'
    throw new HomingError('unsupported_tool', { param: at, tool: type, why })
  }
  if (!KIND.test(type)) throw wrongValue(`${at}.type`, 'a tool type is a short word of letters, digits and _ . : -')
  return tool
}

function checkFunction(tool: JsonObject, at: string): JsonObject {
  if (tool['name'] === undefined && isObject(tool['function'])) {
    throw wrongValue(
      `${at}.function`,
      "this is the shape of Chat Completions; the Responses API puts 'name' and 'parameters' beside 'type'",
    )
  }
  requireName(tool, 'name', at)
  optionalString(tool, 'description', at)
  optionalObject(tool, 'parameters', at)
  optionalBoolean(tool, 'strict', at)
  return tool
}

function checkCustom(tool: JsonObject, at: string): JsonObject {
  requireName(tool, 'name', at)
  optionalString(tool, 'description', at)
  const format = optionalObject(tool, 'format', at)
  if (format === null) return tool
  if (optionalOneOf(format, 'type', `${at}.format`, ['text', 'grammar']) === 'grammar') {
    requireString(format, 'definition', `${at}.format`)
    optionalOneOf(format, 'syntax', `${at}.format`, ['lark', 'regex'])
  }
  return tool
}

function checkNamespace(tool: JsonObject, at: string): JsonObject {
  requireName(tool, 'name', at)
  optionalString(tool, 'description', at)
  const tools = tool['tools']
  if (tools === undefined) throw missing(`${at}.tools`)
  if (!isArray(tools)) throw wrongType(`${at}.tools`, 'an array', tools)
  tools.forEach((entry, index) => {
    const path = `${at}.tools[${index}]`
    const inner = requireObject(entry, path)
    const type = requireString(inner, 'type', path)
    if (type === 'function') checkFunction(inner, path)
    else if (type === 'custom') checkCustom(inner, path)
    else throw wrongValue(`${path}.type`, `supported values are ${listed(['function', 'custom'])}`)
  })
  return tool
}
