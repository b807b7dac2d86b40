import assert from 'node:assert/strict'
import { fork, type ChildProcess } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { test, type TestContext } from 'node:test'
import * as zeromq from 'zeromq'
import { BlockCache } from '../../../sim/engine/block-cache.ts'
import { KvPublisher } from '../../../sim/http/kv-publisher.ts'
import { completeBlocks, newBlockState, tokenIdAt } from '../../../sim/prompt.ts'
import { EVENTS_PROCESS, EventsLink } from '../../../src/kv/events/events-link.ts'
import type { StreamCount, ToEvents } from '../../../src/kv/events/messages.ts'
import { statesOf } from '../../../src/kv/events/token-hash.ts'
import { eventually } from '../../gateway/support/gateway.ts'

const BLOCK_TOKENS = 16
const LIMIT = { timeout: 15_000 }

/** A real publisher, a real events process, and the engine's cache behind the one and the gateway's picture behind the other. */
async function setup(t: TestContext, cacheBlocks = 200) {
  const cache = new BlockCache(cacheBlocks)
  const publisher = new KvPublisher({ zeromq, cache, blockTokens: BLOCK_TOKENS, host: '127.0.0.1', port: 0, delayMs: 0, nowSeconds: () => Date.now() / 1000 })
  const endpoints = await publisher.listen()
  const children: ChildProcess[] = []
  const troubles: string[] = []
  const link = new EventsLink({
    spawn: () => {
      const child = fork(EVENTS_PROCESS, { serialization: 'advanced', execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
      children.push(child)
      return child
    },
    nowMs: () => performance.now(),
    after: (_ms, task) => {
      const timer = setTimeout(task, 10)
      return () => clearTimeout(timer)
    },
    onTrouble: (why) => troubles.push(why),
  })
  t.after(async () => {
    await link.close()
    publisher.close()
  })
  link.watch(0, { ...endpoints, topic: 'kv-events' })
  const texts: string[] = []
  const count = (name: StreamCount): number => link.of(0)?.status?.counts[name] ?? 0
  return {
    cache, publisher, link, children, troubles, count,
    connected: () => eventually(() => link.of(0)?.status?.connected === true && !link.of(0)!.status!.replaying),
    /** A prompt of so many tokens is computed. */
    compute: async (name: string, tokens: number) => {
      const text = `${name} `.repeat(tokens).slice(0, 4 * tokens)
      texts.push(text)
      const ids = completeBlocks(newBlockState(), text, BLOCK_TOKENS)
      publisher.announce(text, ids)
      cache.use(ids)
      await new Promise((resolve) => setImmediate(resolve))
      await new Promise((resolve) => setImmediate(resolve))
    },
    /** True when for every prompt ever computed both sides hold the same blocks. */
    agrees: () =>
      texts.every((text) => {
        const ids = completeBlocks(newBlockState(), text, BLOCK_TOKENS)
        const states = statesOf(Array.from({ length: text.length / 4 }, (_, at) => tokenIdAt(text, at)), null)
        return ids.every((id, at) => cache.has(id) === (link.of(0)!.held.tiersOf(states[2 * at]!, states[2 * at + 1]!) !== 0))
      }),
    texts,
  }
}

test('what an engine holds is known through all of it: stores, evictions, batches that were lost on the way', LIMIT, async (t) => {
  const { compute, publisher, agrees, connected, count, cache, link } = await setup(t)
  await connected()
  for (let at = 0; at < 10; at++) await compute(`first ${at}`, 320)
  await eventually(agrees)
  assert.ok(cache.evictions === 0 && link.of(0)!.held.size === 200)
  publisher.skip = 5
  for (let at = 0; at < 10; at++) await compute(`second ${at}`, 320)
  await eventually(agrees)
  assert.ok(cache.evictions >= 200)
  await eventually(() => count('gaps') >= 1)
  assert.equal(count('losses'), 0)
  assert.equal(link.of(0)!.complete, true)
  link.of(0)!.held.checkIntegrity()
})

test('a gateway that comes later learns what was stored before it', LIMIT, async (t) => {
  const { compute, agrees, link } = await setup(t)
  for (let at = 0; at < 5; at++) await compute(`before ${at}`, 320)
  await eventually(() => link.of(0)!.held.size === 100 && agrees())
  assert.equal(link.of(0)!.complete, true)
})

test('an engine that restarts holds nothing, and what it stores afterwards is known', LIMIT, async (t) => {
  const { compute, agrees, connected, cache, link } = await setup(t)
  await connected()
  for (let at = 0; at < 5; at++) await compute(`before ${at}`, 320)
  await eventually(agrees)
  cache.clear()
  link.restarted(0)
  await compute('after', 320)
  await eventually(() => link.of(0)!.held.size === 20 && agrees())
  assert.equal(link.of(0)!.complete, true)
})

test('batches that nobody can read are counted, cost the picture, and nothing else', LIMIT, async (t) => {
  const { compute, publisher, connected, count, link } = await setup(t)
  await connected()
  await compute('before', 320)
  await eventually(() => link.of(0)!.held.size === 20)
  for (const nonsense of [Buffer.from('nonsense'), Buffer.alloc(0), Buffer.alloc(5000, 0x91), Buffer.from([0xc1])]) publisher.publishRaw(nonsense)
  await eventually(() => count('malformed') === 4)
  await eventually(() => link.of(0)!.held.size === 0)
  assert.equal(link.of(0)!.complete, false)
  await compute('another', 160)
  await eventually(() => link.of(0)!.held.size === 10)
  link.of(0)!.held.checkIntegrity()
})

test('a flood is worked in piece by piece and counted; a backend beside it is heard all the same', LIMIT, async (t) => {
  const { compute, connected, agrees, count } = await setup(t, 2000)
  await connected()
  const quiet = await setup(t)
  await quiet.connected()
  for (let at = 0; at < 150; at++) await compute(`flood ${at}`, 3200)
  await quiet.compute('quiet', 320)
  await eventually(quiet.agrees)
  await eventually(() => count('stored') >= 30_000 && agrees())
  assert.ok(count('losses') === 0)
})

test('when the events process dies nothing it told is taken for true, and a new one learns it again', LIMIT, async (t) => {
  const { compute, agrees, connected, children, troubles, link } = await setup(t)
  await connected()
  for (let at = 0; at < 5; at++) await compute(`before ${at}`, 320)
  await eventually(agrees)
  children[0]!.kill('SIGKILL')
  await eventually(() => troubles.length === 1)
  assert.equal(link.of(0)!.held.size, 0)
  assert.equal(link.of(0)!.status, null)
  await eventually(() => children.length === 2 && link.of(0)!.held.size === 100 && agrees())
})

test('a backend that joins while the events process is being started again is watched once', () => {
  const sent: ToEvents[] = []
  const pauses: (() => void)[] = []
  const children: EventEmitter[] = []
  const spawn = () => {
    const child = Object.assign(new EventEmitter(), {
      send: (message: ToEvents) => sent.push(message) > 0, disconnect: () => undefined, ref: () => undefined, unref: () => undefined,
      channel: null,
    })
    children.push(child)
    return child as unknown as ChildProcess
  }
  const after = (_ms: number, task: () => void) => {
    pauses.push(task)
    return () => undefined
  }
  const link = new EventsLink({ spawn, nowMs: () => 0, after, onTrouble: () => undefined })
  const publisher = { endpoint: 'tcp://127.0.0.1:1', replay: null, topic: '' }
  link.watch(0, publisher)
  children[0]!.emit('exit', 1, null)
  sent.length = 0
  link.watch(1, publisher)
  for (const pause of pauses.splice(0)) pause()
  assert.equal(children.length, 2)
  assert.deepEqual(sent.map((message) => message.kind === 'watch' && message.backend), [0, 1])
})
