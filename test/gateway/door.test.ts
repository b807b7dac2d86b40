import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import type { JsonObject } from '../../src/model/json.ts'
import { errorOf, eventually, harness, textOf, type Harness } from './support/gateway.ts'
import { Gate, says, type Script } from './support/scripted-upstream.ts'

const LIMIT = { timeout: 20_000 }
const hello = JSON.stringify({ model: 'm', input: 'hello' })

/** Bytes as they are; resolves with all that comes back. */
function raw(url: string, bytes: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    let answer = ''
    socket.on('data', (data) => (answer += data.toString('latin1')))
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
    socket.write(bytes)
  })
}

const send = async (gateway: Harness, body: string | Buffer, headers: Record<string, string> = {}, path = '/v1/responses'): Promise<{ status: number; body: JsonObject; headers: Headers }> => {
  const response = await fetch(gateway.url + path, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body })
  return { status: response.status, body: (await response.json()) as JsonObject, headers: response.headers }
}

function isError(answer: { status: number; body: JsonObject; headers: Headers }, status: number, code: string): void {
  const { message, type, param, code: got } = errorOf(answer.body)
  assert.deepEqual([answer.status, got], [status, code], JSON.stringify(answer.body))
  assert.equal(typeof message, 'string')
  assert.equal(typeof type, 'string')
  assert.ok(param === null || typeof param === 'string')
  assert.match(answer.headers.get('x-request-id') ?? '', /^req_/)
}

/** A zstd frame of one block that repeats a byte (RFC 8878). */
function zstdOf(byte: number, times: number): Buffer {
  const blocks: Buffer[] = []
  for (let left = times; left > 0; left -= 131_072) {
    const size = Math.min(left, 131_072)
    const header = Buffer.alloc(4)
    header.writeUIntLE((size << 3) | (1 << 1) | (left <= 131_072 ? 1 : 0), 0, 3)
    header[3] = byte
    blocks.push(header)
  }
  // magic, descriptor (no content size, window follows), window of 1 MiB
  return Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50]), ...blocks])
}
const zstdRaw = (data: Buffer): Buffer => {
  const header = Buffer.alloc(3)
  header.writeUIntLE((data.length << 3) | 1, 0, 3)
  return Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50]), header, data])
}

test('compressed bodies are read; what they unpack to has the same limit; an unknown encoding is 415', LIMIT, async (t) => {
  const gateway = await harness(t, { config: { limits: { body_bytes: 100_000 } } })
  const bytes = Buffer.from(hello)
  const packed: Record<string, (data: Buffer) => Buffer> = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync, zstd: zstdRaw }
  for (const [encoding, pack] of Object.entries(packed)) {
    assert.equal((await send(gateway, pack(bytes), { 'content-encoding': encoding })).status, 200, encoding)
    isError(await send(gateway, bytes, { 'content-encoding': encoding }), 400, 'invalid_json')
    isError(await send(gateway, pack(bytes).subarray(0, -9), { 'content-encoding': encoding }), 400, 'invalid_json')
  }
  const bomb = Buffer.alloc(50_000_000, 32)
  isError(await send(gateway, gzipSync(bomb), { 'content-encoding': 'gzip' }), 413, 'request_too_large')
  isError(await send(gateway, deflateSync(bomb), { 'content-encoding': 'deflate' }), 413, 'request_too_large')
  isError(await send(gateway, brotliCompressSync(bomb), { 'content-encoding': 'br' }), 413, 'request_too_large')
  isError(await send(gateway, zstdOf(32, 2 ** 33), { 'content-encoding': 'zstd' }), 413, 'request_too_large')
  for (const window of [0xa0, 0xff]) {
    const frame = Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, window]), zstdRaw(bytes).subarray(6)])
    assert.ok([200, 400].includes((await send(gateway, frame, { 'content-encoding': 'zstd' })).status), 'a window of gigabytes is only a claim')
  }
  isError(await send(gateway, bytes, { 'content-encoding': 'compress' }), 415, 'unsupported_encoding')
  isError(await send(gateway, bytes, { 'content-encoding': 'gzip, gzip' }), 415, 'unsupported_encoding')
  assert.ok(gateway.asked() <= 6)
})

