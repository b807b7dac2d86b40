import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Cancellation } from '../../src/model/cancellation.ts'
import type { Decision, SchedulingRequest } from '../../src/model/decision.ts'
import type { PrefillPiece } from '../../src/schedule/ports.ts'
import { backendAt, newFleet, requestFor, settled, words } from './fixture.ts'

const TOKENS_PER_MS = 8

/** A backend that computes pieces on the fleet's clock and caches what it computed. */
function piecesOn(fleet: ReturnType<typeof newFleet>, options: { fails?: boolean; caches?: boolean } = {}) {
  const computed: { readonly backend: string; readonly promptTokens: number; done(): void }[] = []
  let have = 0
  const prefill: PrefillPiece = (backend, promptTokens, signal) =>
    new Promise((resolve) => {
      signal?.addEventListener('abort', () => resolve(null))
      computed.push({
        backend: backend.id,
        promptTokens,
        done: () => {
          const cachedTokens = options.caches === false ? 0 : have
          have = promptTokens
          const ms = (promptTokens - cachedTokens) / TOKENS_PER_MS
          resolve(options.fails === true ? null : { promptTokens, cachedTokens, ms })
        },
      })
      void fleet.advance(0)
    })
  return { prefill, computed }
}

/** The fleet has seen answers with cached tokens from every backend, and turns arrive all the time. */
async function warm(fleet: ReturnType<typeof newFleet>, ids: readonly string[], all = ids): Promise<void> {
  for (const id of ids) {
    const others = new Set(all.filter((other) => other !== id))
    for (const cached of [0, 1024]) {
      const request = requestFor(words(`warm-${id}`, 2), { exclude: others })
      const placing = fleet.scheduler.place(request)
      await fleet.advance(10)
      fleet.finish(fleet.start(request, await placing), 20 + (1024 - cached) / TOKENS_PER_MS, cached)
    }
  }
  for (let i = 0; i < 120; i++) {
    const request = requestFor(words(`traffic-${i}`, 1), { promptTokens: 100 })
    const placing = fleet.scheduler.place(request)
    await fleet.advance(200)
    fleet.finish(fleet.start(request, await placing), 30, 0)
  }
}

const watch = (promise: Promise<Decision>) => {
  const seen: { decision: Decision | null; error: unknown } = { decision: null, error: null }
  promise.then((decision) => { seen.decision = decision }, (error: unknown) => { seen.error = error })
  return seen
}

const long = (name: string, changes: Partial<SchedulingRequest> = {}): SchedulingRequest => requestFor(words(name, 60), changes)

