import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { SchedulingRequest } from '../../src/model/decision.ts'
import { regretScorer } from '../../src/schedule/scorers/regret.ts'
import { HomingError } from '../../src/model/error.ts'
import { backendAt, newFleet, requestFor, words, type FakeBackend } from './fixture.ts'

/**
 * Each scenario: a fleet, and turns in order. A turn names its conversation and length in blocks of 512 tokens (64 ms of
 * prefill each); `stays` leaves it before its first token. Expected: the picks, a letter each, `?` for any.
 */
type Turn = { readonly says: readonly string[]; readonly stays?: boolean; readonly change?: Partial<SchedulingRequest> }
type Scenario = {
  readonly title: string
  readonly fleet: readonly Partial<FakeBackend>[]
  readonly turns: readonly Turn[]
  readonly picks: string
  readonly reasons?: readonly string[]
}

const talk = (name: string, blocks: number): Turn => ({ says: words(name, blocks) })
const busy = (turn: Turn): Turn => ({ ...turn, stays: true })

const SCENARIOS: readonly Scenario[] = [
  {
    title: 'a conversation stays where its blocks are',
    fleet: [{}, {}, {}],
    turns: [{ says: words('x', 10), change: { exclude: new Set(['a', 'c']) } }, talk('x', 12), talk('x', 14)],
    picks: 'bbb', reasons: ['only-candidate', 'shared-prefix', 'shared-prefix'],
  },
  {
    title: 'a short queue at home costs less than computing a long history again',
    fleet: [{}, {}],
    turns: [
      { says: words('x', 100), change: { exclude: new Set(['b']) } },
      busy({ says: words('y', 20), change: { exclude: new Set(['b']) } }),
      talk('x', 102),
    ],
    picks: 'aaa',
  },
  {
    title: 'a conversation moves when the queue at home costs more than computing its history again',
    fleet: [{}, {}],
    turns: [
      { says: words('x', 20), change: { exclude: new Set(['b']) } },
      busy({ says: words('y', 200), change: { exclude: new Set(['b']) } }),
      talk('x', 22),
    ],
    picks: 'aab', reasons: ['only-candidate', 'only-candidate', 'load'],
  },
  {
    title: 'turns in flight push newcomers elsewhere',
    fleet: [{}, {}, {}],
    turns: [
      { ...busy(talk('x', 40)), change: { exclude: new Set(['b', 'c']) } },
      { ...busy(talk('y', 40)), change: { exclude: new Set(['c']) } },
      busy(talk('z', 40)),
    ],
    picks: 'abc',
  },
  {
    title: 'siblings of one burst go together while the first is still being computed',
    fleet: [{}, {}, {}],
    turns: [
      { says: [...words('doc', 60), 'q1'], stays: true, change: { exclude: new Set(['a', 'b']) } },
      busy({ says: [...words('doc', 60), 'q2'] }),
      busy({ says: [...words('doc', 60), 'q3'] }),
    ],
    picks: 'ccc', reasons: ['only-candidate', 'shared-prefix', 'shared-prefix'],
  },
  {
    title: 'what two sessions share holds the second where the first is, be there a short queue',
    fleet: [{}, {}],
    turns: [
      { says: [...words('sys', 20), 'one'], change: { exclude: new Set(['b']) } },
      busy({ says: words('y', 8), change: { exclude: new Set(['b']) } }),
      { says: [...words('sys', 20), 'two', 'two'] },
    ],
    picks: 'aaa',
  },
  {
    title: 'what many sessions share pins nobody: the next one goes where no queue is',
    fleet: [{}, {}],
    turns: [
      ...Array.from({ length: 12 }, (_, session) => ({ says: [...words('sys', 20), `s${session}`], change: { exclude: new Set(['b']) } })),
      busy({ says: words('y', 8), change: { exclude: new Set(['b']) } }),
      { says: [...words('sys', 20), 'new', 'new'] },
    ],
    picks: 'aaaaaaaaaaaaab',
  },
  {
    title: 'a dead or draining backend gets nothing, be it home',
    fleet: [{ healthy: false }, { draining: true }, {}],
    turns: [{ says: words('x', 4), change: { homeBackendId: 'a' } }, talk('x', 6)],
    picks: 'cc', reasons: ['only-candidate', 'only-candidate'],
  },
  {
    title: 'a home known from the store is kept when the process has just begun',
    fleet: [{}, {}, {}, {}],
    turns: [{ says: words('x', 30), change: { homeBackendId: 'c', homeTokens: 15_000 } }],
    picks: 'c', reasons: ['home'],
  },
  {
    title: 'a prompt that fits only the larger context goes there',
    fleet: [
      { models: new Map([['m', { name: 'm', served: 'm', contextTokens: 4096 }]]) },
      { models: new Map([['m', { name: 'm', served: 'm', contextTokens: 32_768 }]]) },
    ],
    turns: [talk('x', 20), talk('x', 21)],
    picks: 'bb',
  },
  {
    title: 'a conversation keeps the protocol it was rendered in',
    fleet: [{}, { protocols: new Set(['responses'] as const) }, {}],
    turns: [{ says: words('x', 4), change: { protocol: 'responses' } }],
    picks: 'b',
  },
  {
    title: 'pictures go to a backend that is not known to be blind',
    fleet: [{ vision: false }, { vision: null }],
    turns: [{ says: words('x', 4), change: { needsVision: true } }],
    picks: 'b',
  },
]

