import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LatencyModel } from '../../src/learn/latency.ts'
import type { Outcome } from '../../src/model/outcome.ts'
import { homingWith } from '../../sim/policy/homing.ts'
import { uniformFleet } from '../../sim/profile.ts'
import { replay, type Fault } from '../../sim/replay.ts'
import { summarise } from '../../sim/summary.ts'
import { agentLoops } from '../../sim/workload/agent-loops.ts'
import { ofStrangers } from '../../sim/workload/workload.ts'

const FLEET = { blockTokens: 64, cacheBlocks: 3000 }
const own = agentLoops({ sessions: 40, turns: 6, everySeconds: 4, seed: 2 })
const corrected = homingWith('corrected', '', { scrapeEveryMs: 2000 })
const plain = homingWith('own record', '', {})

test('turns that others send past the router take room and are not measured', async () => {
  const strangers = ofStrangers(agentLoops({ sessions: 20, turns: 6, everySeconds: 8, seed: 9 }))
  const blocks = new Set(own.requests.flatMap((request) => Array.from(request.blocks)))
  assert.ok(strangers.requests.every((request) => Array.from(request.blocks).every((id) => !blocks.has(id))))
  const fleet = uniformFleet('prefill-fifo', 4, FLEET)
  const alone = await replay({ workload: own, fleet, policy: plain, seed: 1 })
  const beside = await replay({ workload: own, fleet, policy: plain, seed: 1, foreign: { workload: strangers, backends: [0, 1] } })
  assert.ok(beside.answers.every((count) => count === 1))
  assert.ok(summarise(beside, 8000).meanTtftSeconds > summarise(alone, 8000).meanTtftSeconds)
})

const FOUR = uniformFleet('prefill-fifo', 4, FLEET)
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

test('metrics move turns away from the backends that others keep busy, and nobody waits longer for it', async () => {
  const strangers = ofStrangers(agentLoops({ sessions: 40, turns: 6, everySeconds: 4, seed: 9 }))
  const run = async (policy: typeof plain) => {
    const runs = await Promise.all([1, 2, 3].map((seed) => replay({ workload: own, fleet: FOUR, policy, seed, foreign: { workload: strangers, backends: [0, 1] } })))
    return {
      there: mean(runs.map(({ backendOf }) => backendOf.filter((backend) => backend < 2).length)),
      seconds: mean(runs.map((one) => summarise(one, 8000).meanTtftSeconds)),
    }
  }
  const [before, after] = [await run(plain), await run(corrected)]
  assert.ok(after.there < before.there, `${after.there} turns there, ${before.there} without metrics`)
  assert.ok(after.seconds <= 1.02 * before.seconds, `${after.seconds} s, ${before.seconds} s without metrics`)
})

test('where nobody else is, metrics change next to nothing', async () => {
  const run = async (policy: typeof plain) =>
    mean(await Promise.all([1, 2, 3].map(async (seed) => summarise(await replay({ workload: own, fleet: FOUR, policy, seed }), 8000).meanTtftSeconds)))
  const [before, after] = [await run(plain), await run(corrected)]
  assert.ok(Math.abs(after / before - 1) < 0.05, `${after} s, ${before} s without metrics`)
})

for (const profile of ['prefill-fifo', 'realistic'] as const) {
  test(`${profile}: a backend that turns half as fast is followed within twenty of its turns`, async () => {
    const atMs = own.requests[Math.floor(own.requests.length / 2)]!.atMs
    const fault: Fault = { atMs, backend: 0, kind: 'slow', forMs: 0 }
    let before = 0
    const after: number[] = []
    class Watched extends LatencyModel {
      readonly #nowMs: () => number
      constructor(nowMs: () => number) {
        super()
        this.#nowMs = nowMs
      }
      override observe(outcome: Outcome): void {
        super.observe(outcome)
        if (outcome.backend.index !== 0) return
        const seconds = this.prefillSeconds(4000, 0, outcome.model)
        if (this.#nowMs() < atMs) before = seconds
        else if (this.#nowMs() - (outcome.ttftMs ?? 0) - (outcome.decodeMs ?? 0) >= atMs) after.push(seconds)
      }
    }
    await replay({
      workload: own, fleet: uniformFleet(profile, 2, FLEET), seed: 1, faults: [fault],
      policy: homingWith('watched', '', { latency: ({ nowMs }) => new Watched(nowMs) }),
    })
    assert.ok(after.length >= 20, `only ${after.length} turns went there since`)
    const ratio = after[19]! / before
    assert.ok(ratio > 1.7 && ratio < 2.3, `${ratio} times as long after twenty turns`)
  })
}
