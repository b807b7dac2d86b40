import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from 'node:net'
import type { JsonObject } from '../../src/model/json.ts'
import { errorOf, eventually, harness, names, responseOf, textOf } from './support/gateway.ts'
import { chunk, DONE, Gate, refuses, says, send, sseHead, usageChunk, type Script } from './support/scripted-upstream.ts'

const LIMIT = { timeout: 20_000 }
const responses = { model: 'm', input: 'hello', stream: true }
const chat = { model: 'm', messages: [{ role: 'user', content: 'hello' }], stream: true }

/** Says a word, then waits at the gate, then ends in order. */
const waitsAt = (gate: Gate): Script => async (response) => {
  sseHead(response)
  await send(response, chunk({ content: 'One' }))
  await gate.opened
  response.end(chunk({ content: ' two' }) + chunk({}, 'stop') + usageChunk() + DONE)
}

test('each token reaches the client before the next one exists', LIMIT, async (t) => {
  const gateway = await harness(t)
  for (const [path, body, name] of [['/v1/responses', responses, 'response.output_text.delta'], ['/v1/chat/completions', chat, null]] as const) {
    const gate = new Gate()
    gateway.next(waitsAt(gate))
    const stream = await gateway.events(path, body)
    if (name === null) await stream.next()
    else await stream.until(name)
    assert.equal(await gateway.running(), 1)
    gate.open()
    assert.equal((await stream.rest()).at(-1)!.data, '[DONE]')
    assert.equal(await gateway.running(), 0)
  }
})

test('a client that leaves its stream cancels the backend and frees its place', LIMIT, async (t) => {
  const gateway = await harness(t)
  for (const [path, body] of [['/v1/responses', responses], ['/v1/chat/completions', chat]] as const) {
    let gone: Promise<void> | undefined
    gateway.next((response, asked) => {
      gone = asked.gone
      return waitsAt(new Gate())(response, asked)
    })
    const stream = await gateway.events(path, body)
    await stream.next()
    await stream.cancel()
    await gone
    await eventually(async () => (await gateway.running()) === 0)
  }
})

test('a client that leaves before anything was sent cancels the backend too, streamed or not', LIMIT, async (t) => {
  const gateway = await harness(t)
  for (const [path, body] of [
    ['/v1/responses', responses], ['/v1/chat/completions', chat], ['/v1/responses', { ...responses, stream: false }],
    ['/v1/chat/completions', { ...chat, stream: false }], ['/v1/embeddings', { model: 'm', input: 'x' }],
  ] as const) {
    const leave = new AbortController()
    const reached = new Gate()
    let gone: Promise<void> | undefined
    gateway.next((_response, asked) => {
      gone = asked.gone
      reached.open()
    })
    const answer = fetch(gateway.url + path, { method: 'POST', body: JSON.stringify(body), signal: leave.signal })
    await reached.opened
    leave.abort()
    await assert.rejects(answer)
    await gone
    await eventually(async () => (await gateway.running()) === 0)
  }
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
  assert.match(metrics, /homing_turns_total\{[^}]*outcome="cancelled"\} \d/)
  assert.equal(gateway.asked(), 5, 'nobody else was asked')
})

test('a client that does not read stops the backend: what is not read waits there', { timeout: 60_000 }, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  for (const [path, body] of [['/v1/responses', responses], ['/v1/chat/completions', chat]] as const) {
    let sent = 0
    let stuck = new Gate()
    const pieces = 4096
    const piece = 'x'.repeat(16_384)
    gateway.next(async (response) => {
      sseHead(response)
      for (let i = 0; i < pieces; i++) {
        sent++
        if (!response.write(chunk({ content: piece }))) {
          const drained = new Promise<void>((resolve) => response.once('drain', resolve))
          const patience = setTimeout(() => stuck.open(), 500)
          await drained
          clearTimeout(patience)
        }
      }
      response.end(chunk({}, 'stop') + usageChunk() + DONE)
    })
    const before = process.memoryUsage().rss
    const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1')
    const text = JSON.stringify(body)
    socket.pause()
    socket.write(`POST ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`)
    await stuck.opened
    assert.ok(sent < pieces / 2, `${sent} of ${pieces} pieces were taken`)
    assert.ok(process.memoryUsage().rss - before < 64 * 2 ** 20)
    let end = ''
    let received = 0
    await new Promise<void>((resolve, reject) => {
      socket.on('data', (data: Buffer) => {
        received += data.length
        end = (end + data.toString('latin1')).slice(-200)
      })
      socket.on('close', () => resolve())
      socket.on('error', reject)
      socket.resume()
    })
    assert.equal(sent, pieces, 'once it reads on, all of it comes')
    assert.ok(received > pieces * piece.length)
    assert.match(end, /data: \[DONE\]/)
    assert.equal(await gateway.running(), 0)
    stuck = new Gate()
  }
})

