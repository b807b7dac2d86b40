/**
 * Reads a trace file of any known format; the first line tells which.
 *
 *   Mooncake   {"timestamp": ms, "input_length", "output_length", "hash_ids": [...]}   512-token blocks
 *   Azure      TIMESTAMP,ContextTokens,GeneratedTokens                                 no prefixes: nothing can be cached
 *   log        {"timestamp", "body": {...}} or a body with "timestamp" beside its fields; Responses or Chat Completions
 *
 * Times must not go back. The first bad line ends the reading; everything before it is kept beside the error.
 */
import { createReadStream } from 'node:fs'
import { basename } from 'node:path'
import { createInterface } from 'node:readline'
import { isObject, type JsonObject } from '../../src/model/json.ts'
import { buildWorkload } from './lineage.ts'
import { LogReader } from './log-reader.ts'
import { TraceError, type RawRequest, type Workload } from './workload.ts'

export type ReadTrace = { readonly workload: Workload; readonly error: TraceError | null }

/** Turns one line into a request or throws an Error with the reason. */
export interface LineReader {
  readonly blockTokens: number
  readonly notices: readonly string[]
  /** Null for a line that is not a request (a header). */
  read(line: string): RawRequest | null
}

const MOONCAKE_BLOCK_TOKENS = 512

const count = (record: JsonObject, field: string, least: number): number => {
  const value = record[field]
  if (value === undefined) throw new Error(`'${field}' is missing`)
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least) {
    throw new Error(`'${field}' must be a whole number of at least ${least}, not ${JSON.stringify(value)}`)
  }
  return value
}

const parseObject = (line: string): JsonObject => {
  let record: unknown
  try {
    record = JSON.parse(line)
  } catch (error) {
    throw new Error(`not JSON: ${(error as Error).message}`)
  }
  if (!isObject(record)) throw new Error('not a JSON object')
  return record
}

class MooncakeReader implements LineReader {
  readonly blockTokens = MOONCAKE_BLOCK_TOKENS
  readonly notices = []

  read(line: string): RawRequest {
    const record = parseObject(line)
    const time = record['timestamp']
    if (time === undefined) throw new Error("'timestamp' is missing")
    if (typeof time !== 'number' || !(time >= 0))
      throw new Error(`'timestamp' must be milliseconds, not ${JSON.stringify(time)}`)
    const promptTokens = count(record, 'input_length', 1)
    const outputTokens = Math.max(1, count(record, 'output_length', 0))
    const ids = record['hash_ids']
    if (ids === undefined) throw new Error("'hash_ids' is missing")
    if (!Array.isArray(ids)) throw new Error("'hash_ids' must be a list")
    const blocks = Int32Array.from(ids as readonly number[])
    for (let index = 0; index < blocks.length; index++) {
      if (blocks[index] !== ids[index] || blocks[index]! < 0)
        throw new Error("'hash_ids' must be whole numbers from 0 to 2147483647")
    }
    const expected = Math.ceil(promptTokens / this.blockTokens)
    if (blocks.length !== expected) {
      throw new Error(
        `'hash_ids' has ${blocks.length} blocks, but ${promptTokens} tokens are ${expected} blocks of ${this.blockTokens}`,
      )
    }
    return { atMs: time, promptTokens, outputTokens, blocks, answerBlocks: null, session: null }
  }
}

class AzureReader implements LineReader {
  readonly blockTokens = MOONCAKE_BLOCK_TOKENS
  readonly notices = ['this format names no prefixes: no request shares anything with another']
  #startMs: number | null = null
  #nextId = 0
  #header = true

  read(line: string): RawRequest | null {
    if (this.#header) {
      this.#header = false
      return null
    }
    const fields = line.split(',')
    if (fields.length !== 3) throw new Error(`three fields expected, found ${fields.length}`)
    const time = Date.parse(
      `${fields[0]!
        .trim()
        .replace(' ', 'T')
        .replace(/(\.\d{3})\d*$/, '$1')}Z`,
    )
    if (Number.isNaN(time)) throw new Error(`'TIMESTAMP' is not a time: ${JSON.stringify(fields[0])}`)
    const fraction = /\.\d{3}(\d+)$/.exec(fields[0]!.trim()) // below a millisecond, which Date.parse would drop
    const atMs = time + (fraction === null ? 0 : Number(`0.${fraction[1]}`))
    this.#startMs ??= atMs
    const promptTokens = Number(fields[1])
    const outputTokens = Number(fields[2])
    if (!Number.isInteger(promptTokens) || promptTokens < 1 || fields[1]!.trim() === '')
      throw new Error(`'ContextTokens' must be a whole number, not ${JSON.stringify(fields[1])}`)
    if (!Number.isInteger(outputTokens) || outputTokens < 0 || fields[2]!.trim() === '')
      throw new Error(`'GeneratedTokens' must be a whole number, not ${JSON.stringify(fields[2])}`)
    const blocks = Int32Array.from({ length: Math.ceil(promptTokens / this.blockTokens) }, () => this.#nextId++)
    return {
      atMs: atMs - this.#startMs,
      promptTokens,
      outputTokens: Math.max(1, outputTokens),
      blocks,
      answerBlocks: null,
      session: null,
    }
  }
}

const readerFor = (line: string): LineReader => {
  if (/^\s*TIMESTAMP\s*,\s*ContextTokens\s*,\s*GeneratedTokens\s*$/i.test(line)) return new AzureReader()
  if (line.trimStart().startsWith('{')) {
    const record = parseObject(line)
    if ('hash_ids' in record || 'input_length' in record) return new MooncakeReader()
    const body = isObject(record['body']) ? record['body'] : record
    if ('messages' in body || 'input' in body) return new LogReader()
  }
  throw new Error(
    'unknown format; known are Mooncake JSONL (hash_ids), Azure csv (TIMESTAMP,ContextTokens,GeneratedTokens) ' +
      'and logs of Responses or Chat requests (timestamp and body)',
  )
}

export const readTrace = async (path: string): Promise<ReadTrace> => {
  const raw: RawRequest[] = []
  let reader: LineReader | null = null
  let error: TraceError | null = null
  let lineNumber = 0
  let lastMs = Number.NEGATIVE_INFINITY
  const input = createReadStream(path)
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })
  try {
    for await (const text of lines) {
      lineNumber++
      const line = lineNumber === 1 ? text.replace(/^\uFEFF/, '') : text
      if (line.trim() === '') continue
      try {
        reader ??= readerFor(line)
        const request = reader.read(line)
        if (request === null) continue
        if (request.atMs < lastMs) throw new Error(`times go back: ${request.atMs} ms after ${lastMs} ms`)
        lastMs = request.atMs
        raw.push(request)
      } catch (problem) {
        error = new TraceError(path, lineNumber, (problem as Error).message)
        break
      }
    }
  } finally {
    lines.close()
    input.destroy()
  }
  if (raw.length === 0 && error === null)
    error = new TraceError(path, Math.max(1, lineNumber), 'no requests in this file')
  const workload = buildWorkload(
    basename(path),
    reader?.blockTokens ?? MOONCAKE_BLOCK_TOKENS,
    raw,
    reader?.notices ?? [],
  )
  return { workload, error }
}