test('32 MiB are taken and not a byte more, announced or not', { timeout: 60_000 }, async (t) => {
  const gateway = await harness(t)
  const limit = 32 * 2 ** 20
  const fitting = `{"model":"m","input":"hello","metadata":null${' '.repeat(limit - 45)}}`
  assert.equal(fitting.length, limit)
  assert.equal((await send(gateway, fitting)).status, 200)
  isError(await send(gateway, `${fitting} `), 413, 'request_too_large')
  let left = limit + 1
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      const size = Math.min(left, 1 << 20)
      left -= size
      if (size === 0) controller.close()
      else controller.enqueue(new Uint8Array(size).fill(32))
    },
  })
  const chunked = await fetch(`${gateway.url}/v1/responses`, { method: 'POST', body: stream, duplex: 'half' } as RequestInit)
  assert.equal(chunked.status, 413)
  await chunked.text()
})

test('bodies that are not what they should be are 400 with the place, never a 5xx, and nothing is stored', LIMIT, async (t) => {
  const gateway = await harness(t)
  const malformed = ['', ' ', '{', '{"model":', 'null', '[]', '"text"', '42', '{"model":"m","input":"a"', '\u0000', '{"model":"m"}{}', '\ufeff', '{"a":1e999999', 'nan']
  for (const path of ['/v1/responses', '/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/homing/v1/affinity', '/homing/v1/backends', '/v1/conversations/conv_x', '/v1/conversations/conv_x/items']) {
    for (const body of malformed) {
      const answer = await send(gateway, body, {}, path)
      assert.equal(answer.status, 400, `${path} ${JSON.stringify(body)}: ${JSON.stringify(answer.body)}`)
      assert.equal(errorOf(answer.body)['type'], 'invalid_request_error')
    }
  }
  const wrong: readonly JsonObject[] = [
    {}, { model: 'm' }, { model: 1, input: 'x' }, { model: '', input: 'x' }, { model: 'm', input: 5 }, { model: 'm', input: null }, { model: 'm', input: [null] }, { model: 'm', input: [[]] },
    { model: 'm', input: [{}] }, { model: 'm', input: [{ role: 'wizard', content: 'x' }] }, { model: 'm', input: [{ type: 'message', role: 'user', content: [{ type: 'what' }] }] },
    { model: 'm', input: 'x', stream: 'yes' }, { model: 'm', input: 'x', store: 1 }, { model: 'm', input: 'x', tools: {} }, { model: 'm', input: 'x', tools: [null] }, { model: 'm', input: 'x', temperature: 'hot' },
    { model: 'm', input: 'x', metadata: { a: 1 } }, { model: 'm', input: 'x', conversation: 7 }, { model: 'm', input: 'x', previous_response_id: {} }, { model: 'm', input: 'x', instructions: [] },
    { model: 'm', input: 'x', max_output_tokens: -1 }, { model: 'm', input: 'x', truncation: 'auto' }, { model: 'm', input: 'x', background: true }, { model: 'm', input: 'x', text: { format: { type: 'xml' } } },
    { model: 'm', input: [{ type: 'function_call_output', output: 'x' }] }, { model: 'm', input: 'x', tool_choice: { type: 'function', name: 'none' } }, { model: 'm', input: 'x', prompt_cache_options: 'x' },
  ]
  for (const body of wrong) {
    const answer = await gateway.json('/v1/responses', body)
    assert.equal(answer.status, 400, `${JSON.stringify(body)}: ${JSON.stringify(answer.body)}`)
    assert.equal(errorOf(answer.body)['type'], 'invalid_request_error')
  }
  const chats: readonly JsonObject[] = [{ model: 'm' }, { model: 'm', messages: [] }, { model: 'm', messages: 'x' }, { model: 'm', messages: [null] }, { model: 'm', messages: [{}] }, { model: 'm', messages: [{ role: 7 }] }, { messages: [{ role: 'user', content: 'x' }] }]
  for (const body of chats) assert.equal((await gateway.json('/v1/chat/completions', body)).status, 400, JSON.stringify(body))
  for (const path of ['/v1/responses', '/v1/chat/completions', '/v1/embeddings']) {
    isError(await send(gateway, JSON.stringify({ model: 'none', input: 'x', messages: [{ role: 'user', content: 'x' }] }), {}, path), 404, 'model_not_found')
  }
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
  assert.match(metrics, /homing_state_size\{what="store_responses"\} 0\n/)
  assert.doesNotMatch(metrics, /status="5\d\d"/)
  assert.equal(gateway.asked(), 0)
})

