/** Backends that each serve one model of an outcome matrix. What they say does not matter: who answered is graded. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export type GradedFleet = { readonly urls: readonly string[]; readonly close: () => Promise<void> }

export async function startFleet(models: readonly string[]): Promise<GradedFleet> {
  const servers = await Promise.all(models.map(startOne))
  return { urls: servers.map(({ url }) => url), close: async () => void (await Promise.all(servers.map(({ close }) => close()))) }
}

async function startOne(model: string): Promise<{ url: string; close: () => Promise<void> }> {
  let answers = 0
  const server = createServer((request, response) => {
    if (request.method === 'GET') {
      const known = request.url === '/v1/models'
      response.writeHead(known ? 200 : 404, { 'content-type': 'application/json' })
      response.end(known ? JSON.stringify({ object: 'list', data: [{ id: model, object: 'model', max_model_len: 32_768 }] }) : '{}')
      return
    }
    request.resume()
    request.on('end', () => {
      const id = `chatcmpl-${model}-${++answers}`
      const chunk = (choices: readonly object[], usage: object | null): string =>
        `data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: 1, model, choices, ...(usage === null ? {} : { usage }) })}\n\n`
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.end(
        chunk([{ index: 0, delta: { role: 'assistant', content: 'B' }, finish_reason: null }], null) +
          chunk([{ index: 0, delta: {}, finish_reason: 'stop' }], null) +
          chunk([], { prompt_tokens: 100, completion_tokens: 1, total_tokens: 101, prompt_tokens_details: { cached_tokens: 0 } }) +
          'data: [DONE]\n\n',
      )
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
