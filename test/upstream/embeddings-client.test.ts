import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import { Agent } from 'undici'
import { EmbeddingsClient, type EmbeddingTrouble } from '../../src/upstream/embeddings-client.ts'

type Asked = { readonly body: { input: string[]; model: string; dimensions?: number }; readonly headers: IncomingMessage['headers']; readonly answer: (status: number, body: unknown) => void }

/** A server whose answers the test gives, and a clock that the test moves. */
async function scripted(t: TestContext, options: { dimensions?: number; key?: string } = {}) {
  const asked: Asked[] = []
  const arrivals: (() => void)[] = []
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    let text = ''
    request.on('data', (chunk: Buffer) => (text += chunk.toString()))
    request.on('end', () => {
      asked.push({
        body: JSON.parse(text) as Asked['body'],
        headers: request.headers,
        answer: (status, body) => {
          response.writeHead(status, { 'content-type': 'application/json' }).end(typeof body === 'string' ? body : JSON.stringify(body))
        },
      })
      arrivals.shift()?.()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const dispatcher = new Agent()
  t.after(async () => {
    server.closeAllConnections()
    await dispatcher.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  let nowMs = 0
  let timers: { atMs: number; task: () => void }[] = []
  const troubles: EmbeddingTrouble[] = []
  const client = new EmbeddingsClient({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    model: 'm', key: options.key ?? null, deadlineMs: 50, dimensions: options.dimensions ?? null,
    dispatcher,
    nowMs: () => nowMs,
    after: (ms, task) => {
      const timer = { atMs: nowMs + ms, task }
      timers.push(timer)
      return () => void (timers = timers.filter((one) => one !== timer))
    },
    onTrouble: (trouble, cause) => {
      troubles.push(trouble)
      assert.ok(!String(cause).includes('<html>'), 'what was answered is not told')
    },
  })
  const advance = (ms: number): void => {
    nowMs += ms
    const due = timers.filter(({ atMs }) => atMs <= nowMs)
    timers = timers.filter(({ atMs }) => atMs > nowMs)
    for (const { task } of due) task()
  }
  const arrived = (count: number): Promise<void> =>
    asked.length >= count ? Promise.resolve() : new Promise<void>((resolve) => arrivals.push(resolve)).then(() => arrived(count))
  return { client, asked, arrived, advance, troubles, timers: () => timers.length }
}
const LIMIT = { timeout: 10_000 }
const vectors = (...values: number[][]) => ({ object: 'list', data: values.map((embedding, index) => ({ object: 'embedding', index, embedding })) })

test('texts go out as OpenAI has it, and vectors come back in the order of their numbers', LIMIT, async (t) => {
  const { client, asked, arrived, troubles, timers } = await scripted(t, { dimensions: 2, key: 'secret' })
  const found = client.embed(['a', 'b'])
  await arrived(1)
  assert.deepEqual(asked[0]!.body, { model: 'm', input: ['a', 'b'], encoding_format: 'float', dimensions: 2 })
  assert.equal(asked[0]!.headers.authorization, 'Bearer secret')
  asked[0]!.answer(200, { data: [{ index: 1, embedding: [0, 1] }, { index: 0, embedding: [1, 0] }] })
  assert.deepEqual((await found)!.map((vector) => [...vector]), [[1, 0], [0, 1]])
  assert.deepEqual([troubles, timers()], [[], 0])
})

test('what is late is given up at its deadline and counted once, whatever comes after', LIMIT, async (t) => {
  const { client, arrived, advance, troubles, timers } = await scripted(t)
  const found = client.embed(['a'])
  await arrived(1)
  advance(50)
  assert.equal(await found, null)
  assert.deepEqual([troubles, timers()], [['late'], 0])
})

test('errors, garbage, missing or wrongly numbered vectors and vectors of other lengths are told apart', LIMIT, async (t) => {
  const { client, asked, arrived, troubles } = await scripted(t)
  const answers: [number, unknown, EmbeddingTrouble | null][] = [
    [200, vectors([1, 2]), null],
    [500, { error: 'no' }, 'failed'],
    [200, '<html>', 'failed'],
    [200, vectors([1, 2]), null],
    [200, { data: [] }, 'failed'],
    [200, { data: [{ index: 7, embedding: [1, 2] }] }, 'failed'],
    [200, vectors([1, 2]), null],
    [200, { data: [{ index: 0, embedding: ['x', 1] }] }, 'failed'],
    [200, vectors([0, 0]), 'failed'],
    [200, vectors([1, 2]), null],
    [200, vectors([1, 2, 3]), 'dimension'],
    [200, vectors([1, 2]), null],
  ]
  for (const [at, [status, body, trouble]] of answers.entries()) {
    const before = troubles.length
    const found = client.embed(['a'])
    await arrived(at + 1)
    asked[at]!.answer(status, body)
    assert.equal((await found) === null, trouble !== null, JSON.stringify(body))
    assert.deepEqual(troubles.slice(before), trouble === null ? [] : [trouble], JSON.stringify(body))
  }
})

test('after three failures in a row nothing is asked until the hold is over; then one trial decides', LIMIT, async (t) => {
  const { client, asked, arrived, advance, troubles } = await scripted(t)
  for (let at = 0; at < 3; at++) {
    const found = client.embed(['a'])
    await arrived(at + 1)
    asked[at]!.answer(503, 'down')
    await found
  }
  assert.equal(await client.embed(['a']), null)
  assert.deepEqual([asked.length, troubles.at(-1)], [3, 'held'])
  advance(1000)
  const trial = client.embed(['b'])
  assert.equal(await client.embed(['c']), null, 'one at a time')
  await arrived(4)
  asked[3]!.answer(503, 'down')
  await trial
  advance(1000)
  assert.equal(await client.embed(['d']), null, 'the hold doubled')
  advance(1000)
  const good = client.embed(['e'])
  await arrived(5)
  asked[4]!.answer(200, vectors([1]))
  assert.equal((await good)!.length, 1)
  const next = client.embed(['f'])
  await arrived(6)
  asked[5]!.answer(200, vectors([1]))
  assert.equal((await next)!.length, 1)
})

test('under load four requests are under way, and what waits goes together in one', LIMIT, async (t) => {
  const { client, asked, arrived, troubles } = await scripted(t)
  const found = Array.from({ length: 7 }, (_, at) => client.embed([`t${at}`]))
  await arrived(4)
  assert.deepEqual(asked.map(({ body }) => body.input), [['t0'], ['t1'], ['t2'], ['t3']])
  asked[0]!.answer(200, vectors([1]))
  await arrived(5)
  assert.deepEqual(asked[4]!.body.input, ['t4', 't5', 't6'])
  for (const at of [1, 2, 3]) asked[at]!.answer(200, vectors([1]))
  asked[4]!.answer(200, vectors([4], [5], [6]))
  assert.deepEqual((await Promise.all(found)).map((vector) => vector![0]![0]), [1, 1, 1, 1, 4, 5, 6])
  assert.deepEqual(troubles, [])
})

test('what waits is bounded', LIMIT, async (t) => {
  const { client, troubles, advance } = await scripted(t)
  const found = Array.from({ length: 4 + 256 }, () => client.embed(['a']))
  assert.equal(await client.embed(['a']), null)
  assert.deepEqual(troubles, ['held'])
  advance(50)
  assert.ok((await Promise.all(found)).every((vectors) => vectors === null))
})
