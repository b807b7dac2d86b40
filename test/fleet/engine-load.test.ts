import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EngineLoad, type EnginePage } from '../../src/fleet/engine-load.ts'
import { Ledger } from '../../src/fleet/ledger.ts'
import { LiveBackend } from '../../src/fleet/live-backend.ts'
import { OthersWork } from '../../src/fleet/others-work.ts'
import { backendConfig } from './fake-engine.ts'

function room() {
  const clock = { ms: 0 }
  const nowMs = () => clock.ms
  const others = new OthersWork({ nowMs })
  const ledger = new Ledger({ nowMs, others })
  const load = new EngineLoad({ ledger, others, nowMs, prefillSeconds: (tokens) => 0.02 + tokens / 8000 })
  const backend = new LiveBackend(backendConfig('http://a:1'), 0)
  const page = (changes: Partial<EnginePage>): EnginePage => ({
    running: 0, waiting: 0, cacheUsage: null, computedTokens: null, finishedRequests: null, observedAtMs: clock.ms, ...changes,
  })
  const read = (changes: Partial<EnginePage>, meanwhile: () => void = () => undefined) => {
    load.asked(backend)
    meanwhile()
    load.answered(backend, page(changes))
  }
  const send = (tokens = 4000) => ledger.begin(0, { uncachedTokens: tokens, expectedOutputTokens: 100, prefillSeconds: tokens / 8000 })
  return { clock, ledger, others, load, backend, read, send }
}

test('what an engine has beyond our own turns is the work of others, at the price of our mean prompt', () => {
  const { ledger, load, backend, read, send } = room()
  send().firstToken()
  send()
  const own = ledger.waitSeconds(0)
  read({ running: 5, waiting: 4 })
  // Of the four that wait one may be ours; of the five that run one is.
  const reading = load.others(backend)!
  assert.deepEqual([reading.waiting, reading.running, reading.tokensEach, reading.secondsEach], [3, 4, 4000, 0.5])
  assert.equal(ledger.waitSeconds(0), own + 2)
  assert.deepEqual([ledger.runningCount(0), ledger.ownCount(0)], [6, 2])
})

test('an engine that runs what we sent it has nobody else, at whatever moment of a scrape turns begin, answer and end', () => {
  const { clock, load, backend, read, send } = room()
  const first = send()
  const second = send()
  read({ running: 1, waiting: 1 }, () => {
    first.firstToken()
    first.end('completed')
  })
  read({ running: 1, waiting: 1 }, () => void send().firstToken())
  assert.deepEqual([load.others(backend)!.waiting, load.others(backend)!.running], [0, 0])
  second.end('cancelled')
  clock.ms += 1500
  read({ running: 2 })
  assert.equal(load.others(backend)!.running, 0, 'engines notice late that a client left')
})

test('counters tell how long others\' prompts are, and how busy the engine is with them', () => {
  const { clock, load, backend, read, send } = room()
  let [computed, finished] = [1000, 10]
  for (let n = 0; n < 20; n++) {
    read({ running: 3, waiting: 1, computedTokens: computed, finishedRequests: finished })
    clock.ms += 2000
    const own = send(1000)
    own.firstToken()
    own.end('completed')
    computed += 1000 + 12_000
    finished += 1 + 3
  }
  const { tokensEach, secondsEach, busyShare, waiting } = load.others(backend)!
  assert.equal(waiting, 1)
  assert.ok(Math.abs(tokensEach - 4000) < 1 && Math.abs(secondsEach - 0.5) < 0.001)
  assert.ok(Math.abs(busyShare - 0.75) < 0.01, `${busyShare}: 6,000 tokens a second of 8,000`)
})

test('a queue that does not get on is worth as much time for each as it has stood still', () => {
  const { clock, load, backend, read } = room()
  for (let n = 0; n < 4; n++) {
    read({ running: 1, waiting: 3, computedTokens: 500, finishedRequests: 2 })
    clock.ms += 2000
  }
  assert.equal(load.others(backend)!.secondsEach, 6)
  read({ running: 1, waiting: 3, computedTokens: 9000, finishedRequests: 2 })
  assert.ok(load.others(backend)!.secondsEach < 2)
})

test('turns that an idle engine does not have are set aside, count again when they speak, and end once', () => {
  const { clock, ledger, read, send } = room()
  const lost = send()
  clock.ms += 5000
  const before = ledger.waitSeconds(0)
  assert.ok(before > 4)
  read({})
  read({})
  assert.equal(ledger.beforeFirstToken(0), 1, 'two pages may be of a moment between two turns')
  const fresh = send()
  read({})
  assert.deepEqual([ledger.lost.idle, ledger.beforeFirstToken(0)], [1, 1])
  assert.equal(ledger.waitSeconds(0), 0.5)
  lost.firstToken()
  assert.deepEqual([ledger.ownCount(0), ledger.beforeFirstToken(0)], [2, 1])
  for (const turn of [lost, fresh, lost]) turn.end('completed')
  assert.deepEqual([ledger.ownCount(0), ledger.decodeTokens(0), ledger.contextTokens(0), ledger.waitSeconds(0)], [0, 0, 0, 0])
})

test('after a restart nothing that was read before counts', () => {
  const { ledger, load, backend, read } = room()
  read({ running: 4, waiting: 9 })
  assert.ok(ledger.waitSeconds(0) > 0)
  load.forget(backend)
  assert.deepEqual([ledger.waitSeconds(0), ledger.runningCount(0), load.others(backend)], [0, 0, null])
})