test('nesting is refused at its limit, also at a depth of millions, and the gateway goes on', { timeout: 60_000 }, async (t) => {
  const gateway = await harness(t)
  const nested = (depth: number): string => `{"model":"m","input":"x","metadata":null,"extra":${'['.repeat(depth)}${']'.repeat(depth)}}`
  assert.equal((await send(gateway, nested(63))).status, 200)
  isError(await send(gateway, nested(64)), 400, 'nesting_too_deep')
  const deep = nested(10_000_000)
  for (const path of ['/v1/responses', '/v1/chat/completions', '/v1/embeddings', '/v1/conversations', '/homing/v1/backends', '/homing/v1/affinity', '/homing/v1/backends/x/drain']) {
    const answer = await send(gateway, deep, {}, path)
    assert.equal(answer.status, 400, path)
    assert.equal(errorOf(answer.body)['code'], 'nesting_too_deep', path)
  }
  assert.equal((await send(gateway, hello)).status, 200)
})

test('hostile headers do no harm, and every answer has a request id', LIMIT, async (t) => {
  const gateway = await harness(t)
  const kept = await send(gateway, hello, { 'x-request-id': 'client.id-1' })
  assert.equal(kept.headers.get('x-request-id'), 'client.id-1')
  assert.equal(gateway.upstreams.flatMap(({ asked }) => asked)[0]!.headers['x-request-id'], 'client.id-1')
  for (const id of ['a b', 'x'.repeat(129), '<script>', 'né']) assert.match((await send(gateway, hello, { 'x-request-id': id })).headers.get('x-request-id')!, /^req_/)
  for (const headers of [
    { 'x-homing-session': 'x'.repeat(8000) }, { 'x-homing-session': '\u00ff\u00fe' }, { 'x-session-id': '' }, { authorization: 'Bearer' }, { authorization: 'Basic !!!' }, { 'content-type': 'text/plain' },
    { accept: 'image/png' }, { 'session-id': '__proto__' }, { 'x-homing-session': "'; drop table responses" },
  ]) assert.equal((await send(gateway, hello, headers)).status, 200, JSON.stringify(headers))
  const double = `POST /v1/responses HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-homing-session: a\r\nx-homing-session: b\r\nx-request-id: 1\r\nx-request-id: 2\r\ncontent-length: ${hello.length}\r\n\r\n${hello}`
  assert.match(await raw(gateway.url, double), /^HTTP\/1\.1 200 OK\r\nx-request-id: req_/i)
})

test('bytes that are no HTTP are answered by 400 with a request id, too many headers by 431', LIMIT, async (t) => {
  const gateway = await harness(t)
  for (const bytes of [
    'hello\r\n\r\n', Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]), 'GET /healthz HTTP/9.9\r\n\r\n', 'POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n',
    'POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n', 'POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: -4\r\n\r\n', 'GET /a b c HTTP/1.1\r\n\r\n',
  ]) {
    const answer = await raw(gateway.url, bytes)
    assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/)
    assert.match(answer, /\r\nx-request-id: req_/i)
    assert.match(answer, /"type":"invalid_request_error"/)
  }
  assert.match(await raw(gateway.url, `GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: ${'x'.repeat(100_000)}\r\n\r\n`), /^HTTP\/1\.1 431 /)
  assert.equal((await gateway.json('/healthz')).status, 200)
})

