import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { Decision, SchedulingRequest } from '../../src/model/decision.ts'
import { backendAt, newFleet, requestFor, settled, words } from './fixture.ts'

const ceiling = (index: number, maxInFlightTokens: number) => {
  const backend = backendAt(index)
  return { ...backend, config: { ...backend.config, maxInFlightTokens } }
}
/** Short enough for several to run at once, so that only the ceiling holds them. */
const turn = (name: string, promptTokens: number, maxOutputTokens = 100): SchedulingRequest =>
  requestFor(words(name, 1), { promptTokens, maxOutputTokens })

function watch(promise: Promise<Decision>) {
  const seen: { decision: Decision | null } = { decision: null }
  void promise.then((decision) => { seen.decision = decision })
  return seen
}

describe('A ceiling of tokens in flight', () => {
  it('lets a turn wait that would go beyond it, until one ends, and says so', async () => {
    const { scheduler, ledger, start, finish, advance } = newFleet([ceiling(0, 1000)], { waiting: true })
    const [first, second] = [turn('a', 400), turn('b', 400)]
    const opening = scheduler.place(first)
    await advance(10)
    const running = start(first, await opening)
    running.inFlight.firstToken()
    assert.equal(ledger.inFlightTokens(0), 500)
    const fits = watch(scheduler.place(second))
    await advance(10)
    start(second, fits.decision!).inFlight.firstToken()
    assert.equal(fits.decision!.ceilingAt, undefined)
    assert.equal(ledger.inFlightTokens(0), 1000)
    const third = watch(scheduler.place(turn('c', 10, 10)))
    await advance(3000)
    assert.equal(third.decision, null, 'a prompt token pending would not hold it: nothing waits for a first token')
    finish(running, 100)
    await settled()
    assert.equal(third.decision!.ceilingAt, 'a')
    assert.ok(third.decision!.queuedMs >= 3000)
  })

  it('lets a turn that is larger than it run, alone', async () => {
    const { scheduler, start, finish, advance } = newFleet([ceiling(0, 1000)], { waiting: true })
    const large = turn('large', 5000)
    const opening = watch(scheduler.place(large))
    await advance(10)
    const running = start(large, opening.decision!)
    running.inFlight.firstToken()
    const small = watch(scheduler.place(turn('small', 10, 10)))
    await advance(5000)
    assert.equal(small.decision, null)
    finish(running, 100)
    await settled()
    assert.notEqual(small.decision, null)
  })

  it('sends a turn elsewhere when what must end first takes longer than computing it again', async () => {
    const { scheduler, start, finish, advance } = newFleet([ceiling(0, 1200), backendAt(1)], { waiting: true })
    const history = requestFor(words('x', 4), { promptTokens: 600, exclude: new Set(['b']), maxOutputTokens: 400 })
    const warm = scheduler.place(history)
    await advance(10)
    finish(start(history, await warm), 60, 0)
    const other = requestFor(words('y', 1), { promptTokens: 600, exclude: new Set(['b']), maxOutputTokens: 400 })
    const busy = scheduler.place(other)
    await advance(10)
    start(other, await busy).inFlight.firstToken()
    const seen = watch(scheduler.place(requestFor(words('x', 4), { promptTokens: 600, maxOutputTokens: 400 })))
    await advance(20)
    assert.deepEqual([seen.decision!.ranked[0]!.backend.id, seen.decision!.reason], ['b', 'load'])
    assert.ok(seen.decision!.ranked.find(({ backend }) => backend.id === 'a')!.waitSeconds > 0.05)
  })

  it('holds nobody past the bound on waiting', async () => {
    const { scheduler, start, advance } = newFleet([ceiling(0, 1000)], { waiting: true, maxWaitMs: 5000 })
    const first = turn('a', 900)
    const opening = watch(scheduler.place(first))
    await advance(10)
    start(first, opening.decision!).inFlight.firstToken()
    const second = watch(scheduler.place(turn('b', 900)))
    await advance(4980)
    assert.equal(second.decision, null)
    await advance(30)
    assert.equal(second.decision!.ceilingAt, 'a')
    assert.equal(scheduler.waiting.counts.overdue, 1)
  })

  it('is left aside by policies, which place on arrival', async () => {
    const policy = { name: 'first', choose: () => 0 }
    const { scheduler, start } = newFleet([ceiling(0, 10)], { waiting: true, policy })
    start(turn('a', 900), await scheduler.place(turn('a', 900)))
    assert.equal((await scheduler.place(turn('b', 900))).queuedMs, 0)
  })

  it('is never exceeded by turns that fit, whatever comes and ends in whatever order', async () => {
    const turns = fc.array(fc.record({ prompt: fc.integer({ min: 1, max: 700 }), answer: fc.integer({ min: 1, max: 300 }), lasts: fc.integer({ min: 1, max: 400 }) }), { minLength: 1, maxLength: 25 })
    await fc.assert(fc.asyncProperty(turns, async (given) => {
      const { scheduler, ledger, start, advance } = newFleet([ceiling(0, 1000), ceiling(1, 1500)], { waiting: true, maxWaitMs: 1e9 })
      let ended = 0
      given.forEach(({ prompt, answer, lasts }, i) => {
        const request = turn(`t${i}`, prompt, answer)
        void scheduler.place(request).then(async (decision) => {
          const running = start(request, decision)
          running.inFlight.firstToken()
          assert.ok(ledger.inFlightTokens(0) <= 1000 && ledger.inFlightTokens(1) <= 1500, `${ledger.inFlightTokens(0)}, ${ledger.inFlightTokens(1)}`)
          ends.push({ atMs: lasts, end: () => { running.inFlight.end('completed'); ended++ } })
        })
      })
      const ends: { atMs: number; end: () => void }[] = []
      for (let round = 0; round < 60 && ended < given.length; round++) {
        await advance(50)
        for (const due of ends.splice(0)) due.end()
      }
      assert.equal(ended, given.length, 'everybody had a turn')
      assert.deepEqual([ledger.inFlightTokens(0), ledger.inFlightTokens(1)], [0, 0])
    }), { numRuns: 40 })
  })
})
