/**
 * One simulated backend behind HTTP, OpenAI-compatible, with vLLM's routes, error shape and metric names. Every answer
 * carries `server: homing-sim`, and `/v1/models` says `owned_by: homing-sim`, so nobody takes it for an engine.
 *
 * Tokens leave in bundles: a ticker shared by the fleet writes what each stream's engine has produced since the last
 * tick as one write of several events, so the cost per token is a string concatenation. First token and end do not wait
 * for a tick. A reader that does not read is not written to.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { isObject, type JsonObject, type JsonValue } from '../../src/model/json.ts'
import type { SimulatedEngine } from '../engine/engine.ts'
import {
  CHARACTERS_PER_TOKEN,
  completeBlocks,
  newBlockState,
  partialBlock,
  renderItems,
  renderMessages,
  tokenIdAt,
  tokensOf,
} from '../prompt.ts'
import { newJob, type Job, type JobListener } from '../request.ts'
import type { WallTimeline } from '../wall-timeline.ts'
import { composeAnswer, piece, requestedTokens, type Answer } from './answer.ts'
import { chatWire } from './chat-wire.ts'
import { completionWire } from './completion-wire.ts'
import type { KvPublisher } from './kv-publisher.ts'
import { FirstTokenHistogram, renderMetrics } from './metrics.ts'
import { responsesWire } from './responses-wire.ts'
import type { AnswerWire, WireOptions, WireUsage } from './wire.ts'

export type BackendServerOptions = {
  readonly engine: SimulatedEngine
  readonly timeline: WallTimeline
  readonly model: string
  readonly maxModelTokens: number
  readonly medianOutputTokens: number
  readonly nowSeconds: () => number
  readonly newId: () => string
  /** Tells what the cache holds; null: the engine publishes no events. */
  readonly kvPublisher: KvPublisher | null
}

const MAX_BODY_BYTES = 64 * 1024 * 1024

class Refusal extends Error {
  readonly status: number
  readonly type: string
  constructor(status: number, type: string, message: string) {
    super(message)
    this.status = status
    this.type = type
  }
}

const bad = (message: string): Refusal => new Refusal(400, 'BadRequestError', message)

export class BackendServer {
  readonly engine: SimulatedEngine
  readonly #options: BackendServerOptions
  readonly #server: Server
  readonly #streams = new Set<AnswerStream>()
  readonly #firstTokens = new FirstTokenHistogram()

