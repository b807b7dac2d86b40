/** A turn, an assembly with counted ids and a fixed clock, and a run of one backend stream through both. */
import type { ResponseEvent } from '../../src/model/event.ts'
import type { JsonObject } from '../../src/model/json.ts'
import type { Turn } from '../../src/model/turn.ts'
import type { BackendStream } from '../../src/wire/backend-stream.ts'
import { ResponseAssembly } from '../../src/wire/response-assembly.ts'
import { newResource } from '../../src/wire/response-resource.ts'
import type { ToolNames } from '../../src/wire/tool-names.ts'

export function turnOf(body: JsonObject = {}, changes: Partial<Turn> = {}): Turn {
  return {
    endpoint: 'responses',
    tenant: 't',
    requestId: 'req_1',
    receivedAtMs: 0,
    model: 'm',
    input: [],
    instructions: null,
    tools: undefined,
    previousResponseId: null,
    conversationId: null,
    store: true,
    stream: true,
    sessionHint: null,
    cacheKey: null,
    maxOutputTokens: null,
    body: { model: 'm', input: 'hello', ...body },
    ...changes,
  }
}

export type Run = {
  readonly assembly: ResponseAssembly
  readonly stream: BackendStream
  /** Emitted events, then the terminal one. */
  readonly events: ResponseEvent[]
}

export function newAssembly(events: ResponseEvent[], toolNames: ToolNames = new Map()): ResponseAssembly {
  let ids = 0
  return new ResponseAssembly({
    resource: newResource(turnOf(), [], 'resp_1', 1000.9),
    toolNames,
    newId: (prefix) => `${prefix}_${ids++}`,
    nowSeconds: () => 2000.5,
    emit: (event) => events.push(event),
  })
}

/** Payloads are objects or raw data; `end: false` leaves the body open. */
export function runStream(
  create: (assembly: ResponseAssembly) => BackendStream,
  payloads: readonly (JsonObject | string)[],
  options: { readonly toolNames?: ToolNames; readonly end?: boolean } = {},
): Run {
  const events: ResponseEvent[] = []
  const assembly = newAssembly(events, options.toolNames)
  const stream = create(assembly)
  for (const payload of payloads) stream.push(typeof payload === 'string' ? payload : JSON.stringify(payload))
  if (options.end !== false) stream.end()
  if (stream.finished !== null) events.push(stream.finished.terminal)
  return { assembly, stream, events }
}

export const types = (events: readonly ResponseEvent[]): string[] => events.map((event) => event.type.replace('response.', ''))

export const resourceOf = (run: Run): JsonObject => (run.events.at(-1)?.['response'] ?? {}) as JsonObject

export const outputOf = (run: Run): readonly JsonObject[] => (resourceOf(run)['output'] ?? []) as readonly JsonObject[]

/** Chat chunks. */
export const delta = (fields: JsonObject, finish: string | null = null): JsonObject => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'm',
  choices: [{ index: 0, delta: fields, finish_reason: finish }],
})

export const usageChunk = (prompt: number, completion: number, details: JsonObject = {}): JsonObject => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'm',
  choices: [],
  usage: { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion, ...details },
})

export const call = (index: number | null, id: string | null, name: string | null, args: string | null): JsonObject =>
  delta({
    tool_calls: [
      {
        ...(index === null ? {} : { index }),
        ...(id === null ? {} : { id, type: 'function' }),
        function: { ...(name === null ? {} : { name }), ...(args === null ? {} : { arguments: args }) },
      },
    ],
  })
