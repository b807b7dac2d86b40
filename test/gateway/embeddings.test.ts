import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import type { JsonObject } from '../../src/model/json.ts'
import { eventually, harness, type Harness } from './support/gateway.ts'

const LIMIT = { timeout: 30_000 }

type Model = { readonly url: string; readonly inputs: string[][]; status: number; dimensions: number; silent: boolean }

/** An embeddings model whose vectors point along an axis by length of the text; it can fail in the ways that matter. */
async function embeddingsModel(t: TestContext): Promise<Model> {
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    let text = ''
    request.on('data', (chunk: Buffer) => (text += chunk.toString()))
    request.on('end', () => {
      const { input } = JSON.parse(text) as { input: string[] }
      model.inputs.push(input)
      if (model.silent) return
      const data = input.map((one, index) => ({
        index,
        embedding: Array.from({ length: model.dimensions }, (_, axis) => (axis === one.length % model.dimensions ? 1 : 0)),
      }))
      response.writeHead(model.status, { 'content-type': 'application/json' }).end(JSON.stringify({ object: 'list', data }))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const model: Model = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, inputs: [], status: 200, dimensions: 8, silent: false }
  return model
}

const before = (t: TestContext, model: Model, options: JsonObject = {}): Promise<Harness> =>
  harness(t, { config: { fingerprint: { embeddings: { url: model.url, model: 'tiny', deadline: '10s', ...options } } } })
const looked = async (gateway: Harness, body: JsonObject): Promise<JsonObject> => (await gateway.json('/homing/v1/fingerprint', { model: 'm', ...body })).body
const fallbacks = async (gateway: Harness, what: string): Promise<number> => {
  const page = await (await fetch(`${gateway.url}/metrics`)).text()
  return Number(new RegExp(`homing_fallbacks_total\\{what="${what}"\\} (\\d+)`).exec(page)?.[1] ?? 0)
}

test('the remote model makes the embedding, from new items only, and says so; all else stays local', LIMIT, async (t) => {
  const model = await embeddingsModel(t)
  const gateway = await before(t, model)
  const first = await gateway.json('/v1/responses', { model: 'm', input: 'Why does my Python function raise a TypeError?' })
  await eventually(() => model.inputs.length === 1)
  const next = await looked(gateway, { previous_response_id: first.body['id'] as string, input: 'continue' })
  assert.deepEqual([next['embedding_model'], (next['embedding'] as number[]).length], ['tiny', 8])
  assert.equal((next['topics'] as [string, number][])[0]![0], 'coding')
  assert.ok(!model.inputs.at(-1)!.some((text) => text.includes('Python')), 'the first message was sent once')
  assert.equal(model.inputs.at(-1)!.at(-1), 'continue')
  assert.equal(await fallbacks(gateway, 'embedding_late'), 0)
})

test('late, failing, or of another length: the table\'s embedding is used and it is counted', LIMIT, async (t) => {
  const model = await embeddingsModel(t)
  const gateway = await before(t, model, { dimensions: 8, deadline: '300ms' })
  const expectTable = async (what: string): Promise<void> => {
    const counted = await fallbacks(gateway, what)
    const found = await looked(gateway, { input: `something else ${what}` })
    assert.equal(found['embedding_model'], undefined)
    assert.equal((found['embedding'] as number[]).length, 256)
    assert.equal(await fallbacks(gateway, what), counted + 1, what)
  }
  model.status = 500
  await expectTable('embedding_failed')
  model.status = 200
  model.dimensions = 9
  await expectTable('embedding_dimension')
  model.silent = true
  await expectTable('embedding_late')
  // three in a row: left alone
  const asked = model.inputs.length
  await expectTable('embedding_held')
  assert.equal(model.inputs.length, asked)
})

test('a silent embeddings model never holds a turn up', LIMIT, async (t) => {
  const model = await embeddingsModel(t)
  model.silent = true
  const gateway = await before(t, model, { deadline: '1h' })
  const answered = await gateway.json('/v1/responses', { model: 'm', input: 'Hello there, how are you?' })
  assert.equal(answered.status, 200)
  await eventually(() => model.inputs.length === 1)
})
