import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { agentLoops, parseAgentLoops } from '../../sim/workload/agent-loops.ts'
import { readTrace } from '../../sim/workload/read-trace.ts'
import { atRate, withSharedPrompt } from '../../sim/workload/workload.ts'

let folder = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'homing-trace-'))
})
after(() => rm(folder, { recursive: true }))

const read = async (text: string) => {
  const path = join(folder, 'trace')
  await writeFile(path, text)
  return await readTrace(path)
}

const mooncake = (timestamp: number, ids: readonly number[], length = ids.length * 512, output = 10): string =>
  JSON.stringify({ timestamp, input_length: length, output_length: output, hash_ids: ids })

test('Mooncake lines become requests with their blocks', async () => {
  const { workload, error } = await read(`${mooncake(0, [0, 1], 700)}\n${mooncake(3000, [0, 2, 3])}\n`)
  assert.equal(error, null)
  assert.deepEqual(
    workload.requests.map(({ atMs, promptTokens, outputTokens, blocks }) => [
      atMs,
      promptTokens,
      outputTokens,
      Array.from(blocks),
    ]),
    [
      [0, 700, 10, [0, 1]],
      [3000, 1536, 10, [0, 2, 3]],
    ],
  )
  assert.equal(workload.blockTokens, 512)
})

const BROKEN: readonly (readonly [name: string, line: string, why: RegExp])[] = [
  ['no JSON', '{"timestamp":', /not JSON/],
  ['a missing time', '{"input_length":512,"output_length":1,"hash_ids":[1]}', /'timestamp' is missing/],
  ['a missing length', '{"timestamp":1,"output_length":1,"hash_ids":[1]}', /'input_length' is missing/],
  ['missing blocks', '{"timestamp":1,"input_length":512,"output_length":1}', /'hash_ids' is missing/],
  ['too few blocks', mooncake(1, [1], 5000), /has 1 blocks, but 5000 tokens are 10/],
  [
    'a block that is no number',
    '{"timestamp":1,"input_length":512,"output_length":1,"hash_ids":["x"]}',
    /whole numbers/,
  ],
  ['a negative length', '{"timestamp":1,"input_length":-5,"output_length":1,"hash_ids":[1]}', /'input_length' must be/],
  ['times that go back', mooncake(5, [1]), /times go back: 5 ms after 10 ms/],
]

for (const [name, line, why] of BROKEN) {
  test(`a line with ${name} ends the reading with file and line, and what came before is kept`, async () => {
    const { workload, error } = await read(
      `${mooncake(0, [0])}\n\n${mooncake(10, [0, 1])}\n${line}\n${mooncake(20, [2])}\n`,
    )
    assert.equal(error?.line, 4)
    assert.match(error.message, /trace:4: /)
    assert.match(error.message, why)
    assert.equal(workload.requests.length, 2)
  })
}

test('an unknown format is named as such, with the known ones', async () => {
  for (const text of ['a,b,c\n1,2,3\n', '{"x":1}\n', '[1]\n']) {
    const { workload, error } = await read(text)
    assert.match(error?.message ?? '', /trace:1: unknown format; known are Mooncake JSONL/)
    assert.equal(workload.requests.length, 0)
  }
  assert.match((await read('')).error?.message ?? '', /no requests/)
})

test('Azure csv: relative times to a tenth of a microsecond, no shared blocks, no newline at the end', async () => {
  const { workload, error } = await read(
    'TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,1396,109',
  )
  assert.equal(error, null)
  assert.deepEqual(
    workload.requests.map(({ promptTokens }) => promptTokens),
    [374, 1396],
  )
  assert.ok(Math.abs(workload.requests[1]!.atMs - 4314.579) < 0.001)
  assert.deepEqual(
    workload.requests.map(({ blocks }) => blocks.length),
    [1, 3],
  )
  const bad = await read('TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,,44\n')
  assert.match(bad.error?.message ?? '', /trace:2: 'ContextTokens'/)
})

test('a log of Chat requests: full histories share blocks and continue each other', async () => {
  const long = 'word '.repeat(200)
  const history = [{ role: 'user', content: long }]
  const answer = { role: 'assistant', content: 'An answer. '.repeat(60) }
  const lines = [
    { timestamp: '2026-01-01T00:00:00Z', body: { messages: history }, response: { choices: [{ message: answer }] } },
    { timestamp: '2026-01-01T00:00:30Z', body: { messages: [...history, answer, { role: 'user', content: 'And?' }] } },
    { timestamp: '2026-01-01T00:00:31Z', body: { messages: [{ role: 'user', content: `other ${long}` }] } },
  ]
  const { workload, error } = await read(lines.map((line) => JSON.stringify(line)).join('\n'))
  assert.equal(error, null)
  const [first, second, third] = workload.requests
  assert.equal(second!.atMs, 30_000)
  assert.equal(second!.parent, 0)
  assert.equal(third!.parent, -1)
  // The answer's blocks are the next prompt's blocks in that place.
  const from = Math.floor(first!.promptTokens / 64)
  assert.ok(first!.answerBlocks.length > 1)
  assert.deepEqual(
    Array.from(first!.answerBlocks),
    Array.from(second!.blocks).slice(from, from + first!.answerBlocks.length),
  )
})

