/** A backend whose every token says when it was written: TOKENS_PER_SECOND chunks on one shared clock, for SECONDS. */
import { createServer, type ServerResponse } from 'node:http'

const tokensPerSecond = Number(process.argv[2])
const seconds = Number(process.argv[3])
const streams = new Map<ServerResponse, number>()
const head = '"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1795522119,"model":"bench"'

const server = createServer((request, response) => {
  if (request.method === 'GET') {
    response.statusCode = request.url === '/v1/models' ? 200 : request.url === '/v1/chat/completions' ? 405 : 404
    response.setHeader('content-type', 'application/json')
    return void response.end('{"object":"list","data":[{"id":"bench","object":"model","owned_by":"bench"}]}')
  }
  request.resume()
  request.on('end', () => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    streams.set(response, tokensPerSecond * seconds)
  })
})

/** Streams are spread over the interval in ten groups, as independent engines would be. */
const GROUPS = 10
let group = 0
setInterval(() => {
  let at = 0
  for (const [response, left] of streams) {
    if (at++ % GROUPS !== group) continue
    if (left > 0) {
      response.write(`data: {${head},"choices":[{"index":0,"delta":{"content":"@${(performance.timeOrigin + performance.now()).toFixed(3)}@"},"finish_reason":null}]}\n\n`)
      streams.set(response, left - 1)
    } else {
      response.end(`data: {${head},"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: {${head},"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":${tokensPerSecond * seconds},"total_tokens":${10 + tokensPerSecond * seconds}}}\n\ndata: [DONE]\n\n`)
      streams.delete(response)
    }
  }
  group = (group + 1) % GROUPS
}, 1000 / tokensPerSecond / GROUPS)
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as { port: number }).port }))
