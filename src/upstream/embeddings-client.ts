/**
 * Asks a model for embeddings: POST /v1/embeddings as OpenAI has it. Nobody depends on the answer: what is late, fails or does
 * not fit comes back as null, and is counted.
 *
 *   embed -> waiting -> a request is free: as many as fit in one -> answer | deadline -> each its vectors, or null
 *
 * At most `MOST_REQUESTS` are under way, of `MOST_TEXTS` texts and `MOST_CHARACTERS` characters each; what comes meanwhile waits and goes
 * together, so that load makes larger requests and not more. The deadline counts from `embed` on, waiting included. Beyond
 * `MOST_WAITING` nothing is taken, and after repeated failures nothing is asked for a while (`FailureHold`).
 */
import { request, type Dispatcher } from 'undici'
import { isObject, type JsonValue } from '../model/json.ts'
import { FailureHold } from './failure-hold.ts'

/** Why there is no embedding: too late; no or no readable answer; vectors of another length; not asked at all. */
export type EmbeddingTrouble = 'late' | 'failed' | 'dimension' | 'held'

export type EmbeddingsClientOptions = {
  /** Base URL, without `/v1`. */
  readonly url: string
  readonly model: string
  readonly key: string | null
  readonly deadlineMs: number
  readonly dimensions: number | null
  readonly dispatcher: Dispatcher
  readonly nowMs: () => number
  /** Calls after so many milliseconds; what it returns cancels. */
  readonly after: (ms: number, task: () => void) => () => void
  /** Once for each `embed` that comes back empty; `cause` where there is one. */
  readonly onTrouble: (trouble: EmbeddingTrouble, cause: unknown) => void
}

const MOST_REQUESTS = 4
const MOST_TEXTS = 64
const MOST_CHARACTERS = 100_000
const MOST_WAITING = 256
/** 64 vectors of 4,096 numbers of 12 characters are 3 MB. */
const MOST_ANSWER_BYTES = 16 * 2 ** 20

type Ask = {
  readonly texts: readonly string[]
  readonly characters: number
  readonly untilMs: number
  /** Ends it once; what comes later is ignored. */
  readonly end: (vectors: readonly Float32Array[] | null) => void
  readonly giveUp: (trouble: EmbeddingTrouble, cause: unknown) => void
}

class DimensionError extends Error {}

export class EmbeddingsClient {
  readonly #options: EmbeddingsClientOptions
  readonly #hold: FailureHold
  #waiting: Ask[] = []
  #running = 0
  #dimensions: number | null

  constructor(options: EmbeddingsClientOptions) {
    this.#options = options
    this.#hold = new FailureHold(options.nowMs)
    this.#dimensions = options.dimensions
  }

  /** One vector a text, in order and as the model gave them; null where there are none in time. Never rejects. */
  embed(texts: readonly string[]): Promise<readonly Float32Array[] | null> {
    const { deadlineMs, nowMs, after, onTrouble } = this.#options
    return new Promise((resolve) => {
      if (this.#hold.holding || this.#waiting.length >= MOST_WAITING) {
        onTrouble('held', null)
        return resolve(null)
      }
      let ended = false
      const end = (vectors: readonly Float32Array[] | null): void => {
        if (ended) return
        ended = true
        cancel()
        resolve(vectors)
      }
      const giveUp = (trouble: EmbeddingTrouble, cause: unknown): void => {
        if (!ended) onTrouble(trouble, cause)
        end(null)
      }
      const cancel = after(deadlineMs, () => {
        this.#waiting = this.#waiting.filter((one) => one !== ask)
        giveUp('late', null)
      })
      const characters = texts.reduce((sum, { length }) => sum + length, 0)
      const ask: Ask = { texts, characters, untilMs: nowMs() + deadlineMs, end, giveUp }
      this.#waiting.push(ask)
      this.#pump()
    })
  }

