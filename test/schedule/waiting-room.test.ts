import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Cancellation } from '../../src/model/cancellation.ts'
import type { Decision } from '../../src/model/decision.ts'
import { HomingError } from '../../src/model/error.ts'
import { backendAt, newFleet, requestFor, settled, words } from './fixture.ts'

/** Places a turn and remembers where it went. */
function watch(promise: Promise<Decision>) {
  const seen: { decision: Decision | null; error: unknown } = { decision: null, error: null }
  promise.then((decision) => { seen.decision = decision }, (error: unknown) => { seen.error = error })
  return seen
}

describe('The waiting room', () => {
  it('places at once while a backend is free', async () => {
    const { scheduler } = newFleet([backendAt(0)], { waiting: true })
    const seen = watch(scheduler.place(requestFor(words('x', 1), { promptTokens: 64 })))
    await settled()
    assert.equal(seen.decision?.queuedMs, 0)
  })

  it('lets a turn wait while every backend computes, and starts the one with least work first', async () => {
    const { scheduler, start, finish, advance } = newFleet([backendAt(0)], { waiting: true })
    const first = requestFor(words('first', 100))
    const opening = scheduler.place(first)
    await advance(10)
    const running = start(first, await opening)
    const long = watch(scheduler.place(requestFor(words('long', 50))))
    const short = watch(scheduler.place(requestFor(words('short', 5))))
    await advance(3000)
    assert.equal(long.decision ?? short.decision, null)
    assert.equal(scheduler.waiting.turns, 2)
    finish(running, 6400)
    await settled()
    assert.equal(long.decision, null)
    assert.ok(short.decision!.queuedMs >= 3000)
  })

  it('starts a turn on the free backend of its model, however many wait for another model', async () => {
    const models = new Map([['n', { name: 'n', served: 'n', contextTokens: null }]])
    const { scheduler, start, advance } = newFleet([backendAt(0), backendAt(1, { models })], { waiting: true })
    const first = requestFor(words('first', 200))
    const opening = scheduler.place(first)
    await advance(10)
    start(first, await opening)
    for (let at = 0; at < 20; at++) watch(scheduler.place(requestFor(words(`crowd${at}`, 6))))
    await advance(10)
    const other = watch(scheduler.place(requestFor(words('other', 20), { model: 'n' })))
    await advance(20)
    assert.equal(scheduler.waiting.turns, 20)
    assert.equal(other.decision?.ranked[0]?.backend.id, 'b')
  })

  it('lets short turns follow short turns, and makes a long one wait', async () => {
    const { scheduler, start, advance } = newFleet([backendAt(0)], { waiting: true })
    const first = requestFor(words('first', 3))
    const opening = scheduler.place(first)
    await advance(10)
    start(first, await opening)
    const long = watch(scheduler.place(requestFor(words('long', 50))))
    const short = watch(scheduler.place(requestFor(words('short', 3))))
    await advance(20)
    assert.notEqual(short.decision, null)
    assert.equal(long.decision, null)
  })

  it('ends the hold with its timer, also where that fires a little early', async () => {
    const { scheduler, advance } = newFleet([backendAt(0)], { waiting: true, timersEarlyMs: 0.5 })
    const seen = watch(scheduler.place(requestFor(words('x', 80))))
    await advance(6)
    assert.ok(seen.decision !== null && seen.decision.queuedMs <= 6)
  })

  it('gives back a backend that was promised to a turn which nobody sent', async () => {
    const { scheduler, advance } = newFleet([backendAt(0)], { waiting: true })
    const opening = scheduler.place(requestFor(words('first', 100)))
    await advance(10)
    const decision = await opening
    const next = watch(scheduler.place(requestFor(words('next', 100))))
    await advance(20)
    assert.equal(next.decision, null)
    scheduler.release(decision)
    await settled()
    assert.notEqual(next.decision, null)
  })

  it('holds turns that arrive together for a moment, so that the order of arrival does not decide', async () => {
    const { scheduler, advance } = newFleet([backendAt(0)], { waiting: true })
    const long = watch(scheduler.place(requestFor(words('long', 80))))
    const short = watch(scheduler.place(requestFor(words('short', 40))))
    await advance(6)
    assert.equal(long.decision, null)
    assert.ok(short.decision !== null && short.decision.queuedMs <= 6)
  })

  it('waits for home where that is cheaper than computing the history again, and goes there', async () => {
    const { scheduler, start, finish, advance } = newFleet([backendAt(0), backendAt(1)], { waiting: true })
    const history = requestFor(words('x', 100), { exclude: new Set(['b']) })
    const warm = scheduler.place(history)
    await advance(10)
    finish(start(history, await warm), 6400, 0)
    const other = requestFor(words('y', 20), { exclude: new Set(['b']) })
    const busy = scheduler.place(other)
    await advance(10)
    const running = start(other, await busy)
    const seen = watch(scheduler.place(requestFor(words('x', 102))))
    await advance(100)
    assert.equal(seen.decision, null, 'b is free, but would compute 100 blocks')
    finish(running, 1280, 0)
    await advance(10)
    assert.equal(seen.decision!.ranked[0]!.backend.id, 'a')
  })

  it('goes elsewhere when home takes longer than it promised', async () => {
    const { scheduler, start, finish, advance } = newFleet([backendAt(0), backendAt(1)], { waiting: true })
    const history = requestFor(words('x', 100), { exclude: new Set(['b']) })
    const warm = scheduler.place(history)
    await advance(10)
    finish(start(history, await warm), 6400, 0)
    const other = requestFor(words('y', 20), { exclude: new Set(['b']) })
    const stalled = scheduler.place(other)
    await advance(10)
    start(other, await stalled)
    await advance(2000)
    const seen = watch(scheduler.place(requestFor(words('x', 102))))
    await advance(1000)
    assert.equal(seen.decision, null, 'late already: nobody knows when it will be free')
    await advance(13_000)
    assert.equal(seen.decision!.ranked[0]!.backend.id, 'b')
  })

  it('sends the next turn while the first token of the one before is on its way', async () => {
    const { scheduler, ledger, start, finish, advance } = newFleet([backendAt(0)], { waiting: true })
    // a first token of next to nothing takes 20 ms: it is the way there and back
    for (let i = 0; i < 60; i++) {
      const request = requestFor(words(`w${i}`, i % 3 === 0 ? 20 : 1), { promptTokens: i % 3 === 0 ? 10_240 : 64 })
      const placing = scheduler.place(request)
      await advance(10)
      finish(start(request, await placing), i % 3 === 0 ? 20 + 1280 : 20 + 8, 0)
    }
    const first = requestFor(words('first', 40))
    const opening = scheduler.place(first)
    await advance(10)
    const running = start(first, await opening)
    const seen = watch(scheduler.place(requestFor(words('next', 40))))
    const predictedMs = 1000 * running.decision.ranked[0]!.prefillSeconds
    await advance(predictedMs - 200)
    assert.equal(seen.decision, null)
    await advance(200)
    assert.notEqual(seen.decision, null)
    assert.equal(ledger.beforeFirstToken(0), 1)
    finish(running, 2580, 0)
  })

  it('lets nobody wait past the bound: then the turn goes into the cheapest queue', async () => {
    const { scheduler, start, advance, timers } = newFleet([backendAt(0)], { waiting: true, maxWaitMs: 5000 })
    const first = requestFor(words('first', 200))
    const opening = scheduler.place(first)
    await advance(10)
    start(first, await opening)
    const seen = watch(scheduler.place(requestFor(words('x', 10))))
    await advance(4990)
    assert.equal(seen.decision, null)
    await advance(20)
    assert.equal(seen.decision!.ranked[0]!.backend.id, 'a')
    assert.equal(scheduler.waiting.counts.overdue, 1)
    assert.equal(timers.size, 0)
  })

  it('moves a long turn up as it waits, so that short ones cannot starve it', async () => {
    const { scheduler, start, finish, advance } = newFleet([backendAt(0)], { waiting: true, maxWaitMs: 1e9 })
    let request = requestFor(words('s0', 10))
    let placing = scheduler.place(request)
    await advance(10)
    const long = watch(scheduler.place(requestFor(words('long', 40))))
    let rounds = 0
    while (long.decision === null && rounds++ < 200) {
      const running = start(request, await placing)
      request = requestFor(words(`s${rounds}`, 10))
      placing = scheduler.place(request)
      placing.catch(() => {})
      await advance(640)
      finish(running, 640, 0)
      await advance(10)
    }
    assert.ok(rounds > 1 && rounds < 100, `${rounds} rounds`)
  })

  it('serves tenants alike, however many turns each has waiting', async () => {
    const { scheduler, start, finish, advance } = newFleet([backendAt(0)], { waiting: true, maxWaitMs: 1e9 })
    const order: string[] = []
    const ask = (tenant: string, name: string) => {
      const request = requestFor(words(name, 10), { tenant })
      void scheduler.place(request).then(async (decision) => {
        order.push(tenant)
        const running = start(request, decision)
        void advance(0).then(() => finish(running, 640, 0))
      })
    }
    for (let i = 0; i < 12; i++) ask('many', `m${i}`)
    for (let i = 0; i < 4; i++) ask('few', `f${i}`)
    for (let i = 0; i < 80; i++) await advance(10)
    assert.equal(order.length, 16)
    assert.equal(order.slice(0, 9).filter((tenant) => tenant === 'few').length, 4, order.join(' '))
  })

  it('lets higher priority go first', async () => {
    const { scheduler, start, finish, advance } = newFleet([backendAt(0)], { waiting: true })
    const first = requestFor(words('first', 100))
    const opening = scheduler.place(first)
    await advance(10)
    const running = start(first, await opening)
    const short = watch(scheduler.place(requestFor(words('short', 5))))
    const urgent = watch(scheduler.place(requestFor(words('urgent', 60), { priority: 1 })))
    await advance(100)
    finish(running, 6400)
    await settled()
    assert.ok(urgent.decision !== null && short.decision === null)
  })

  it('puts a tenant that calls everything urgent before the others by half a minute of service at most', async () => {
    const { scheduler, start, finish, advance } = newFleet([backendAt(0)], { waiting: true, maxWaitMs: 1e9 })
    const order: string[] = []
    const ask = (tenant: string, name: string, priority: number) => {
      const request = requestFor(words(name, 60), { tenant, priority })
      void scheduler.place(request).then(async (decision) => {
        order.push(tenant)
        const running = start(request, decision)
        void advance(3840).then(() => finish(running, 3840, 0))
      })
    }
    for (let i = 0; i < 40; i++) ask('urgent', `u${i}`, 10)
    for (let i = 0; i < 4; i++) ask('patient', `p${i}`, 0)
    for (let i = 0; i < 200; i++) await advance(1000)
    assert.equal(order.length, 44)
    const first = order.indexOf('patient')
    assert.ok(first > 4 && first < 40, `the patient one came as number ${first}`)
  })

  it('lets a turn go whose client went away', async () => {
    const { scheduler, start, advance } = newFleet([backendAt(0)], { waiting: true })
    const first = requestFor(words('first', 100))
    const opening = scheduler.place(first)
    await advance(10)
    start(first, await opening)
    const client = new Cancellation()
    const seen = watch(scheduler.place(requestFor(words('x', 5)), client))
    await advance(10)
    client.abort()
    await settled()
    assert.equal((seen.error as Error).name, 'AbortError')
    assert.deepEqual([scheduler.waiting.turns, scheduler.waiting.counts.cancelled], [0, 1])
  })

  it('refuses a waiting turn with 503 when the last backend that could serve it dies', async () => {
    const only = backendAt(0)
    const { scheduler, start, advance, finish } = newFleet([only], { waiting: true })
    const first = requestFor(words('first', 100))
    const opening = scheduler.place(first)
    await advance(10)
    const running = start(first, await opening)
    const seen = watch(scheduler.place(requestFor(words('x', 5))))
    await advance(2000)
    only.healthy = false
    finish(running, 2000)
    await advance(1500)
    assert.ok(seen.error instanceof HomingError && seen.error.code === 'no_backend_available')
  })

  it('waits for a free slot where an engine runs no more sequences at once', async () => {
    const { scheduler, start, advance } = newFleet([backendAt(0, { slots: 1 })], { waiting: true })
    const first = requestFor(words('first', 1), { promptTokens: 64 })
    const running = start(first, await scheduler.place(first))
    running.inFlight.firstToken()
    const seen = watch(scheduler.place(requestFor(words('x', 1), { promptTokens: 64 })))
    await advance(500)
    assert.equal(seen.decision, null)
    running.inFlight.end('completed')
    await settled()
    assert.notEqual(seen.decision, null)
  })

  it('does not give one free backend to two turns before the first is under way', async () => {
    const { scheduler, start } = newFleet([backendAt(0), backendAt(1)], { waiting: true })
    const requests = ['x', 'y'].map((name) => requestFor(words(name, 1), { promptTokens: 64 }))
    const decisions = await Promise.all(requests.map((request) => scheduler.place(request)))
    assert.notEqual(decisions[0]!.ranked[0]!.backend.id, decisions[1]!.ranked[0]!.backend.id)
    requests.forEach((request, at) => start(request, decisions[at]!))
  })
})
