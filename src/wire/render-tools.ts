/**
 * Tools and tool_choice as engines take them: plain functions, and a choice they understand.
 * - A custom tool becomes a function with the single string `input`; its grammar is told in words.
 * - A namespace's tools become functions of their own (tool-names.ts); its description goes with the first of them.
 * - Hosted tools are left out and listed in `omitted`.
 * - A choice limited to some tools keeps all tools where the engine can be told the one name, since leaving tools out
 *   changes the prompt's prefix; else the others are left out. llama.cpp, Ollama and LM Studio take words only.
 */
import type { Engine } from '../model/backend.ts'
import { isObject } from '../model/json.ts'
import type { JsonObject, JsonValue } from '../model/json.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import { isArray } from './parse-checks.ts'
import { checkToolChoice, isChosen, readToolChoice } from './tool-choice.ts'
import type { ToolChoice } from './tool-choice.ts'
import { ToolNaming } from './tool-names.ts'
import type { ToolName } from './tool-names.ts'

/** A function as an engine sees it, before it is nested or flattened. */
export type RenderedFunction = {
  readonly name: string
  readonly description?: string
  readonly parameters: JsonObject
  readonly strict?: boolean
}

export type RenderedTools = {
  readonly functions: readonly RenderedFunction[]
  /** Null: leave the field out. A name stands for "this function". */
  readonly choice: { readonly mode: string } | { readonly name: string } | null
  readonly naming: ToolNaming
  readonly omitted: readonly string[]
}

type NamedTool = { readonly tool: JsonObject; readonly called: ToolName; readonly preface: string | null }

const WORDS_ONLY: ReadonlySet<Engine> = new Set<Engine>(['llamacpp', 'ollama', 'lmstudio'])
const NO_PARAMETERS: JsonObject = { type: 'object', properties: {} }

export function renderTools(turn: ResolvedTurn, engine: Engine): RenderedTools {
  const omitted = new Set<string>()
  const named = turn.effectiveTools.flatMap((tool) => expand(tool, omitted))
  const naming = new ToolNaming(named.map(({ called }) => called))
  const choice = readToolChoice(turn.body['tool_choice'])
  checkToolChoice(choice, turn.effectiveTools)
  if (named.length === 0) return { functions: [], choice: null, naming, omitted: [...omitted] }

  const kept = limit(named, choice, engine)
  return {
    functions: kept.tools.map((entry) => toFunction(entry, naming.of(entry.called))),
    choice: kept.only === null ? kept.mode : { name: naming.of(kept.only.called) },
    naming,
    omitted: [...omitted],
  }
}

type Kept = {
  readonly tools: readonly NamedTool[]
  readonly only: NamedTool | null
  readonly mode: { readonly mode: string } | null
}

function limit(named: readonly NamedTool[], choice: ToolChoice | null, engine: Engine): Kept {
  if (choice === null) return { tools: named, only: null, mode: null }
  const mode = { mode: choice.mode }
  const { only } = choice
  if (only === null) return { tools: named, only: null, mode }
  const allowed = named.filter(({ called }) => only.some((chosen) => isChosen(chosen, called)))
  const first = allowed[0]
  if (first !== undefined && allowed.length === 1 && choice.mode === 'required' && !WORDS_ONLY.has(engine)) {
    return { tools: named, only: first, mode }
  }
  return { tools: allowed, only: null, mode }
}

function expand(tool: JsonObject, omitted: Set<string>): readonly NamedTool[] {
  const type = tool['type']
  const name = String(tool['name'])
  if (type === 'function' || type === 'custom') return [{ tool, called: { kind: type, name }, preface: null }]
  if (type !== 'namespace' || !isArray(tool['tools'])) {
    omitted.add(String(type))
    return []
  }
  const about = typeof tool['description'] === 'string' && tool['description'] !== '' ? tool['description'] : null
  return tool['tools'].filter(isObject).map((inner, index) => ({
    tool: inner,
    called: { kind: inner['type'] === 'custom' ? 'custom' : 'function', name: String(inner['name']), namespace: name },
    preface: index === 0 && about !== null ? `(${name}: ${about})` : null,
  }))
}

function toFunction({ tool, called, preface }: NamedTool, name: string): RenderedFunction {
  const own = called.kind === 'custom' ? customDescription(tool) : tool['description']
  const description = [preface, own].filter((text) => typeof text === 'string' && text !== '').join('\n\n')
  const { parameters, strict } = tool
  return {
    name,
    ...(description !== '' && { description }),
    parameters: called.kind === 'custom' ? customParameters() : isObject(parameters) ? parameters : NO_PARAMETERS,
    ...(called.kind === 'function' && typeof strict === 'boolean' && { strict }),
  }
}

function customDescription(tool: JsonObject): string {
  const { description, format } = tool
  const lines = typeof description === 'string' && description !== '' ? [description] : []
  if (isObject(format) && typeof format['definition'] === 'string') {
    const syntax = typeof format['syntax'] === 'string' ? ` (${format['syntax']})` : ''
    lines.push(`The input must match this grammar${syntax}:\n${format['definition']}`)
  }
  return lines.join('\n\n')
}

const customParameters = (): JsonObject => ({
  type: 'object',
  properties: { input: { type: 'string', description: 'The whole input of the tool, as plain text.' } },
  required: ['input'],
  additionalProperties: false,
})

/** The arguments of a custom tool's call, as the function that stands for it has them. */
export const customArguments = (input: JsonValue | undefined): string =>
  JSON.stringify({ input: typeof input === 'string' ? input : '' })
