import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Foresight, type Conversation, type Gap, type GapsPort } from '../../src/upstream/prewarm-foresight.ts'
import type { Wish } from '../../src/upstream/prewarm.ts'
import { backendAt, chainOf, newFleet, requestFor, words } from '../schedule/fixture.ts'

/** Tools are back after 2 s; of people, 7 in 10 after 2 minutes. */
const LENGTHS_MS: Readonly<Record<Gap, number>> = { tool: 2000, person: 120_000 }
const gaps: GapsPort = {
  returns: (gap, elapsedMs, withinMs) =>
    elapsedMs < LENGTHS_MS[gap] && elapsedMs + withinMs >= LENGTHS_MS[gap] ? (gap === 'tool' ? 1 : 0.7) : 0,
  expectedReturnMs: (gap, elapsedMs) => (elapsedMs < LENGTHS_MS[gap] ? LENGTHS_MS[gap] - elapsedMs : null),
}

function lab(maxConversations = 100) {
  const backends = [backendAt(0), backendAt(1)]
  const { index, ledger, clock, scheduler } = newFleet(backends)
  const wishes: Wish<string>[] = []
  const foresight = new Foresight<string>(
    { wish: (wish) => wishes.push(wish), rank: (request) => scheduler.rank(request), gaps, nowMs: () => clock.nowMs },
    { maxConversations, maxCharacters: Infinity },
  )
  const conversation = (key: string, home = 0, blocks = 20): Conversation<string> => ({ key, request: requestFor(words(key, blocks)), prompt: key, home: backends[home]! })
  /** A turn that ran at its home and left its blocks there. */
  const turn = (key: string, gap: 'tool' | 'person' = 'person', home = 0, dropped = 0): void => {
    const one = conversation(key, home)
    foresight.began(one, 0)
    index.insert(chainOf(words(key, 20)), home)
    foresight.ended(one, gap, dropped)
  }
  const seen = () => wishes.splice(0).map(({ rule, key }) => `${rule} ${key}`)
  return { backends, index, ledger, clock, foresight, conversation, turn, seen, wishes }
}

test('nothing is wished for a conversation that finds its prefix at home', () => {
  const { turn, seen } = lab()
  turn('a', 'tool')
  turn('b', 'person')
  assert.deepEqual(seen(), [])
})

test('a lost home makes its conversations wish, those that run too, and nobody else', () => {
  const { backends, foresight, conversation, turn, seen, wishes } = lab()
  turn('a', 'tool')
  turn('b', 'person')
  turn('elsewhere', 'tool', 1)
  foresight.began(conversation('running'), 0)
  backends[0]!.draining = true
  foresight.lost(backends[0]!)
  const expected = [...wishes].sort((one, other) => one.expectedAtMs - other.expectedAtMs).map(({ key }) => key)
  assert.deepEqual(expected, ['a', 'running', 'b'], 'a tool is back before a person')
  assert.deepEqual(seen().sort(), ['drain a', 'drain b', 'drain running'])
  foresight.ended(conversation('running'), 'tool', 0)
  assert.deepEqual(seen(), ['drain running'])
})

test('whoever has been away too long, or failed, is not prepared for', () => {
  const { backends, clock, foresight, conversation, turn, seen } = lab()
  turn('a', 'tool')
  foresight.began(conversation('failed'), 0)
  foresight.dropped('failed')
  clock.nowMs += 60_000
  turn('b', 'person')
  foresight.lost(backends[0]!)
  assert.deepEqual(seen(), ['drain b'])
})

test('a tool is on its way, and its conversation will not find its prefix where it goes', () => {
  const { index, foresight, conversation, seen } = lab()
  const one = conversation('a')
  foresight.began(one, 0)
  index.clearBackend(0)
  foresight.ended(one, 'tool', 0)
  assert.deepEqual(seen(), ['tool a'])
})

test('a queue at home that outlasts the gap sends those who come back meanwhile elsewhere', () => {
  const { ledger, foresight, conversation, turn, seen } = lab()
  turn('a', 'tool')
  turn('b', 'person')
  ledger.begin(0, { uncachedTokens: 400_000, expectedOutputTokens: 10, prefillSeconds: 50 })
  foresight.began(conversation('new'), ledger.waitSeconds(0))
  assert.deepEqual(seen(), ['overload a'])
  foresight.began(conversation('newer'), ledger.waitSeconds(0))
  assert.deepEqual(seen(), [], 'once a second is often enough')
})

test('thoughts that a template drops are left out ahead of time, at home, when a person is to speak', () => {
  const { backends, turn, seen, wishes } = lab()
  turn('a', 'person', 0, 5000)
  assert.equal(wishes[0]!.at, backends[0])
  assert.deepEqual(seen(), ['reasoning a'])
  turn('b', 'tool', 0, 5000)
  turn('c', 'person', 0, 100)
  assert.deepEqual(seen(), [])
})

test('a wish is given up once its conversation is not likely to come any more, at the latest when what is computed does not count any more', () => {
  const { backends, clock, foresight, conversation, turn, wishes } = lab()
  clock.nowMs = 1000
  turn('tool', 'tool')
  turn('person', 'person')
  foresight.began(conversation('running'), 0)
  foresight.lost(backends[0]!)
  const until = Object.fromEntries(wishes.map(({ key, untilMs }) => [key, untilMs - clock.nowMs]))
  assert.deepEqual(until, { tool: 30_000, person: 120_000, running: 600_000 })
})

test('conversations are bounded, the least recently seen leaves', () => {
  const { backends, foresight, turn, seen } = lab(2)
  for (const key of ['a', 'b', 'c']) turn(key, 'person')
  assert.deepEqual([foresight.size, foresight.evicted], [2, 1])
  backends[0]!.healthy = false
  foresight.lost(backends[0]!)
  assert.deepEqual(seen().sort(), ['drain b', 'drain c'])
})
