import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Ledger } from '../../src/fleet/ledger.ts'

function newLedger() {
  const clock = { nowMs: 0 }
  return { clock, ledger: new Ledger({ nowMs: () => clock.nowMs }) }
}

describe('Ledger', () => {
  it('counts turns before their first token apart from those that only decode', () => {
    const { ledger } = newLedger()
    const one = ledger.begin(2, { uncachedTokens: 1000, expectedOutputTokens: 50 })
    ledger.begin(2, { uncachedTokens: 500, expectedOutputTokens: 10 })
    assert.deepEqual([ledger.runningCount(2), ledger.beforeFirstToken(2), ledger.queuedPrefillTokens(2), ledger.decodeTokens(2)], [2, 2, 1500, 60])
    one.firstToken()
    one.firstToken()
    one.tokens(20)
    assert.deepEqual([ledger.runningCount(2), ledger.beforeFirstToken(2), ledger.queuedPrefillTokens(2), ledger.decodeTokens(2)], [2, 1, 500, 40])
    one.tokens(100)
    one.end('completed')
    one.end('failed')
    assert.deepEqual([ledger.runningCount(2), ledger.decodeTokens(2)], [1, 10])
    assert.deepEqual([ledger.runningCount(0), ledger.runningCount(9)], [0, 0])
  })

  it('counts down the oldest prefill and starts the next when it is done', () => {
    const { ledger, clock } = newLedger()
    const one = ledger.begin(0, { uncachedTokens: 1, expectedOutputTokens: 1, prefillSeconds: 4 })
    ledger.begin(0, { uncachedTokens: 1, expectedOutputTokens: 1, prefillSeconds: 2 })
    clock.nowMs = 3000
    assert.equal(ledger.waitSeconds(0), 3)
    one.firstToken()
    assert.equal(ledger.waitSeconds(0), 2)
    clock.nowMs = 4000
    assert.equal(ledger.waitSeconds(0), 1)
  })

  it('expects of a late prefill that it takes as long again as it is late', () => {
    const { ledger, clock } = newLedger()
    ledger.begin(0, { uncachedTokens: 1, expectedOutputTokens: 1, prefillSeconds: 1, overheadSeconds: 0.5 })
    clock.nowMs = 1400
    assert.equal(ledger.waitSeconds(0), 0.1)
    clock.nowMs = 11_500
    assert.equal(ledger.waitSeconds(0), 10)
  })

  it('knows what the turns in flight will hold when they are done, until they are', () => {
    const { ledger } = newLedger()
    const one = ledger.begin(1, { uncachedTokens: 100, promptTokens: 900, expectedOutputTokens: 50 })
    const two = ledger.begin(1, { uncachedTokens: 200, expectedOutputTokens: 30 })
    assert.deepEqual([ledger.inFlightTokens(0), ledger.inFlightTokens(1)], [0, 1180])
    one.firstToken()
    one.tokens(40)
    assert.equal(ledger.inFlightTokens(1), 1180, 'what was generated is held as well')
    one.end('completed')
    assert.equal(ledger.inFlightTokens(1), 230)
    two.end('cancelled')
    assert.equal(ledger.inFlightTokens(1), 0)
  })

  it('is empty again when everything ended, however it ended', () => {
    const { ledger } = newLedger()
    const turns = Array.from({ length: 30 }, (_, at) => ledger.begin(at % 3, { uncachedTokens: 0.1 * at, expectedOutputTokens: 7, prefillSeconds: 0.1 }))
    turns.forEach((turn, at) => {
      if (at % 2 === 0) turn.firstToken()
      turn.end(at % 3 === 0 ? 'failed' : 'cancelled')
    })
    for (const backend of [0, 1, 2]) {
      const figures = [ledger.runningCount(backend), ledger.beforeFirstToken(backend), ledger.queuedPrefillTokens(backend), ledger.decodeTokens(backend), ledger.waitSeconds(backend), ledger.inFlightTokens(backend)]
      assert.deepEqual(figures, [0, 0, 0, 0, 0, 0])
    }
  })

  it('sets a turn aside that three later ones overtook while it is ten seconds late', () => {
    const { ledger, clock } = newLedger()
    const work = { uncachedTokens: 100, expectedOutputTokens: 1, prefillSeconds: 1 }
    ledger.begin(0, work)
    const later = () => {
      const turn = ledger.begin(0, work)
      turn.firstToken()
      turn.end('completed')
    }
    for (let n = 0; n < 10; n++) later()
    assert.equal(ledger.beforeFirstToken(0), 1, 'not late yet: engines let short prompts pass')
    clock.nowMs = 11_100
    later()
    assert.deepEqual([ledger.beforeFirstToken(0), ledger.waitSeconds(0), ledger.lost.overtaken], [0, 0, 1])
  })

  it('does not count a turn for ever whose answer never comes', () => {
    const { ledger, clock } = newLedger()
    const turn = ledger.begin(0, { uncachedTokens: 100, expectedOutputTokens: 9, prefillSeconds: 1 })
    clock.nowMs = 600_000
    assert.ok(ledger.waitSeconds(0) > 500)
    clock.nowMs = 602_000
    const version = ledger.version(0)
    assert.deepEqual([ledger.waitSeconds(0), ledger.ownCount(0), ledger.lost.late], [0, 0, 1])
    assert.ok(ledger.version(0) > version)
    turn.end('failed')
    assert.deepEqual([ledger.ownCount(0), ledger.decodeTokens(0)], [0, 0])
  })

  it('is not late for what others have in front of it', () => {
    const clock = { nowMs: 0 }
    let ahead = 30
    const others = { waitSeconds: () => ahead, running: () => 0, answered: () => undefined, version: () => 0 }
    const ledger = new Ledger({ nowMs: () => clock.nowMs, others })
    ledger.begin(0, { uncachedTokens: 1, expectedOutputTokens: 1, prefillSeconds: 2 })
    clock.nowMs = 31_000
    ahead = 0
    assert.equal(ledger.waitSeconds(0), 1)
  })
})
