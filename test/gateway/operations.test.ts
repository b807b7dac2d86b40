import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { JsonObject } from '../../src/model/json.ts'
import { explanation } from '../../src/cli/explain.ts'
import { client, errorOf, eventually, harness } from './support/gateway.ts'
import { calls, chunk, DONE, Gate, refuses, says, ScriptedUpstream, send, sseHead, usageChunk, type Script } from './support/scripted-upstream.ts'

const LIMIT = { timeout: 30_000 }
const hello = { model: 'm', input: 'hello' }
const backendsOf = async (gateway: { json(path: string): Promise<{ body: JsonObject }> }): Promise<JsonObject[]> => (await gateway.json('/homing/v1/backends')).body['data'] as JsonObject[]

test('a drained backend takes no turns, finishes what runs there, and comes back', LIMIT, async (t) => {
  const gateway = await harness(t)
  const gate = new Gate()
  gateway.next(async (response) => {
    sseHead(response)
    await send(response, chunk({ content: 'One' }))
    await gate.opened
    response.end(chunk({}, 'stop') + usageChunk() + DONE)
  })
  const stream = await gateway.events('/v1/responses', { ...hello, stream: true })
  await stream.until('response.output_text.delta')
  const busy = stream.response.headers.get('x-homing-backend')!
  const drained = await gateway.json(`/homing/v1/backends/${encodeURIComponent(busy)}/drain`, {})
  assert.deepEqual([drained.status, drained.body['draining']], [200, true])
  for (let i = 0; i < 5; i++) assert.notEqual((await gateway.json('/v1/responses', hello)).headers.get('x-homing-backend'), busy)
  gate.open()
  assert.equal((await stream.rest()).at(-2)!.name, 'response.completed')
  const other = gateway.upstreams.find(({ id }) => id !== busy)!.id
  await gateway.json(`/homing/v1/backends/${other}/drain`, {})
  const none = await gateway.json('/v1/responses', hello)
  assert.equal(none.status, 503)
  assert.equal(errorOf(none.body)['code'], 'no_backend_available')
  assert.equal((await gateway.json('/readyz')).status, 503)
  await gateway.json(`/homing/v1/backends/${busy}/drain`, { drain: false })
  assert.equal((await gateway.json('/v1/responses', hello)).headers.get('x-homing-backend'), busy)
  assert.equal((await gateway.json('/homing/v1/backends/none/drain', {})).status, 404)
  assert.equal((await gateway.json(`/homing/v1/backends/${busy}/drain`, { drain: 'yes' })).status, 400)
})

test('backends are added and removed while turns run', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  const added = await ScriptedUpstream.start({ model: 'other' })
  t.after(() => added.close())
  assert.equal((await gateway.json('/v1/responses', { model: 'other', input: 'x' })).status, 404)
  const answer = await gateway.json('/homing/v1/backends', { url: added.url, id: 'late' })
  assert.deepEqual([answer.status, answer.body['id'], answer.body['healthy']], [201, 'late', true])
  assert.equal((await gateway.json('/v1/responses', { model: 'other', input: 'x' })).headers.get('x-homing-backend'), 'late')
  assert.deepEqual(((await gateway.json('/v1/models')).body['data'] as JsonObject[]).map((model) => model['id']).toSorted(), ['m', 'other'])
  assert.equal((await gateway.json('/homing/v1/backends', { url: added.url })).status, 409)
  for (const body of [{}, { url: 'ftp://x' }, { url: 5 }, { url: 'http://127.0.0.1:1', protocl: 'chat' }, { url: 'http://127.0.0.1:1', key: 'env:HOME' }]) {
    assert.equal((await gateway.json('/homing/v1/backends', body)).status, 400, JSON.stringify(body))
  }
  const gate = new Gate()
  added.usual = async (response, asked) => {
    await gate.opened
    await says('Late.')(response, asked)
  }
  const running = gateway.json('/v1/responses', { model: 'other', input: 'x' })
  await eventually(() => added.asked.length === 2)
  const removed = await fetch(`${gateway.url}/homing/v1/backends/late`, { method: 'DELETE' })
  assert.deepEqual(await removed.json(), { id: 'late', object: 'backend.deleted', deleted: true })
  gate.open()
  assert.equal((await running).status, 200)
  assert.equal((await gateway.json('/v1/responses', { model: 'other', input: 'x' })).status, 404)
  assert.equal((await fetch(`${gateway.url}/homing/v1/backends/late`, { method: 'DELETE' })).status, 404)
  assert.equal((await gateway.json('/homing/v1/backends', { url: added.url, id: 'late' })).status, 201, 'the same id and url may come back')
  assert.equal((await gateway.json('/v1/responses', { model: 'other', input: 'x' })).status, 200)
})

