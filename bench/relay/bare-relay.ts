/** The yardstick: node:http in front of undici, bytes as they come, nothing looked at. */
import { createServer } from 'node:http'
import { Pool } from 'undici'

const pool = new Pool(process.argv[2]!, { connections: null, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 })
const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    void pool.request({ method: 'POST', path: request.url!, headers: { 'content-type': 'application/json' }, body: Buffer.concat(chunks) }).then((answer) => {
      response.writeHead(answer.statusCode, { 'content-type': String(answer.headers['content-type']) })
      answer.body.pipe(response)
    })
  })
})
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as { port: number }).port }))