describe('A long prompt', () => {
  it('is sent whole where a piece of it cannot even be asked for', async () => {
    const fleet = newFleet([backendAt(0)], { waiting: true })
    await warm(fleet, ['a'])
    const seen = watch(fleet.scheduler.place(long('x'), undefined, () => Promise.reject(new Error('a bug'))))
    await fleet.advance(100)
    assert.equal(seen.decision?.ranked[0]?.backend.id, 'a')
    assert.equal(fleet.scheduler.pieces.failed, 1)
    assert.equal(fleet.ledger.beforeFirstToken(0), 0)
  })

  it('is computed in pieces, each longer than the one before, and then sent with what was prepared', async () => {
    const fleet = newFleet([backendAt(0)], { waiting: true })
    await warm(fleet, ['a'])
    const { prefill, computed } = piecesOn(fleet)
    const request = long('long')
    const seen = watch(fleet.scheduler.place(request, undefined, prefill))
    for (let piece = 0; piece < 20 && seen.decision === null; piece++) {
      await fleet.advance(500)
      computed[piece]?.done()
      await settled()
    }
    const lengths = computed.map(({ promptTokens }) => promptTokens)
    assert.ok(lengths.length >= 3, lengths.join(' '))
    assert.deepEqual(lengths, [...lengths].sort((one, other) => one - other))
    assert.ok(lengths.at(-1)! < request.promptTokens)
    const { prepared, ranked } = seen.decision!
    assert.equal(prepared!.pieces, computed.length)
    assert.equal(prepared!.tokens, lengths.at(-1))
    assert.ok(ranked[0]!.expectedCachedTokens > 0.9 * lengths.at(-1)!, `${ranked[0]!.expectedCachedTokens} of ${lengths.join(" ")}, ${JSON.stringify(prepared)}`)
    assert.equal(fleet.ledger.runningCount(0), 0, 'pieces have ended')
  })

  it('counts what was found and prepared by what the engine reports, whatever was estimated', async () => {
    const fleet = newFleet([backendAt(0)], { waiting: true })
    await warm(fleet, ['a'])
    const { prefill, computed } = piecesOn(fleet)
    const denser: PrefillPiece = async (...asked) => {
      const first = computed.length === 0
      const result = await prefill(...asked)
      return result && { ...result, promptTokens: 1.25 * result.promptTokens, cachedTokens: first ? 32 : result.cachedTokens }
    }
    const seen = watch(fleet.scheduler.place(long('long'), undefined, denser))
    for (let piece = 0; piece < 20 && seen.decision === null; piece++) {
      await fleet.advance(100)
      computed[piece]?.done()
      await settled()
    }
    const { expectedTokens, foundTokens, tokens } = seen.decision!.prepared!
    assert.deepEqual([expectedTokens, foundTokens, tokens], [0, 32, 1.25 * computed.at(-1)!.promptTokens - 32])
  })

  it('lets a short turn go between two pieces', async () => {
    const fleet = newFleet([backendAt(0)], { waiting: true })
    await warm(fleet, ['a'])
    const { prefill, computed } = piecesOn(fleet)
    const late = watch(fleet.scheduler.place(long('long'), undefined, prefill))
    await fleet.advance(100)
    assert.equal(computed.length, 1)
    const short = watch(fleet.scheduler.place(requestFor(words('short', 4))))
    await fleet.advance(10)
    assert.equal(short.decision, null, 'the piece is not interrupted')
    computed[0]!.done()
    await fleet.advance(1)
    assert.notEqual(short.decision, null)
    assert.deepEqual([late.decision, computed.length], [null, 1], 'the long one goes on when the short one has its first token')
  })

  it('is sent whole to an engine that has not shown that it caches prefixes', async () => {
    const fleet = newFleet([backendAt(0)], { waiting: true })
    const { prefill, computed } = piecesOn(fleet)
    const seen = watch(fleet.scheduler.place(long('long'), undefined, prefill))
    await fleet.advance(10)
    assert.ok(seen.decision !== null && seen.decision.prepared === undefined && computed.length === 0)
  })

  it('is sent whole where slots are kept and not blocks, and where hardly anybody else comes', async () => {
    const slots = newFleet([backendAt(0, { slots: 4 })], { waiting: true })
    await warm(slots, ['a'])
    const quiet = newFleet([backendAt(0)], { waiting: true })
    await warm(quiet, ['a'])
    await quiet.advance(3_600_000)
    for (const fleet of [slots, quiet]) {
      const { prefill, computed } = piecesOn(fleet)
      const seen = watch(fleet.scheduler.place(long('long'), undefined, prefill))
      await fleet.advance(10)
      assert.ok(seen.decision !== null && computed.length === 0)
    }
  })

  it('is sent whole when a piece fails, and the ledger is clean', async () => {
    const fleet = newFleet([backendAt(0)], { waiting: true })
    await warm(fleet, ['a'])
    const { prefill, computed } = piecesOn(fleet, { fails: true })
    const seen = watch(fleet.scheduler.place(long('long'), undefined, prefill))
    await fleet.advance(100)
    computed[0]!.done()
    await fleet.advance(10)
    assert.ok(seen.decision !== null && seen.decision.prepared === undefined)
    assert.deepEqual([fleet.ledger.runningCount(0), fleet.scheduler.pieces.failed], [0, 1])
    assert.equal(fleet.index.cachedBlocks(long('long').chain, 0), 0)
  })

  it('is no longer computed in pieces where what they brought is not there afterwards', async () => {
    const fleet = newFleet([backendAt(0)], { waiting: true })
    await warm(fleet, ['a'])
    for (let turn = 0; turn < 6; turn++) {
      const { prefill, computed } = piecesOn(fleet, { caches: false })
      const request = long(`long${turn}`)
      const placing = fleet.scheduler.place(request, undefined, prefill)
      const seen = watch(placing)
      for (let piece = 0; piece < 20 && seen.decision === null; piece++) {
        await fleet.advance(500)
        computed[piece]?.done()
        await settled()
      }
      fleet.finish(fleet.start(request, await placing), 4000, 0)
    }
    assert.ok(fleet.scheduler.pieces.lost >= 3)
    assert.equal(fleet.scheduler.pieces.turnedOff, 1)
    const { prefill, computed } = piecesOn(fleet)
    await fleet.advance(100)
    const seen = watch(fleet.scheduler.place(long('after'), undefined, prefill))
    await fleet.advance(10)
    assert.ok(seen.decision !== null && computed.length === 0)
  })

  it('stops when its client goes away, and leaves nothing behind', async () => {
    const fleet = newFleet([backendAt(0)], { waiting: true })
    await warm(fleet, ['a'])
    const { prefill, computed } = piecesOn(fleet)
    const client = new Cancellation()
    const seen = watch(fleet.scheduler.place(long('long'), client, prefill))
    await fleet.advance(100)
    assert.equal(computed.length, 1)
    client.abort()
    await settled()
    assert.equal((seen.error as Error).name, 'AbortError')
    assert.deepEqual([fleet.scheduler.waiting.turns, fleet.ledger.runningCount(0)], [0, 0])
    await fleet.advance(2000)
    assert.equal(fleet.timers.size, 0)
  })

  it('past the bound has half of a backend and not all of it', async () => {
    const fleet = newFleet([backendAt(0)], { waiting: true, maxWaitMs: 5000 })
    await warm(fleet, ['a'])
    const { prefill, computed } = piecesOn(fleet)
    const late = watch(fleet.scheduler.place(requestFor(words('long', 100)), undefined, prefill))
    let shorts = 0
    let pieces = 0
    // somebody with less work is always there
    for (let round = 0; round < 400 && late.decision === null; round++) {
      const request = requestFor(words(`s${round}`, 8))
      const placing = fleet.scheduler.place(request)
      const seen = watch(placing)
      while (seen.decision === null) {
        await fleet.advance(256)
        if (computed.length > pieces) computed[pieces++]!.done()
        await fleet.advance(1)
      }
      shorts++
      const running = fleet.start(request, await placing)
      await fleet.advance(512)
      fleet.finish(running, 512, 0)
    }
    assert.notEqual(late.decision, null, 'it comes to its end')
    assert.ok(shorts >= 6, `${shorts} others meanwhile, ${pieces} pieces`)
  })
})
