import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { COMMANDS } from '../../src/cli/commands.ts'
import { explanation } from '../../src/cli/explain.ts'
import { program, runProgram } from './program.ts'

let folder = ''
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'homing-cli-'))
})
after(() => rmSync(folder, { recursive: true }))

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

test('--help lists every command and exits with 0, no command shows the same and exits with 2', async () => {
  const help = await runProgram(['--help'])
  assert.equal(help.code, 0)
  for (const { name, summary } of COMMANDS) assert.ok(help.out.includes(`${name.padEnd(8)}`) && help.out.includes(summary), name)
  const nothing = await runProgram([])
  assert.deepEqual([nothing.code, nothing.out, nothing.error], [2, '', help.out])
})

test('each command shows its own options, by --help and by help', async () => {
  const serve = await runProgram(['serve', '--help', '--nonsense'])
  assert.equal(serve.code, 0)
  for (const option of ['--config FILE', '--listen HOST:PORT', '--backend URL', '--store DIR|memory', '--open', '--log-level LEVEL']) {
    assert.ok(serve.out.includes(option), option)
  }
  assert.equal((await runProgram(['help', 'serve'])).out, serve.out)
})

test('--version prints the version of the package', async () => {
  // The test runs from a build folder at the root of the project or one level deeper.
  const root = ['../../../package.json', '../../../../package.json'].map((path) => new URL(path, import.meta.url))
  const versions = root.flatMap((url) => {
    try {
      return [(JSON.parse(readFileSync(url, 'utf8')) as { version: string }).version]
    } catch (cause) {
      assert.equal((cause as NodeJS.ErrnoException).code, 'ENOENT')
      return []
    }
  })
  const { code, out } = await runProgram(['--version'])
  assert.deepEqual([code, out], [0, `${versions[0]}\n`])
})

const MISUSES: readonly [args: string[], said: string][] = [
  [['serv'], "homing: unknown command 'serv'; did you mean 'serve'?\n"],
  [['--versoin'], "homing: unknown option '--versoin'; did you mean '--version'?\n"],
  [['serve', '--lissten', 'x'], "homing serve: unknown option '--lissten'; did you mean '--listen'?\n"],
  [['serve', '--listen'], "homing serve: Option '--listen <value>' argument missing\n"],
  [['serve', 'now'], "homing serve: what is 'now'?\n"],
  [['check'], 'homing check: FILE is missing\n'],
  [['explain', 'resp_1', '--url', 'here'], "homing explain: 'here' is not an http:// or https:// URL\n"],
]
for (const [args, said] of MISUSES) {
  test(`homing ${args.join(' ')} is a misuse: exit code 2, and the message helps`, async () => {
    const { code, out, error } = await runProgram(args)
    assert.deepEqual([code, out, error.slice(0, said.length)], [2, '', said])
  })
}

test('check: a valid file exits with 0, one with mistakes with 1 and all of them', async () => {
  const valid = file('valid.yaml', 'store: memory\nbackends: [{ url: "http://h:1", key: "env:KEY" }]')
  const good = await runProgram(['check', valid], { KEY: 'k' })
  assert.deepEqual([good.code, good.error], [0, ''])
  assert.equal(good.out, `${valid}: valid; listens on 127.0.0.1:8787, 1 backend, no tenants, store in memory\n`)
  const wrong = file('wrong.yaml', 'stoer: memory\nbackends:\n  - url: http://h:1\n    key: env:KEY\n')
  const bad = await runProgram(['check', wrong])
  assert.equal(bad.code, 1)
  assert.equal(bad.error, `${wrong}:1: stoer: unknown key; did you mean 'store'?\n` +
    `${wrong}:4: backends[0].key: environment variable KEY is not set\n${wrong}: 2 problems\n`)
  assert.equal((await runProgram(['check', join(folder, 'none.yaml')])).code, 1)
})

test('check: topics that nobody knows are mistakes too, as they would refuse the start', async () => {
  const wrong = file('topics.yaml', 'models: { coder: { specialises_in: { codng: 0.9 } } }\nbackends: [{ url: "http://h:1", specialises_in: { maths: 0.8 } }]\n')
  const { code, error } = await runProgram(['check', wrong])
  assert.equal(code, 1)
  assert.match(error, /models\.coder\.specialises_in\.codng: is no topic; did you mean 'coding'\?/)
  assert.match(error, /backends\[0\]\.specialises_in\.maths: is no topic; did you mean 'math'\?/)
  assert.match(error, /: 2 problems\n$/)
})

test('serve: configuration errors exit with 2 before anything is opened', async () => {
  const { code, error } = await runProgram(['serve', '--listen', '0.0.0.0:0', '--store', 'memory', '--log-level', 'loud'])
  assert.equal(code, 2)
  assert.match(error, /^--listen: 0\.0\.0\.0 can be reached .*\n--log-level: 'loud' is not one of /)
})