test('without output the stream is opened after stream_commit_after, by a pending head, created and in_progress', LIMIT, async (t) => {
  const gateway = await harness(t, { config: { stream_commit_after: '20ms' } })
  const first = new Gate()
  gateway.next(async (response) => {
    await first.opened
    response.writeHead(500).end('broken after all')
  })
  const stream = await gateway.events('/v1/responses', responses)
  assert.equal(stream.response.headers.get('x-homing-backend'), 'pending')
  const created = await stream.next()
  assert.equal(created!.name, 'response.created')
  first.open()
  const rest = await stream.rest()
  assert.deepEqual([rest[0]!.name, rest.at(-2)!.name], ['response.in_progress', 'response.completed'])
  assert.equal(names(rest).filter((name) => name === 'response.created').length, 0)
  assert.equal(responseOf(rest.at(-2)!)['id'], responseOf(created!)['id'], 'another backend answers under the same id')
  const all = [created!, ...rest].flatMap(({ data }) => (typeof data === 'string' ? [] : [data['sequence_number']]))
  assert.deepEqual(all, all.map((_, index) => index))
  const receipt = await gateway.json(`/homing/v1/responses/${String(responseOf(created!)['id'])}/decision`)
  assert.equal(receipt.body['backend_id'], gateway.upstreams.filter(({ asked }) => asked.length > 0).find(({ id }) => id !== (receipt.body['failovers'] as JsonObject[])[0]!['backend_id'])!.id)
})

test('a refusal that comes after the stream was opened ends it as response.failed, and it is stored as such', LIMIT, async (t) => {
  const gateway = await harness(t, { config: { stream_commit_after: '20ms' } })
  const first = new Gate()
  gateway.next(async (response, asked) => {
    await first.opened
    await refuses(400, { error: { message: 'no such grammar', code: 400 } })(response, asked)
  })
  const stream = await gateway.events('/v1/responses', responses)
  await stream.until('response.created')
  first.open()
  const seen = await stream.rest()
  assert.equal(seen.at(-2)!.name, 'response.failed')
  const failed = responseOf(seen.at(-2)!)
  assert.equal((failed['error'] as JsonObject)['message'], 'no such grammar')
  assert.equal((await gateway.json(`/v1/responses/${String(failed['id'])}`)).body['status'], 'failed')
  assert.equal(await gateway.running(), 0)
})

test('a stream that is opened early is kept alive by comments only, and never sooner than each 15 seconds', LIMIT, async (t) => {
  const gateway = await harness(t, { config: { stream_commit_after: '0s' } })
  const gate = new Gate()
  gateway.next(async (response) => {
    await new Promise((resolve) => setTimeout(resolve, 100))
    await waitsAt(gate)(response, undefined as never)
  })
  const stream = await gateway.events('/v1/responses', responses)
  const seen = [await stream.next(), await stream.next(), await stream.next()]
  assert.deepEqual(seen.map((event) => event!.name), ['response.created', 'response.in_progress', 'response.output_item.added'])
  gate.open()
  await stream.rest()
})

test('the moment a terminal event is seen its response can be read and continued', LIMIT, async (t) => {
  const gateway = await harness(t, { store: 'disk' })
  for (let i = 0; i < 20; i++) {
    const stream = await gateway.events('/v1/responses', responses)
    const completed = responseOf(await stream.until('response.completed'))
    const [stored, next] = await Promise.all([
      gateway.json(`/v1/responses/${String(completed['id'])}`), gateway.json('/v1/responses', { model: 'm', input: 'more', previous_response_id: String(completed['id']) }),
    ])
    assert.deepEqual(stored.body, completed)
    assert.equal(next.status, 200)
    await stream.cancel()
  }
})

