import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { JsonObject } from '../../src/model/json.ts'
import { evaluate } from '../../src/cli/evaluate.ts'
import { run } from '../../src/cli/run.ts'
import { program } from '../cli/program.ts'
import { client, errorOf, eventually, harness, type Harness } from './support/gateway.ts'
import { chunk, DONE, Gate, refuses, says, ScriptedUpstream, send, sseHead, usageChunk } from './support/scripted-upstream.ts'

const LIMIT = { timeout: 60_000 }
const QUESTION = 'Why does my Python function raise a TypeError?'
const OUTCOMES = '/homing/v1/outcomes'

type Answers = Pick<Harness, 'json'>
const respond = async ({ json }: Answers, more: JsonObject = {}, headers = {}): Promise<string> =>
  String((await json('/v1/responses', { model: 'm', input: QUESTION, ...more }, headers)).body['id'])
const chat = async ({ json }: Answers, headers = {}): Promise<string> =>
  String((await json('/v1/chat/completions', { model: 'm', messages: [{ role: 'user', content: QUESTION }] }, headers)).body['id'])
const counted = async (url: string, labels: string): Promise<number> => {
  const page = await (await fetch(`${url}/metrics`)).text()
  return Number(new RegExp(`^homing_outcomes_total\\{${labels}\\} (\\d+)$`, 'm').exec(page)?.[1] ?? 0)
}

/** Of a log that may be written to just now. */
const wholeLines = (folder: string): string[] => readdirSync(folder).flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1))

test('an answer of either API is graded by its id, once for each source, and the last word of a source counts', LIMIT, async (t) => {
  const gateway = await harness(t)
  const id = await respond(gateway)
  const first = await gateway.json(OUTCOMES, { response_id: id, score: 1 })
  assert.deepEqual([first.status, first.body], [200, { object: 'outcome', response_id: id, score: 1, source: 'user', result: 'accepted', model: 'm' }])
  const say = async (body: JsonObject): Promise<unknown> => (await gateway.json(OUTCOMES, body)).body['result']
  assert.equal(await say({ response_id: id, score: 1 }), 'duplicate')
  assert.equal(await say({ response_id: id, score: 1, source: 'user' }), 'duplicate')
  assert.equal(await say({ response_id: id, score: 0.25, source: 'grader' }), 'accepted')
  assert.equal(await say({ response_id: id, score: 0 }), 'corrected')
  assert.equal(await say({ response_id: id, score: 0 }), 'duplicate')
  gateway.next(says('Because it is None.', 'chatcmpl-abc'))
  assert.equal(await chat(gateway), 'chatcmpl-abc')
  assert.equal(await say({ response_id: 'chatcmpl-abc', score: 0.5, source: 'unit-tests:v2' }), 'accepted')
  assert.equal(await counted(gateway.url, 'source="user",result="duplicate"'), 3)
  assert.equal(await counted(gateway.url, 'source="grader",result="accepted"'), 1)
  assert.equal(await counted(gateway.url, 'source="other",result="accepted"'), 1)
})

test('an answer can be graded as soon as its client has its id and its end', LIMIT, async (t) => {
  for (const path of ['/v1/chat/completions', '/v1/responses']) {
    const gateway = await harness(t, { backends: 1 })
    const stream = await gateway.events(path, path.endsWith('responses')
      ? { model: 'm', stream: true, input: QUESTION }
      : { model: 'm', stream: true, messages: [{ role: 'user', content: QUESTION }] })
    let id = ''
    for (let event = await stream.next(); event !== null; event = await stream.next()) {
      if (typeof event.data === 'string') continue
      const found = event.data['id'] ?? (event.data['response'] as JsonObject | undefined)?.['id']
      if (typeof found === 'string') id = found
    }
    assert.equal((await gateway.json(OUTCOMES, { response_id: id, score: 1 })).body['result'], 'accepted', path)
  }
})

