import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { workIn, type WatchedBackend } from '../../../src/kv/events/events-link.ts'
import { ExactResidency, UNKNOWN } from '../../../src/kv/events/exact-residency.ts'
import { HeldBlocks } from '../../../src/kv/events/held-blocks.ts'
import { CHANGE, STREAM_COUNTS, type StreamStatus } from '../../../src/kv/events/messages.ts'
import { TokenAnchors } from '../../../src/kv/events/token-anchors.ts'
import { statesOf } from '../../../src/kv/events/token-hash.ts'
import { PrefixChain } from '../../../src/kv/chain.ts'
import type { Backend } from '../../../src/model/backend.ts'
import { backendAt } from '../../schedule/fixture.ts'
import { tokensFrom } from './fixture.ts'

const STATUS: StreamStatus = {
  connected: true, replaying: false, complete: true, blocks: 0, silentMs: 0, lagMs: 0,
  counts: Object.fromEntries(STREAM_COUNTS.map((name) => [name, 0])) as StreamStatus['counts'],
}

function setup(options: { readonly blockTokens?: number; readonly history?: () => number } = {}) {
  const watched: WatchedBackend = {
    publisher: { endpoint: 'tcp://h:1', replay: null, topic: '' },
    held: new HeldBlocks(1 << 16), blockTokens: options.blockTokens ?? 16, status: { ...STATUS }, complete: true, version: 0, lastChangeMs: 0,
  }
  let nowMs = 0
  const anchors = new TokenAnchors({ maxBytes: 1 << 20 })
  const residency = new ExactResidency({
    watched: (index) => (index === 0 ? watched : undefined),
    anchors,
    history: { cachedBlocks: options.history ?? (() => 0) },
    prefillTokensPerSecond: () => 6000,
    nowMs: () => nowMs,
  })
  const backend: Backend = { ...backendAt(0), models: new Map([['m', { name: 'm', served: 'm', contextTokens: null }]]) }
  const hold = (tokens: readonly number[], tier: 0 | 1 | 2 = 0, from = 0): void => {
    const states = statesOf(tokens, null)
    for (let grain = from / 16; grain < states.length / 2; grain++) watched.held.hold(states[2 * grain]!, states[2 * grain + 1]!, tier)
  }
  /** An answered conversation of so many tokens, four characters each. */
  const know = (text: string, tokens: readonly number[]) => {
    const chain = PrefixChain.root('t', 'm').extend(text)
    return { chain, anchor: anchors.add(chain, { model: 'm', served: 'm', tokens: tokens.length, states: statesOf(tokens, null) })! }
  }
  return {
    watched, anchors, residency, backend, hold, know,
    advance: (ms: number) => {
      nowMs += ms
    },
  }
}

const TEXT = 'a long conversation '.repeat(100)
const TOKENS = tokensFrom(1, 512)