test('the receipt of an answer is there before its last byte', LIMIT, async (t) => {
  const gateway = await harness(t)
  const stream = await gateway.events('/v1/responses', responses)
  const completed = await stream.until('response.completed')
  const receipt = await gateway.json(`/homing/v1/responses/${String(responseOf(completed)['id'])}/decision`)
  assert.equal(receipt.status, 200)
  assert.equal(receipt.body['outcome'], 'completed')
  assert.deepEqual(receipt.body['cached_tokens'], { expected: 0, actual: 8 })
  const chatStream = await gateway.events('/v1/chat/completions', chat)
  let last: JsonObject | undefined
  for (let event = await chatStream.next(); event !== null && event.data !== '[DONE]'; event = await chatStream.next()) last = event.data as JsonObject
  const chatReceipt = await gateway.json(`/homing/v1/responses/${String(last!['id'])}/decision`)
  assert.equal(chatReceipt.body['endpoint'], 'chat')
})

test('a Chat answer has an id of its own, also where a backend uses one twice or gives none', LIMIT, async (t) => {
  const same = says('Hi', 'chatcmpl-same')
  const nameless: Script = (response) => {
    sseHead(response)
    response.end(`event: message\n${chunk({ content: 'Hi' })}: ping\n\n${chunk({}, 'stop').replaceAll('\n', '\r\n')}${usageChunk()}`.replaceAll('"id":"chatcmpl-1",', '') + DONE)
  }
  const whole: Script = (response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ object: 'chat.completion', model: 'served', choices: [{ index: 0, message: { role: 'assistant', content: 'Hi' }, finish_reason: 'stop' }] }))
  }
  const gateway = await harness(t)
  gateway.next(same, same, same, nameless, nameless, whole, whole)
  const ids: string[] = []
  for (let at = 0; at < 7; at++) {
    const headers = { 'x-request-id': `request-${at}` }
    if (at % 2 === 0) {
      ids.push(String((await gateway.json('/v1/chat/completions', { ...chat, stream: false }, headers)).body['id']))
    } else {
      const stream = await gateway.events('/v1/chat/completions', chat, headers)
      const told = (await stream.rest()).flatMap(({ data }) => (typeof data === 'string' ? [] : [data]))
      assert.equal(new Set(told.map(({ id }) => id)).size, 1, 'all events name the same answer')
      assert.equal(told.flatMap(({ choices }) => choices as JsonObject[]).map(({ delta }) => (delta as JsonObject)['content'] ?? '').join(''), 'Hi')
      ids.push(String(told[0]!['id']))
    }
    const receipt = await gateway.json(`/homing/v1/responses/${ids[at]!}/decision`)
    assert.equal(receipt.body['request_id'], `request-${at}`)
  }
  assert.equal(ids[0], 'chatcmpl-same')
  assert.ok(ids.slice(1).every((id) => /^chatcmpl-[0-9a-f]{48}$/.test(id)), ids.join())
  assert.equal(new Set(ids).size, 7)
})

test('answers that run at the same time under one id of the backend are two answers', LIMIT, async (t) => {
  const gateway = await harness(t, { usual: says('Hi', 'chatcmpl-same') })
  const gate = new Gate()
  gateway.next(async (response) => {
    sseHead(response)
    await send(response, chunk({ content: 'Slow' }, null, 'chatcmpl-same'))
    await gate.opened
    response.end(chunk({}, 'stop', 'chatcmpl-same') + DONE)
  })
  const slow = await gateway.events('/v1/chat/completions', chat)
  await slow.next()
  const quick = await gateway.json('/v1/chat/completions', { ...chat, stream: false })
  assert.notEqual(quick.body['id'], 'chatcmpl-same')
  gate.open()
  assert.ok((await slow.rest()).every(({ data }) => typeof data === 'string' || data['id'] === 'chatcmpl-same'))
})

test('Chat clients get usage when they ask for it, and no usage chunk when they do not', LIMIT, async (t) => {
  const gateway = await harness(t)
  const chunks = async (body: JsonObject): Promise<JsonObject[]> => {
    const stream = await gateway.events('/v1/chat/completions', body)
    return (await stream.rest()).flatMap(({ data }) => (typeof data === 'string' ? [] : [data]))
  }
  assert.ok(!(await chunks(chat)).some((part) => 'usage' in part))
  const asked = await chunks({ ...chat, stream_options: { include_usage: true } })
  assert.equal((asked.at(-1)!['usage'] as JsonObject)['prompt_tokens'], 40)
  const whole = await gateway.json('/v1/chat/completions', { ...chat, stream: false })
  assert.equal((whole.body['usage'] as JsonObject)['completion_tokens'], 2)
  assert.equal(whole.body['object'], 'chat.completion')
})