test('an answer that its client left half read can be graded; one that broke off at the backend cannot', LIMIT, async (t) => {
  const gateway = await harness(t, { backends: 1 })
  const gate = new Gate()
  gateway.next(async (response) => {
    sseHead(response)
    await send(response, chunk({ content: 'Half of ' }, null, 'chatcmpl-half'))
    await gate.opened
  })
  const stream = await gateway.events('/v1/chat/completions', { model: 'm', stream: true, messages: [{ role: 'user', content: QUESTION }] })
  await stream.next()
  await stream.cancel()
  for (;;) {
    const { status } = await gateway.json(OUTCOMES, { response_id: 'chatcmpl-half', score: 0 })
    if (status === 200) break
  }
  gate.open()
  gateway.next(async (response) => {
    sseHead(response)
    await send(response, chunk({ content: 'Half of ' }, null, 'chatcmpl-broken'))
    response.destroy()
  })
  await (await gateway.events('/v1/chat/completions', { model: 'm', stream: true, messages: [{ role: 'user', content: QUESTION }] })).rest()
  assert.equal((await gateway.json(OUTCOMES, { response_id: 'chatcmpl-broken', score: 0 })).status, 404)
})

test('of a list each entry is answered for itself, and what is not known does not harm the others', LIMIT, async (t) => {
  const gateway = await harness(t)
  const [one, two] = [await respond(gateway), await respond(gateway)]
  const { status, body } = await gateway.json(OUTCOMES, [
    { response_id: one, score: 1 }, { response_id: 'resp_unknown', score: 1 }, { response_id: two, score: 0, source: 'grader' }, { response_id: one, score: 1 },
  ])
  const data = body['data'] as JsonObject[]
  assert.deepEqual([status, body['object'], data.map((entry) => entry['result'])], [200, 'list', ['accepted', 'unknown', 'accepted', 'duplicate']])
  assert.deepEqual(data[1], {
    object: 'outcome', response_id: 'resp_unknown', score: 1, source: 'user', result: 'unknown',
    error: { message: "There is no answer 'resp_unknown' that can be graded.", type: 'invalid_request_error', param: 'response_id', code: 'answer_not_found' },
  })
  assert.deepEqual((await gateway.json(OUTCOMES, [])).body, { object: 'list', data: [] })
})

test('bad outcomes are refused with the place of the mistake, and nothing of the call is taken', LIMIT, async (t) => {
  const gateway = await harness(t)
  const id = await respond(gateway)
  const cases: [unknown, number, string, string | null][] = [
    [{ response_id: id, score: 1.01 }, 400, 'invalid_value', 'score'],
    [{ response_id: id, score: -0.1 }, 400, 'invalid_value', 'score'],
    [{ response_id: id, score: '1' }, 400, 'invalid_type', 'score'],
    [{ response_id: id, score: true }, 400, 'invalid_type', 'score'],
    [{ response_id: id, score: null }, 400, 'invalid_type', 'score'],
    [`{"response_id":"${id}","score":1e999}`, 400, 'invalid_value', 'score'],
    [{ response_id: id }, 400, 'missing_required_parameter', 'score'],
    [{ score: 1 }, 400, 'missing_required_parameter', 'response_id'],
    [{ response_id: 7, score: 1 }, 400, 'invalid_type', 'response_id'],
    [{ response_id: '', score: 1 }, 400, 'invalid_value', 'response_id'],
    [{ response_id: 'x'.repeat(513), score: 1 }, 400, 'invalid_value', 'response_id'],
    [{ response_id: id, score: 1, source: '' }, 400, 'invalid_value', 'source'],
    [{ response_id: id, score: 1, source: 'a b' }, 400, 'invalid_value', 'source'],
    [{ response_id: id, score: 1, source: 'x'.repeat(65) }, 400, 'invalid_value', 'source'],
    [{ response_id: id, score: 1, source: 3 }, 400, 'invalid_type', 'source'],
    [{ response_id: id, score: 1, comment: 'nice' }, 400, 'invalid_value', 'comment'],
    [{ response_id: id, score: 1, tenant: 'nobody' }, 400, 'invalid_value', 'tenant'],
    [[{ response_id: id, score: 1 }, { response_id: id, score: 2 }], 400, 'invalid_value', '[1].score'],
    [[{ response_id: id, score: 1 }, 'x'], 400, 'invalid_type', '[1]'],
    ['"x"', 400, 'invalid_type', 'body'],
    ['{', 400, 'invalid_json', null],
    [Array.from({ length: 1001 }, () => ({ response_id: id, score: 1 })), 400, 'too_many_items', 'body'],
    [`[${' '.repeat(2 ** 20)}]`, 413, 'request_too_large', null],
    [{ response_id: 'resp_unknown', score: 1 }, 404, 'answer_not_found', 'response_id'],
  ]
  for (const [body, status, code, param] of cases) {
    const told = await gateway.json(OUTCOMES, body)
    assert.deepEqual([told.status, errorOf(told.body)['code'], errorOf(told.body)['param']], [status, code, param], JSON.stringify(body).slice(0, 100))
  }
  assert.equal((await gateway.json(OUTCOMES, { response_id: id, score: 1 })).body['result'], 'accepted', 'nothing was taken before')
  assert.equal((await fetch(gateway.url + OUTCOMES)).status, 405)
})

