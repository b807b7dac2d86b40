import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { ConfigError, loadConfig, parseBackend } from '../../src/config.ts'
import type { ConfigFlags } from '../../src/config.ts'

/** Every problem as `line path: message`. */
function problems(text: string, flags: ConfigFlags = {}, env: Record<string, string> = {}): string[] {
  try {
    loadConfig({ file: 'homing.yaml', text, env, flags })
  } catch (cause) {
    assert.ok(cause instanceof ConfigError)
    return cause.problems.map(({ line, path, message }) => `${line ?? '-'} ${path}: ${message}`)
  }
  return []
}

const BACKEND = 'backends: [{ url: "http://h:1" }]\n'

const NO_OWN = { folder: null, examples: new Map<string, readonly string[]>() }

test('the configuration of the manual is read with every value ready to use', () => {
  const config = loadConfig({
    file: '/etc/homing/homing.yaml',
    text: `
listen: 127.0.0.1:8787
store: { path: ./homing-data, retention_days: 7, max_bytes: 1GiB, synchronous: full }
tenants: [{ id: acme, keys: [env:ACME_KEY], limits: { concurrency: 4, tokens_per_minute: none, tokens_counted: all } }, { id: zeta, keys: [z-key], prewarm: false }]
backends:
  - id: a
    url: http://127.0.0.1:9001/v1
    protocol: chat
    key: env:BACKEND_KEY
    headers: { X-Team: search }
    models: { qwen: Qwen/Qwen3-32B }
    context_tokens: 32768
    max_inflight_tokens: 200000
    timeouts: { connect: 500ms, idle: 1m, first_token: 90s }
    prewarm: { enabled: true, tokens_per_minute: 5000 }
    hints: { priority: true, cache_salt: env:BACKEND_KEY, session_header: X-Session-Id }
admin: { keys: [env:HOMING_ADMIN_KEY] }
limits: { body_bytes: 1MiB, items: 50, depth: 9, requests_per_minute: 600, tokens_per_minute: 50000 }
memory: { block_index_bytes: 64MiB, receipts: 500 }
policy: lmetric
chunked_prefill: false
stream_commit_after: 5s
shutdown_grace: 0s
log: { level: warn }
`,
    env: { ACME_KEY: 'a-key', BACKEND_KEY: 'b-key', HOMING_ADMIN_KEY: 'root-key' },
  })
  assert.deepEqual(config, {
    file: '/etc/homing/homing.yaml',
    listen: { host: '127.0.0.1', port: 8787 },
    open: false,
    store: { path: '/etc/homing/homing-data', retentionMs: 7 * 86_400_000, maxBytes: 2 ** 30, synchronous: 'full' },
    tenants: [
      { id: 'acme', keys: ['a-key'], limits: { concurrency: 4, requestsPerMinute: 600, tokensPerMinute: null, tokensCounted: 'all' }, prewarm: true },
      { id: 'zeta', keys: ['z-key'], limits: { concurrency: null, requestsPerMinute: 600, tokensPerMinute: 50_000, tokensCounted: 'uncached' }, prewarm: false },
    ],
    backends: [{
      id: 'a', url: 'http://127.0.0.1:9001', protocol: 'chat', key: 'b-key', headers: { 'x-team': 'search' },
      models: { qwen: 'Qwen/Qwen3-32B' }, contextTokens: 32_768, maxInFlightTokens: 200_000,
      timeouts: { connectMs: 500, idleMs: 60_000, firstTokenMs: 90_000 }, ca: null, prewarm: { enabled: true, tokensPerMinute: 5000 },
      hints: { priority: true, cacheSaltKey: 'b-key', sessionHeader: 'x-session-id' },
    }],
    admin: { keys: ['root-key'], required: true },
    limits: {
      bodyBytes: 2 ** 20, items: 50, depth: 9,
      tenant: { concurrency: null, requestsPerMinute: 600, tokensPerMinute: 50_000, tokensCounted: 'uncached' },
    },
    askingRules: [],
    modelGroups: [],
    models: {},
    memory: { blockIndexBytes: 2 ** 26, lineageCharacters: 64 * 2 ** 20, lineages: 50_000, sessions: 200_000, receipts: 500 },
    policy: 'lmetric',
    chunkedPrefill: false,
    streamCommitAfterMs: 5000,
    shutdownGraceMs: 0,
    log: { level: 'warn' },
    fingerprint: { deadlineMs: 5, conversations: 20_000, topics: NO_OWN, intents: NO_OWN, embeddings: null },
    learning: { outcomesPerMinute: 60_000, answers: 100_000, halfLifeMs: 30 * 86_400_000, exploration: null, shareBetweenTenants: false, implicitSignals: true, log: { path: '/etc/homing/homing-data/choices', maxBytes: 64 * 2 ** 20 } },
  })
})