  constructor(options: BackendServerOptions) {
    this.engine = options.engine
    this.#options = options
    this.#server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      this.#serve(request, response).catch((error: unknown) => this.#refuse(response, error))
    })
  }

  /** Resolves to the base URL, `/v1` included. */
  async listen(host: string, port: number): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
    return `http://${host}:${(this.#server.address() as AddressInfo).port}/v1`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  tick(): void {
    for (const stream of this.#streams) stream.tick()
  }

  get active(): number {
    return this.#streams.size
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('server', 'homing-sim')
    const path = (request.url ?? '/').split('?')[0]!.replace(/\/+$/, '') || '/'
    const { engine, timeline, model } = this.#options
    if (request.method === 'GET') {
      timeline.catchUp()
      if (path === '/health' || path === '/ping') return void response.end()
      if (path === '/version') return json(response, 200, { version: 'homing-sim' })
      if (path === '/metrics') {
        response.setHeader('content-type', 'text/plain; version=0.0.4; charset=utf-8')
        return void response.end(renderMetrics(engine, model, this.#firstTokens))
      }
      if (path === '/v1/models') return json(response, 200, { object: 'list', data: [this.#modelCard()] })
      if (path === `/v1/models/${model}`) return json(response, 200, this.#modelCard())
    }
    if (request.method === 'POST') {
      if (path === '/v1/chat/completions') return this.#answer(response, await readJson(request), 'chat')
      if (path === '/v1/completions') return this.#answer(response, await readJson(request), 'completion')
      if (path === '/v1/responses') return this.#answer(response, await readJson(request), 'responses')
      if (path === '/tokenize') return json(response, 200, this.#tokenize(await readJson(request)))
      if (path === '/sim/restart') {
        timeline.catchUp()
        engine.restart('the simulated engine was restarted')
        return json(response, 200, { restarted: true })
      }
      if (path === '/sim/stall') {
        const seconds = (await readJson(request))['seconds']
        if (typeof seconds !== 'number' || !(seconds > 0)) throw bad('seconds must be a positive number')
        timeline.catchUp()
        engine.stall(seconds * 1000)
        return json(response, 200, { stalledSeconds: seconds })
      }
    }
    throw new Refusal(404, 'NotFoundError', 'Not Found')
  }

  #modelCard(): JsonObject {
    const { model, maxModelTokens } = this.#options
    return {
      id: model,
      object: 'model',
      created: 0,
      owned_by: 'homing-sim',
      root: model,
      max_model_len: maxModelTokens,
    }
  }

  /** vLLM's shape. An unfinished token at the end of a conversation is left out: what follows would change it. */
  #tokenize(body: JsonObject): JsonObject {
    const { messages, prompt } = body
    const generation = body['add_generation_prompt'] !== false
    if (!Array.isArray(messages) && typeof prompt !== 'string') throw bad('messages or prompt must be given')
    const text = typeof prompt === 'string' ? prompt : renderMessages(messages as JsonValue[], body['tools'], generation)
    const count = generation ? tokensOf(text) : Math.floor(text.length / CHARACTERS_PER_TOKEN)
    const tokens = Array.from({ length: count }, (_, index) => tokenIdAt(text, index))
    return { count, max_model_len: this.#options.maxModelTokens, tokens, token_strs: null }
  }

  #answer(response: ServerResponse, body: JsonObject, kind: 'chat' | 'completion' | 'responses'): void {
    const { engine, timeline, model, maxModelTokens } = this.#options
    if (body['model'] !== undefined && body['model'] !== model) {
      throw new Refusal(404, 'NotFoundError', `The model \`${String(body['model'])}\` does not exist.`)
    }
    if (body['n'] !== undefined && body['n'] !== null && body['n'] !== 1) throw bad('n must be 1')
    if (typeof body['previous_response_id'] === 'string') throw bad('this engine keeps no responses')
    const prompt = promptOf(body, kind)
    const promptTokens = Math.max(1, tokensOf(prompt))
    const room = maxModelTokens - promptTokens
    if (room < Math.max(1, requestedTokens(body) ?? 1)) {
      throw bad(
        `This model's maximum context length is ${maxModelTokens} tokens. However, you requested ` +
          `${promptTokens + (requestedTokens(body) ?? 1)} tokens (${promptTokens} in the messages).`,
      )
    }
    const state = newBlockState()
    const { blockTokens } = engine.speed
    const blocks = completeBlocks(state, prompt, blockTokens)
    const answer = composeAnswer(body, state.low ^ state.high, this.#options.medianOutputTokens, room)
    const partial = partialBlock(state, blockTokens)
    if (partial !== null) blocks.push(partial)
    const fullBlocks = partial === null ? blocks : blocks.slice(0, -1)
    const answerBlocks = completeBlocks(state, answer.text, blockTokens)
    // An unfinished last token may fill the last block all the same: then the engine keeps that block too.
    if (partial !== null && promptTokens % blockTokens === 0) this.#options.kvPublisher?.announce(prompt, blocks)
    this.#options.kvPublisher?.announce(prompt + answer.text, [...fullBlocks, ...answerBlocks])
    const stream = body['stream'] === true
    const streamOptions = isObject(body['stream_options']) ? body['stream_options'] : {}
    const options: WireOptions = {
      id: `${kind === 'chat' ? 'chatcmpl-' : kind === 'completion' ? 'cmpl-' : 'resp_'}${this.#options.newId()}`,
      model,
      createdSeconds: this.#options.nowSeconds(),
      answer,
      request: body,
      includeUsage: streamOptions['include_usage'] === true,
    }
    const wire =
      kind === 'chat' ? chatWire(options) : kind === 'completion' ? completionWire(options) : responsesWire(options)
    const sink = new AnswerStream(response, wire, answer, stream, engine, (answered) => {
      this.#streams.delete(sink)
      if (answered !== null) this.#firstTokens.observe((answered.firstTokenAtMs - answered.submittedAtMs) / 1000)
    })
    this.#streams.add(sink)
    timeline.catchUp()
    const job = newJob(
      {
        index: 0,
        atMs: timeline.nowMs(),
        promptTokens,
        outputTokens: answer.tokens,
        blocks,
        answerBlocks,
        session: -1,
        parent: -1,
      },
      sink,
    )
    sink.job = job
    response.on('close', () => {
      if (job.state === 'finished' || job.state === 'failed') return
      timeline.catchUp()
      engine.cancel(job)
      this.#streams.delete(sink)
    })
    engine.submit(job)
  }

  #refuse(response: ServerResponse, error: unknown): void {
    if (response.headersSent) return void response.destroy()
    const status = error instanceof Refusal ? error.status : 500
    const type = error instanceof Refusal ? error.type : 'InternalServerError'
    const message = error instanceof Error ? error.message : String(error)
    json(response, status, { error: { message, type, param: null, code: status } })
  }
}

/** From an engine's job to a client's socket. */
class AnswerStream implements JobListener {
  job: Job | null = null
  readonly #response: ServerResponse
  readonly #wire: AnswerWire
  readonly #answer: Answer
  readonly #streaming: boolean
  readonly #engine: SimulatedEngine
  readonly #ended: (answered: Job | null) => void
  #sent = 0
  #opened = false

  constructor(
    response: ServerResponse,
    wire: AnswerWire,
    answer: Answer,
    streaming: boolean,
    engine: SimulatedEngine,
    ended: (answered: Job | null) => void,
  ) {
    this.#response = response
    this.#wire = wire
    this.#answer = answer
    this.#streaming = streaming
    this.#engine = engine
    this.#ended = ended
  }

  firstToken(): void {
    if (!this.#streaming) return
    this.#response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
    this.#opened = true
    this.#response.write(this.#wire.open() + this.#tokens(1))
  }

  tick(): void {
    if (!this.#opened || this.job === null || this.#response.writableNeedDrain) return
    const produced = this.#engine.produced(this.job)
    if (produced > this.#sent) this.#response.write(this.#tokens(produced))
  }

  finished(job: Job): void {
    this.#ended(job)
    const usage: WireUsage = {
      promptTokens: job.request.promptTokens,
      cachedTokens: job.cachedTokens,
      outputTokens: job.producedTokens,
    }
    if (this.#streaming) this.#response.end(this.#tokens(job.producedTokens) + this.#wire.close(usage))
    else json(this.#response, 200, this.#wire.body(usage))
  }

  failed(_job: Job, why: string): void {
    this.#ended(null)
    if (this.#opened) this.#response.destroy()
    else json(this.#response, 500, { error: { message: why, type: 'InternalServerError', param: null, code: 500 } })
  }

  #tokens(until: number): string {
    let text = ''
    while (this.#sent < until) text += this.#wire.token(piece(this.#answer, this.#sent++))
    return text
  }
}

const promptOf = (body: JsonObject, kind: 'chat' | 'completion' | 'responses'): string => {
  if (kind === 'chat') {
    const messages = body['messages']
    if (!Array.isArray(messages) || messages.length === 0) throw bad('messages must be a non-empty list')
    return renderMessages(messages as readonly JsonValue[], body['tools'])
  }
  if (kind === 'responses') {
    if (typeof body['input'] !== 'string' && !Array.isArray(body['input']))
      throw bad('input must be a string or a list')
    return renderItems(body)
  }
  const prompt = body['prompt']
  if (typeof prompt === 'string') return prompt
  if (Array.isArray(prompt) && prompt.length === 1 && typeof prompt[0] === 'string') return prompt[0]
  throw bad('prompt must be a string')
}

const json = (response: ServerResponse, status: number, body: JsonObject): void => {
  const text = JSON.stringify(body)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  response.end(text)
}

const readJson = async (request: IncomingMessage): Promise<JsonObject> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_BODY_BYTES) throw new Refusal(413, 'BadRequestError', 'the body is too large')
    chunks.push(chunk)
  }
  let body: unknown
  try {
    body = JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch (error) {
    throw bad(`the body is not JSON: ${(error as Error).message}`)
  }
  if (!isObject(body)) throw bad('the body must be an object')
  return body
}