test('garbage behind a request does not land inside its answer', LIMIT, async (t) => {
  const gateway = await harness(t)
  const gate = new Gate()
  gateway.next(async (response, asked) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n')
    await gate.opened
    await says(' there')(Object.assign(response, { writeHead: () => response }), asked)
  })
  const body = JSON.stringify({ model: 'm', input: 'x', stream: true })
  const answer = raw(gateway.url, `POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}NONSENSE\r\n\r\n`)
  await eventually(() => gateway.asked() === 1)
  gate.open()
  const heads = (await answer).match(/HTTP\/1\.1 /g) ?? []
  assert.ok(heads.length <= 1, await answer)
})

test('unknown routes are 404 in the shape of the API, known ones with another method 405 with Allow', LIMIT, async (t) => {
  const gateway = await harness(t)
  for (const path of ['/', '/v1', '/v1/', '/v2/responses', '/v1/responses/a/b/c', '/v1/%ZZ', '/v1/models/%E0%A4%A', '//v1/responses', '/v1/responses/../responses', '/homing/nothing', '/v1/assistants', '/__proto__', '/constructor']) {
    const response = await fetch(gateway.url + path)
    assert.ok([404, 405].includes(response.status), path)
    assert.match(response.headers.get('x-request-id')!, /^req_/)
    assert.equal(errorOf((await response.json()) as JsonObject)['type'], 'invalid_request_error')
  }
  for (const [method, path, allowed] of [['GET', '/v1/responses', 'POST'], ['PUT', '/v1/chat/completions', 'POST'], ['PATCH', '/v1/conversations/conv_1', 'GET, POST, DELETE'], ['POST', '/healthz', 'GET'], ['DELETE', '/v1/models', 'GET']] as const) {
    const response = await fetch(gateway.url + path, { method })
    assert.equal(response.status, 405)
    assert.equal(response.headers.get('allow'), allowed)
    await response.text()
  }
  assert.equal((await gateway.json('/v1/models/')).status, 200, 'a slash at the end does not matter')
  for (const [path, status] of [['/v1/responses/abc', 400], ['/v1/responses/resp_%00', 404], [`/v1/responses/resp_${'x'.repeat(3000)}`, 404], ['/v1/conversations/x', 400], ['/v1/models/none', 404], ['/homing/v1/responses/none/decision', 404], ['/v1/responses/resp_1?stream=true', 400], ['/v1/responses/resp_1/input_items?limit=0', 400], ['/v1/responses/resp_1/input_items?order=up', 400]] as const) {
    assert.equal((await gateway.json(path)).status, status, path)
  }
  assert.equal((await send(gateway, '{}', {}, '/v1/responses/resp_1/cancel')).status, 400)
})

const held = (gate: Gate): Script => async (response, asked) => {
  await gate.opened
  await says('Done.')(response, asked)
}

test("a tenant's concurrency is a 429 with retry-after, and its places come back whatever the end", LIMIT, async (t) => {
  const gateway = await harness(t, { config: { tenants: [{ id: 'a', keys: ['key-a'], limits: { concurrency: 1 } }, { id: 'b', keys: ['key-b'] }] } })
  const a = { authorization: 'Bearer key-a' }
  const gate = new Gate()
  gateway.next(held(gate))
  const running = send(gateway, hello, a)
  await eventually(() => gateway.asked() === 1)
  const refused = await send(gateway, hello, a)
  isError(refused, 429, 'rate_limit_exceeded')
  assert.equal(refused.headers.get('retry-after'), '1')
  assert.equal((await send(gateway, hello, { 'x-api-key': 'key-b' })).status, 200, 'others are not concerned')
  assert.equal((await gateway.json('/v1/models', undefined, a)).status, 200, 'nor are routes that generate nothing')
  gate.open()
  assert.equal((await running).status, 200)
  await eventually(async () => (await send(gateway, '{', a)).status === 400)
  await eventually(async () => (await send(gateway, hello, a)).status === 200)
  const leave = new AbortController()
  gateway.next(held(new Gate()))
  const asked = gateway.asked()
  const left = fetch(`${gateway.url}/v1/responses`, { method: 'POST', body: hello, headers: a, signal: leave.signal })
  await eventually(() => gateway.asked() === asked + 1)
  leave.abort()
  await assert.rejects(left)
  await eventually(async () => (await send(gateway, hello, a)).status === 200)
})