test('the fingerprint is on unless switched off; folders of taxonomies are relative to the file', () => {
  const read = (text: string) => loadConfig({ file: '/etc/homing/homing.yaml', text, env: {} }).fingerprint
  assert.deepEqual(read('fingerprint: { deadline: 2ms, topics: topics, intents: /srv/intents, conversations: 10 }'), {
    deadlineMs: 2, conversations: 10, topics: { ...NO_OWN, folder: '/etc/homing/topics' }, intents: { ...NO_OWN, folder: '/srv/intents' }, embeddings: null,
  })
  assert.equal(read('fingerprint: { enabled: false }'), null)
  assert.throws(() => read('fingerprint: { topic: x }'), /unknown key/)
})

test('without a file the defaults hold, and rates and concurrency are off', () => {
  const config = loadConfig({ env: {}, flags: { backends: ['http://127.0.0.1:9001/v1/'] } })
  assert.deepEqual(config.listen, { host: '127.0.0.1', port: 8787 })
  assert.equal(config.store.path, resolve('homing-data'))
  assert.equal(config.store.retentionMs, 30 * 86_400_000)
  assert.deepEqual(config.limits.tenant, { concurrency: null, requestsPerMinute: null, tokensPerMinute: null, tokensCounted: 'uncached' })
  assert.equal(config.limits.bodyBytes, 32 * 2 ** 20)
  assert.deepEqual([config.streamCommitAfterMs, config.shutdownGraceMs], [15_000, 30_000])
  assert.deepEqual(config.admin, { keys: [], required: false })
  assert.deepEqual(config.backends[0], {
    id: '127.0.0.1:9001', url: 'http://127.0.0.1:9001', protocol: 'auto', key: null, headers: {}, models: null,
    contextTokens: null, maxInFlightTokens: null, timeouts: { connectMs: 2000, idleMs: 60_000, firstTokenMs: null }, ca: null, prewarm: { enabled: null, tokensPerMinute: 120_000 },
    hints: { priority: false, cacheSaltKey: null, sessionHeader: null },
  })
})

test("'none' lifts a bound, also where its default is one", () => {
  const { store, tenants } = loadConfig({
    text: `
store: { memory: true, retention_days: none }
limits: { concurrency: 4, requests_per_minute: 60, tokens_per_minute: 1000 }
tenants: [{ id: a, keys: [k], limits: { concurrency: none, requests_per_minute: none, tokens_per_minute: none } }]
`,
    env: {},
  })
  assert.equal(store.retentionMs, null)
  assert.deepEqual(tenants[0]!.limits, { concurrency: null, requestsPerMinute: null, tokensPerMinute: null, tokensCounted: 'uncached' })
})

test('choices are logged beside the store unless they are switched off or put elsewhere; a store in memory logs nothing by itself', () => {
  const read = (text: string) => loadConfig({ file: '/etc/homing/homing.yaml', text, env: {} }).learning
  const beside = { path: '/etc/homing/data/choices', maxBytes: 64 * 2 ** 20 }
  assert.deepEqual(read('store: data').log, beside)
  assert.deepEqual(read('store: data\nlearning: { log: true }').log, beside)
  assert.equal(read('store: data\nlearning: { log: false }').log, null)
  assert.equal(read('store: data\nlearning: { log: { enabled: false, max_bytes: 1MiB } }').log, null)
  assert.equal(read('store: memory').log, null)
  assert.deepEqual(read('store: memory\nlearning: { log: choices }').log, { path: '/etc/homing/choices', maxBytes: 64 * 2 ** 20 })
  assert.deepEqual(read('store: data\nlearning: { log: { max_bytes: 1MiB }, answers: 5, outcomes_per_minute: none }'), {
    outcomesPerMinute: null, answers: 5, halfLifeMs: 30 * 86_400_000, exploration: null, shareBetweenTenants: false, implicitSignals: true, log: { ...beside, maxBytes: 2 ** 20 },
  })
})