describe('exact residency', () => {
  it('says nothing until tokens of an answered prompt were found among the blocks', () => {
    const { residency, backend, hold, know } = setup()
    const { chain, anchor } = know(TEXT, TOKENS)
    hold(TOKENS)
    assert.equal(residency.residentTokens(chain, backend), UNKNOWN)
    assert.equal(residency.state(0), 'waiting')
    residency.prove(anchor, backend, 400)
    assert.equal(residency.residentTokens(chain, backend), 512)
    assert.equal(residency.state(0), 'exact')
  })

  it('follows what is evicted, block by block, and what a continuation still finds', () => {
    const { residency, backend, hold, know, watched } = setup()
    const { chain, anchor } = know(TEXT, TOKENS)
    hold(TOKENS)
    residency.prove(anchor, backend, 400)
    const states = statesOf(TOKENS, null)
    workIn(watched, Uint32Array.from([states[62]!, states[63]!, CHANGE.gone, states[60]!, states[61]!, CHANGE.gone]))
    assert.equal(residency.residentTokens(chain, backend), 480)
    assert.equal(residency.residentTokens(chain.extend('and a new question, longer than one block of the chain '.repeat(5)), backend), 480)
    workIn(watched, Uint32Array.from([1, 0, CHANGE.allGone]))
    assert.equal(residency.residentTokens(chain, backend), 0)
    watched.held.checkIntegrity()
  })

  it('counts whole blocks of the engine only', () => {
    const { residency, backend, hold, know } = setup({ blockTokens: 64 })
    const { chain, anchor } = know(TEXT, TOKENS)
    hold(TOKENS)
    residency.prove(anchor, backend, 400)
    assert.equal(residency.residentTokens(chain, backend), 512)
    const other = know(TEXT.slice(0, 1500), TOKENS.slice(0, 380))
    assert.equal(residency.residentTokens(other.chain, backend), 320)
  })

  it('lets history speak for what lies behind the last known tokens, and only where all of these are held', () => {
    const { residency, backend, hold, know, watched } = setup({ history: () => 20 })
    const { chain, anchor } = know(TEXT.slice(0, 1280), TOKENS.slice(0, 320))
    hold(TOKENS)
    residency.prove(anchor, backend, 320)
    const longer = chain.extend(TEXT)
    assert.equal(residency.residentTokens(longer, backend), 320 + 10 * 32)
    const states = statesOf(TOKENS, null)
    watched.held.release(states[38]!, states[39]!, 0)
    assert.equal(residency.residentTokens(longer, backend), 304)
  })

  it('is a lower bound while events are missing', () => {
    const { residency, backend, hold, know, watched } = setup({ history: () => 12 })
    const { chain, anchor } = know(TEXT, TOKENS)
    hold(TOKENS.slice(0, 256))
    residency.prove(anchor, backend, 256)
    watched.complete = false
    assert.equal(residency.residentTokens(chain, backend), 12 * (512 / chain.length) > 256 ? 12 * (512 / chain.length) : 256)
    assert.equal(residency.state(0), 'lower bound')
  })

  it('prices what lies in a lower tier as the computing it saves', () => {
    const { residency, know, hold, ...rest } = setup()
    const kvEvents = { endpoint: 'tcp://h:1', replay: null, topic: '', tokenize: 'auto' as const, tiers: { cpu: 24_000, store: 8000 } }
    const backend: Backend = { ...rest.backend, config: { ...rest.backend.config, kvEvents } }
    const { chain, anchor } = know(TEXT, TOKENS)
    hold(TOKENS)
    residency.prove(anchor, backend, 400)
    const { held } = rest.watched
    held.clear()
    hold(TOKENS.slice(0, 128), 0)
    hold(TOKENS, 1, 128)
    assert.equal(residency.residentTokens(chain, backend), 128 + 384 * (1 - 6000 / 24_000))
    held.clear()
    hold(TOKENS, 2)
    assert.equal(residency.residentTokens(chain, backend), 512 * (1 - 6000 / 8000))
  })

  it('leaves it to history while a missing prefix is on its way there', () => {
    const { residency, backend, hold, know } = setup()
    const { chain, anchor } = know(TEXT, TOKENS)
    hold(TOKENS.slice(0, 400))
    residency.prove(anchor, backend, 400)
    const arrived = residency.begun(chain.extend('more '.repeat(100)), backend)
    assert.equal(residency.residentTokens(chain, backend), UNKNOWN)
    hold(TOKENS)
    assert.equal(residency.residentTokens(chain, backend), 512, 'its blocks have arrived')
    arrived()
    arrived()
    assert.equal(residency.residentTokens(chain, backend), 512)
  })

  it('does not speak for a backend that serves the model under another name, nor for an unknown conversation', () => {
    const { residency, backend, hold, know } = setup()
    const { chain, anchor } = know(TEXT, TOKENS)
    hold(TOKENS)
    residency.prove(anchor, backend, 400)
    const other: Backend = { ...backend, models: new Map([['m', { name: 'm', served: 'm-awq', contextTokens: null }]]) }
    assert.equal(residency.residentTokens(chain, other), UNKNOWN)
    assert.equal(residency.residentTokens(PrefixChain.root('t', 'm').extend('something else '.repeat(40)), backend), UNKNOWN)
    assert.equal(residency.residentTokens(PrefixChain.root('other', 'm').extend(TEXT), backend), UNKNOWN)
  })

  it('loses its word after answers that contradict it, forgets what was not there, and earns it back', () => {
    const { residency, backend, hold, know } = setup()
    const { chain, anchor } = know(TEXT, TOKENS)
    for (let turn = 0; turn < 4; turn++) {
      hold(TOKENS)
      residency.prove(anchor, backend, turn === 0 ? 400 : 0)
      const claim = residency.claim(chain, backend)!
      assert.equal(claim.tokens, 512)
      residency.check(claim, 64)
      assert.equal(residency.claim(chain, backend)!.tokens, 64)
    }
    assert.equal(residency.state(0), 'contradicted')
    assert.equal(residency.residentTokens(chain, backend), UNKNOWN)
    hold(TOKENS)
    for (let turn = 0; turn < 4; turn++) residency.check(residency.claim(chain, backend)!, 511)
    assert.equal(residency.residentTokens(chain, backend), 512)
  })

  it('falls silent with its stream: disconnected, replaying, or answers without a word of their blocks', () => {
    const { residency, backend, hold, know, watched, advance } = setup()
    const { chain, anchor } = know(TEXT, TOKENS)
    hold(TOKENS)
    residency.prove(anchor, backend, 400)
    for (const [change, state] of [[{ connected: false }, 'lost'], [{ replaying: true }, 'replaying']] as const) {
      watched.status = { ...STATUS, ...change }
      assert.equal(residency.state(0), state)
      assert.equal(residency.residentTokens(chain, backend), UNKNOWN)
    }
    watched.status = STATUS
    advance(1000)
    residency.answered(backend, 500)
    advance(11_000)
    assert.equal(residency.state(0), 'silent')
    assert.equal(residency.residentTokens(chain, backend), UNKNOWN)
    watched.lastChangeMs = 12_500
    assert.equal(residency.state(0), 'exact')
  })

  it('forgets what was proven of a process that is gone', () => {
    const { residency, backend, hold, know } = setup()
    const { chain, anchor } = know(TEXT, TOKENS)
    hold(TOKENS)
    residency.prove(anchor, backend, 400)
    const before = residency.version(0)
    residency.forgetTie(0)
    assert.ok(residency.version(0) > before)
    assert.equal(residency.residentTokens(chain, backend), UNKNOWN)
  })
})

