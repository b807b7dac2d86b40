import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JsonObject } from '../../src/model/json.ts'
import { CollectingSink } from '../../src/upstream/ensemble/collecting-sink.ts'

test('a whole answer is kept with its headers', () => {
  const sink = new CollectingSink(null)
  sink.head(200, { 'x-homing-backend': 'b' })
  sink.end('{"id":"resp_1"}')
  assert.deepEqual([sink.body, sink.headers, sink.closed], [{ id: 'resp_1' }, { 'x-homing-backend': 'b' }, true])
})

test('of a stream each event is handed on, in whatever pieces it comes, and the last one is kept', () => {
  const taken: JsonObject[] = []
  const sink = new CollectingSink({ take: (event) => taken.push(event) > 0, onDrain: () => undefined, cut: () => undefined })
  for (const piece of ['event: a\nda', 'ta: {"type":"a"}\n\n', ': waiting\n\n', 'data: {"type":"b"}\n\ndata: no JSON\n\n']) sink.write(piece)
  sink.end('data: {"type":"c"}\n\ndata: [DONE]\n\n')
  assert.deepEqual(taken.map(({ type }) => type), ['a', 'b', 'c'])
  assert.equal(sink.body?.['type'], 'c')
})

test('a client that is slow holds the engine back, and is waited for', () => {
  let hasRoom = true
  let drained: (() => void) | null = null
  const sink = new CollectingSink({ take: () => hasRoom, onDrain: (listener) => void (drained = listener), cut: () => undefined })
  assert.equal(sink.write('data: {"n":1}\n\n'), true)
  hasRoom = false
  assert.equal(sink.write('data: {"n":2}\n\n'), false)
  let resumed = false
  sink.onDrain(() => void (resumed = true))
  assert.equal(resumed, false)
  drained!()
  assert.equal(resumed, true)
})

test('a client that reads nothing for too long is cut off, not only its member', () => {
  let cut = 0
  const sink = new CollectingSink({ take: () => false, onDrain: () => undefined, cut: () => void cut++ })
  sink.cut()
  assert.deepEqual([cut, sink.closed], [1, true])
  sink.write('data: {"n":1}\n\n')
  assert.equal(sink.body, null)
})