const TENANTS = { tenants: [{ id: 'acme', keys: ['key-a'] }, { id: 'zeta', keys: ['key-z'] }], admin: { keys: ['key-op'] } }
const A = { authorization: 'Bearer key-a' }
const Z = { authorization: 'Bearer key-z' }
const OPERATOR = { authorization: 'Bearer key-op' }

test("another tenant's answer is as unknown as one that never was; an operator may speak for a tenant", LIMIT, async (t) => {
  const gateway = await harness(t, { config: TENANTS })
  const id = await respond(gateway, {}, A)
  const foreign = await gateway.json(OUTCOMES, { response_id: id, score: 1 }, Z)
  const unknown = await gateway.json(OUTCOMES, { response_id: id.replace(/.$/, 'x'), score: 1 }, Z)
  assert.deepEqual([foreign.status, unknown.status], [404, 404])
  const told = (answer: typeof foreign): string => JSON.stringify(answer.body).replaceAll(/resp_\w+/g, 'ID')
  assert.equal(told(foreign), told(unknown))
  assert.equal((await gateway.json(OUTCOMES, { response_id: id, score: 1 })).status, 401)
  assert.equal((await gateway.json(OUTCOMES, { response_id: id, score: 1, tenant: 'acme' }, Z)).status, 400)
  assert.equal((await gateway.json(OUTCOMES, { response_id: id, score: 1, tenant: 'nobody' }, OPERATOR)).status, 400)
  assert.equal((await gateway.json(OUTCOMES, { response_id: id, score: 1 }, OPERATOR)).status, 404)
  assert.equal((await gateway.json(OUTCOMES, { response_id: id, score: 1, tenant: 'acme' }, OPERATOR)).body['result'], 'accepted')
  assert.equal((await gateway.json(OUTCOMES, { response_id: id, score: 1, tenant: 'acme' }, A)).body['result'], 'duplicate')
})

test('a flood of outcomes from one tenant is refused with the time to wait, and does not touch another tenant', LIMIT, async (t) => {
  const gateway = await harness(t, { config: { ...TENANTS, learning: { outcomes_per_minute: 10 } } })
  const [a, z] = [await respond(gateway, {}, A), await respond(gateway, {}, Z)]
  const flood = await Promise.all(Array.from({ length: 30 }, () => gateway.json(OUTCOMES, { response_id: a, score: 1 }, A)))
  const refused = flood.filter(({ status }) => status === 429)
  assert.equal(refused.length, 20)
  assert.ok(Number(refused[0]!.headers.get('retry-after')) >= 1)
  assert.equal(errorOf(refused[0]!.body)['code'], 'rate_limit_exceeded')
  assert.equal((await gateway.json(OUTCOMES, { response_id: z, score: 1 }, Z)).status, 200)
  const many = await gateway.json(OUTCOMES, Array.from({ length: 8 }, () => ({ response_id: z, score: 1 })), Z)
  assert.equal(many.status, 200)
  assert.equal((await gateway.json(OUTCOMES, Array.from({ length: 8 }, () => ({ response_id: z, score: 1 })), Z)).status, 429)
  assert.ok((await counted(gateway.url, 'source="other",result="rate_limited"')) >= 21)
})

test('one answer takes grades of eight sources and no more, so nobody gives it more weight than that', LIMIT, async (t) => {
  const gateway = await harness(t)
  const id = await respond(gateway)
  const results: unknown[] = []
  for (let n = 0; n < 10; n++) results.push((await gateway.json(OUTCOMES, { response_id: id, score: 1, source: `s${n}` })).status)
  assert.deepEqual(results, [200, 200, 200, 200, 200, 200, 200, 200, 409, 409])
  assert.equal((await gateway.json(OUTCOMES, { response_id: id, score: 0, source: 's3' })).body['result'], 'corrected')
})