describe('anchors of known tokens', () => {
  it('are found from any continuation, deepest first, and never across tenants', () => {
    const { anchors, know } = setup()
    const first = know(TEXT.slice(0, 640), TOKENS.slice(0, 160))
    const second = know(TEXT.slice(0, 1280), TOKENS.slice(0, 320))
    assert.equal(anchors.find(second.chain.extend('x'.repeat(500))), second.anchor)
    assert.equal(anchors.find(first.chain.extend('y'.repeat(500))), first.anchor)
    assert.equal(anchors.find(PrefixChain.root('u', 'm').extend(TEXT)), null)
    assert.equal(first.anchor.states, second.anchor.states, 'one array serves both')
  })

  it('stay within their bytes, whatever is added', () => {
    fc.assert(fc.property(fc.array(fc.record({ seed: fc.nat(20), blocks: fc.integer({ min: 1, max: 30 }) }), { maxLength: 60 }), (added) => {
      const anchors = new TokenAnchors({ maxBytes: 20_000 })
      for (const { seed, blocks } of added) {
        const text = `${seed} `.repeat(2000).slice(0, 128 * blocks)
        const tokens = tokensFrom(seed, 32 * blocks)
        const chain = PrefixChain.root('t', 'm').extend(text)
        const anchor = anchors.add(chain, { model: 'm', served: 'm', tokens: tokens.length, states: statesOf(tokens, null) })
        assert.equal(anchors.find(chain), anchor)
        assert.ok(anchors.bytes <= 20_000)
      }
    }), { numRuns: 200 })
  })
})
