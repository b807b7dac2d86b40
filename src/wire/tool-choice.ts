/**
 * `tool_choice` in one shape: a mode, and the tools it is limited to (null: all). Naming one tool is "required, only
 * this one"; `allowed_tools` is its mode with its list. A choice that a hosted tool alone could meet is refused, since
 * no backend here can run it.
 */
import { HomingError } from '../model/error.ts'
import { isObject } from '../model/json.ts'
import type { JsonObject, JsonValue } from '../model/json.ts'
import {
  isArray,
  listed,
  missing,
  optionalString,
  requireName,
  requireString,
  wrongType,
  wrongValue,
} from './parse-checks.ts'

export type ChosenTool = {
  readonly kind: 'function' | 'custom'
  readonly name: string
  readonly namespace: string | null
}
export type ToolChoice = {
  readonly mode: 'none' | 'auto' | 'required'
  readonly only: readonly ChosenTool[] | null
}

const MODES = ['none', 'auto', 'required']
const PARAM = 'tool_choice'

/** Null when absent: the engine's default applies. */
export function readToolChoice(value: JsonValue | undefined): ToolChoice | null {
  if (value === undefined || value === null) return null
  if (typeof value === 'string') {
    if (!MODES.includes(value)) throw wrongValue(PARAM, `supported values are ${listed(MODES)}`)
    return { mode: value as ToolChoice['mode'], only: null }
  }
  if (!isObject(value)) throw wrongType(PARAM, 'a string or an object', value)
  const type = requireString(value, 'type', PARAM)
  if (type === 'allowed_tools') return allowedTools(value)
  if (type !== 'function' && type !== 'custom') throw unsupportedChoice(type)
  return { mode: 'required', only: [chosenTool(value, type, PARAM)] }
}

/** Refuses a choice that the given tools cannot meet. */
export function checkToolChoice(choice: ToolChoice | null, tools: readonly JsonObject[]): void {
  if (choice === null || choice.mode === 'none') return
  if (choice.only !== null) {
    for (const chosen of choice.only) {
      if (!offers(tools, chosen)) throw wrongValue(PARAM, `'tools' has no ${chosen.kind} tool named '${chosen.name}'`)
    }
    return
  }
  if (choice.mode === 'auto' || tools.some(isCallable)) return
  const hosted = tools[0]?.['type']
  if (typeof hosted === 'string') throw unsupportedChoice(hosted)
  throw wrongValue(PARAM, "'required' needs at least one tool in 'tools'")
}

/** Whether a rendered tool is the chosen one; a choice without a namespace means a tool of that name in any. */
export function isChosen(
  chosen: ChosenTool,
  tool: { readonly kind: string; readonly name: string; readonly namespace?: string },
): boolean {
  return (
    tool.kind === chosen.kind &&
    tool.name === chosen.name &&
    (chosen.namespace === null || chosen.namespace === tool.namespace)
  )
}

function isCallable(tool: JsonObject): boolean {
  const { type, tools } = tool
  return type === 'function' || type === 'custom' || (type === 'namespace' && isArray(tools) && tools.length > 0)
}

function offers(tools: readonly JsonObject[], chosen: ChosenTool): boolean {
  return tools.some((tool) => {
    const { type: kind, name } = tool
    if (kind !== 'namespace') {
      return typeof kind === 'string' && typeof name === 'string' && isChosen(chosen, { kind, name })
    }
    if (!isArray(tool['tools']) || typeof name !== 'string') return false
    return tool['tools'].some(
      (inner) =>
        isObject(inner) &&
        isChosen(chosen, { kind: String(inner['type']), name: String(inner['name']), namespace: name }),
    )
  })
}

function allowedTools(value: JsonObject): ToolChoice {
  const mode = requireString(value, 'mode', PARAM)
  if (mode !== 'auto' && mode !== 'required') {
    throw wrongValue(`${PARAM}.mode`, `supported values are ${listed(['auto', 'required'])}`)
  }
  const list = value['tools']
  if (list === undefined) throw missing(`${PARAM}.tools`)
  if (!isArray(list)) throw wrongType(`${PARAM}.tools`, 'an array', list)
  const only: ChosenTool[] = []
  let hosted: string | null = null
  list.forEach((entry, index) => {
    const at = `${PARAM}.tools[${index}]`
    if (!isObject(entry)) throw wrongType(at, 'an object', entry)
    const type = requireString(entry, 'type', at)
    if (type === 'function' || type === 'custom') only.push(chosenTool(entry, type, at))
    else hosted ??= type
  })
  if (only.length > 0) return { mode, only }
  if (mode === 'auto') return { mode: 'none', only: null }
  if (hosted !== null) throw unsupportedChoice(hosted)
  throw wrongValue(`${PARAM}.tools`, "mode 'required' needs at least one tool")
}

function chosenTool(value: JsonObject, kind: ChosenTool['kind'], at: string): ChosenTool {
  if (value['name'] === undefined && isObject(value[kind])) {
    throw wrongValue(at, "this is the shape of Chat Completions; the Responses API puts 'name' beside 'type'")
  }
  return { kind, name: requireName(value, 'name', at), namespace: optionalString(value, 'namespace', at) }
}

function unsupportedChoice(tool: string): HomingError {
  return new HomingError('unsupported_tool', {
    param: PARAM,
    tool: tool.slice(0, 64),
    why: 'no backend of this gateway runs hosted tools, so none can be demanded',
  })
}