test('what a removed backend held is not foreseen to be there', LIMIT, async (t) => {
  const gateway = await harness(t)
  const answer = await gateway.json('/v1/responses', { model: 'm', input: 'Harbours, maps and tides. '.repeat(50) })
  const forecast = async (): Promise<JsonObject> =>
    (await gateway.json(`/homing/v1/responses/${String(answer.body['id'])}/decision`)).body['forecast'] as JsonObject
  assert.ok(Number((await forecast())['resident_now']) > 0)
  await fetch(`${gateway.url}/homing/v1/backends/${answer.headers.get('x-homing-backend')}`, { method: 'DELETE' })
  assert.deepEqual([(await forecast())['resident_now'], (await forecast())['resident_at_return']], [0, 0])
})

test('a backend that fails turn after turn is left alone, and tried again when it has recovered', LIMIT, async (t) => {
  const gateway = await harness(t)
  const [bad] = gateway.upstreams as [ScriptedUpstream, ScriptedUpstream]
  bad.usual = refuses(502, 'bad gateway')
  await eventually(async () => {
    assert.equal((await gateway.json('/v1/responses', hello)).status, 200)
    return (await backendsOf(gateway)).some((backend) => backend['id'] === bad.id && backend['healthy'] === false)
  })
  const asked = bad.asked.length
  for (let i = 0; i < 10; i++) assert.equal((await gateway.json('/v1/responses', hello)).status, 200)
  assert.equal(bad.asked.length, asked, 'it gets no turns')
  bad.usual = says('Better.')
  await eventually(async () => (await backendsOf(gateway)).every((backend) => backend['healthy'] === true))
  await eventually(async () => {
    await gateway.json('/v1/responses', hello)
    return bad.asked.length > asked
  })
})

test('a client cannot close the fleet with requests that make engines answer a structured 500, or break their streams', LIMIT, async (t) => {
  const poison: readonly Script[] = [
    refuses(500, { error: { message: 'index out of range', type: 'InternalServerError', code: 500 } }),
    (response) => {
      sseHead(response)
      response.end(`data: ${JSON.stringify({ error: { message: 'index out of range', code: 500 } })}\n\n`)
    },
    refuses(400, { error: { message: 'bad', code: 400 } }),
    (response) => {
      sseHead(response)
      response.end(chunk({ content: 'x' }))
    },
  ]
  for (const script of poison) {
    const gateway = await harness(t, { backends: 3, usual: script })
    for (let i = 0; i < 12; i++) await (await gateway.post('/v1/responses', { ...hello, stream: i % 2 === 0 })).text()
    assert.ok((await backendsOf(gateway)).every((backend) => backend['healthy'] === true))
    for (const upstream of gateway.upstreams) upstream.usual = says('Fine.')
    assert.equal((await gateway.json('/v1/responses', hello)).status, 200)
  }
})

test('a structured 500 is tried at one more backend, not at all of them', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 5, usual: refuses(500, { error: { message: 'index out of range', code: 500 } }) })
  assert.equal((await gateway.json('/v1/responses', hello)).status, 500)
  assert.equal(gateway.asked(), 2)
})

