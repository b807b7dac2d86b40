/**
 * What KV events cost. Run: `npm run build && node dist/bench/kv-events.bench.js`.
 *
 *   decode   BlockStored events a second on one core, decoded and filed, one block of 16 tokens an event and an eviction
 *            each, against a general msgpack decoder on the same bytes; target: 200k/s
 *   look-up  `residentTokens` of a prompt of 100,000 tokens at 200 backends, each holding another part of it
 *   path     the whole path: a publisher in its own process, sockets and decoding in the events process, changes worked in
 *            here; how late this process's timers are with and without events (the relay lives here), and how much of a
 *            core it spends; target: p99 unchanged at 200k BlockStored/s, nothing lost
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { decode as generalDecode } from '@msgpack/msgpack'
import { EVENTS_PROCESS, EventsLink, type WatchedBackend } from '../src/kv/events/events-link.ts'
import { BatchDecoder } from '../src/kv/events/decode-batch.ts'
import { EngineBlocks } from '../src/kv/events/engine-blocks.ts'
import { ExactResidency } from '../src/kv/events/exact-residency.ts'
import { HeldBlocks } from '../src/kv/events/held-blocks.ts'
import { STREAM_COUNTS, type StreamCount } from '../src/kv/events/messages.ts'
import { TokenAnchors } from '../src/kv/events/token-anchors.ts'
import { statesOf } from '../src/kv/events/token-hash.ts'
import { PrefixChain } from '../src/kv/chain.ts'
import type { Backend, BackendConfig } from '../src/model/backend.ts'
import { batches, EVENTS_IN_A_BATCH } from './kv-events/publisher.ts'

const SECONDS = 4
const RATE = 200_000

const payloads = batches().map((payload) => Buffer.from(payload))

function decodeRate(): void {
  const perSecond = (run: () => void): number => {
    run()
    // CPU time, since the machine is shared.
    const before = process.cpuUsage()
    const startedMs = performance.now()
    let rounds = 0
    while (rounds < 4 || performance.now() - startedMs < 1500) {
      run()
      rounds++
    }
    const { user, system } = process.cpuUsage(before)
    return (1e6 * rounds * payloads.length * EVENTS_IN_A_BATCH) / (user + system)
  }
  let changes = 0
  const count = (): void => void changes++
  const decoder = new BatchDecoder()
  const filed = new EngineBlocks({ maxBlocks: 1 << 20, changes: { held: count, gone: count, allGone: count }, onRun: count })
  const rates = {
    'decoded and filed': perSecond(() => {
      filed.clear(true)
      for (const payload of payloads) decoder.decode(payload, filed)
    }),
    'decoded only': perSecond(() => {
      for (const payload of payloads) decoder.decode(payload, { stored: count, removed: count, cleared: count })
    }),
    'general decoder, decoded only': perSecond(() => {
      for (const payload of payloads) changes += (generalDecode(payload, { useBigInt64: true }) as unknown[]).length
    }),
  }
  for (const [what, rate] of Object.entries(rates)) console.log(`| ${what} | ${Math.round(rate / 1000)}k |`)
}

function lookUp(): void {
  const BACKENDS = 200
  const TOKENS = 100_000
  const tokens = Array.from({ length: TOKENS }, (_, at) => (at * 7919) % 150_000)
  const states = statesOf(tokens, null)
  const watched = Array.from({ length: BACKENDS }, (_, backend): WatchedBackend => {
    const held = new HeldBlocks(1 << 20)
    const grains = Math.floor(((backend + 1) / BACKENDS) * (states.length / 2))
    for (let grain = 0; grain < grains; grain++) held.hold(states[2 * grain]!, states[2 * grain + 1]!, 0)
    const counts = Object.fromEntries(STREAM_COUNTS.map((name) => [name, 0])) as Record<StreamCount, number>
    const status = { connected: true, replaying: false, complete: true, blocks: 0, silentMs: 0, lagMs: 0, counts }
    return { publisher: { endpoint: '', replay: null, topic: '' }, held, blockTokens: 16, status, complete: true, version: 0, lastChangeMs: 0 }
  })
  const anchors = new TokenAnchors({ maxBytes: 1 << 26 })
  const residency = new ExactResidency({
    watched: (backend) => watched[backend], anchors, history: { cachedBlocks: () => 0 }, prefillTokensPerSecond: () => 8000, nowMs: () => 0,
  })
  const chain = PrefixChain.root('t', 'm').extend('word '.repeat(80_000))
  const anchor = anchors.add(chain, { model: 'm', served: 'm', tokens: TOKENS, states })!
  const backends = watched.map((_, index): Backend => ({
    id: `b${index}`, index, engine: 'vllm', protocols: new Set(['chat']), vision: null, slots: null, cacheCapacityTokens: null,
    models: new Map([['m', { name: 'm', served: 'm', contextTokens: null }]]), healthy: true, draining: false, probed: true, trouble: null,
    config: {} as BackendConfig,
  }))
  for (const backend of backends) residency.prove(anchor, backend, 16)
  const took: number[] = []
  for (let round = 0; round < 500; round++) {
    const next = chain.extend(`question ${round} `.repeat(60))
    const startedMs = performance.now()
    for (const backend of backends) residency.residentTokens(next, backend)
    took.push(1000 * (performance.now() - startedMs))
  }
  took.sort((a, b) => a - b)
  console.log(`\nLook-up at ${BACKENDS} backends, ${TOKENS} tokens: median ${took[250]!.toFixed(0)} us, p99 ${took[495]!.toFixed(0)} us.`)
}

/** How late timers of 1 ms are, and this process's share of a core. */
async function lateness(seconds: number): Promise<{ p50: number; p99: number; most: number; core: number }> {
  const late: number[] = []
  const cpu = process.cpuUsage()
  const startedMs = performance.now()
  while (performance.now() - startedMs < 1000 * seconds) {
    const askedMs = performance.now()
    await new Promise((resolve) => setTimeout(resolve, 1))
    late.push(performance.now() - askedMs - 1)
  }
  const { user, system } = process.cpuUsage(cpu)
  late.sort((a, b) => a - b)
  const at = (share: number): number => late[Math.min(late.length - 1, Math.floor(share * late.length))]!
  return { p50: at(0.5), p99: at(0.99), most: at(1), core: (user + system) / 1e6 / seconds }
}

