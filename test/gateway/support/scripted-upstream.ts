/**
 * An inference server that does what a test tells it. It describes itself as vLLM does, so that it passes the probes,
 * and answers each generation request with the next script of its queue, or with `usual`.
 */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { JsonObject } from '../../../src/model/json.ts'

export type Asked = {
  readonly upstream: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: JsonObject
  /** The gateway closed the connection before the answer had ended. */
  readonly gone: Promise<void>
}

export type Script = (response: ServerResponse, asked: Asked) => void | Promise<void>

/** Scripts that are taken by whichever upstream is asked next, before its own. */
export class ScriptQueue {
  readonly scripts: Script[] = []
}

export type UpstreamOptions = { readonly queue?: ScriptQueue; readonly usual?: Script; readonly model?: string; readonly contextTokens?: number; readonly offersResponses?: boolean }

export class ScriptedUpstream {
  readonly url: string
  readonly id: string
  /** Generation requests, oldest first. */
  readonly asked: Asked[] = []
  usual: Script
  /** Answers of GET by path; a number is a status. */
  readonly described: Record<string, JsonObject | number>
  readonly close: () => Promise<void>

  private constructor(url: string, usual: Script, described: Record<string, JsonObject | number>, close: () => Promise<void>) {
    this.url = url
    this.id = new URL(url).host
    this.usual = usual
    this.described = described
    this.close = close
  }

  static async start(options: UpstreamOptions = {}): Promise<ScriptedUpstream> {
    const server = createServer((request, response) => {
      const path = request.url ?? ''
      if (request.method === 'GET') {
        const answer = upstream.described[path] ?? 404
        if (typeof answer === 'number') response.writeHead(answer).end()
        else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
        return
      }
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const gone = new Promise<void>((resolve) => response.once('close', () => response.writableFinished || resolve()))
        const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as JsonObject
        const asked = { upstream: upstream.id, path, headers: request.headers, body, gone }
        upstream.asked.push(asked)
        const script = options.queue?.scripts.shift() ?? upstream.usual
        void script(response, asked)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const close = (): Promise<void> => new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
    const upstream = new ScriptedUpstream(
      `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      options.usual ?? says('Hello there.'),
      {
        '/v1/models': { object: 'list', data: [{ id: options.model ?? 'm', owned_by: 'vllm', max_model_len: options.contextTokens ?? 8192 }] },
        '/health': 200,
        '/version': { version: '0.32.0' },
        '/v1/chat/completions': 405,
        ...(options.offersResponses === true ? { '/v1/responses': 405 } : {}),
      },
      close,
    )
    return upstream
  }
}

export const chunk = (delta: JsonObject, finishReason: string | null = null, id = 'chatcmpl-1'): string =>
  `data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: 1, model: 'served', choices: [{ index: 0, delta, finish_reason: finishReason }] })}\n\n`

export const usageChunk = (promptTokens = 40, cachedTokens = 8, completionTokens = 2, id = 'chatcmpl-1'): string =>
  `data: ${JSON.stringify({
    id, object: 'chat.completion.chunk', created: 1, model: 'served', choices: [],
    usage: { prompt_tokens: promptTokens, completion_tokens: completionTokens, total_tokens: promptTokens + completionTokens, prompt_tokens_details: { cached_tokens: cachedTokens } },
  })}\n\n`

export const DONE = 'data: [DONE]\n\n'

export function sseHead(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
}

/** Writes; resolves when the bytes are handed to the socket. */
export const send = (response: ServerResponse, data: string | Buffer): Promise<void> => new Promise((resolve) => response.write(data, () => resolve()))

/** A whole and orderly answer. */
export const says = (text: string, id = 'chatcmpl-1'): Script => (response) => {
  sseHead(response)
  response.end(chunk({ role: 'assistant', content: '' }, null, id) + chunk({ content: text }, null, id) + chunk({}, 'stop', id) + usageChunk(40, 8, 2, id) + DONE)
}

export const calls = (name: string, args: string, callId = 'call_1'): Script => (response) => {
  sseHead(response)
  const call = (part: JsonObject): string => chunk({ tool_calls: [{ index: 0, ...part }] })
  response.end(
    call({ id: callId, type: 'function', function: { name, arguments: '' } }) + call({ function: { arguments: args } }) +
    chunk({}, 'tool_calls') + usageChunk() + DONE,
  )
}

export const refuses = (status: number, body: JsonObject | string, headers: Readonly<Record<string, string>> = {}): Script => (response) => {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  response.writeHead(status, { 'content-type': typeof body === 'string' ? 'text/html' : 'application/json', ...headers }).end(text)
}

/** Runs until it is told to go on: lets a test look at the middle of an answer. */
export class Gate {
  open!: () => void
  readonly opened = new Promise<void>((resolve) => {
    this.open = resolve
  })
}

/**
 * Answers like an engine with a prefix cache: a token is four characters, `cached_tokens` is what this upstream has seen
 * before, and each other token costs 0.1 ms. Where computing costs nothing, staying is worth nothing either.
 */
export function remembers(text: string): Script {
  const seen = new Map<string, string[]>()
  return async (response, asked) => {
    const prompt = JSON.stringify(asked.body['messages']).slice(0, -1)
    const known = seen.get(asked.upstream) ?? []
    let cached = 0
    for (const other of known) {
      let same = 0
      while (same < prompt.length && prompt[same] === other[same]) same++
      cached = Math.max(cached, same)
    }
    seen.set(asked.upstream, [...known, prompt])
    await new Promise((resolve) => setTimeout(resolve, (prompt.length - cached) / 40))
    sseHead(response)
    response.end(chunk({ content: text }) + chunk({}, 'stop') + usageChunk(Math.ceil(prompt.length / 4), Math.floor(cached / 64) * 16, Math.ceil(text.length / 4)) + DONE)
  }
}