test('SIGTERM finishes running turns and refuses new ones', LIMIT, async (t) => {
  const gateway = await harness(t)
  const gate = new Gate()
  gateway.next(waitsAt(gate))
  const stream = await gateway.events('/v1/responses', responses)
  await stream.until('response.output_text.delta')
  const closed = gateway.gateway.close(10_000)
  const refused = await fetch(`${gateway.url}/v1/models`).catch(() => null)
  assert.ok(refused === null || refused.status === 503)
  gate.open()
  const seen = await stream.rest()
  assert.equal(textOf(responseOf(seen.at(-2)!)), 'One two')
  await closed
})

test('a turn that outlives the grace is cut off, and its backend is told', LIMIT, async (t) => {
  const gateway = await harness(t)
  let gone: Promise<void> | undefined
  gateway.next((response, asked) => {
    gone = asked.gone
    return waitsAt(new Gate())(response, asked)
  })
  const stream = await gateway.events('/v1/responses', responses)
  await stream.until('response.output_text.delta')
  await gateway.gateway.close(20)
  await assert.rejects(stream.rest())
  await gone
})

test('a backend that is asked in the Responses protocol is held to the same rules', LIMIT, async (t) => {
  const gateway = await harness(t, { declared: { protocol: 'responses' }, offersResponses: true })
  const event = (data: JsonObject): string => `event: ${String(data['type'])}\ndata: ${JSON.stringify(data)}\n\n`
  const item = { type: 'message', id: 'msg_theirs', role: 'assistant', status: 'in_progress', content: [] }
  const begin = (response: Parameters<Script>[0]): Promise<void> => {
    sseHead(response)
    return send(response, event({ type: 'response.created', response: { id: 'resp_theirs', status: 'in_progress', output: [] } }) +
      event({ type: 'response.output_item.added', output_index: 0, item }) +
      event({ type: 'response.content_part.added', item_id: 'msg_theirs', output_index: 0, content_index: 0, part: { type: 'output_text', text: '', annotations: [] } }) +
      event({ type: 'response.output_text.delta', item_id: 'msg_theirs', output_index: 0, content_index: 0, delta: 'Hi' }))
  }
  gateway.next(async (response) => {
    await begin(response)
    response.destroy()
  })
  const cut = await (await gateway.events('/v1/responses', responses)).rest()
  assert.deepEqual(names(cut).slice(-2), ['response.failed', null])
  gateway.next(refuses(500, 'x'), async (response) => {
    await begin(response)
    response.end(event({ type: 'response.completed', response: { id: 'resp_theirs', status: 'completed', output: [{ ...item, status: 'completed', content: [{ type: 'output_text', text: 'Hi', annotations: [] }] }], usage: { input_tokens: 9, output_tokens: 1, total_tokens: 10 } } }))
  })
  const whole = await (await gateway.events('/v1/responses', responses)).rest()
  const completed = responseOf(whole.at(-2)!)
  assert.equal(textOf(completed), 'Hi')
  assert.notEqual(completed['id'], 'resp_theirs')
  assert.equal(gateway.upstreams[0]!.asked[0]?.path ?? gateway.upstreams[1]!.asked[0]!.path, '/v1/responses')
})

test('/v1/completions and /v1/embeddings fail over and pass through', LIMIT, async (t) => {
  const gateway = await harness(t)
  gateway.next(refuses(500, 'x'), refuses(200, { object: 'list', data: [{ embedding: [0.5], note: 'ü' }] }))
  const embedded = await gateway.json('/v1/embeddings', { model: 'm', input: 'hello' })
  assert.deepEqual(embedded.body, { object: 'list', data: [{ embedding: [0.5], note: 'ü' }] })
  gateway.next(refuses(400, { error: { message: 'no', param: 'input' } }))
  const refused = await gateway.json('/v1/embeddings', { model: 'm', input: 'hello' })
  assert.deepEqual([refused.status, errorOf(refused.body)['param']], [400, 'input'])
  gateway.next((response) => {
    sseHead(response)
    response.end('data: {"choices":[{"text":"Hi"}]}\n\ndata: [DONE]\n\n')
  })
  const stream = await gateway.events('/v1/completions', { model: 'm', prompt: 'hello', stream: true })
  assert.equal((await stream.rest()).at(-1)!.data, '[DONE]')
  gateway.next(async (response) => {
    sseHead(response)
    await send(response, 'data: {"choices":[{"text":"Hi"}]}\n\n')
    response.destroy()
  })
  const cut = await (await gateway.events('/v1/completions', { model: 'm', prompt: 'hello', stream: true })).rest()
  assert.equal(typeof errorOf(cut.at(-1)!.data as JsonObject)['message'], 'string')
  assert.equal(await gateway.running(), 0)
})
