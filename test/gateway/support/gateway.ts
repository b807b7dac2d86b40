/** A gateway in this process, before scripted upstreams, on free ports, with what tests need to ask it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { startGateway, type Gateway } from '../../../src/compose.ts'
import { loadConfig } from '../../../src/config.ts'
import { isObject, type JsonObject } from '../../../src/model/json.ts'
import { ScriptedUpstream, ScriptQueue, type Script } from './scripted-upstream.ts'

export type Harness = {
  readonly url: string
  readonly gateway: Gateway
  readonly upstreams: readonly ScriptedUpstream[]
  /** The next request that reaches any upstream follows the first of these. */
  next(...scripts: Script[]): void
  asked(): number
  post(path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<Response>
  json(path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<{ status: number; headers: Headers; body: JsonObject }>
  events(path: string, body: unknown, headers?: Readonly<Record<string, string>>): Promise<EventStream>
  /** Turns in flight, over all backends. */
  running(headers?: Readonly<Record<string, string>>): Promise<number>
}

export type HarnessOptions = {
  readonly backends?: number
  /** What each backend serves, one a backend; `m` everywhere where left out. */
  readonly models?: readonly string[]
  readonly usual?: Script
  readonly config?: JsonObject
  /** Fields of each backend's declaration. */
  readonly declared?: JsonObject
  readonly offersResponses?: boolean
  readonly contextTokens?: number
  readonly store?: 'memory' | 'disk'
}

export async function harness(test: TestContext, options: HarnessOptions = {}): Promise<Harness> {
  const queue = new ScriptQueue()
  const upstreams: ScriptedUpstream[] = []
  for (let i = 0; i < (options.models?.length ?? options.backends ?? 2); i++) {
    upstreams.push(await ScriptedUpstream.start({
      queue,
      ...(options.models === undefined ? {} : { model: options.models[i]! }),
      ...(options.usual === undefined ? {} : { usual: options.usual }),
      ...(options.offersResponses === undefined ? {} : { offersResponses: options.offersResponses }),
      ...(options.contextTokens === undefined ? {} : { contextTokens: options.contextTokens }),
    }))
  }
  const folder = options.store === 'disk' ? mkdtempSync(join(tmpdir(), 'homing-gateway-')) : null
  const text = JSON.stringify({
    listen: '127.0.0.1:0',
    store: folder === null ? 'memory' : { path: folder },
    log: { level: 'silent' },
    backends: upstreams.map(({ url }) => ({ url, ...options.declared })),
    ...options.config,
  })
  let gateway: Gateway | null = null
  test.after(async () => {
    gateway?.abort()
    await gateway?.close(0)
    await Promise.all(upstreams.map((upstream) => upstream.close()))
    if (folder !== null) rmSync(folder, { recursive: true, force: true })
  })
  gateway = await startGateway(loadConfig({ text, env: {} }), { version: 'test' })
  await gateway.fleet.firstProbeDone
  return { gateway, upstreams, ...client(gateway.url), next: (...scripts) => void queue.scripts.push(...scripts), asked: () => upstreams.reduce((sum, { asked }) => sum + asked.length, 0) }
}

type Client = Pick<Harness, 'url' | 'post' | 'json' | 'events' | 'running'>

export function client(url: string): Client {
  const post: Client['post'] = (path, body, headers = {}) => fetch(url + path, {
    method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  const json: Client['json'] = async (path, body, headers = {}) => {
    const response = body === undefined ? await fetch(url + path, { headers }) : await post(path, body, headers)
    return { status: response.status, headers: response.headers, body: (await response.json()) as JsonObject }
  }
  return {
    url, post, json,
    events: async (path, body, headers) => new EventStream(await post(path, body, headers)),
    running: async (headers) => {
      const { body } = await json('/homing/v1/backends', undefined, headers)
      return (body['data'] as readonly JsonObject[]).reduce((sum, backend) => sum + Number(backend['running_requests']), 0)
    },
  }
}

export type SeenEvent = { readonly name: string | null; readonly data: JsonObject | string; readonly comment: string | null }

/** Server-sent events as a client reads them: strictly, one by one. */
export class EventStream {
  readonly response: Response
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #decoder = new TextDecoder('utf-8', { fatal: true })
  #text = ''
  #done = false

  constructor(response: Response) {
    this.response = response
    this.#reader = response.body!.getReader()
  }

  /** Null at the end. Rejects when the connection is cut. */
  async next(): Promise<SeenEvent | null> {
    for (;;) {
      const end = this.#text.indexOf('\n\n')
      if (end !== -1) {
        const block = this.#text.slice(0, end)
        this.#text = this.#text.slice(end + 2)
        return parse(block)
      }
      if (this.#done) return null
      const { done, value } = await this.#reader.read()
      if (done) this.#done = true
      else this.#text += this.#decoder.decode(value, { stream: true })
    }
  }

  async until(name: string): Promise<SeenEvent> {
    for (;;) {
      const event = await this.next()
      if (event === null) throw new Error(`the stream ended without ${name}`)
      if (event.name === name || (name === ':' && event.comment !== null)) return event
    }
  }

  async rest(): Promise<SeenEvent[]> {
    const events: SeenEvent[] = []
    for (let event = await this.next(); event !== null; event = await this.next()) events.push(event)
    return events
  }

  cancel(): Promise<void> {
    return this.#reader.cancel()
  }
}

function parse(block: string): SeenEvent {
  let name: string | null = null
  let data = ''
  let comment: string | null = null
  for (const line of block.split('\n')) {
    if (line.startsWith(':')) comment = line.slice(1).trim()
    else if (line.startsWith('event: ')) name = line.slice(7)
    else if (line.startsWith('data: ')) data += line.slice(6)
    else throw new Error(`not a line of an event stream: ${JSON.stringify(line)}`)
  }
  return { name, data: data.startsWith('{') ? (JSON.parse(data) as JsonObject) : data, comment }
}

/** The response object of an event. */
export function responseOf(event: SeenEvent): JsonObject {
  if (typeof event.data === 'string' || !isObject(event.data['response'])) throw new Error(`event ${event.name} holds no response`)
  return event.data['response']
}

export const names = (events: readonly SeenEvent[]): (string | null)[] => events.map((event) => event.name)

/** What the assistant said in a response object. */
export function textOf(response: JsonObject): string {
  let text = ''
  for (const item of response['output'] as readonly JsonObject[]) {
    if (item['type'] === 'message') for (const part of item['content'] as readonly JsonObject[]) text += String(part['text'] ?? '')
  }
  return text
}

export const errorOf = (body: JsonObject): JsonObject => (isObject(body['error']) ? body['error'] : {})

/** Waits for a state that nothing announces. Fails by the test's own time limit. */
export async function eventually(holds: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5))
}
