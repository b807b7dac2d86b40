import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { PrefixChain } from '../../../src/kv/chain.ts'
import type { TokenizeRequest } from '../../../src/kv/events/messages.ts'
import type { Observation } from '../../../src/kv/events/run-log.ts'
import { TokenAnchors } from '../../../src/kv/events/token-anchors.ts'
import { TokenSource } from '../../../src/kv/events/token-source.ts'
import type { TokenizeResult } from '../../../src/kv/events/tokenizer.ts'
import type { Backend } from '../../../src/model/backend.ts'
import { backendAt } from '../../schedule/fixture.ts'

const KNOWN: TokenizeResult = { states: new Uint32Array(40), tokens: 320, why: null }

/** A clock that stands still until it is moved, and engines that answer when they are told to. */
function setup(tokenize: 'auto' | 'observe' | 'off' = 'auto', bodyOf = (text: string): string => text) {
  let nowMs = 0
  let timers: { readonly atMs: number; readonly task: () => void }[] = []
  const asked: { readonly request: TokenizeRequest; readonly answer: (result: TokenizeResult) => void }[] = []
  const observed: Observation[] = []
  const anchors = new TokenAnchors({ maxBytes: 1 << 20 })
  const source = new TokenSource({
    anchors,
    tokenize: (request) => new Promise((answer) => asked.push({ request, answer })),
    observe: (_backend, observation) => {
      observed.push(observation)
      return Promise.resolve(KNOWN)
    },
    nowMs: () => nowMs,
    after: (ms, task) => {
      const timer = { atMs: nowMs + ms, task }
      timers.push(timer)
      return () => {
        timers = timers.filter((other) => other !== timer)
      }
    },
  })
  const base = backendAt(0)
  const kvEvents = { endpoint: 'tcp://h:1', replay: null, topic: '', tokenize, tiers: { cpu: 1, store: 1 } }
  const backend: Backend = {
    ...base,
    config: { ...base.config, url: 'http://h:1', key: 'secret', kvEvents },
    models: new Map([['m', { name: 'm', served: 'served-m', contextTokens: null }]]),
  }
  const known: string[] = []
  const ask = (text: string) =>
    source.ask({
      chain: PrefixChain.root('t', 'm').extend(text), model: 'm', backend, salt: null, body: () => bodyOf(text),
      seen: { dispatchedAtMs: nowMs, promptTokens: 10, cachedTokens: 0, outputTokens: 1 }, known: () => known.push(text),
    })
  const advance = async (ms: number): Promise<void> => {
    nowMs += ms
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve))
      const due = timers.filter(({ atMs }) => atMs <= nowMs)
      if (due.length === 0) return
      timers = timers.filter(({ atMs }) => atMs > nowMs)
      for (const { task } of due) task()
    }
  }
  return { source, anchors, asked, observed, known, ask, advance }
}

const text = (name: string, blocks = 10): string => `${name} `.repeat(10_000).slice(0, 128 * blocks)

describe('tokens of answered conversations', () => {
  it('are asked for one at a time, the newest first, with rests four times as long', async () => {
    const { ask, asked, advance, known } = setup()
    for (const name of ['a', 'b', 'c']) ask(text(name))
    await advance(0)
    assert.deepEqual(asked.map(({ request }) => request.body), [text('a')])
    assert.equal(asked[0]!.request.url, 'http://h:1/tokenize')
    assert.equal(asked[0]!.request.headers['authorization'], 'Bearer secret')
    await advance(50)
    asked[0]!.answer(KNOWN)
    await advance(0)
    assert.deepEqual(known, [text('a')])
    await advance(199)
    assert.equal(asked.length, 1)
    await advance(1)
    assert.equal(asked[1]!.request.body, text('c'))
  })

  it('are not asked for again while little of the conversation is new', async () => {
    const { ask, asked, advance, source } = setup()
    ask(text('a', 100))
    await advance(0)
    asked[0]!.answer(KNOWN)
    await advance(0)
    ask(text('a', 101))
    await advance(1000)
    assert.equal(source.counts.fresh, 1)
    ask(text('a', 110))
    await advance(1000)
    assert.equal(asked.length, 2)
  })

  it('are given up where too many wait: the oldest first, counted', async () => {
    const { ask, advance, source } = setup()
    for (let at = 0; at < 50; at++) ask(text(`n${at}`))
    await advance(0)
    assert.equal(source.counts.dropped, 50 - 1 - 32)
    source.forget(0)
    assert.equal(source.counts.dropped, 49)
  })

  it('are taken from stored blocks where the engine does not tokenise conversations, and it is not asked for a while', async () => {
    for (const why of ['404', '400', '422']) {
      const { ask, asked, observed, advance, known } = setup()
      ask(text('a'))
      await advance(0)
      asked[0]!.answer({ states: null, tokens: 0, why })
      await advance(0)
      await advance(100)
      assert.equal(observed.length, 1)
      assert.equal(observed[0]!.ageMs, 100)
      ask(text('b'))
      await advance(100)
      assert.deepEqual([asked.length, observed.length], [1, 2])
      assert.deepEqual(known, [text('a'), text('b')])
      await advance(11 * 60_000)
      ask(text('c'))
      await advance(0)
      assert.equal(asked.length, 2)
    }
  })

  it('are only observed, or not wanted at all, where the configuration says so', async () => {
    const observing = setup('observe')
    observing.ask(text('a'))
    await observing.advance(100)
    assert.deepEqual([observing.asked.length, observing.known.length], [0, 1])
    const off = setup('off')
    off.ask(text('a'))
    await off.advance(1000)
    assert.deepEqual([off.asked.length, off.observed.length], [0, 0])
  })

  it('that cannot even be asked for are counted, and the next question goes on', async () => {
    const { ask, asked, advance, source } = setup('auto', (text) => {
      if (text.startsWith('broken')) throw new TypeError('no such item')
      return text
    })
    ask(text('broken'))
    ask(text('a'))
    await advance(0)
    await advance(0)
    assert.equal(source.counts.failed, 1)
    assert.deepEqual(asked.map(({ request }) => request.body), [text('a')])
  })

  it('are not known where the engine tells of none', async () => {
    const { ask, asked, advance, source, anchors, known } = setup()
    ask(text('a'))
    await advance(0)
    asked[0]!.answer({ states: new Uint32Array(0), tokens: 0, why: null })
    await advance(0)
    assert.deepEqual([source.counts.known, source.counts.failed, anchors.size, known.length], [0, 1, 0, 0])
  })

  it('that do not come are counted, and the next question goes on', async () => {
    const { ask, asked, advance, source } = setup()
    ask(text('a'))
    await advance(0)
    ask(text('b'))
    asked[0]!.answer({ states: null, tokens: 0, why: 'timeout' })
    await advance(0)
    assert.equal(source.counts.failed, 1)
    assert.equal(asked.length, 2)
  })
})
