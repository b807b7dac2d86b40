import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Circuit } from '../../src/fleet/circuit.ts'
import type { DispatchResult } from '../../src/fleet/circuit.ts'

function circuit(): { circuit: Circuit; clock: { ms: number } } {
  const clock = { ms: 0 }
  return { circuit: new Circuit(() => clock.ms), clock }
}

test('it opens after three failures in a row, and an ok between them starts the count again', () => {
  const { circuit: it } = circuit()
  for (const result of ['5xx', 'timeout', 'ok', 'reset', '5xx'] as const) it.report(result, 'x')
  assert.equal(it.state, 'closed')
  it.report('timeout', 'no answer')
  assert.equal(it.state, 'open')
  assert.equal(it.trouble, '3 turns in a row failed: no answer')
})

test('a failed connection opens it at once', () => {
  const { circuit: it } = circuit()
  it.report('connect', 'no connection')
  assert.deepEqual([it.state, it.trouble], ['open', 'a turn failed: no connection'])
})

test('a good probe makes it half-open; a good turn closes it, a bad one opens it again', () => {
  const { circuit: it, clock } = circuit()
  it.report('connect', 'x')
  clock.ms = 1000
  it.probeOk()
  assert.deepEqual([it.state, it.admits, it.trouble], ['half-open', true, null])
  it.report('5xx', 'x')
  assert.equal(it.state, 'open')
  clock.ms = 2000
  it.probeOk()
  it.report('ok', '')
  assert.equal(it.state, 'closed')
})

test('the hold doubles up to 30 s while turns fail though probes pass, and an ok resets it', () => {
  const { circuit: it, clock } = circuit()
  const held: number[] = []
  for (let n = 0; n < 7; n++) {
    it.report('connect', 'x')
    const openedAt = clock.ms
    while (it.state === 'open') {
      clock.ms += 500
      it.probeOk()
    }
    held.push(clock.ms - openedAt)
  }
  assert.deepEqual(held, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000])
  it.report('ok', '')
  it.report('connect', 'x')
  clock.ms += 1000
  it.probeOk()
  assert.equal(it.state, 'half-open')
})

test('after server errors the hold stays short: one bad request tried everywhere must not close the fleet', () => {
  const { circuit: it, clock } = circuit()
  for (let n = 0; n < 20; n++) {
    for (let turn = 0; turn < 3; turn++) it.report('5xx', 'x')
    assert.equal(it.state, 'open')
    clock.ms += 1000
    it.probeOk()
    assert.equal(it.state, 'half-open')
  }
})

test('a probe that is refused opens it at once, a probe without answer the third time', () => {
  const refused = circuit().circuit
  refused.probeFailed('connection refused', true)
  assert.equal(refused.state, 'open')
  const slow = circuit().circuit
  slow.probeFailed('slow', false)
  slow.probeFailed('slow', false)
  slow.probeOk()
  slow.probeFailed('slow', false)
  slow.probeFailed('slow', false)
  assert.equal(slow.state, 'closed')
  slow.probeFailed('slow', false)
  assert.equal(slow.state, 'open')
  slow.probeOk()
  assert.equal(slow.state, 'half-open')
})

test('a turn that ends while it is open changes nothing', () => {
  const { circuit: it } = circuit()
  it.report('connect', 'x')
  it.report('ok', '')
  it.report('reset', 'y')
  assert.deepEqual([it.state, it.trouble], ['open', 'a turn failed: x'])
})

test('whatever happens, trouble is told exactly while it is open, and 31 s of good probes admit turns', () => {
  const event = fc.oneof(
    fc.constantFrom<DispatchResult>('ok', 'connect', '5xx', 'timeout', 'reset'),
    fc.constantFrom('probe-ok', 'probe-refused', 'probe-slow'), fc.integer({ min: 1, max: 5000 }),
  )
  fc.assert(fc.property(fc.array(event, { maxLength: 60 }), (events) => {
    const { circuit: it, clock } = circuit()
    for (const one of events) {
      if (typeof one === 'number') clock.ms += one
      else if (one === 'probe-ok') it.probeOk()
      else if (one === 'probe-refused' || one === 'probe-slow') it.probeFailed('x', one === 'probe-refused')
      else it.report(one as DispatchResult, 'x')
      assert.equal(it.trouble === null, it.admits)
    }
    clock.ms += 31_000
    it.probeOk()
    assert.ok(it.admits)
  }))
})
