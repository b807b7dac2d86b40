import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { loadScript } from './scripts.ts'

type Found = { readonly url: string; readonly engine: string; readonly models: readonly string[] }
type Probe = {
  askModels(url: string, timeoutMs?: number): Promise<readonly string[] | null>
  findLocalEngines(usual: readonly { port: number; engine: string }[], timeoutMs?: number): Promise<readonly Found[]>
  readonly USUAL_PORTS: readonly { port: number; engine: string }[]
}
const { askModels, findLocalEngines, USUAL_PORTS } = await loadScript<Probe>('engine/probe.mjs')

const withServer = async (listener: RequestListener, use: (url: string, port: number) => Promise<void>): Promise<void> => {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  try {
    await use(`http://127.0.0.1:${port}`, port)
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

const json = (value: unknown): RequestListener => (request, response) => {
  if (request.url !== '/v1/models') response.statusCode = 404
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(value))
}

const LIST = { object: 'list', data: [{ id: 'qwen', object: 'model' }, { id: 'other' }] }

test('a server that lists models as an engine does is an engine', () =>
  withServer(json(LIST), async (url, port) => {
    assert.deepEqual(await askModels(url), ['qwen', 'other'])
    assert.deepEqual(await findLocalEngines([{ port, engine: 'vLLM' }]), [{ url, engine: 'vLLM', models: ['qwen', 'other'] }])
  }))

const NOT_ENGINES: readonly (readonly [string, RequestListener])[] = [
  ['a web page', (_, response) => response.end('<html>hello</html>')],
  ['a page for every path that says 404', (_, response) => response.writeHead(404).end(JSON.stringify(LIST))],
  ['a server that wants a key', (_, response) => response.writeHead(401).end('{}')],
  ['JSON of another shape', json({ models: ['qwen'] })],
  ['a bare array', json([{ id: 'qwen' }])],
  ['a list without models', json({ object: 'list', data: [] })],
  ['a list of things without an id', json({ object: 'list', data: [{ name: 'qwen' }] })],
  ['JSON null', json(null)],
  ['a redirect', (_, response) => response.writeHead(302, { location: '/elsewhere' }).end()],
  ['a server that never answers', () => undefined],
  ['an answer without end', (_, response) => {
    response.write('{"object":"list","data":[')
    response.on('drain', () => response.write('{"id":"x"},'.repeat(10_000)))
    while (response.write('{"id":"x"},'.repeat(10_000)));
  }],
]

for (const [what, listener] of NOT_ENGINES) {
  test(`${what} on a usual port is not an engine`, () =>
    withServer(listener, async (url) => assert.equal(await askModels(url, 300), null)))
}

test('another Homing on a usual port is not an engine', () =>
  withServer((request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(request.url === '/homing/v1/backends' ? { object: 'list', data: [] } : LIST))
  }, async (_, port) => assert.deepEqual(await findLocalEngines([{ port, engine: 'vLLM' }]), [])))

test('a port where nothing listens is not an engine', async () => {
  let port = 0
  await withServer(json(LIST), async (_, used) => void (port = used))
  assert.deepEqual(await findLocalEngines([{ port, engine: 'vLLM' }]), [])
})

test('the usual ports are those of vLLM, llama.cpp, SGLang, Ollama and LM Studio', () => {
  assert.deepEqual(USUAL_PORTS.map(({ port }) => port), [8000, 8080, 30000, 11434, 1234])
})