test('whoever changes his mind without end is told so, also after a restart, and fills nothing', LIMIT, async (t) => {
  const { start } = await served(t)
  const first = await start()
  const id = await chat(first.api)
  const list = Array.from({ length: 100 }, (_, n) => ({ response_id: id, score: n % 2 }))
  const told = ((await first.api.json(OUTCOMES, list)).body['data'] as JsonObject[]).map(({ result }) => result)
  assert.equal(told.indexOf('too_many_corrections'), 64)
  assert.deepEqual([...new Set(told.slice(64))], ['too_many_corrections', 'duplicate'], 'the last score stands')
  await first.kill('SIGTERM')
  const second = await start()
  assert.equal((await second.api.json(OUTCOMES, { response_id: id, score: 0.5 })).status, 409)
  await second.kill('SIGTERM')
})

test('a deleted answer can no longer be graded', LIMIT, async (t) => {
  const gateway = await harness(t)
  const id = await respond(gateway)
  assert.equal((await fetch(`${gateway.url}/v1/responses/${id}`, { method: 'DELETE' })).status, 200)
  assert.equal((await gateway.json(OUTCOMES, { response_id: id, score: 1 })).status, 404)
})

test('beyond the bound of answers the oldest can be graded by their stored receipt only, and evictions are counted', LIMIT, async (t) => {
  const gateway = await harness(t, { config: { learning: { answers: 1 } }, backends: 1 })
  const stored = await respond(gateway)
  const unstored = await respond(gateway, { store: false })
  // segments leave whole: with ids of half a kilobyte some hundreds of answers fill one
  for (let batch = 0; batch < 10; batch++) {
    gateway.next(...Array.from({ length: 50 }, (_, n) => says('x', `chatcmpl-${batch}-${n}-${'x'.repeat(490)}`)))
    await Promise.all(Array.from({ length: 50 }, () => chat(gateway)))
  }
  const page = await (await fetch(`${gateway.url}/metrics`)).text()
  assert.ok(Number(/homing_evictions\{what="gradable_answers_size"\} (\d+)/.exec(page)?.[1]) > 0)
  assert.equal((await gateway.json(OUTCOMES, { response_id: unstored, score: 1 })).status, 404)
  assert.equal((await gateway.json(OUTCOMES, { response_id: stored, score: 1 })).body['result'], 'accepted')
  assert.equal((await gateway.json(OUTCOMES, { response_id: stored, score: 1 })).body['result'], 'duplicate')
})

test('with fingerprints switched off answers can be graded all the same', LIMIT, async (t) => {
  const gateway = await harness(t, { config: { fingerprint: { enabled: false } } })
  assert.equal((await gateway.json(OUTCOMES, { response_id: await respond(gateway), score: 1 })).body['result'], 'accepted')
})

test('a group learns from outcomes, and its log of choices can be evaluated', LIMIT, async (t) => {
  const log = mkdtempSync(join(tmpdir(), 'homing-choices-'))
  t.after(() => rmSync(log, { recursive: true }))
  const gateway = await harness(t, { models: ['coder', 'general'], config: { model_groups: { auto: ['coder', 'general'] }, learning: { log } } })
  let graded = 0
  for (let n = 0; n < 60; n++) {
    gateway.next(says('Because it is None.', `chatcmpl-${n}`))
    const { headers, body } = await gateway.json('/v1/chat/completions', { model: 'auto', messages: [{ role: 'user', content: `${n}: ${QUESTION}` }] })
    if (n % 4 === 3) continue
    graded++
    const told = await gateway.json(OUTCOMES, { response_id: body['id'] as string, score: headers.get('x-homing-model') === 'coder' ? 1 : 0, source: 'grader' })
    assert.deepEqual([told.body['result'], told.body['model']], ['accepted', headers.get('x-homing-model')])
  }
  const evaluated = async (): Promise<JsonObject> => {
    let out = ''
    const code = await run(['evaluate', '--log', log, '--json', '--resamples', '50'], [evaluate], {
      env: {}, version: '', print: (text) => void (out += text), complain: (text) => void (out += text),
    })
    return code === 0 ? (JSON.parse(out) as JsonObject) : {}
  }
  // lines are written some milliseconds after the answers, and the last turn has no outcome
  await eventually(async () => {
    const { outcomes, choices } = await evaluated()
    return outcomes === graded && choices === 60
  })
  const { choices, kept, groups } = await evaluated()
  const [auto] = groups as { group: string; choices: number; policies: { name: string; doublyRobust: { value: number } }[] }[]
  assert.deepEqual([choices, kept, auto!.group, auto!.choices], [60, 0, 'auto', graded])
  const value = Object.fromEntries(auto!.policies.map((policy) => [policy.name, policy.doublyRobust.value]))
  assert.ok(value['always coder']! > value['always general']! + 0.3, JSON.stringify(value))
  assert.ok(value['always coder']! >= value['what was done']! - 0.05, JSON.stringify(value))
  const page = await (await fetch(`${gateway.url}/metrics`)).text()
  assert.ok(page.includes(`homing_lessons_total{result="learned"} ${graded}\n`), 'each grade is one lesson')
  assert.ok(page.includes('homing_state_size{what="expertise_tenants"} 1\n'))
  const lines = readdirSync(log).map((name) => readFileSync(join(log, name), 'utf8')).join('')
  assert.ok(!lines.includes('Python') && !lines.includes('None'), 'no text is logged')
})

