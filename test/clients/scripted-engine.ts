/**
 * An engine that says what a test tells it to, over the Chat Completions stream of a real one: a first chunk with
 * `"content": null`, text in small pieces, arguments in fragments, usage last. It counts as cached what an earlier
 * prompt began with, so `cached_tokens` means here what it means on a real engine.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { JsonObject } from '../../src/model/json.ts'

export type ScriptedCall = { readonly name: string; readonly arguments: string; readonly id?: string }

export type ScriptedAnswer = {
  readonly reasoning?: string
  readonly text?: string
  readonly calls?: readonly ScriptedCall[]
  readonly finish?: 'stop' | 'tool_calls' | 'length' | 'content_filter'
  /** Another status than 200, with this body. */
  readonly refusal?: { readonly status: number; readonly body: JsonObject }
  /** Sends everything but the ending, and waits for the reader to leave. */
  readonly endless?: boolean
}

/** Called once a request, with its body and its number from 0. */
export type Script = (body: JsonObject, request: number) => ScriptedAnswer

export type ScriptedEngine = {
  readonly url: string
  /** Bodies of the requests to generate, in order. */
  readonly requests: JsonObject[]
  /** Resolves when a reader has left an endless answer. */
  readonly abandoned: Promise<void>
  close(): Promise<void>
}

export const MODEL = 'scripted'
const PIECE_CHARACTERS = 5

export async function startScriptedEngine(script: Script): Promise<ScriptedEngine> {
  const requests: JsonObject[] = []
  const prompts: string[] = []
  let leave = (): void => {}
  const abandoned = new Promise<void>((resolve) => {
    leave = resolve
  })

  const server = createServer((request, response) => {
    const path = request.url ?? ''
    if (request.method === 'GET' && path === '/v1/models') {
      sendJson(response, 200, { object: 'list', data: [{ id: MODEL, object: 'model', created: 1, owned_by: 'test', max_model_len: 32_768 }] })
    } else if (path === '/v1/chat/completions' && request.method === 'POST') {
      void generate(request, response)
    } else sendJson(response, path === '/v1/chat/completions' ? 405 : 404, { error: { message: 'no' } })
  })

  async function generate(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = JSON.parse(await textOf(request)) as JsonObject
    requests.push(body)
    const prompt = JSON.stringify([body['tools'] ?? [], body['messages']])
    const cached = Math.max(0, ...prompts.map((earlier) => commonPrefix(earlier, prompt)))
    prompts.push(prompt)
    const answer = script(body, requests.length - 1)
    if (answer.refusal !== undefined) return sendJson(response, answer.refusal.status, answer.refusal.body)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const head = { id: `chatcmpl-${requests.length}`, object: 'chat.completion.chunk', created: 1, model: MODEL }
    const send = (fields: JsonObject): void => void response.write(`data: ${JSON.stringify({ ...head, ...fields })}\n\n`)
    let tokens = 0
    const delta = (fields: JsonObject, finish: string | null = null): void => {
      tokens += 1
      send({ choices: [{ index: 0, delta: fields, finish_reason: finish }] })
    }
    delta({ role: 'assistant', content: null })
    for (const piece of pieces(answer.reasoning ?? '')) delta({ reasoning_content: piece })
    for (const piece of pieces(answer.text ?? '')) delta({ content: piece })
    for (const [index, call] of (answer.calls ?? []).entries()) {
      const id = call.id ?? `call_${requests.length}_${index}`
      delta({ tool_calls: [{ index, id, type: 'function', function: { name: call.name, arguments: '' } }] })
      for (const piece of pieces(call.arguments)) delta({ tool_calls: [{ index, function: { arguments: piece } }] })
    }
    if (answer.endless === true) {
      response.once('close', leave)
      return
    }
    delta({}, answer.finish ?? (answer.calls === undefined ? 'stop' : 'tool_calls'))
    const promptTokens = Math.ceil(prompt.length / 4)
    send({
      choices: [],
      usage: {
        prompt_tokens: promptTokens, completion_tokens: tokens, total_tokens: promptTokens + tokens,
        prompt_tokens_details: { cached_tokens: Math.floor(cached / 4) },
      },
    })
    response.end('data: [DONE]\n\n')
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    abandoned,
    close: () => new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    }),
  }
}

export async function textOf(stream: AsyncIterable<unknown>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

/** The messages of a request's body. */
export const messagesOf = (body: JsonObject | undefined): readonly JsonObject[] => (body?.['messages'] ?? []) as readonly JsonObject[]

function* pieces(text: string): Generator<string> {
  for (let at = 0; at < text.length; at += PIECE_CHARACTERS) yield text.slice(at, at + PIECE_CHARACTERS)
}

function commonPrefix(left: string, right: string): number {
  let at = 0
  while (at < left.length && left[at] === right[at]) at += 1
  return at
}

function sendJson(response: ServerResponse, status: number, body: JsonObject): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