const MISTAKES: readonly [name: string, text: string, ...expected: string[]][] = [
  ['an unknown key', 'backends:\n  - url: http://h:1\n    protcol: chat\n',
    "3 backends[0].protcol: unknown key; did you mean 'protocol'?"],
  ['an unknown key at the top', `${BACKEND}stoer: memory\n`, "2 stoer: unknown key; did you mean 'store'?"],
  ['an unknown key that is like no other', `${BACKEND}admin: { passphrase: x }\n`,
    "2 admin.passphrase: unknown key; the nearest is 'keys'; known: keys"],
  ['a policy that does not exist', `${BACKEND}policy: round-robbin`,
    "2 policy: 'round-robbin' is not one of homing, random, round-robin, least-inflight, least-queued-tokens, p2c, " +
    'consistent-hash-session, consistent-hash-session-bounded, dynamo-linear, lmetric, mooncake-min-ttft; ' +
    "did you mean 'round-robin'?"],
  ['a wrong protocol', 'backends: [{ url: "http://h:1", protocol: chta }]',
    "1 backends[0].protocol: 'chta' is not one of chat, responses, auto; did you mean 'chat'?"],
  ['a missing url', 'backends:\n  - id: a\n', '2 backends[0].url: missing'],
  ['a url without scheme', 'backends: [{ url: "localhost:9001" }]',
    "1 backends[0].url: 'localhost:9001' is not an http:// or https:// URL; did you mean 'http://localhost:9001'?"],
  ['a url of another scheme', 'backends: [{ url: "ftp://h" }]', "1 backends[0].url: 'ftp://h' is not an http:// or https:// URL"],
  ['a url with a key in it', 'backends: [{ url: "http://u:p@h" }]', "1 backends[0].url: holds credentials; put them into 'key'"],
  ['a url with a query', 'backends: [{ url: "http://h?x=1" }]', '1 backends[0].url: has a query or fragment; a base URL has none'],
  ['one url twice', 'backends:\n  - url: http://h:1/v1\n  - { id: b, url: "http://H:1/" }\n',
    "3 backends[1].url: backend url 'http://h:1' is already taken by backends[0]"],
  ['one id twice', 'backends:\n  - { id: a, url: "http://h:1" }\n  - { id: a, url: "http://h:2" }\n',
    "3 backends[1].id: backend id 'a' is already taken by backends[0]"],
  ['one host and port behind two paths, without ids', 'backends: [{ url: "http://h/x" }, { url: "http://h/y" }]',
    "1 backends[1].id: backend id 'h:80' is already taken by backends[0]"],
  ['an id that no header can carry', 'backends: [{ url: "http://h:1", id: "a b" }]',
    '1 backends[0].id: use 1 to 128 letters, digits and . _ : - [ ]'],
  ['a duration without unit', 'backends: [{ url: "http://h:1", timeouts: { connect: 2 } }]',
    "1 backends[0].timeouts.connect: expected a duration such as 500ms, 2s or 1m; did you mean '2s'?"],
  ['a duration in words', `${BACKEND}shutdown_grace: half an hour`, '2 shutdown_grace: expected a duration such as 500ms, 2s or 1m'],
  ['a timer that would overflow', `${BACKEND}shutdown_grace: 30d`, '2 shutdown_grace: must be at most 24d'],
  ['a secret that is not set', 'backends: [{ url: "http://h:1", key: "env:NOPE" }]',
    '1 backends[0].key: environment variable NOPE is not set'],
  ['a secret with a line break', 'backends: [{ url: "http://h:1", key: "a\\nb" }]',
    '1 backends[0].key: holds characters that an HTTP header cannot carry'],
  ['a secret that is a number, not shown', 'backends: [{ url: "http://h:1", key: 12345 }]',
    '1 backends[0].key: expected text, but got a number'],
  ['a header that Homing sets', 'backends: [{ url: "http://h:1", headers: { Host: x } }]',
    '1 backends[0].headers.Host: is set by Homing itself'],
  ['a header name with a space', 'backends: [{ url: "http://h:1", headers: { "x y": x } }]',
    '1 backends[0].headers.x y: is not a header name'],
  ['two keys for one backend', 'backends: [{ url: "http://h:1", key: k, headers: { Authorization: x } }]',
    "1 backends[0].headers.authorization: 'key' already sends this header; keep one of the two"],
  ['no model', 'backends: [{ url: "http://h:1", models: {} }]', '1 backends[0].models: names no model; leave it out to offer all'],
  ['a context of nothing', 'backends: [{ url: "http://h:1", context_tokens: 0 }]',
    '1 backends[0].context_tokens: expected a whole number, 1 or more, but got 0'],
  ['a ceiling of nothing', 'backends: [{ url: "http://h:1", max_inflight_tokens: 0 }]',
    '1 backends[0].max_inflight_tokens: expected a whole number, 1 or more, but got 0'],
  ['a budget that is no number', `${BACKEND}limits: { tokens_per_minute: 50k }`,
    '2 limits.tokens_per_minute: expected a whole number, 1 or more, but got a string'],
  ['a misspelt budget of a tenant', 'tenants:\n  - { id: a, keys: [k], limits: { token_per_minute: 5 } }',
    "2 tenants[0].limits.token_per_minute: unknown key; did you mean 'tokens_per_minute'?"],
  ['tokens counted in an unknown way', `${BACKEND}limits: { tokens_counted: uncashed }`,
    "2 limits.tokens_counted: 'uncashed' is not one of uncached, all; did you mean 'uncached'?"],
  ['durability of a store in memory', `${BACKEND}store: { memory: true, synchronous: full }`,
    '2 store.synchronous: has no meaning in memory'],
  ['a log of choices that is a number', `${BACKEND}learning: { log: 3 }`,
    '2 learning.log: expected true, false, a folder or a mapping with path and max_bytes, but got a number'],
  ['a misspelt key of learning', `${BACKEND}learning: { anwsers: 3 }`, "2 learning.anwsers: unknown key; did you mean 'answers'?"],
  ['memory for nothing', `${BACKEND}memory: { receipts: 0 }`, '2 memory.receipts: expected a whole number, 1 or more, but got 0'],
  ['a ca without TLS, that is not there', 'backends: [{ url: "https://h:1", ca: /nonexistent/ca.pem }]',
    "1 backends[0].ca: cannot read '/nonexistent/ca.pem': ENOENT: no such file or directory, open '/nonexistent/ca.pem'"],
  ['backends as a mapping', 'backends: { url: "http://h:1" }', '1 backends: expected a list, but got a mapping'],
  ['a backend as text', 'backends: ["http://h:1"]',
    '1 backends[0]: expected a mapping with id, url, protocol, key, headers, models, context_tokens, max_inflight_tokens, timeouts, ca, prewarm, hints, kv_events, specialises_in, but got a string'],
  ['a list at the top', '- 1', '- : expected a mapping with listen, open, store, tenants, backends, admin, limits, ' +
    'memory, policy, chunked_prefill, stream_commit_after, shutdown_grace, log, fingerprint, model_groups, models, learning, ensembles, cascades, but got a list'],
  ['an open address without tenants', 'listen: 0.0.0.0:80',
    '1 listen: 0.0.0.0 can be reached from other machines and there are no tenants; ' +
    "configure tenants, or serve everybody with 'open: true' (--open)"],
  ['an open address with an empty list of tenants', 'listen: "[::]:80"\ntenants: []',
    '1 listen: :: can be reached from other machines and there are no tenants; ' +
    "configure tenants, or serve everybody with 'open: true' (--open)"],
  ['open and tenants', 'open: true\ntenants: [{ id: a, keys: [k] }]',
    '1 open: tenants are configured, so it cannot be open; drop one'],
  ['an address without port', 'listen: 127.0.0.1', "1 listen: '127.0.0.1' is not HOST:PORT, such as 127.0.0.1:8787"],
  ['an address without host', 'listen: ":80"', "1 listen: ':80' names no host; use 127.0.0.1:80 or 0.0.0.0:80"],
  ['a port too high', 'listen: 127.0.0.1:70000', "1 listen: '127.0.0.1:70000' is not HOST:PORT, such as 127.0.0.1:8787"],
  ['one tenant twice', 'tenants:\n  - { id: a, keys: [k] }\n  - { id: a, keys: [l] }',
    "3 tenants[1].id: tenant id 'a' is already taken by tenants[0]"],
  ['one key for two tenants', 'tenants:\n  - { id: a, keys: [k] }\n  - { id: b, keys: [l, k] }',
    '3 tenants[1].keys[1]: this key is already taken by tenants[0].keys[0]'],
  ['one key for a tenant and admin', 'tenants: [{ id: a, keys: [k] }]\nadmin: { keys: [k] }',
    '2 admin.keys[0]: this key is already taken by tenants[0].keys[0]'],
  ['a tenant without keys', 'tenants: [{ id: a, keys: [] }]', '1 tenants[0].keys: is empty: nobody could use this tenant'],
  ['a store in two places', 'store: { memory: true, path: x }', "1 store: 'memory' and 'path' exclude each other"],
  ['a size without sense', 'limits: { body_bytes: lots }', '1 limits.body_bytes: expected a size such as 1048576, 32MiB or 10GiB'],
  ['truth in words', 'open: "yes"', '1 open: expected true or false, but got a string'],
  ['one key of the file twice', 'listen: 127.0.0.1:1\nlisten: 127.0.0.1:2', '2 : not valid YAML: Map keys must be unique'],
]

