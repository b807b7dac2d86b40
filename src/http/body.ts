/** Request bodies: bounded, decompressed (gzip, deflate, br, zstd), parsed. The bound holds for the decompressed size too. */
import type { IncomingMessage } from 'node:http'
import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { Decompress } from 'fzstd'
import { HomingError } from '../model/error.ts'

export async function readBody(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const announced = Number(request.headers['content-length'] ?? 0)
  if (announced > limitBytes) throw new HomingError('request_too_large', { limit: limitBytes })
  const raw = await collect(request, limitBytes)
  const encoding = request.headers['content-encoding']?.toLowerCase().trim() ?? 'identity'
  return encoding === 'identity' || encoding === '' ? raw : decompress(raw, encoding, limitBytes)
}

/** Bodies above this are looked through for nesting before they are parsed; smaller ones cannot do harm by it. */
const SCANNED_BYTES = 65_536
/** No configured limit is near this; 10 million levels would take the parser seconds and a gigabyte. */
const MAX_PARSED_DEPTH = 10_000

export function parseJson(bytes: Buffer): unknown {
  if (bytes.length > SCANNED_BYTES) refuseAbyss(bytes)
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    // V8's message quotes the text around the mistake; only its kind is passed on
    const why =
      bytes.length === 0
        ? 'it is empty'
        : error instanceof Error
          ? error.message.replace(/[,:]? ?"[\s\S]*$|, \.\.\.[\s\S]*$/, '')
          : 'unreadable'
    throw new HomingError('invalid_json', { why })
  }
}

/** One pass over the bytes, strings skipped: about 1 ms a megabyte of structure. */
function refuseAbyss(bytes: Buffer): void {
  let depth = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === 0x5b || byte === 0x7b) {
      if (++depth > MAX_PARSED_DEPTH) throw new HomingError('nesting_too_deep', { limit: MAX_PARSED_DEPTH })
    } else if (byte === 0x5d || byte === 0x7d) depth--
    else if (byte === 0x22) {
      at = endOfString(bytes, at)
      if (at === -1) return // not JSON: the parser says so
    }
  }
}

/** Where the string that begins at `start` ends; -1 where it does not. */
function endOfString(bytes: Buffer, start: number): number {
  for (let at = bytes.indexOf(0x22, start + 1); at !== -1; at = bytes.indexOf(0x22, at + 1)) {
    let escapes = 0
    while (bytes[at - 1 - escapes] === 0x5c) escapes++
    if (escapes % 2 === 0) return at
  }
  return -1
}

function collect(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > limitBytes) {
        request.removeAllListeners('data')
        request.resume() // let it drain so that the client can read the refusal
        reject(new HomingError('request_too_large', { limit: limitBytes }))
        return
      }
      chunks.push(chunk)
    })
    request.on('end', () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size)))
    request.on('error', reject)
    request.on('close', () => {
      if (!request.complete)
        reject(new HomingError('invalid_json', { why: 'the connection closed before the body ended' }))
    })
  })
}

async function decompress(raw: Buffer, encoding: string, limitBytes: number): Promise<Buffer> {
  try {
    switch (encoding) {
      case 'gzip':
      case 'x-gzip':
        return await promisify(zlib.gunzip)(raw, { maxOutputLength: limitBytes })
      case 'deflate':
        return await promisify(zlib.inflate)(raw, { maxOutputLength: limitBytes })
      case 'br':
        return await promisify(zlib.brotliDecompress)(raw, { maxOutputLength: limitBytes })
      case 'zstd':
        return unzstd(raw, limitBytes)
    }
  } catch (error) {
    if (error instanceof HomingError) throw error
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE')
      throw new HomingError('request_too_large', { limit: limitBytes })
    throw new HomingError('invalid_json', { why: `its ${encoding} data cannot be decompressed` })
  }
  throw new HomingError('unsupported_encoding', { encoding })
}

/** Streaming, so that a small bomb is stopped at the limit; Node 20 has no zstd of its own. */
function unzstd(raw: Buffer, limitBytes: number): Buffer {
  const chunks: Uint8Array[] = []
  let size = 0
  const stream = new Decompress((chunk) => {
    size += chunk.length
    if (size > limitBytes) throw new HomingError('request_too_large', { limit: limitBytes })
    chunks.push(chunk)
  })
  for (let at = 0; at < raw.length; at += 65_536) stream.push(raw.subarray(at, at + 65_536), at + 65_536 >= raw.length)
  return Buffer.concat(chunks, size)
}
