/** A backend that costs next to nothing: streams EVENTS single-token chat chunks, each in a write of its own, under an id of its own. */
import { createServer } from 'node:http'

const events = (n: number): Buffer[] => {
  const head = '"id":"chatcmpl-00000000","object":"chat.completion.chunk","created":1795522119,"model":"bench"'
  const chunks = [`{${head},"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`]
  for (let i = 0; i < n; i++) chunks.push(`{${head},"choices":[{"index":0,"delta":{"content":" tok${i % 10}"},"finish_reason":null}]}`)
  chunks.push(`{${head},"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`)
  chunks.push(`{${head},"choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":${n},"total_tokens":${1000 + n},"prompt_tokens_details":{"cached_tokens":900}}}`)
  return [...chunks.map((chunk) => Buffer.from(`data: ${chunk}\n\n`)), Buffer.from('data: [DONE]\n\n')]
}
const byCount = new Map<number, Buffer[]>()
const ID_AT = 'data: {"id":"chatcmpl-'.length
let answers = 0

const server = createServer((request, response) => {
  if (request.url === '/v1/models') {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ object: 'list', data: [{ id: 'bench', object: 'model', owned_by: 'bench' }] }))
    return
  }
  if (request.method === 'GET') {
    response.statusCode = request.url === '/v1/chat/completions' ? 405 : 404
    response.end()
    return
  }
  let size = 0
  let text = ''
  request.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (text === '') text = chunk.toString('latin1')
  })
  request.on('end', () => {
    const wanted = Number(/"seed":(\d+)/.exec(text)?.[1] ?? 64)
    let list = byCount.get(wanted)
    if (list === undefined) byCount.set(wanted, (list = events(wanted)))
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    let at = 0
    const id = String(++answers % 100_000_000).padStart(8, '0')
    const next = (): void => {
      if (at === list.length) return void response.end()
      const event = Buffer.from(list[at++]!)
      if (at < list.length) event.write(id, ID_AT, 'latin1') // all but [DONE]
      response.write(event)
      setImmediate(next)
    }
    next()
    void size
  })
})
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => process.send?.({ port: (server.address() as { port: number }).port }))