for (const [name, text, ...expected] of MISTAKES) {
  test(`${name} is reported with its line and path`, () => assert.deepEqual(problems(text), expected))
}

test('all problems are reported at once, in the order of the file, flags last', () => {
  const text = 'backends:\n  - url: h\n    protcol: chat\nlimits: { items: 0 }\n'
  const flags = { backends: ['x:1'], logLevel: 'verbose', listen: 'here' }
  assert.deepEqual(problems(text, flags).map((line) => line.split(': ')[0]), [
    '2 backends[0].url', '3 backends[0].protcol', '4 limits.items', '- --listen', '- --backend[0]', '- --log-level',
  ])
})

test('a message names file, line and path', () => {
  assert.throws(() => loadConfig({ file: 'homing.yaml', text: '\nstoer: x', env: {} }), {
    name: 'ConfigError', message: "homing.yaml:2: stoer: unknown key; did you mean 'store'?",
  })
})

test('flags replace what the file says, and --backend adds to it', () => {
  const config = loadConfig({
    file: 'homing.yaml',
    text: `${BACKEND}listen: 127.0.0.1:1\nstore: { path: x, max_bytes: 1MiB }\nlog: { level: warn }`,
    env: {},
    flags: { listen: '[::1]:0', store: 'memory', logLevel: 'debug', backends: ['http://h:2'] },
  })
  assert.deepEqual(config.listen, { host: '::1', port: 0 })
  assert.deepEqual([config.store.path, config.store.maxBytes], [null, 2 ** 20])
  assert.equal(config.log.level, 'debug')
  assert.deepEqual(config.backends.map(({ id }) => id), ['h:1', 'h:2'])
})