test('an answer that fell to another model because the chosen one failed is logged as no draw', LIMIT, async (t) => {
  const log = mkdtempSync(join(tmpdir(), 'homing-choices-'))
  t.after(() => rmSync(log, { recursive: true }))
  const gateway = await harness(t, { models: ['coder', 'general'], config: { model_groups: { auto: ['coder', 'general'] }, learning: { log } } })
  gateway.next(refuses(500, { error: { message: 'out of order' } }))
  for (let n = 0; n < 2; n++) await gateway.json('/v1/chat/completions', { model: 'auto', messages: [{ role: 'user', content: QUESTION }] })
  type Line = { model: string; drawn: boolean; considered: { model: string; propensity: number }[] }
  const lines = (): Line[] => wholeLines(log).map((line) => JSON.parse(line) as Line)
  await eventually(() => readdirSync(log).length > 0 && lines().length === 2)
  const [failedOver, other] = lines()
  assert.equal(failedOver!.drawn, false)
  assert.equal(failedOver!.considered.find(({ model }) => model === failedOver!.model)!.propensity, 1)
  assert.equal(other!.drawn, true)
})

test('logged propensities are the frequencies with which models are chosen', LIMIT, async (t) => {
  const log = mkdtempSync(join(tmpdir(), 'homing-choices-'))
  t.after(() => rmSync(log, { recursive: true }))
  const models = { coder: { specialises_in: { coding: 0.66 } }, general: { specialises_in: { coding: 0.55 } } }
  const gateway = await harness(t, { models: ['coder', 'general', 'third'], config: { model_groups: { auto: ['coder', 'general', 'third'] }, models, learning: { log } } })
  const turns = 400
  for (let batch = 0; batch < turns; batch += 4) {
    await Promise.all([0, 1, 2, 3].map((n) => gateway.json('/v1/chat/completions', { model: 'auto', messages: [{ role: 'user', content: `${batch + n}: ${QUESTION}` }] })))
  }
  type Line = { model: string; drawn: boolean; considered: { model: string; propensity: number }[] }
  const lines = (): Line[] => wholeLines(log).map((line) => JSON.parse(line) as Line)
  await eventually(() => readdirSync(log).length > 0 && lines().length === turns)
  for (const name of ['coder', 'general', 'third']) {
    const chosen = lines().filter(({ model }) => model === name).length
    const propensities = lines().map(({ considered }) => considered.find(({ model }) => model === name)!.propensity)
    const expected = propensities.reduce((sum, propensity) => sum + propensity, 0)
    const deviation = Math.sqrt(propensities.reduce((sum, propensity) => sum + propensity * (1 - propensity), 0))
    assert.ok(Math.abs(chosen - expected) < 4.5 * deviation, `${name} was chosen ${chosen} times of ${turns}, expected ${expected.toFixed(1)} +- ${deviation.toFixed(1)}`)
  }
  assert.ok(lines().every(({ drawn }) => drawn))
})

async function served(t: TestContext): Promise<{ start(): Promise<{ api: ReturnType<typeof client>; kill(signal: NodeJS.Signals): Promise<void> }>; folder: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'homing-outcomes-'))
  let n = 0
  const upstream = await ScriptedUpstream.start({ usual: (response) => {
    const id = `chatcmpl-${++n}`
    sseHead(response)
    response.end(chunk({ content: 'Because.' }, null, id) + chunk({}, 'stop', id) + usageChunk(40, 8, 2, id) + DONE)
  } })
  const file = join(folder, 'homing.yaml')
  writeFileSync(file, JSON.stringify({ listen: '127.0.0.1:0', store: { path: join(folder, 'data') }, log: { level: 'error' }, backends: [{ url: upstream.url }], model_groups: { auto: ['m', 'n'] } }))
  const children = new Set<ReturnType<typeof program>>()
  t.after(async () => {
    for (const { child } of children) child.kill('SIGKILL')
    await upstream.close()
    rmSync(folder, { recursive: true, force: true })
  })
  return {
    folder,
    start: async () => {
      const gateway = program(['serve', '--config', file])
      children.add(gateway)
      const url = (await gateway.says(/serves (http:\/\/127\.0\.0\.1:\d+)/))[1]!
      const api = client(url)
      while ((await fetch(`${url}/readyz`)).status !== 200) await new Promise((resolve) => setTimeout(resolve, 20))
      return {
        api,
        kill: async (signal) => {
          gateway.child.kill(signal)
          await gateway.ended
          children.delete(gateway)
        },
      }
    },
  }
}

