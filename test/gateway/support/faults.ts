/** What goes wrong with engines, one script each. `MID`: after the first output; the others before any. */
import { chunk, DONE, refuses, send, sseHead, usageChunk, type Script } from './scripted-upstream.ts'

/** Nothing of an answer has been seen when these strike: another backend may answer. */
export const BEFORE_OUTPUT: Readonly<Record<string, Script>> = {
  'a bare 500': refuses(500, '<h1>Internal Server Error</h1>'),
  'a structured 500': refuses(500, { error: { message: 'CUDA error', type: 'InternalServerError', code: 500 } }),
  'a 502 of a proxy': refuses(502, '<h1>Bad Gateway</h1>'),
  'a 503': refuses(503, { error: { message: 'Loading model', type: 'unavailable_error', code: 503 } }),
  'a 429': refuses(429, { error: { message: 'queue full', type: 'rate_limit', code: 429 } }, { 'retry-after': '7' }),
  'a 401': refuses(401, { error: { message: 'Incorrect API key provided: sk-oper***', type: 'auth', code: 'invalid_api_key' } }),
  'a 404': refuses(404, { error: { message: 'The model `served` does not exist.', type: 'NotFoundError', code: 404 } }),
  'a redirect': refuses(302, '', { location: 'http://127.0.0.1:1/' }),
  'a reset before the head': (response) => void response.destroy(),
  'a reset behind the head': async (response) => {
    sseHead(response)
    await send(response, ': hello\n\n')
    response.destroy()
  },
  'a reset behind an empty chunk': async (response) => {
    sseHead(response)
    await send(response, chunk({ role: 'assistant', content: '' }))
    response.destroy()
  },
  'malformed events at once': (response) => {
    sseHead(response)
    response.end('data: {"choices": [{"del\n\n')
  },
  'an error payload at once': (response) => {
    sseHead(response)
    response.end(`data: ${JSON.stringify({ error: { message: 'engine died', type: 'InternalServerError', code: 500 } })}\n\n${DONE}`)
  },
  'an empty stream': (response) => {
    sseHead(response)
    response.end()
  },
  'only [DONE]': (response) => {
    sseHead(response)
    response.end(DONE)
  },
  'a body that is no JSON': refuses(200, '<html>captive portal</html>'),
  'an empty body': refuses(200, ''),
  'a JSON body cut short': (response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"id":"chatcmpl-1","choices":[{"message":{"role":"assis')
  },
  'a JSON body that holds no answer': refuses(200, { hello: 'world' }),
  'a JSON error with status 200': refuses(200, { error: { message: 'worker lost', code: 500 } }),
}

const begin = async (response: Parameters<Script>[0]): Promise<void> => {
  sseHead(response)
  await send(response, chunk({ role: 'assistant', content: '' }) + chunk({ content: 'Half of ' }))
}

/** Part of an answer is on its way when these strike. */
export const MID_ANSWER: Readonly<Record<string, Script>> = {
  'a reset': async (response) => {
    await begin(response)
    response.destroy()
  },
  'malformed events': async (response) => {
    await begin(response)
    response.end('data: {"choices": [{"del\n\n')
  },
  'malformed events in an open connection': async (response) => {
    await begin(response)
    await send(response, 'data: {"choices": [{"del\n\n')
  },
  'an error payload': async (response) => {
    await begin(response)
    response.end(`data: ${JSON.stringify({ error: { message: 'out of memory', code: 500 } })}\n\n${DONE}`)
  },
  'an end without a finish reason': async (response) => {
    await begin(response)
    response.end()
  },
  '[DONE] without a finish reason': async (response) => {
    await begin(response)
    response.end(DONE)
  },
  'an unknown finish reason': async (response) => {
    await begin(response)
    response.end(chunk({}, 'abort') + DONE)
  },
  'half an event': async (response) => {
    await begin(response)
    response.end('data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choi')
  },
}

const TEXT = 'Grüße, 世界 👋🏽!'

/** Odd, and whole all the same: the answer must arrive unharmed. */
export const ODD_BUT_WHOLE: Readonly<Record<string, Script>> = {
  'no usage': (response) => {
    sseHead(response)
    response.end(chunk({ content: TEXT }) + chunk({}, 'stop') + DONE)
  },
  'no [DONE]': (response) => {
    sseHead(response)
    response.end(chunk({ content: TEXT }) + chunk({}, 'stop') + usageChunk())
  },
  'no blank line behind the last event': (response) => {
    sseHead(response)
    response.end((chunk({ content: TEXT }) + chunk({}, 'stop')).trimEnd())
  },
  'Windows line ends': (response) => {
    sseHead(response)
    response.end((chunk({ content: TEXT }) + chunk({}, 'stop') + usageChunk() + DONE).replaceAll('\n', '\r\n'))
  },
  'comments and event lines between': (response) => {
    sseHead(response)
    response.end(`: ping\n\nevent: message\n${chunk({ content: TEXT })}: ping\n\n${chunk({}, 'stop')}${usageChunk()}${DONE}`)
  },
  'one byte at a time': async (response) => {
    sseHead(response)
    const bytes = Buffer.from(chunk({ content: TEXT }) + chunk({}, 'stop') + usageChunk() + DONE)
    for (const byte of bytes) await send(response, Buffer.of(byte))
    response.end()
  },
  'a plain JSON body': refuses(200, {
    id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: 'served',
    choices: [{ index: 0, message: { role: 'assistant', content: TEXT }, finish_reason: 'stop' }], usage: { prompt_tokens: 40, completion_tokens: 2, total_tokens: 42 },
  }),
  'a JSON body cut inside characters': async (response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    const bytes = Buffer.from(JSON.stringify({
      id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: 'served', choices: [{ index: 0, message: { role: 'assistant', content: TEXT }, finish_reason: 'stop' }],
    }))
    for (let at = 0; at < bytes.length; at += 3) await send(response, bytes.subarray(at, at + 3))
    response.end()
  },
  'events under a wrong content type': (response) => {
    response.writeHead(200, { 'content-type': 'text/plain' }).end(chunk({ content: TEXT }) + chunk({}, 'stop') + usageChunk() + DONE)
  },
  'events without a content type': (response) => {
    response.writeHead(200).end(chunk({ content: TEXT }) + chunk({}, 'stop') + usageChunk() + DONE)
  },
  'a finish, then a reset': async (response) => {
    sseHead(response)
    await send(response, chunk({ content: TEXT }) + chunk({}, 'stop'))
    response.destroy()
  },
  'a whole answer, then a connection that stays open': async (response) => {
    sseHead(response)
    await send(response, chunk({ content: TEXT }) + chunk({}, 'stop') + usageChunk() + DONE)
  },
}
export const ODD_TEXT = TEXT