describe('Placement', () => {
  for (const { title, fleet, turns, picks, reasons } of SCENARIOS) {
    it(title, async () => {
      for (let seed = 1; seed <= 5; seed++) {
        const { scheduler, start, finish } = newFleet(fleet.map((changes, index) => backendAt(index, changes)), { seed })
        let got = ''
        for (const [at, turn] of turns.entries()) {
          const request = requestFor(turn.says, turn.change)
          const decision = await scheduler.place(request)
          got += picks[at] === '?' ? '?' : decision.ranked[0]!.backend.id
          if (reasons !== undefined) assert.equal(decision.reason, reasons[at])
          const running = start(request, decision)
          if (turn.stays !== true) finish(running, 8 * (request.promptTokens - decision.ranked[0]!.expectedCachedTokens) / 64)
        }
        assert.equal(got, picks)
      }
    })
  }

  it('spreads new conversations over idle backends that are alike', async () => {
    const { scheduler, start, finish } = newFleet([0, 1, 2, 3].map((index) => backendAt(index)))
    const counts = [0, 0, 0, 0]
    for (let session = 0; session < 80; session++) {
      const request = requestFor(words(`s${session}`, 4))
      const decision = await scheduler.place(request)
      counts[decision.ranked[0]!.backend.index]!++
      finish(start(request, decision), 256)
    }
    for (const count of counts) assert.ok(count >= 10, `${counts}`)
  })

  it('never lets a system prompt that everybody has pin all sessions to one backend', async () => {
    const { scheduler, start, finish } = newFleet([0, 1, 2, 3].map((index) => backendAt(index)))
    const counts = [0, 0, 0, 0]
    for (let session = 0; session < 80; session++) {
      const request = requestFor([...words('system', 24), ...words(`s${session}`, 4)])
      const decision = await scheduler.place(request)
      counts[decision.ranked[0]!.backend.index]!++
      finish(start(request, decision), 8 * (request.promptTokens - decision.ranked[0]!.expectedCachedTokens) / 64)
    }
    for (const count of counts) assert.ok(count >= 8, `${counts}`)
  })

  it('where no slot is free, a newcomer costs least where the one that goes has been idle longest', () => {
    const slots = [3, 3, 4] // engine 2 has one free
    const index = { chains: () => 3, slots: (backend: number) => slots[backend]!, idleMs: (backend: number) => [1000, 60_000, 0][backend]! }
    const scorer = regretScorer(index, { prefillSeconds: () => 0.5 }, (elapsedMs) => 1 / (1 + elapsedMs / 10_000))
    const request = requestFor(words('new', 4))
    const costOf = scorer.prepare({
      request, candidates: [0, 1, 2].map((at) => backendAt(at)), modelAt: () => 'm', cachedTokens: new Float64Array(3), trunkTokens: 0, trunkFanOut: 1, tokensPerBlock: 512, expectedOutputTokens: 20,
    })
    const [fresh, idle, free] = [0, 1, 2].map((at) => costOf(backendAt(at), at)) as [number, number, number]
    assert.ok(free < idle && idle < fresh, `${free} ${idle} ${fresh}`)
    // A conversation that goes on there takes no new slot.
    const goesOn = scorer.prepare({
      request, candidates: [backendAt(0)], modelAt: () => 'm', cachedTokens: Float64Array.of(1024), trunkTokens: 0, trunkFanOut: 1, tokensPerBlock: 512, expectedOutputTokens: 20,
    })
    assert.equal(goesOn(backendAt(0), 0), 0)
  })

  it('puts twelve conversations on three idle engines of four slots evenly', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const { scheduler, start, finish } = newFleet([0, 1, 2].map((index) => backendAt(index, { slots: 4 })), { seed })
      const homes = new Map<number, string>()
      for (let turn = 0; turn < 4; turn++) {
        for (let session = 0; session < 12; session++) {
          const request = requestFor(words(`s${session}`, 2 + turn))
          const decision = await scheduler.place(request)
          const { id } = decision.ranked[0]!.backend
          assert.equal(homes.get(session) ?? id, id, 'a conversation moved')
          homes.set(session, id)
          // Engines are not quite alike, nor is one like itself.
          finish(start(request, decision), 64 * (1 + 0.1 * ((session * 7 + turn) % 5)))
        }
      }
      const counts = ['a', 'b', 'c'].map((id) => [...homes.values()].filter((home) => home === id).length)
      assert.deepEqual(counts, [4, 4, 4])
    }
  })

  it('gives a backend at half speed about half the work', async () => {
    const { scheduler, start, finish, clock } = newFleet([backendAt(0), backendAt(1), backendAt(2)])
    const work = [0, 0, 0]
    const freeAtMs = [0, 0, 0]
    const running: { endMs: number; done: () => void }[] = []
    for (let session = 0; session < 400; session++) {
      clock.nowMs += 120
      for (const each of running.filter(({ endMs }) => endMs <= clock.nowMs)) {
        running.splice(running.indexOf(each), 1)
        each.done()
      }
      const request = requestFor(words(`s${session}`, 5))
      const decision = await scheduler.place(request)
      const { index } = decision.ranked[0]!.backend
      work[index]!++
      const turn = start(request, decision)
      const prefillMs = 320 * (index === 2 ? 2 : 1)
      freeAtMs[index] = Math.max(freeAtMs[index]!, clock.nowMs) + prefillMs
      running.push({ endMs: freeAtMs[index]!, done: () => finish(turn, prefillMs, 0) })
    }
    assert.ok(work[2]! < 0.75 * Math.min(work[0]!, work[1]!), `${work}`)
    assert.ok(work[2]! > 0.25 * Math.max(work[0]!, work[1]!), `${work}`)
  })

  it('takes what a restarted backend no longer holds off its account at the first answer that says so', async () => {
    const { scheduler, index, start, finish } = newFleet([backendAt(0)])
    for (const name of ['x', 'y', 'z', 'x', 'y', 'z']) {
      const request = requestFor(words(name, 40))
      const decision = await scheduler.place(request)
      finish(start(request, decision), 100, decision.ranked[0]!.expectedCachedTokens)
    }
    const request = requestFor(words('z', 41))
    finish(start(request, await scheduler.place(request)), 2600, 0)
    assert.equal(index.cachedBlocks(requestFor(words('x', 40)).chain, 0), 0)
    assert.equal(index.cachedBlocks(request.chain, 0), 41)
  })

  it('lists the candidates by cost and says who was left out and why', async () => {
    const { scheduler } = newFleet([backendAt(0, { healthy: false }), backendAt(1), backendAt(2), backendAt(3, { models: new Map() })])
    const decision = await scheduler.place(requestFor(words('x', 3), { exclude: new Set(['c']) }))
    assert.deepEqual(decision.ranked.map(({ backend }) => backend.id), ['b'])
    assert.deepEqual(decision.filteredOut, [
      { backendId: 'a', by: 'health' }, { backendId: 'c', by: 'tried' }, { backendId: 'd', by: 'model' },
    ])
  })

  it('counts the whole cost in the ranking', async () => {
    const { scheduler, start } = newFleet([backendAt(0), backendAt(1), backendAt(2)])
    for (const [name, count] of [['p', 50], ['q', 90]] as const) {
      const request = requestFor(words(name, count))
      start(request, await scheduler.place(request))
    }
    const { ranked } = scheduler.rank(requestFor(words('x', 10)))
    assert.equal(ranked.length, 3)
    for (let at = 1; at < ranked.length; at++) assert.ok(ranked[at]!.costSeconds >= ranked[at - 1]!.costSeconds - 0.001)
    assert.equal(ranked[0]!.waitSeconds, 0)
    assert.ok(ranked[1]!.waitSeconds > 1 && ranked[2]!.waitSeconds > ranked[1]!.waitSeconds)
  })

  const REFUSALS: readonly (readonly [string, string, readonly Partial<FakeBackend>[], Partial<SchedulingRequest>])[] = [
    ['a model that nobody offers', 'model_not_found', [{}, { healthy: false }], { model: 'other' }],
    ['a model that a backend not asked yet may offer', 'no_backend_available', [{}, { probed: false, models: new Map(), healthy: false }], { model: 'other' }],
    ['a fleet that is down', 'no_backend_available', [{ healthy: false }, { draining: true }], {}],
    ['an empty fleet', 'model_not_found', [], {}],
    ['a prompt that fits nowhere', 'context_length_exceeded', [{ models: new Map([['m', { name: 'm', served: 'm', contextTokens: 1000 }]]) }], { promptTokens: 5000 }],
    ['a picture that no backend of the model can see', 'unsupported_item', [{ vision: false }, { vision: false }], { needsVision: true }],
    ['a picture while the backend that can see is down', 'no_backend_available', [{ vision: false }, { vision: true, healthy: false }], { needsVision: true }],
    ['a turn that every backend has failed', 'no_backend_available', [{}], { exclude: new Set(['a']) }],
  ]
  for (const [what, code, fleet, change] of REFUSALS) {
    it(`refuses ${what} with ${code}`, async () => {
      const { scheduler } = newFleet(fleet.map((changes, index) => backendAt(index, changes)))
      await assert.rejects(scheduler.place(requestFor(words('x', 3), change)), (error) => error instanceof HomingError && error.code === code)
    })
  }

  it('sends a prompt that may just fit to the largest context', async () => {
    const context = (tokens: number) => ({ models: new Map([['m', { name: 'm', served: 'm', contextTokens: tokens }]]) })
    const { scheduler } = newFleet([backendAt(0, context(1000)), backendAt(1, context(4500))])
    const decision = await scheduler.place(requestFor(words('x', 3), { promptTokens: 5000 }))
    assert.deepEqual(decision.ranked.map(({ backend }) => backend.id), ['b'])
  })

  it('lets an operator choose another policy, and says so', async () => {
    let next = 0
    const policy = { name: 'round-robin', choose: (_: unknown, candidates: readonly unknown[]) => next++ % candidates.length }
    const { scheduler } = newFleet([backendAt(0), backendAt(1), backendAt(2)], { policy })
    const picks = []
    for (let turn = 0; turn < 4; turn++) {
      const decision = await scheduler.place(requestFor(words('x', 3)))
      assert.equal(decision.reason, 'policy')
      picks.push(decision.ranked[0]!.backend.id)
    }
    assert.deepEqual(picks, ['a', 'b', 'c', 'a'])
  })
})
