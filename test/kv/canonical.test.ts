import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canonicalItem } from '../../src/kv/canonical.ts'
import type { ConversationItem } from '../../src/model/item.ts'

const withPicture = (url: string): ConversationItem => ({
  type: 'message', role: 'user', content: [{ type: 'input_text', text: 'What is this?' }, { type: 'input_image', image_url: url }],
})

test('a picture sent as data is told from another, and does not count as the text of its base64', () => {
  const data = (letter: string): string => `data:image/png;base64,${letter.repeat(100_000)}`
  const [one, other] = [canonicalItem(withPicture(data('a'))), canonicalItem(withPicture(data('b')))]
  assert.notEqual(one, other)
  assert.equal(one, canonicalItem(withPicture(data('a'))))
  assert.ok(one.length < 200, `${one.length}`)
  assert.match(canonicalItem(withPicture('https://pictures/sea.png')), /https:\/\/pictures\/sea\.png$/)
})
