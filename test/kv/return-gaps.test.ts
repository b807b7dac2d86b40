import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ReturnGaps, type Gap } from '../../src/kv/return-gaps.ts'
import { seeded } from '../schedule/fixture.ts'

/** Conversations that begin a second apart; `lengthMs` null: never comes back. */
function live(lengthOf: (random: () => number) => number | null, count: number, kind: 'tool' | 'person' = 'person') {
  const clock = { nowMs: 0 }
  const gaps = new ReturnGaps(() => clock.nowMs)
  const random = seeded(3)
  const open: { gap: Gap; endMs: number }[] = []
  for (let at = 0; at < count; at++) {
    clock.nowMs = at * 1000
    for (const each of open.filter(({ endMs }) => endMs <= clock.nowMs)) {
      open.splice(open.indexOf(each), 1)
      const now = clock.nowMs
      clock.nowMs = each.endMs
      gaps.end(each.gap)
      clock.nowMs = now
    }
    const lengthMs = lengthOf(random)
    const gap = gaps.begin(kind)
    if (lengthMs !== null) open.push({ gap, endMs: clock.nowMs + lengthMs })
  }
  return { gaps, clock }
}

describe('ReturnGaps', () => {
  it('learns how many return, with those that never do neither forgotten nor taken for all', () => {
    const { gaps } = live((random) => (random() < 0.6 ? 20_000 + 40_000 * random() : null), 4000)
    assert.ok(Math.abs(gaps.returns('person', 0, 600_000) - 0.6) < 0.08, `${gaps.returns('person', 0, 600_000)}`)
    assert.ok(gaps.returns('person', 0, 8000) < 0.1)
    // Who has been away for four minutes is most likely one of those that do not come back.
    assert.ok(gaps.returns('person', 260_000, 600_000) < 0.15)
  })

  it('does not take open conversations for lost: those that have not had the time to return do not count', () => {
    const { gaps } = live(() => 100_000, 90)
    const untouched = new ReturnGaps(() => 0)
    // No gap has reached its hundred seconds yet, so nothing is known of that bin.
    assert.equal(gaps.returns('person', 64_000, 60_000), untouched.returns('person', 64_000, 60_000))
  })

  it('keeps tool loops and people apart', () => {
    const clock = { nowMs: 0 }
    const gaps = new ReturnGaps(() => clock.nowMs)
    for (let at = 0; at < 500; at++) {
      const tool = gaps.begin('tool')
      const person = gaps.begin('person')
      clock.nowMs += 1500
      gaps.end(tool)
      clock.nowMs += 60_000
      gaps.end(person)
    }
    assert.ok(gaps.returns('tool', 0, 4000) > 0.8, `${gaps.returns('tool', 0, 4000)}`)
    assert.ok(gaps.returns('person', 0, 4000) < 0.2)
    assert.ok(gaps.expectedReturnMs('tool', 0)! <= 4000)
    assert.ok(gaps.expectedReturnMs('person', 0)! > 30_000)
  })

  it('expects whoever has been away long less and less where many do not return', () => {
    const { gaps } = live((random) => (random() < 0.5 ? 60_000 * Math.exp(random() - 0.5) : null), 3000)
    const at = [0, 30_000, 120_000, 300_000].map((elapsedMs) => gaps.returns('person', elapsedMs, 600_000))
    assert.ok(at[0]! > 0.4 && at[0]! < 0.6, `${at}`)
    assert.ok(at[2]! < 0.2 && at[3]! < 0.2, `${at}`)
  })

  it('expects half of those that return by the end of the bin in which half have', () => {
    const { gaps } = live(() => 40_000, 1000)
    assert.equal(gaps.expectedReturnMs('person', 0), 64_000)
    assert.equal(gaps.expectedReturnMs('person', 20_000), 44_000)
  })

  it('expects tools within seconds and people within minutes before anything was learned', () => {
    const gaps = new ReturnGaps(() => 0)
    assert.equal(gaps.expectedReturnMs('tool', 0), 4000)
    assert.equal(gaps.expectedReturnMs('person', 0), 128_000)
  })

  it('waits for nobody beyond its last bin', () => {
    const gaps = new ReturnGaps(() => 0)
    assert.equal(gaps.returns('person', 24 * 3_600_000, 600_000), 0)
    assert.equal(gaps.expectedReturnMs('person', 24 * 3_600_000), null)
  })

  it('is a probability that grows with time, before anything was learned too', () => {
    const gaps = new ReturnGaps(() => 0)
    let before = 0
    for (const within of [0, 100, 1000, 60_000, 3_600_000, 1e9]) {
      const share = gaps.returns('person', 0, within)
      assert.ok(share >= before && share <= 1)
      before = share
    }
  })

  it('stays bounded and counts what it let go', () => {
    const gaps = new ReturnGaps(() => 0)
    for (let at = 0; at < 150_000; at++) gaps.begin('tool')
    assert.ok(gaps.evicted >= 65_536, `${gaps.evicted}`)
  })
})