test('a log of Responses requests: previous_response_id continues the chain that it names', async () => {
  const lines = [
    {
      timestamp: 1,
      body: { input: 'x'.repeat(1000) },
      response: { id: 'r1', output: [{ type: 'message', content: [{ type: 'output_text', text: 'y'.repeat(800) }] }] },
    },
    { timestamp: 2, body: { input: 'more', previous_response_id: 'r1' } },
  ]
  const { workload } = await read(lines.map((line) => JSON.stringify(line)).join('\n'))
  const [first, second] = workload.requests
  assert.ok(second!.promptTokens > first!.promptTokens + 200)
  assert.equal(second!.session, first!.session)
  assert.deepEqual(Array.from(second!.blocks).slice(0, 3), Array.from(first!.blocks).slice(0, 3))
})

test('a log line without body or time is an error with its line', async () => {
  const good = JSON.stringify({ timestamp: 1, messages: [{ role: 'user', content: 'hello' }] })
  assert.match(
    (await read(`${good}\n${JSON.stringify({ timestamp: 2, body: {} })}\n`)).error?.message ?? '',
    /trace:2: neither 'messages' nor 'input'/,
  )
  assert.match(
    (await read(`${good}\n${JSON.stringify({ messages: [] })}\n`)).error?.message ?? '',
    /trace:2: 'timestamp' is missing/,
  )
})

test('lineage: a trunk that three sessions share makes nobody a parent, a private prefix does', async () => {
  const { workload } = await read(
    [
      mooncake(0, [0, 10]),
      mooncake(1, [0, 20]),
      mooncake(2, [0, 30]),
      mooncake(3, [0, 40]),
      mooncake(4, [0, 10, 11]),
    ].join('\n'),
  )
  assert.deepEqual(
    workload.requests.map(({ parent }) => parent),
    [-1, 0, 1, -1, 0],
  )
  assert.equal(workload.requests[4]!.session, workload.requests[0]!.session)
})

test('lineage: an answer takes the blocks that its continuation has in that place, else blocks of its own', async () => {
  const { workload } = await read([mooncake(0, [0, 1], 1000, 600), mooncake(9, [0, 2, 3, 4], 2000, 600)].join('\n'))
  assert.deepEqual(Array.from(workload.requests[0]!.answerBlocks), [2, 3])
  assert.deepEqual(Array.from(workload.requests[1]!.answerBlocks), [5, 6])
})

test('a workload can be sped up, and a shared prompt can be put in front of every request', async () => {
  const { workload } = await read(`${mooncake(0, [0])}\n${mooncake(3000, [0, 1])}\n`)
  assert.deepEqual(
    atRate(workload, 2.5).requests.map(({ atMs }) => atMs),
    [0, 1200],
  )
  const shared = withSharedPrompt(workload, 1100).requests
  assert.deepEqual(
    shared.map(({ promptTokens }) => promptTokens),
    [1536, 2048],
  )
  assert.deepEqual(Array.from(shared[1]!.blocks).slice(0, 2), Array.from(shared[0]!.blocks).slice(0, 2))
})

test('agent loops: the same seed gives the same trace, times ascend, prompts grow with their own answers', () => {
  const workload = agentLoops({ sessions: 12, turns: 10, seed: 5 })
  assert.deepEqual(agentLoops({ sessions: 12, turns: 10, seed: 5 }), workload)
  assert.notDeepEqual(agentLoops({ sessions: 12, turns: 10, seed: 6 }).requests.length, 0)
  let previous = 0
  let grown = 0
  for (const request of workload.requests) {
    assert.ok(request.atMs >= previous)
    previous = request.atMs
    if (request.parent < 0) continue
    const parent = workload.requests[request.parent]!
    const chain = [
      ...Array.from(parent.blocks).slice(0, Math.floor(parent.promptTokens / 64)),
      ...Array.from(parent.answerBlocks),
    ]
    if (chain.every((id, index) => request.blocks[index] === id)) grown++
  }
  assert.ok(grown > workload.requests.length / 2)
  assert.throws(() => parseAgentLoops('agents:colour=3'), /colour=3.*sessions=N/)
  assert.equal(parseAgentLoops('file.jsonl'), null)
})