test('a backend given by flag and by file is a duplicate', () => {
  assert.deepEqual(problems(BACKEND, { backends: ['http://h:1/v1'] }), [
    "- --backend[0]: backend url 'http://h:1' is already taken by backends[0]",
  ])
})

test('a base URL keeps its path prefix and loses /v1 and slashes', () => {
  const urls = ['http://h:1/v1', 'http://h:1/v1/', 'http://h:1//', 'https://h/api/v1', 'https://h/v1/x', 'HTTP://H:80/v1']
  assert.deepEqual(urls.map((url) => parseBackend({ url }).url), [
    'http://h:1', 'http://h:1', 'http://h:1', 'https://h/api', 'https://h/v1/x', 'http://h',
  ])
  assert.deepEqual(urls.map((url) => parseBackend({ url }).id), ['h:1', 'h:1', 'h:1', 'h:443', 'h:443', 'h:80'])
})

test('only loopback addresses are free of tenants and of the admin key', () => {
  const required = (listen: string, open: boolean): boolean =>
    loadConfig({ env: {}, flags: { listen, ...(open ? { open } : {}) } }).admin.required
  for (const listen of ['127.0.0.1:1', '127.9.9.9:1', 'localhost:1', '[::1]:1', '8787']) assert.equal(required(listen, false), false)
  for (const listen of ['0.0.0.0:1', '10.0.0.1:1', '[::]:1', 'example.com:1', '127.0.0.1.example.com:1']) {
    assert.throws(() => required(listen, false), ConfigError, listen)
    assert.equal(required(listen, true), true, listen)
  }
})