test('after a restart, and after a kill, answers of before are graded, and what was said before is known', LIMIT, async (t) => {
  const { start, folder } = await served(t)
  const first = await start()
  const [graded, late] = [await chat(first.api), await chat(first.api)]
  assert.equal((await first.api.json(OUTCOMES, { response_id: graded, score: 1 })).body['result'], 'accepted')
  await first.kill('SIGTERM')
  const second = await start()
  assert.equal((await second.api.json(OUTCOMES, { response_id: graded, score: 1 })).body['result'], 'duplicate')
  assert.equal((await second.api.json(OUTCOMES, { response_id: late, score: 0 })).body['result'], 'accepted')
  const [unsaved, stored] = [await chat(second.api), await respond(second.api)]
  const segments = (): number => readdirSync(join(folder, 'data', 'answers')).reduce((sum, name) => sum + readFileSync(join(folder, 'data', 'answers', name)).length, 0)
  for (let before = -1; before !== segments(); await new Promise((resolve) => setTimeout(resolve, 60))) before = segments()
  await second.kill('SIGKILL')
  const third = await start()
  const believed = (await third.api.json('/homing/v1/expertise?model=m')).body['data'] as JsonObject[]
  assert.deepEqual(believed.filter(({ topic }) => topic === null).map(({ observations }) => observations), [2], 'what was learned before the kill')
  assert.equal((await third.api.json(OUTCOMES, { response_id: late, score: 0 })).body['result'], 'duplicate')
  assert.equal((await third.api.json(OUTCOMES, { response_id: unsaved, score: 1 })).body['result'], 'accepted')
  assert.equal((await third.api.json(OUTCOMES, { response_id: stored, score: 1 })).body['result'], 'accepted')
  assert.ok(!readdirSync(join(folder, 'data', 'answers')).some((name) => readFileSync(join(folder, 'data', 'answers', name)).includes('Python')), 'no text is kept')
  await third.kill('SIGTERM')
})

test('an outcome that was acknowledged is known after a kill that comes right after it', LIMIT, async (t) => {
  const { start } = await served(t)
  const first = await start()
  const id = await chat(first.api)
  assert.equal((await first.api.json(OUTCOMES, { response_id: id, score: 1 })).body['result'], 'accepted')
  await first.kill('SIGKILL')
  const second = await start()
  assert.equal((await second.api.json(OUTCOMES, { response_id: id, score: 1 })).body['result'], 'duplicate')
  await second.kill('SIGTERM')
})

test("an operator's word about a model outlives a kill that comes right after it, and what was forgotten stays forgotten", LIMIT, async (t) => {
  const { start } = await served(t)
  const first = await start()
  const write = async (api: ReturnType<typeof client>, method: string, more: string, body?: JsonObject): Promise<number> =>
    (await fetch(`${api.url}/homing/v1/expertise${more}`, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })).status
  const rows = async (api: ReturnType<typeof client>): Promise<JsonObject[]> => (await api.json('/homing/v1/expertise')).body['data'] as JsonObject[]
  assert.equal((await first.api.json(OUTCOMES, { response_id: await chat(first.api), score: 1 })).body['result'], 'accepted')
  assert.equal(await write(first.api, 'DELETE', '?model=m'), 200)
  assert.equal(await write(first.api, 'PUT', '', { model: 'n', topic: 'math', mean: 0.25, observations: 40 }), 200)
  await first.kill('SIGKILL')
  const second = await start()
  const believed = await rows(second.api)
  const cell = (model: string, topic: string | null): JsonObject | undefined => believed.find((row) => row['model'] === model && row['topic'] === topic)
  assert.deepEqual((cell('n', 'math')?.['edited'] as JsonObject | undefined)?.['mean'], 0.25)
  assert.equal(cell('m', null)?.['observations'] ?? 0, 0)
  await second.kill('SIGTERM')
})
