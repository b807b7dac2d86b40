/**
 * Which call does a fragment belong to? Chat names it by `index`. Some servers leave `index` out, and some send every
 * parallel call under the same one: a fragment that brings a name and an id other than its call's begins a new call.
 */
import { isObject, type JsonValue } from '../model/json.ts'

export type ToolCallFragment = {
  readonly slot: number
  readonly id: string | null
  readonly name: string | null
  readonly arguments: string | null
}

type Slot = { readonly slot: number; id: string | null; hasArguments: boolean }

export class ToolCallSlots {
  /** The call that the backend's index means now. */
  readonly #byIndex = new Map<number, Slot>()
  #last: Slot | null = null
  #count = 0

  /** Null for what is no fragment of a call. */
  read(call: JsonValue): ToolCallFragment | null {
    if (!isObject(call)) return null
    const body = isObject(call['function']) ? call['function'] : isObject(call['custom']) ? call['custom'] : {}
    const id = text(call['id'])
    const name = text(body['name'])
    const args = argumentsText(body['arguments'] ?? body['input'])
    if (id === null && name === null && args === null) return null
    const index = typeof call['index'] === 'number' ? call['index'] : null
    let slot = index === null ? this.#last : (this.#byIndex.get(index) ?? null)
    if (slot === null || begins(slot, id, name, index === null)) {
      slot = { slot: this.#count++, id, hasArguments: false }
      if (index !== null) this.#byIndex.set(index, slot)
    }
    slot.id ??= id
    if (args !== null) slot.hasArguments = true
    this.#last = slot
    return { slot: slot.slot, id, name, arguments: args }
  }
}

function begins(slot: Slot, id: string | null, name: string | null, unnumbered: boolean): boolean {
  if (name === null) return false
  if (id !== null && slot.id !== null) return id !== slot.id
  return unnumbered && slot.hasArguments
}

const text = (value: JsonValue | undefined): string | null => (typeof value === 'string' && value !== '' ? value : null)

/** Ollama-like servers send arguments as an object. */
const argumentsText = (value: JsonValue | undefined): string | null =>
  isObject(value) ? JSON.stringify(value) : text(value)
