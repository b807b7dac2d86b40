/**
 * Names of tools as engines see them. Engines know plain functions only, so a custom tool becomes a function and a
 * tool of a namespace gets the name `namespace__name`. A name never depends on the other tools of the turn unless two
 * would clash, so it stays the same over the turns of a conversation (names are part of the cached prefix). Flattened
 * names have at most 64 characters; what is cut off or clashes gets a short hash of the whole name instead.
 */
import { fnv1a } from '../model/text-hash.ts'

/** What the client calls the tool. */
export type ToolName = { readonly kind: 'function' | 'custom'; readonly name: string; readonly namespace?: string }

/** By the name the engine sees. */
export type ToolNames = ReadonlyMap<string, ToolName>

const MAX_LENGTH = 64
const HASH_LENGTH = 7

/** The name of a tool that clashes with no other. */
export function engineName(tool: ToolName): string {
  if (tool.namespace === undefined) return tool.name
  const plain = (
    tool.namespace.endsWith('__') ? tool.namespace + tool.name : `${tool.namespace}__${tool.name}`
  ).replace(/[^a-zA-Z0-9_-]/g, '_')
  return plain.length <= MAX_LENGTH ? plain : withHash(plain, tool)
}

/** The name of a tool where `engineName` is taken by another. */
export function clashingName(tool: ToolName): string {
  return withHash(engineName(tool), tool)
}

/** Names for the tools of one turn. Plain functions keep theirs, whatever the order. */
export class ToolNaming {
  readonly #byEngineName = new Map<string, ToolName>()
  readonly #byTool = new Map<string, string>()

  constructor(tools: readonly ToolName[]) {
    for (const tool of tools) if (isPlain(tool)) this.#add(tool.name, tool)
    for (const tool of tools) {
      if (isPlain(tool) || this.#byTool.has(keyOf(tool))) continue
      const name = engineName(tool)
      this.#add(this.#byEngineName.has(name) ? clashingName(tool) : name, tool)
    }
  }

  get names(): ToolNames {
    return this.#byEngineName
  }

  /** Also for a tool that an earlier turn offered and this one does not. */
  of(tool: ToolName): string {
    return this.#byTool.get(keyOf(tool)) ?? engineName(tool)
  }

  #add(name: string, tool: ToolName): void {
    this.#byEngineName.set(name, tool)
    this.#byTool.set(keyOf(tool), name)
  }
}

const isPlain = (tool: ToolName): boolean => tool.kind === 'function' && tool.namespace === undefined

const keyOf = (tool: ToolName): string => JSON.stringify([tool.kind, tool.namespace ?? null, tool.name])

function withHash(name: string, tool: ToolName): string {
  return `${name.slice(0, MAX_LENGTH - HASH_LENGTH - 1)}_${shortHash(keyOf(tool))}`
}

/** FNV-1a, 32 bits, in seven base-36 digits. */
const shortHash = (text: string): string => (fnv1a(text) >>> 0).toString(36).padStart(HASH_LENGTH, '0')