test('a backend over HTTP reads no variables and no files of the machine', () => {
  assert.throws(() => parseBackend({ url: 'http://h', key: 'env:HOME' }), {
    message: "key: 'env:' works only in the configuration file; send the value itself",
  })
  assert.throws(() => parseBackend({ url: 'https://h', ca: '/etc/passwd' }), { message: 'ca: expected the PEM text of a certificate' })
  assert.throws(() => parseBackend([1]), ConfigError)
})

test('ca is read from the folder of the file, and only for https', () => {
  const folder = mkdtempSync(join(tmpdir(), 'homing-config-'))
  try {
    const pem = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n'
    writeFileSync(join(folder, 'ca.pem'), pem)
    writeFileSync(join(folder, 'not.pem'), 'hello')
    const file = join(folder, 'homing.yaml')
    writeFileSync(file, 'backends: [{ url: "https://h", ca: ca.pem }]')
    assert.equal(loadConfig({ file, env: {} }).backends[0]?.ca, pem)
    const text = 'backends: [{ url: "http://h", ca: ca.pem }, { url: "https://i", ca: not.pem }]'
    assert.throws(() => loadConfig({ file, text, env: {} }), (error: ConfigError) => {
      assert.deepEqual(error.problems.map(({ path, message }) => `${path}: ${message}`), [
        'backends[0].ca: needs an https:// url', "backends[1].ca: 'not.pem' holds no PEM certificate",
      ])
      return true
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('anchors and merge keys work, and a problem behind them still has a line', () => {
  const text = 'backends:\n  - &a { id: a, url: "http://h:1", timeouts: { idle: 5s } }\n  - <<: *a\n    id: b\n    url: http://h:2\n    x: 1\n'
  assert.deepEqual(problems(text).map((line) => line.slice(0, 15)), ['6 backends[1].x'])
  const backends = loadConfig({ text: text.replace('    x: 1\n', ''), env: {} }).backends
  assert.deepEqual(backends.map(({ id, timeouts }) => [id, timeouts.idleMs]), [['a', 5000], ['b', 5000]])
})

test('a YAML bomb is refused instead of expanded', () => {
  const rows = ['a: &a [x, x, x, x, x, x, x, x, x]']
  for (let n = 1; n < 9; n++) {
    const [name, before] = ['abcdefghi'[n], 'abcdefghi'[n - 1]]
    rows.push(`${name}: &${name} [${Array.from({ length: 9 }, () => `*${before}`).join(', ')}]`)
  }
  assert.match(problems(rows.join('\n'))[0] ?? '', /not valid YAML/)
})

test('a file that cannot be read says why', () => {
  assert.throws(() => loadConfig({ file: '/nonexistent.yaml', env: {} }), { message: '/nonexistent.yaml: cannot be read: there is no such file' })
})
