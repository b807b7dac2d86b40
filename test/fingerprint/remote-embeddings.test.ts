import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RemoteEmbeddings, type Embed } from '../../src/fingerprint/remote-embeddings.ts'
import type { ConversationItem } from '../../src/model/item.ts'

const said = (role: string, content: string): ConversationItem => ({ type: 'message', role, content })
/** Axis 0 for what is about cats, axis 1 for the rest. */
const vectorOf = (text: string): Float32Array => Float32Array.of(text.includes('cat') ? 2 : 0, text.includes('cat') ? 0 : 3, 0)

function followed(options: { embed?: Embed; characters?: number; maxConversations?: number } = {}) {
  const asked: (readonly string[])[] = []
  const embed: Embed = async (texts) => {
    asked.push(texts)
    return options.embed === undefined ? texts.map(vectorOf) : options.embed(texts)
  }
  const remote = new RemoteEmbeddings({ embed, model: 'm', characters: options.characters ?? 100, maxConversations: options.maxConversations ?? 10 })
  return { remote, asked }
}
const rounded = (vector: Float32Array | null): number[] | null => vector && [...vector].map((value) => Math.round(value * 100) / 100)

test('only new items are sent, and the conversation is their decayed, role-weighted sum', async () => {
  const { remote, asked } = followed()
  const first = [said('user', 'my cat')]
  await remote.follow('k', first)
  assert.deepEqual(rounded(await remote.read('k', first)), [1, 0, 0])
  const second = [...first, said('assistant', 'nice'), said('user', 'weather?')]
  await remote.follow('k', second)
  assert.deepEqual(asked, [['my cat'], ['nice', 'weather?']])
  // 1 * 0.7 decays twice, the assistant's 0.6 once
  const [cat, other] = [0.49, 0.42 + 1]
  const length = Math.hypot(cat, other)
  const [x, y] = (await remote.read('k', second))!
  assert.ok(Math.abs(x! - cat / length) < 0.01 && Math.abs(y! - other / length) < 0.01, `${x} ${y}`)
  assert.equal(asked.length, 2, 'nothing new was said')
})

test('a look sends what is new and leaves no trace', async () => {
  const { remote, asked } = followed()
  const first = [said('user', 'my cat')]
  await remote.follow('k', first)
  const next = [...first, said('user', 'rain')]
  assert.notDeepEqual(rounded(await remote.read('k', next)), [1, 0, 0])
  assert.deepEqual(rounded(await remote.read('k', first)), [1, 0, 0])
  assert.deepEqual(asked.slice(1), [['rain']])
})

test('what does not come back goes along with the next turn, and until then there is no vector', async () => {
  let up = false
  const { remote, asked } = followed({ embed: async (texts) => (up ? texts.map(vectorOf) : null) })
  const first = [said('user', 'my cat')]
  await remote.follow('k', first)
  assert.equal(await remote.read('k', first), null)
  up = true
  const second = [...first, said('user', 'another cat')]
  await remote.follow('k', second)
  assert.deepEqual(asked.at(-1), ['my cat', 'another cat'])
  assert.deepEqual(rounded(await remote.read('k', second)), [1, 0, 0])
})

test('a turn that comes while the model is asked is not asked for twice', async () => {
  let answer: (() => void) | undefined
  const { remote, asked } = followed({ embed: (texts) => new Promise((resolve) => (answer = () => resolve(texts.map(vectorOf)))) })
  const first = [said('user', 'a')]
  const running = remote.follow('k', first)
  await remote.follow('k', [...first, said('user', 'b')])
  answer!()
  await running
  assert.deepEqual(asked, [['a']])
})

test('a history that does not continue begins anew; a long one sends its first two items and its last fourteen', async () => {
  const { remote, asked } = followed()
  await remote.follow('k', [said('user', 'my cat')])
  await remote.follow('k', [said('user', 'other')])
  assert.deepEqual(rounded(await remote.read('k', [said('user', 'other')])), [0, 1, 0])
  await remote.follow('long', Array.from({ length: 40 }, (_, at) => said('user', `t${at}`)))
  assert.deepEqual(asked.at(-1), [0, 1, ...Array.from({ length: 14 }, (_, at) => 26 + at)].map((at) => `t${at}`))
})

test('of a long item the two ends are sent, and never half a character', async () => {
  const { remote, asked } = followed({ characters: 10 })
  await remote.follow('k', [said('user', `${'a'.repeat(6)}😀${'b'.repeat(50)}😀cc`)])
  assert.deepEqual(asked[0], ['aaaaaa\ncc'])
})

test('silent items are not sent, and conversations are bounded', async () => {
  const { remote, asked } = followed({ maxConversations: 2 })
  await remote.follow('k', [said('user', ' '), { type: 'item_reference', id: 'x' } as unknown as ConversationItem])
  assert.equal(asked.length, 0)
  for (const key of ['a', 'b', 'c']) await remote.follow(key, [said('user', key)])
  assert.deepEqual([remote.size, remote.evicted], [2, 2])
})