test('/readyz is 503 and says what is missing until a backend is usable; /healthz is 200 all the while', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 0 })
  const { status, body } = await gateway.json('/readyz')
  assert.deepEqual([status, body['missing']], [503, ['no backend is configured']])
  assert.deepEqual((await gateway.json('/healthz')).body, { status: 'ok', version: 'test' })
  const upstream = await ScriptedUpstream.start()
  t.after(() => upstream.close())
  upstream.described['/v1/models'] = 503
  await gateway.json('/homing/v1/backends', { url: upstream.url })
  assert.deepEqual((await gateway.json('/readyz')).body['missing'], ['no backend is usable'])
  const early = await gateway.json('/v1/responses', hello)
  assert.deepEqual([early.status, errorOf(early.body)['code']], [503, 'no_backend_available'], 'what a backend offers that never answered is not known: not a 404')
  upstream.described['/v1/models'] = { object: 'list', data: [{ id: 'm', owned_by: 'vllm', max_model_len: 8192 }] }
  await eventually(async () => (await gateway.json('/readyz')).status === 200)
})

test('/metrics is valid Prometheus text with bounded labels', LIMIT, async (t) => {
  const gateway = await harness(t)
  gateway.next(refuses(500, 'x'))
  const types = Array.from({ length: 20 }, (_, i) => ({ type: `web_search_preview_${i}` }))
  await gateway.json('/v1/responses', { ...hello, tools: [{ type: 'web_search' }] })
  await gateway.json('/v1/responses', { ...hello, tools: types })
  await gateway.json('/v1/chat/completions', { model: 'm', messages: [{ role: 'user', content: 'x' }] })
  await gateway.json('/v1/responses', { model: 'a model nobody has', input: 'x' })
  await gateway.json('/nowhere/at/all')
  const response = await fetch(`${gateway.url}/metrics`)
  assert.match(response.headers.get('content-type')!, /^text\/plain; version=0\.0\.4/)
  const text = await response.text()
  assert.ok(text.endsWith('\n'))
  const typeOf = new Map<string, string>()
  const series = new Set<string>()
  for (const line of text.trimEnd().split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) continue
    if (line.startsWith('# TYPE ')) {
      const [, , name, type] = line.split(' ')
      assert.ok(!typeOf.has(name!), `${name} is declared twice`)
      typeOf.set(name!, type!)
      continue
    }
    const match = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (-?[0-9.e+-]+|NaN|[+-]Inf)( \d+)?$/.exec(line)
    assert.ok(match !== null, `not a sample: ${line}`)
    const base = match[1]!.replace(/_(bucket|sum|count)$/, '')
    assert.ok(typeOf.has(match[1]!) || typeOf.get(base) === 'histogram' || typeOf.get(base) === 'summary', `no TYPE before ${line}`)
    assert.ok(!series.has(match[1]! + (match[2] ?? '')), `twice: ${line}`)
    series.add(match[1]! + (match[2] ?? ''))
  }
  for (const [name, type] of typeOf) {
    if (!name.startsWith('homing_')) continue
    if (type === 'counter') assert.match(name, /_total$/)
    if (type === 'histogram') assert.match(name, /_seconds$/)
  }
  for (const name of ['homing_http_requests_total', 'homing_turns_total', 'homing_time_to_first_token_seconds', 'homing_prompt_tokens_cached_total', 'homing_failovers_total', 'homing_backend_up', 'homing_backend_requests_running', 'homing_state_size', 'homing_omitted_tools_total']) assert.ok(typeOf.has(name), name)
  assert.match(text, /homing_http_requests_total\{route="unknown",status="404"\} 1\n/)
  assert.doesNotMatch(text, /nobody has|nowhere|_preview_7/)
  assert.match(text, /homing_omitted_tools_total\{tool="web_search"\} 1\n/)
})

