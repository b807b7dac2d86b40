/**
 * A transparent proxy that keeps what passed, so that a test can judge what a client was really sent. When one side
 * leaves, so does the other.
 */
import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { textOf } from './scripted-engine.ts'

export type Exchange = {
  readonly method: string
  readonly path: string
  readonly requestHeaders: IncomingHttpHeaders
  readonly requestBody: Buffer
  status: number
  headers: IncomingHttpHeaders
  body: string
  /** The answer arrived whole. */
  ended: boolean
}

export type Tap = { readonly url: string; readonly exchanges: Exchange[]; close(): Promise<void> }

export async function startTap(target: string): Promise<Tap> {
  const exchanges: Exchange[] = []
  const { hostname, port } = new URL(target)
  const server = createServer((request, response) => {
    const sent: Buffer[] = []
    request.on('data', (chunk: Buffer) => sent.push(chunk))
    request.once('end', () => {
      const requestBody = Buffer.concat(sent)
      const exchange: Exchange = {
        method: request.method ?? '', path: request.url ?? '', requestHeaders: request.headers, requestBody,
        status: 0, headers: {}, body: '', ended: false,
      }
      exchanges.push(exchange)
      const onward = httpRequest({ hostname, port, method: request.method, path: request.url, headers: request.headers, agent: false })
      onward.once('response', (answer) => {
        exchange.status = answer.statusCode ?? 0
        exchange.headers = answer.headers
        response.writeHead(exchange.status, answer.rawHeaders)
        answer.pipe(response)
        answer.once('error', () => response.destroy())
        void textOf(answer).then((text) => {
          exchange.body = text
          exchange.ended = true
        }, () => response.destroy())
      })
      onward.once('error', () => response.destroy())
      response.once('close', () => onward.destroy())
      onward.end(requestBody)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    exchanges,
    close: () => new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    }),
  }
}
