import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeEvent, SseOverflow, SseReader } from '../../src/wire/sse.ts'

type Got = [data: string, event: string | null]

function read(chunks: readonly Uint8Array[], maxEventBytes?: number): Got[] {
  const got: Got[] = []
  const reader = new SseReader((data, event) => got.push([data, event]), maxEventBytes)
  for (const chunk of chunks) reader.push(chunk)
  reader.end()
  return got
}

const bytes = (text: string): Buffer => Buffer.from(text, 'utf8')

for (const [name, text, expected] of [
  ['one event', 'data: {"a":1}\n\n', [['{"a":1}', null]]],
  ['an event with its name', 'event: x\ndata: 1\n\n', [['1', 'x']]],
  ['line ends \\r\\n', 'event: x\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n', [['1', 'x'], ['2', null]]],
  ['line ends \\r', 'data: 1\r\rdata: 2\r\r', [['1', null], ['2', null]]],
  ['data without the space, and only one space taken', 'data:1\n\ndata:  2\n\n', [['1', null], [' 2', null]]],
  ['several data lines joined by a line end', 'data: a\ndata: b\ndata\n\n', [['a\nb\n', null]]],
  ['comments, ids, retries and unknown fields ignored', ': ping\nid: 1\nretry: 5\nfoo\ndatax: 1\ndata: 1\n\n: ping\n\n', [['1', null]]],
  ['an event without data is none, and its name does not leak', 'event: x\n\ndata: 1\n\n', [['1', null]]],
  ['the last event without its blank line', 'data: 1\n\ndata: 2\n', [['1', null], ['2', null]]],
  ['the last line without its end', 'data: 1\n\ndata: 2', [['1', null], ['2', null]]],
  ['a byte order mark', '\ufeffdata: 1\n\n', [['1', null]]],
  ['an empty stream', '', []],
] as const) {
  test(`SSE reader: ${name}`, () => {
    assert.deepEqual(read([bytes(text)]), expected)
  })
}

test('SSE reader: any split of the bytes gives the same events', () => {
  const text = '\ufeffevent: a\r\ndata: {"t":"né 😀 ☃"}\r\n\r\n: c\n\ndata: 1\ndata: 2\n\ndata: x\r\rdata: last 😀'
  const whole = bytes(text)
  const expected = read([whole])
  assert.equal(expected.length, 4)
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 0, max: whole.length }), { maxLength: 30 }), (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), whole.length]
      const chunks = at.slice(1).map((end, index) => new Uint8Array(whole.subarray(at[index], end)))
      assert.deepEqual(read(chunks), expected)
    }),
  )
  assert.deepEqual(read([...whole].map((byte) => Uint8Array.of(byte))), expected)
})

test('SSE reader: an event beyond the limit throws a typed error, as one line or as many', () => {
  assert.throws(() => read([bytes('data: 12345')], 8), SseOverflow)
  assert.throws(() => read([bytes('data: 1234567890\n')], 8), SseOverflow)
  assert.throws(() => read([bytes('data: 12345\ndata: 12345\n')], 8), SseOverflow)
  assert.deepEqual(read([bytes('data: 12\n\ndata: 34\n\n')], 8), [['12', null], ['34', null]])
})

test('an encoded event has its type in the event line, its number in the data, and survives reading', () => {
  const frame = encodeEvent({ type: 'response.output_text.delta', delta: 'a\nb\r\u2028"', logprobs: [] }, 7)
  assert.ok(frame.startsWith('event: response.output_text.delta\ndata: {'))
  const [[data, event]] = read([bytes(frame)]) as [Got]
  assert.equal(event, 'response.output_text.delta')
  assert.deepEqual(JSON.parse(data), {
    type: 'response.output_text.delta',
    delta: 'a\nb\r\u2028"',
    logprobs: [],
    sequence_number: 7,
  })
})