test('no text of a conversation and no name of a session reaches the log or the metrics, whatever goes wrong', { timeout: 60_000 }, async (t) => {
  const MARK = 'XYZZYmark'
  const upstreams = [await ScriptedUpstream.start(), await ScriptedUpstream.start()]
  t.after(() => Promise.all(upstreams.map((upstream) => upstream.close())))
  const main = fileURLToPath(new URL('../../src/main.js', import.meta.url))
  const child = spawn(process.execPath, [main, 'serve', '--listen', '127.0.0.1:0', '--store', 'memory', '--log-level', 'debug', ...upstreams.flatMap(({ url }) => ['--backend', url])], { stdio: ['ignore', 'pipe', 'pipe'] })
  let log = ''
  child.stdout.on('data', (data) => (log += data))
  child.stderr.on('data', (data) => (log += data))
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  t.after(() => child.kill('SIGKILL'))
  await eventually(() => /serves http/.test(log))
  const gateway = client(/http:\/\/[\d.:]+/.exec(log)![0])
  await eventually(async () => (await gateway.json('/readyz')).status === 200)
  const ask = async (path: string, body: JsonObject | string): Promise<void> => {
    await (await gateway.post(path, body, { 'x-homing-session': `session-${MARK}` })).text().catch(() => '')
    await (await gateway.post(path, body, { 'session-id': `agent-${MARK}` })).text().catch(() => '')
  }
  const everywhere: JsonObject = {
    model: 'm', instructions: `Be ${MARK}`, prompt_cache_key: `key-${MARK}`, metadata: { mark: MARK }, user: MARK,
    input: [{ role: 'user', content: MARK }, { type: 'function_call', name: 'look', call_id: 'c1', arguments: `{"q":"${MARK}"}` }, { type: 'function_call_output', call_id: 'c1', output: MARK }],
    tools: [{ type: 'function', name: 'look', description: MARK, parameters: { type: 'object', properties: { [MARK]: { type: 'string' } } } }],
  }
  const chat: JsonObject = { model: 'm', messages: [{ role: 'system', content: MARK }, { role: 'user', content: MARK }] }
  const quoting = `cannot parse "${MARK}"`
  const scripts: readonly Script[] = [
    says(`Said ${MARK}`), calls('look', `{"q":"${MARK}"}`), refuses(400, { error: { message: quoting, param: MARK } }), refuses(404, { error: { message: quoting } }), refuses(422, { detail: quoting }),
    refuses(500, { error: { message: quoting, type: quoting, code: 500 } }), refuses(503, { error: { message: quoting } }), refuses(429, { error: { message: quoting } }), refuses(200, quoting),
    (response) => {
      sseHead(response)
      response.end(`data: ${JSON.stringify({ error: { message: quoting, type: quoting } })}\n\n`)
    },
    async (response) => {
      sseHead(response)
      await send(response, chunk({ content: MARK }))
      response.end(`data: ${JSON.stringify({ error: { message: quoting, code: MARK.length } })}\n\n`)
    },
    (response) => {
      sseHead(response)
      response.end(chunk({ content: MARK }) + `data: {"broken": "${MARK}\n\n`)
    },
    (response) => {
      sseHead(response)
      response.end(chunk({ content: MARK }, MARK) + DONE)
    },
    (response) => void response.destroy(),
  ]
  for (const script of scripts) {
    for (const upstream of upstreams) upstream.usual = script
    await ask('/v1/responses', everywhere)
    await ask('/v1/responses', { ...everywhere, stream: true })
    await ask('/v1/chat/completions', chat)
    await ask('/v1/chat/completions', { ...chat, stream: true })
    await eventually(async () => (await gateway.json('/readyz')).status === 200)
  }
  await ask('/v1/responses', `{"model":"m","input":"${MARK}`)
  await ask('/v1/responses', { model: MARK, input: MARK })
  await ask('/v1/responses', { model: 'm', input: [{ type: MARK }], [MARK]: MARK })
  await ask('/v1/responses', { model: 'm', input: 'x', previous_response_id: `resp_${MARK}` })
  await ask('/v1/conversations', { items: [{ role: 'user', content: MARK }] })
  await ask(`/v1/${MARK}`, {})
  const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
  child.kill('SIGTERM')
  assert.equal(await exited, 0)
  assert.ok(log.split('\n').filter((line) => line.includes('"turn"')).length > scripts.length * 4, 'a line for each turn')
  assert.doesNotMatch(metrics, new RegExp(MARK))
  const leak = log.split('\n').find((line) => line.includes(MARK))
  assert.equal(leak, undefined)
})

