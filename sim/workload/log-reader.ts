/**
 * A log of Responses or Chat Completions requests, one a line: `timestamp` (ISO text, seconds or milliseconds), the
 * `body` (or its fields beside the timestamp), and where the log has them `response` (the answer, for its id, length
 * and text), `output_tokens` and `session_id`. Four characters are a token. Where the answer's length is unknown it is
 * taken as 256 tokens (the median of Mooncake's conversation trace is 350, of Azure's 129), cut at the request's
 * maximum.
 */
import { isObject, type JsonObject, type JsonValue } from '../../src/model/json.ts'
import {
  completeBlocks,
  newBlockState,
  partialBlock,
  renderItems,
  renderMessages,
  tokensOf,
  type BlockState,
} from '../prompt.ts'
import type { LineReader } from './read-trace.ts'
import type { RawRequest } from './workload.ts'

const UNKNOWN_OUTPUT_TOKENS = 256

/** Responses whose continuation may still come; beyond this the oldest is forgotten and its child starts anew. */
const MAX_OPEN_RESPONSES = 100_000

type Chain = { readonly state: BlockState; readonly blocks: readonly number[]; readonly session: string }

export class LogReader implements LineReader {
  readonly blockTokens = 64
  readonly notices = ['four characters are taken as one token']
  readonly #chains = new Map<string, Chain>()
  #startMs: number | null = null

  read(line: string): RawRequest {
    const record: unknown = JSON.parse(line)
    if (!isObject(record)) throw new Error('not a JSON object')
    const timeMs = milliseconds(record['timestamp'])
    this.#startMs ??= timeMs
    const body = isObject(record['body']) ? record['body'] : record
    const response = isObject(record['response']) ? record['response'] : {}
    const messages = body['messages']
    let text: string
    if (Array.isArray(messages)) text = renderMessages(messages as readonly JsonValue[], body['tools'])
    else if (typeof body['input'] === 'string' || Array.isArray(body['input'])) text = renderItems(body)
    else throw new Error("neither 'messages' nor 'input' in the body")

    const previous = body['previous_response_id']
    const parent = typeof previous === 'string' ? this.#chains.get(previous) : undefined
    const state: BlockState = parent === undefined ? newBlockState() : { ...parent.state }
    const blocks = [...(parent?.blocks ?? []), ...completeBlocks(state, text, this.blockTokens)]
    const promptTokens = Math.max(1, Math.ceil(state.characters / 4))
    const promptBlocks = [...blocks]
    const partial = partialBlock(state, this.blockTokens)
    if (partial !== null) promptBlocks.push(partial)

    const answerText = textOfResponse(response)
    const outputTokens = lengthOf(record, response, body, answerText)
    const filler =
      answerText === '' ? `[${this.#chains.size} ${timeMs} ${state.low}]`.padEnd(outputTokens * 4, '.') : answerText
    const answerBlocks = completeBlocks(state, filler, this.blockTokens)
    const named = record['session_id'] ?? body['session_id'] ?? body['conversation'] ?? body['prompt_cache_key']
    const id = response['id'] ?? record['response_id']
    const session =
      typeof named === 'string'
        ? named
        : (parent?.session ?? (typeof id === 'string' && !Array.isArray(messages) ? id : null))
    if (typeof id === 'string') {
      if (this.#chains.size >= MAX_OPEN_RESPONSES) this.#chains.delete(this.#chains.keys().next().value!)
      this.#chains.set(id, { state, blocks: [...blocks, ...answerBlocks], session: session ?? id })
    }
    return {
      atMs: timeMs - this.#startMs,
      promptTokens,
      outputTokens,
      blocks: Float64Array.from(promptBlocks),
      // Full-history clients send the true answer back; only a stored chain is known to continue with these blocks.
      answerBlocks:
        answerText !== '' || typeof id === 'string'
          ? answerBlocks.slice(0, countAnswer(promptTokens, outputTokens))
          : null,
      session,
    }
  }
}

const countAnswer = (promptTokens: number, outputTokens: number): number =>
  Math.floor((promptTokens + outputTokens) / 64) - Math.floor(promptTokens / 64)

const milliseconds = (value: JsonValue | undefined): number => {
  if (value === undefined) throw new Error("'timestamp' is missing")
  const time = typeof value === 'string' ? Date.parse(value) : value
  if (typeof time !== 'number' || !Number.isFinite(time))
    throw new Error(`'timestamp' is not a time: ${JSON.stringify(value)}`)
  // Seconds since 1970 stay below 1e11 until the year 5138; milliseconds passed it in 1973.
  return typeof value === 'number' && value > 1e8 && value < 1e11 ? value * 1000 : time
}

const textOfResponse = (response: JsonObject): string => {
  const choice = Array.isArray(response['choices']) ? response['choices'][0] : undefined
  const message = isObject(choice) && isObject(choice['message']) ? choice['message'] : undefined
  if (message !== undefined)
    return typeof message['content'] === 'string' ? message['content'] : JSON.stringify(message['tool_calls'] ?? '')
  const output = response['output']
  if (!Array.isArray(output)) return ''
  return (output as readonly JsonValue[])
    .map((item) => {
      if (!isObject(item)) return ''
      const content = Array.isArray(item['content']) ? (item['content'] as readonly JsonValue[]) : []
      const text = content
        .map((part) => (isObject(part) && typeof part['text'] === 'string' ? part['text'] : ''))
        .join('')
      return item['type'] === 'function_call' ? JSON.stringify([item['name'] ?? '', item['arguments'] ?? '']) : text
    })
    .join('')
}

const lengthOf = (record: JsonObject, response: JsonObject, body: JsonObject, text: string): number => {
  const usage = isObject(response['usage']) ? response['usage'] : {}
  for (const value of [record['output_tokens'], usage['completion_tokens'], usage['output_tokens']]) {
    if (typeof value === 'number' && value >= 0) return Math.max(1, Math.round(value))
  }
  if (text !== '') return tokensOf(text)
  const most = body['max_completion_tokens'] ?? body['max_tokens'] ?? body['max_output_tokens']
  return typeof most === 'number' && most > 0 ? Math.min(most, UNKNOWN_OUTPUT_TOKENS) : UNKNOWN_OUTPUT_TOKENS
}
