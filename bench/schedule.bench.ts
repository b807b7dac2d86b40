/**
 * Cost of a decision (of the block index under it: block-index.bench.ts). Run: `node dist/bench/schedule.bench.js`.
 *
 *   decide     Scheduler.rank + begin's index and ledger work, at 5 / 8 / 25 / 100 backends; targets: 25 us at 8,
 *              150 us at 100 (median, one core)
 *   history    a conversation of 10k and of 100k tokens continued by 200 tokens at 100 backends; target: p99 0.5 ms,
 *              independent of history
 */
import { BlockIndex } from '../src/kv/block-index.ts'
import { CacheCalibration } from '../src/kv/calibration.ts'
import { Pressure } from '../src/kv/pressure.ts'
import { Ledger } from '../src/fleet/ledger.ts'
import { LatencyModel } from '../src/learn/latency.ts'
import { OutputLength } from '../src/learn/output-length.ts'
import type { Backend } from '../src/model/backend.ts'
import type { SchedulingRequest } from '../src/model/decision.ts'
import type { BlockChain } from '../src/model/turn.ts'
import { Scheduler } from '../src/schedule/scheduler.ts'

const BLOCK_TOKENS = 64
const nowMs = () => performance.now()

let state = 1
const random32 = (): number => {
  state = (Math.imul(state, 0x2c1b3c6d) + 0x297a2d39) >>> 0
  return (state ^ (state >>> 15)) >>> 0
}
const random = (): number => random32() / 2 ** 32

function chain(blocks: number, from?: BlockChain): BlockChain {
  const hashes = new Uint32Array(2 * blocks)
  for (let i = 0; i < hashes.length; i++) hashes[i] = random32()
  if (from !== undefined) hashes.set(from.hashes.subarray(0, 2 * from.length))
  return { hashes, length: blocks, blockCharacters: 4 * BLOCK_TOKENS, totalCharacters: 4 * BLOCK_TOKENS * blocks }
}

const backendAt = (index: number): Backend => ({
  id: `b${index}`, index, engine: 'vllm', protocols: new Set(['chat']), vision: null, slots: null, cacheCapacityTokens: null,
  models: new Map([['m', { name: 'm', served: 'm', contextTokens: null }]]),
  healthy: true, draining: false, probed: true, trouble: null,
  config: {
    id: `b${index}`, url: '', protocol: 'chat', key: null, headers: {}, models: null, contextTokens: null, maxInFlightTokens: null, ca: null,
    timeouts: { connectMs: 1, idleMs: 1, firstTokenMs: null },
  },
})

const requestFor = (blocks: BlockChain): SchedulingRequest => ({
  endpoint: 'responses', tenant: 't', model: 'm', chain: blocks, promptTokens: blocks.length * BLOCK_TOKENS, maxOutputTokens: null,
  sessionId: 's', homeBackendId: null, protocol: null, needsVision: false, exclude: new Set(),
})

function quantiles(microseconds: number[]): string {
  microseconds.sort((one, other) => one - other)
  const at = (share: number) => microseconds[Math.floor(share * (microseconds.length - 1))]!.toFixed(1).padStart(7)
  return `median ${at(0.5)} us   p99 ${at(0.99)} us`
}

function newScheduler(backends: readonly Backend[]) {
  const index = new BlockIndex({ maxBytes: 1 << 28, nowMs })
  const ledger = new Ledger({ nowMs })
  const latency = new LatencyModel()
  const pressure = new Pressure({ index, nowMs, maxConversations: 10_000 })
  const calibration = new CacheCalibration(index, pressure, latency)
  const scheduler = new Scheduler({
    fleet: { list: () => backends }, index, ledger, latency, outputLength: new OutputLength(), calibration, random, nowMs,
  })
  return { scheduler, index }
}

/** Every backend holds the system prompt of 2,000 tokens; a quarter of them a longer part of the conversation. */
function measure(backendCount: number, historyTokens: number, newTokens: number): string {
  const { scheduler, index } = newScheduler(Array.from({ length: backendCount }, (_, at) => backendAt(at)))
  const system = chain(Math.ceil(2000 / BLOCK_TOKENS))
  const decide: number[] = []
  const whole: number[] = []
  const conversations = Array.from({ length: 50 }, () => chain(Math.ceil(historyTokens / BLOCK_TOKENS), system))
  for (const conversation of conversations) {
    for (let at = 0; at < backendCount; at++) index.insert(system, at)
    index.insert(conversation, Math.floor(random() * backendCount))
    for (let other = 0; other < backendCount / 4; other++) {
      index.insert({ ...conversation, length: Math.max(system.length, conversation.length >> 2) }, Math.floor(random() * backendCount))
    }
  }
  // Made beforehand, so that their garbage is not collected on the clock. Each turn goes on from the same history.
  const requests = Array.from({ length: 400 }, (_, at) => conversations[at % conversations.length]!).map((conversation) =>
    requestFor(chain(conversation.length + Math.ceil(newTokens / BLOCK_TOKENS), conversation)))
  for (let round = 0; round < 6000; round++) {
    const request = requests[round % requests.length]!
    const started = performance.now()
    const decision = scheduler.rank(request)
    const decided = performance.now()
    const inFlight = scheduler.begin(decision, decision.ranked[0]!, request)
    inFlight.firstToken()
    const begun = performance.now()
    inFlight.end('completed')
    if (round < 2000) continue // warming up
    decide.push(1000 * (decided - started))
    whole.push(1000 * (begun - started))
  }
  return `decide ${quantiles(decide)}   with begin ${quantiles(whole)}`
}

console.log(`node ${process.version}, one core; blocks of ${BLOCK_TOKENS} tokens`)
for (const backends of [5, 8, 25, 100]) {
  console.log(`${String(backends).padStart(3)} backends,   8k history: ${measure(backends, 8000, 200)}`)
}
for (const history of [10_000, 100_000]) {
  console.log(`100 backends, ${history / 1000}k history: ${measure(100, history, 200)}`)
}
