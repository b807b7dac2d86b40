/**
 * A tool call while the model writes it.
 *
 * The engine knows every tool as a function; `ToolName` says what the client called it. A function tool becomes
 * `function_call`; a custom tool becomes `custom_tool_call`, whose engine-side arguments are `{"input": "..."}` and
 * whose input is decoded as it arrives. A namespace tool gets its own name and `namespace` back.
 */
import type { StoredItem } from '../model/item.ts'
import type { JsonObject } from '../model/json.ts'
import { CustomInput } from './custom-input.ts'
import type { Emit, ItemStatus, OpenItem } from './open-item.ts'
import type { ToolName } from './tool-names.ts'

export class OpenCall implements OpenItem {
  readonly #id: string
  readonly #outputIndex: number
  readonly #emit: Emit
  readonly #callId: string
  readonly #tool: ToolName
  /** Null for a function tool. */
  readonly #input: CustomInput | null
  #written = ''
  #status: ItemStatus = 'in_progress'

  constructor(id: string, outputIndex: number, callId: string, tool: ToolName, emit: Emit) {
    this.#id = id
    this.#outputIndex = outputIndex
    this.#callId = callId
    this.#tool = tool
    this.#emit = emit
    this.#input = tool.kind === 'custom' ? new CustomInput() : null
    emit({ type: 'response.output_item.added', output_index: outputIndex, item: this.item })
  }

  get closed(): boolean {
    return this.#status !== 'in_progress'
  }

  get item(): StoredItem {
    const { kind, name, namespace } = this.#tool
    const written = kind === 'custom' ? { input: this.#written } : { arguments: this.#written }
    return {
      id: this.#id,
      type: kind === 'custom' ? 'custom_tool_call' : 'function_call',
      status: this.#status,
      call_id: this.#callId,
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...written,
    }
  }

  append(delta: string): void {
    const written = this.#input === null ? delta : this.#input.push(delta)
    if (written !== '') this.#write(written)
  }

  close(status: 'completed' | 'incomplete'): void {
    const last = this.#input?.end() ?? ''
    if (last !== '') this.#write(last)
    const place = this.#place()
    if (this.#input !== null) {
      this.#emit({ type: 'response.custom_tool_call_input.done', ...place, input: this.#written })
    } else {
      // Clients parse arguments as JSON; a tool without parameters is called with none at all by some engines.
      if (this.#written === '' && status === 'completed') this.#write('{}')
      this.#emit({
        type: 'response.function_call_arguments.done',
        ...place,
        name: this.#tool.name,
        arguments: this.#written,
      })
    }
    this.#status = status
    this.#emit({ type: 'response.output_item.done', output_index: this.#outputIndex, item: this.item })
  }

  #write(delta: string): void {
    this.#written += delta
    this.#emit({
      type: this.#input === null ? 'response.function_call_arguments.delta' : 'response.custom_tool_call_input.delta',
      item_id: this.#id,
      output_index: this.#outputIndex,
      delta,
    })
  }

  #place(): JsonObject {
    return { item_id: this.#id, output_index: this.#outputIndex }
  }
}