  #pump(): void {
    while (this.#running < MOST_REQUESTS && this.#waiting.length > 0) {
      if (this.#hold.holding) {
        for (const { giveUp } of this.#waiting.splice(0)) giveUp('held', null)
        return
      }
      let [texts, characters, count] = [0, 0, 0]
      for (const ask of this.#waiting) {
        texts += ask.texts.length
        characters += ask.characters
        if (count > 0 && (texts > MOST_TEXTS || characters > MOST_CHARACTERS)) break
        count++
      }
      void this.#send(this.#waiting.splice(0, count))
    }
  }

  async #send(asks: readonly Ask[]): Promise<void> {
    this.#running++
    this.#hold.begins()
    try {
      const vectors = await this.#ask(asks.flatMap(({ texts }) => texts), asks.at(-1)!.untilMs)
      this.#hold.succeeded()
      let from = 0
      for (const { texts, end } of asks) {
        end(vectors.slice(from, from + texts.length))
        from += texts.length
      }
    } catch (error) {
      this.#hold.failed()
      const late = error instanceof Error && error.name === 'AbortError'
      const trouble = late ? 'late' : error instanceof DimensionError ? 'dimension' : 'failed'
      for (const { giveUp } of asks) giveUp(trouble, error)
    } finally {
      this.#running--
      this.#pump()
    }
  }

  async #ask(texts: readonly string[], untilMs: number): Promise<Float32Array[]> {
    const { url, model, key, dimensions, dispatcher, nowMs, after } = this.#options
    const abort = new AbortController()
    const cancel = after(Math.max(0, untilMs - nowMs()), () => abort.abort())
    try {
      const answer = await request(`${url}/v1/embeddings`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json',
          ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        },
        body: JSON.stringify({ model, input: texts, encoding_format: 'float', ...(dimensions === null ? {} : { dimensions }) }),
        signal: abort.signal,
        dispatcher,
      })
      const body = await bodyOf(answer)
      if (answer.statusCode !== 200) throw new Error(`the embeddings model answered ${answer.statusCode}`)
      return this.#vectorsOf(parsed(body), texts.length)
    } finally {
      cancel()
    }
  }

  #vectorsOf(answer: JsonValue, count: number): Float32Array[] {
    const data = isObject(answer) ? answer['data'] : undefined
    if (!Array.isArray(data) || data.length !== count) throw new Error('the embeddings model did not answer with one vector a text')
    const vectors: (Float32Array | undefined)[] = Array.from({ length: count })
    data.forEach((entry, at) => {
      const place = isObject(entry) && typeof entry['index'] === 'number' ? entry['index'] : at
      vectors[place] = vectorOf(isObject(entry) ? entry['embedding'] : undefined)
    })
    return vectors.map((vector) => {
      if (vector === undefined) throw new Error('the embeddings model numbered its vectors wrongly')
      this.#dimensions ??= vector.length
      if (vector.length !== this.#dimensions) {
        throw new DimensionError(`the embeddings model answered with ${vector.length} dimensions instead of ${this.#dimensions}`)
      }
      return vector
    })
  }
}

function vectorOf(value: JsonValue | undefined): Float32Array {
  if (!Array.isArray(value) || value.length === 0) throw new Error('the embeddings model answered without a vector')
  const vector = new Float32Array(value.length)
  let squares = 0
  value.forEach((number, axis) => {
    if (typeof number !== 'number') throw new Error('the embeddings model answered with a vector of other things than numbers')
    vector[axis] = number
    squares += number * number
  })
  // a float of the answer may still be too large for one of 32 bits
  if (!(squares > 0) || !Number.isFinite(Math.fround(squares))) throw new Error('the embeddings model answered with a vector without direction')
  return vector
}

/** The parser's own message would quote what it read, which may quote what was sent. */
function parsed(body: string): JsonValue {
  try {
    return JSON.parse(body) as JsonValue
  } catch {
    throw new Error('the embeddings model did not answer with JSON')
  }
}

async function bodyOf(answer: Dispatcher.ResponseData): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MOST_ANSWER_BYTES) throw new Error(`the embeddings model answered more than ${MOST_ANSWER_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