async function path(): Promise<void> {
  const publisher: ChildProcess = fork(new URL('./kv-events/publisher.js', import.meta.url), ['publish'])
  const [{ endpoint, replay }] = (await once(publisher, 'message')) as [{ endpoint: string; replay: string }]
  const link = new EventsLink({
    spawn: () => fork(EVENTS_PROCESS, { serialization: 'advanced', execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }),
    nowMs: () => performance.now(),
    after: (ms, task) => {
      const timer = setTimeout(task, ms)
      return () => clearTimeout(timer)
    },
    onTrouble: (why) => console.error(why),
  })
  link.watch(0, { endpoint, replay, topic: 'kv' })
  while (link.of(0)?.status?.connected !== true) await new Promise((resolve) => setTimeout(resolve, 20))
  const rows: string[] = []
  const row = (name: string, rate: number, { p50, p99, most, core }: Awaited<ReturnType<typeof lateness>>): void =>
    void rows.push(`| ${name} | ${rate} | ${p50.toFixed(2)} | ${p99.toFixed(2)} | ${most.toFixed(1)} | ${(100 * core).toFixed(0)} % |`)
  for (let round = 0; round < 2; round++) {
    row('without events', 0, await lateness(SECONDS))
    for (const rate of [RATE / 4, RATE]) {
      const before = link.of(0)!.status!.counts.stored
      const done = once(publisher, 'message') as Promise<[{ sent: number }]>
      publisher.send({ eventsPerSecond: rate, seconds: SECONDS })
      const measured = await lateness(SECONDS)
      const [{ sent }] = await done
      const target = sent * EVENTS_IN_A_BATCH
      const waitedMs = performance.now()
      while (link.of(0)!.status!.counts.stored < target && performance.now() - waitedMs < 20_000)
        await new Promise((resolve) => setTimeout(resolve, 50))
      const { counts } = link.of(0)!.status!
      const caughtUpMs = performance.now() - waitedMs
      row(`stored events: ${counts.stored - before}, caught up after ${(caughtUpMs / 1000).toFixed(1)} s`, rate, measured)
      console.error(`sent ${target}, stored ${counts.stored}, gaps ${counts.gaps}, replays ${counts.replays}, losses ${counts.losses}`)
    }
  }
  console.log('\n| with | BlockStored/s | late by ms, p50 | p99 | most | of a core, here |\n|---|---|---|---|---|---|')
  for (const text of rows) console.log(text)
  const { counts } = link.of(0)!.status!
  console.log(`\nGaps ${counts.gaps}, replays ${counts.replays}, losses ${counts.losses}, malformed ${counts.malformed}.`)
  await link.close()
  publisher.disconnect()
}

console.log('| one core | BlockStored events/s |\n|---|---|')
decodeRate()
lookUp()
if (process.argv[2] !== 'decode') await path()