test('requests per minute are a 429 that says when the next one fits', LIMIT, async (t) => {
  const gateway = await harness(t, { config: { limits: { requests_per_minute: 2 } } })
  assert.equal((await send(gateway, hello)).status, 200)
  assert.equal((await send(gateway, hello)).status, 200)
  const refused = await send(gateway, hello)
  isError(refused, 429, 'rate_limit_exceeded')
  const wait = Number(refused.headers.get('retry-after'))
  assert.ok(wait > 20 && wait <= 30, `${wait}`)
})

test('operator routes are free on loopback without tenants, and need an admin key otherwise', LIMIT, async (t) => {
  const open = await harness(t)
  assert.equal((await open.json('/homing/v1/backends')).status, 200)
  const keyed = await harness(t, { config: { admin: { keys: ['root'] } } })
  isError(await keyed.json('/homing/v1/backends'), 403, 'forbidden')
  assert.equal((await keyed.json('/homing/v1/backends', undefined, { authorization: 'Bearer root' })).status, 200)
  assert.equal((await send(keyed, hello)).status, 200)
  const tenants = await harness(t, { config: { tenants: [{ id: 'a', keys: ['key-a'] }], admin: { keys: ['root'] } } })
  isError(await tenants.json('/homing/v1/backends'), 401, 'unauthorized')
  isError(await tenants.json('/homing/v1/backends', undefined, { authorization: 'Bearer key-a' }), 403, 'forbidden')
  isError(await tenants.json('/homing/v1/backends', { url: 'http://127.0.0.1:1' }, { authorization: 'Bearer key-a' }), 403, 'forbidden')
  const { status, body } = await tenants.json('/homing/v1/backends', undefined, { authorization: 'Bearer root' })
  assert.equal(status, 200)
  assert.equal((body['data'] as JsonObject[]).length, 2)
  for (const path of ['/healthz', '/readyz', '/metrics']) assert.equal((await fetch(tenants.url + path)).status, 200, path)
})

test('a head can be asked for, and many tools that are left out do not make one that clients refuse', LIMIT, async (t) => {
  const gateway = await harness(t)
  for (const path of ['/healthz', '/readyz', '/v1/models']) {
    const response = await fetch(gateway.url + path, { method: 'HEAD' })
    assert.deepEqual([response.status, await response.text()], [200, ''])
  }
  const tools = Array.from({ length: 120 }, (_, i) => ({ type: `my_hosted_tool_with_a_rather_long_name_${i}` }))
  const answer = await send(gateway, JSON.stringify({ model: 'm', input: 'x', tools }))
  assert.equal(answer.status, 200)
  assert.match(answer.headers.get('x-homing-omitted')!, /, and 104 more$/)
})

test('an admin key is no key to the tenant that is called admin', LIMIT, async (t) => {
  const gateway = await harness(t, { config: { tenants: [{ id: 'admin', keys: ['key-tenant'] }], admin: { keys: ['key-root'] } } })
  const mine = await send(gateway, hello, { authorization: 'Bearer key-tenant' })
  assert.equal((await gateway.json(`/v1/responses/${String(mine.body['id'])}`, undefined, { authorization: 'Bearer key-root' })).status, 404)
  assert.equal((await send(gateway, hello, { authorization: 'Bearer key-root' })).status, 200, 'an operator can try a turn')
})

test('an answer in many languages survives unharmed', LIMIT, async (t) => {
  const text = 'Żółć 世界 🏳️‍🌈 \u0000\u2028 "\\" \ud83d\ude00'
  const gateway = await harness(t, { usual: says(text) })
  const answer = await send(gateway, JSON.stringify({ model: 'm', input: text }))
  assert.equal(textOf(answer.body), text)
  const [asked] = gateway.upstreams.flatMap((upstream) => upstream.asked)
  assert.match(JSON.stringify(asked!.body), /世界/)
})