test('serve: an address in use is one sentence and exit code 1', async (t) => {
  const server = createServer()
  t.after(() => server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const { code, error } = await runProgram(['serve', '--listen', `127.0.0.1:${port}`, '--store', 'memory', '--log-level', 'silent'])
  assert.deepEqual([code, error], [
    1, `homing serve: 127.0.0.1:${port} is already in use; stop what listens there, or choose another --listen\n`,
  ])
})

/** An engine whose only turn never answers. */
async function hangingEngine(): Promise<{ url: string; turnArrived: Promise<void>; close(): void }> {
  let arrived: () => void = () => undefined
  const turnArrived = new Promise<void>((resolve) => {
    arrived = resolve
  })
  const server = createServer((request, response) => {
    if (request.method === 'POST') arrived()
    else if (request.url === '/v1/models') response.end('{"data":[{"id":"m"}]}')
    else response.writeHead(request.url === '/v1/chat/completions' ? 405 : 404).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = (): void => {
    server.closeAllConnections()
    server.close()
  }
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, turnArrived, close }
}

test('serve prints its base URL and which backends are usable, and ends with 0 on SIGTERM', async (t) => {
  const engine = await hangingEngine()
  t.after(engine.close)
  const args = ['serve', '--listen', '127.0.0.1:0', '--store', 'memory', '--log-level', 'silent']
  const gateway = program([...args, '--backend', engine.url, '--backend', 'http://127.0.0.1:1/v1'])
  t.after(() => gateway.child.kill('SIGKILL'))
  const [, base] = await gateway.says(/serves (http:\/\/127\.0\.0\.1:\d+\S*) from 2 backends\n/)
  await gateway.says(new RegExp(`dashboard ${base}/homing/\n`))
  await gateway.says(/http:\/\/127\.0\.0\.1:1 {2}not usable: connection refused\n/)
  assert.ok(gateway.wrote.out.includes(`${engine.url}  usable: unknown, chat, m\n`), gateway.wrote.out)
  assert.equal((await fetch(new URL('/healthz', base))).status, 200)
  gateway.child.kill('SIGTERM')
  assert.equal((await gateway.ended).code, 0)
})

for (const [signal, expected] of [['SIGTERM', 1], ['SIGINT', 130]] as const) {
  test(`serve waits for a running turn after a first signal; a second, ${signal}, ends it with ${expected}`, async (t) => {
    const engine = await hangingEngine()
    t.after(engine.close)
    const gateway = program([
      'serve', '--listen', '127.0.0.1:0', '--store', 'memory', '--log-level', 'silent', '--backend', engine.url,
    ])
    t.after(() => gateway.child.kill('SIGKILL'))
    const [, base] = await gateway.says(/serves (http:\/\/127\.0\.0\.1:\d+)/)
    await gateway.says(/usable/)
    const turn = fetch(`${base}/v1/chat/completions`, {
      method: 'POST', headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hi' }] }),
    }).then((answer) => answer.text(), () => 'cut off')
    await engine.turnArrived
    gateway.child.kill('SIGTERM')
    await gateway.says(/once more ends at once/)
    assert.equal(gateway.child.exitCode, null)
    gateway.child.kill(signal)
    assert.equal((await gateway.ended).code, expected)
    await turn
  })
}

const RECEIPT = {
  id: 'resp_1', request_id: 'req_1', created_at_ms: 1, endpoint: 'responses', model: 'qwen', session: { id: 's_1', source: 'root' },
  backend_id: 'a', served_model: 'Qwen3', protocol: 'chat', reason: 'home', prompt_tokens: { expected: 100, actual: 104 },
  cached_tokens: { expected: 64, actual: null }, output_tokens: 12, ttft_ms: 5.25, total_ms: 812.4, queued_ms: 0,
  decide_microseconds: 41, filtered_out: [{ backend_id: 'c', by: 'healthy: connection refused' }],
  failovers: [{ backend_id: 'd', why: 'no connection' }], omitted: ['tools[0] web_search'], outcome: 'completed', trouble: null,
  candidates: [
    { backend_id: 'a', expected_cached_tokens: 64, wait_seconds: 0, prefill_seconds: 0.02, decode_seconds: 1, regret_seconds: 0, cost_seconds: 1.02 },
    { backend_id: 'b:9001', expected_cached_tokens: 0, wait_seconds: 0.5, prefill_seconds: 0.1, decode_seconds: 1, regret_seconds: 0, cost_seconds: 1.6 },
  ],
}

test('a receipt is explained with reason, figures, failovers and a table of the candidates', () => {
  assert.equal(explanation(RECEIPT), `resp_1  completed
  went to    a, model Qwen3, by chat
  because    home: it holds most of this conversation, and that made it the cheapest
  session    s_1, known by root
  prompt     104 (expected 100) tokens, cached not told (expected 64)
  answer     12 tokens, first after 5.3 ms, all after 812 ms
  decided    in 41 us, after waiting 0.0 ms
  failed at  d: no connection
  left out   tools[0] web_search

  candidate  cached tokens   wait  prefill  decode  regret  cost (s)
  a *                   64  0.000    0.020   1.000   0.000     1.020
  b:9001                 0  0.500    0.100   1.000   0.000     1.600
  c: not considered, healthy: connection refused`)
})

test('a receipt of a group says which models could have answered and what was expected of each', () => {
  const lines = explanation({
    ...RECEIPT,
    model: 'coder',
    reason: 'quality',
    group: {
      name: 'auto', incumbent: null,
      considered: [
        { model: 'coder', mean: 0.8, deviation: 0.05, observations: 120.4, drawn: 0.82, seconds: 1.5 },
        { model: 'math', mean: 0.5, deviation: 0.3, observations: 0, drawn: 0.4, seconds: null },
        { model: 'poet', mean: -0.05, deviation: 0.1, observations: 15, drawn: -0.16, seconds: 1 },
      ],
    },
    candidates: [{ backend_id: 'a', expected_cached_tokens: 0, wait_seconds: 0, prefill_seconds: 1, decode_seconds: 0, regret_seconds: 0, quality_seconds: 2, cost_seconds: 3.5 }],
  }).split('\n')
  assert.ok(lines.includes('  model      coder of group auto'))
  assert.ok(lines.includes('             coder: quality 0.800 (0.702 to 0.898) from 120 outcomes, taken as 0.820; 1.500 s'))
  assert.ok(lines.includes('             math: quality 0.500 (0.000 to 1.000) from 0 outcomes, taken as 0.400; served by nobody now'))
  assert.ok(lines.includes('             poet: quality 0.000 (0.000 to 0.146) from 15 outcomes, taken as -0.160; 1.000 s'), 'a mean lies in its interval')
  assert.ok(lines.includes('  candidate  cached tokens   wait  prefill  decode  regret  quality lost  cost (s)'))
})

test('a receipt says what became of the cached prefix, and how the cache stands by now', () => {
  const lines = explanation({
    ...RECEIPT,
    cache: { why: 'evicted', reusable_tokens: 900, missed_tokens: 800, inferred: true },
    forecast: { backend_id: 'a', resident_now: 0.971, uncertainty: 0.02, resident_at_return: 0.8, returns: 0.6, expected_return_ms: 64_000 },
  }).split('\n')
  assert.ok(lines.includes('  cache      evicted: the backend had let it go for want of room; 800 of 900 reusable tokens computed again (told by the time to the first token)'))
  assert.ok(lines.includes('  by now     still cached at a with a probability of 97 %, about 80 % when it returns (half of those that do: within 64000 ms)'))
})

test('a receipt of another shape is explained as far as it goes, and control characters never reach the terminal', () => {
  assert.ok(explanation({}).includes('because'))
  assert.ok(!explanation({ ...RECEIPT, trouble: 'a\u001b[31mred\n' }).includes('\u001b'))
})

test('explain asks a running gateway, with its key, for a receipt', async (t) => {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.authorization}`)
    const found = request.url === '/homing/v1/responses/resp_1/decision'
    response.writeHead(found ? 200 : 404, { 'content-type': 'application/json' })
    response.end(JSON.stringify(found ? RECEIPT : { error: { message: "There is no receipt for 'x'." } }))
  })
  t.after(() => server.close())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const found = await runProgram(['explain', 'resp_1', '--url', `${url}/v1/`, '--key', 'k'])
  assert.deepEqual([found.code, found.out], [0, `${explanation(RECEIPT)}\n`])
  const missing = await runProgram(['explain', 'a/b', '--url', url], { HOMING_API_KEY: 'e' })
  assert.deepEqual([missing.code, missing.error], [1, "homing explain: There is no receipt for 'x'.\n"])
  assert.deepEqual(asked, [
    'GET /homing/v1/responses/resp_1/decision Bearer k', 'GET /homing/v1/responses/a%2Fb/decision Bearer e',
  ])
  const nobody = await runProgram(['explain', 'resp_1', '--url', 'http://127.0.0.1:1'])
  assert.deepEqual([nobody.code, nobody.error], [
    1, 'homing explain: no answer from http://127.0.0.1:1: nothing listens there; --url says where the gateway runs\n',
  ])
})