test('one line is logged for each turn, answered or not, with its backend, reason and outcome', LIMIT, async (t) => {
  const upstream = await ScriptedUpstream.start()
  t.after(() => upstream.close())
  const main = fileURLToPath(new URL('../../src/main.js', import.meta.url))
  const child = spawn(process.execPath, [main, 'serve', '--listen', '127.0.0.1:0', '--store', 'memory', '--backend', upstream.url], { stdio: ['ignore', 'pipe', 'ignore'] })
  let log = ''
  child.stdout.on('data', (data) => (log += data))
  const exited = new Promise((resolve) => child.once('exit', resolve))
  t.after(() => child.kill('SIGKILL'))
  await eventually(() => /serves http/.test(log))
  const gateway = client(/http:\/\/[\d.:]+/.exec(log)![0])
  await eventually(async () => (await gateway.json('/readyz')).status === 200)
  await gateway.json('/v1/responses', hello, { 'x-request-id': 'one' })
  await gateway.json('/v1/chat/completions', { model: 'm', messages: [{ role: 'user', content: 'x' }] }, { 'x-request-id': 'two' })
  upstream.usual = refuses(400, { error: { message: 'no' } })
  await gateway.json('/v1/responses', hello, { 'x-request-id': 'three' })
  child.kill('SIGTERM')
  await exited
  const turns = log.split('\n').filter((line) => line.includes('"turn":')).map((line) => (JSON.parse(line) as { turn: JsonObject }).turn)
  assert.deepEqual(turns.map((turn) => [turn['request_id'], turn['outcome'], turn['backend'], turn['reason']]), [
    ['one', 'completed', upstream.id, 'only-candidate'], ['two', 'completed', upstream.id, 'only-candidate'], ['three', 'failed', upstream.id, 'only-candidate'],
  ])
})

test('homing explain reads the receipt as the gateway serves it: nothing in it is missing', LIMIT, async (t) => {
  const gateway = await harness(t)
  const { body } = await gateway.json('/v1/responses', hello)
  const receipt = await gateway.json(`/homing/v1/responses/${String(body['id'])}/decision`)
  const text = explanation(receipt.body)
  const backend = gateway.upstreams.map(({ id }) => id).find((id) => text.includes(`went to    ${id}, model m, by chat`))
  assert.notEqual(backend, undefined, text)
  assert.match(text, /prompt +\d+ \(expected \d+\) tokens, cached /)
  assert.match(text, /answer +\d+ tokens, first after [\d.]+ ms, all after [\d.]+ ms/)
  assert.match(text, new RegExp(`${backend!.replaceAll('.', '\\.')} \\* +\\d+ +\\d\\.\\d{3}`))
})

test('a route that no engine offers takes no backend out of service', LIMIT, async (t) => {
  const gateway = await harness(t)
  const refuse = (): void => gateway.next(refuses(501, { error: { code: 501, message: 'not supported', type: 'not_supported_error' } }))
  for (let i = 0; i < 8; i++) {
    for (let n = 0; n < gateway.upstreams.length; n++) refuse()
    assert.ok((await gateway.json('/v1/embeddings', { model: 'm', input: 'hello' })).status >= 400)
  }
  assert.ok((await backendsOf(gateway)).every((backend) => backend['healthy'] === true))
})
