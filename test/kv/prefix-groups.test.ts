import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BlockIndex } from '../../src/kv/block-index.ts'
import { PrefixGroups } from '../../src/kv/prefix-groups.ts'
import { chainOf, words } from '../schedule/fixture.ts'

function lab(maxGroups = 10) {
  const clock = { ms: 0 }
  const index = new BlockIndex({ maxBytes: 1 << 20, nowMs: () => clock.ms })
  const groups = new PrefixGroups(index, { nowMs: () => clock.ms, maxGroups })
  const backends = [{ index: 0 }, { index: 1 }]
  /** A turn of a session at a backend: observed first, then entered, as the gateway does. */
  const turn = (text: readonly string[], sessionId: string, backend = 0, isNew = true) => {
    clock.ms++
    const chain = chainOf(text)
    const group = groups.observe({ tenant: 't', model: 'm', sessionId, chain }, isNew, backends)
    index.insert(chain, backend)
    return group
  }
  return { clock, index, groups, turn }
}

const agent = words('agent', 20)

test('sessions that begin alike are one group, wherever each of them runs', () => {
  const { groups, turn } = lab()
  assert.equal(turn([...agent, ...words('a', 5)], 'a', 0), null, 'the first knows of no other')
  for (const [at, name] of ['b', 'c', 'd'].entries()) turn([...agent, ...words(name, 5)], name, at % 2)
  const [group, ...others] = groups.list()
  assert.deepEqual(others, [])
  assert.deepEqual([group!.chain.length, group!.sessions], [20, 4])
})

test('a session counts once however many turns it has, and what only its own turns share is no group', () => {
  const { groups, turn } = lab()
  turn([...agent, ...words('a', 5)], 'a')
  turn([...agent, ...words('b', 5)], 'b')
  for (let more = 6; more < 20; more++) turn([...agent, ...words('b', more)], 'b', 0, false)
  assert.deepEqual(groups.list().map(({ sessions }) => sessions), [2])
})

test('groups lie within each other: an agent, and the document that some of its sessions read', () => {
  const { groups, turn } = lab()
  const reading = [...agent, ...words('document', 30)]
  for (const name of ['a', 'b']) turn([...agent, ...words(name, 5)], name)
  for (const name of ['c', 'd', 'e']) turn([...reading, ...words(name, 5)], name)
  assert.deepEqual(groups.list().map(({ chain, sessions }) => [chain.length, sessions]), [[20, 5], [50, 3]])
})

test('a chance likeness of first words makes no group of its own, nor does a short prefix', () => {
  const { groups, turn } = lab()
  for (const name of ['a', 'b', 'c']) turn([...agent, ...words(name, 5)], name)
  turn([...agent, 'a0', 'a1', ...words('x', 5)], 'x')
  for (const name of ['p', 'q']) turn([...words('short', 3), ...words(name, 5)], name)
  assert.deepEqual(groups.list().map(({ chain }) => chain.length), [20])
})

test('many sessions are counted within a twentieth', () => {
  const { groups, turn } = lab()
  for (let session = 0; session < 500; session++) turn([...agent, `own${session}`], `session-${session}`)
  assert.ok(Math.abs(groups.list()[0]!.sessions - 500) <= 25, `${groups.list()[0]!.sessions}`)
})

test('groups are bounded, the least recently used leaves, and a name says nothing of the text', () => {
  const { groups, turn } = lab(2)
  for (const team of ['x', 'y', 'z']) for (const name of ['a', 'b']) turn([...words(team, 20), ...words(name, 5)], `${team}${name}`)
  assert.equal(groups.size, 2)
  assert.equal(groups.evicted, 1)
  for (const { hash } of groups.list()) assert.match(hash, /^[0-9a-f]{12}$/)
})
