import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { BatchDecoder } from '../../../src/kv/events/decode-batch.ts'
import { projectRoot } from '../../house/root.ts'
import { picture } from './fixture.ts'

type Line = {
  readonly engine?: string
  readonly blockTokens?: number
  readonly seq?: number
  readonly payload?: string
  readonly ask?: string
  readonly tokens?: readonly number[]
  readonly salt?: string | null
  readonly cachedTokens?: number
}

/** Frames of vLLM 0.32 and, between them, prompts with what it really found in its cache; written by scripts/prove/vllm-events.mjs. */
const lines = readFileSync(join(projectRoot(), 'test/kv/fixtures/vllm-0.32-events.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Line)

describe('events recorded from a real vLLM', () => {
  it('tell exactly what it finds in its cache, under eviction, with a salt and after a clear', () => {
    const { blocks, held, resident } = picture()
    const decoder = new BatchDecoder()
    const blockTokens = lines[0]!.blockTokens!
    let asked = 0
    let evicted = 0
    const longest = new Map<string, number>()
    for (const line of lines) {
      if (line.payload !== undefined) decoder.decode(Buffer.from(line.payload, 'base64'), blocks)
      if (line.tokens === undefined) continue
      asked++
      const expected = Math.min(resident(line.tokens, blockTokens, line.salt ?? null), Math.floor((line.tokens.length - 1) / blockTokens) * blockTokens)
      // vLLM tells of a clear with its next step only.
      if (line.ask !== 'cleared, first question') assert.equal(expected, line.cachedTokens, line.ask)
      const session = line.ask!.split(',')[0]!
      if ((longest.get(session) ?? 0) > expected) evicted++
      longest.set(session, line.tokens.length - (line.tokens.length % blockTokens))
      blocks.checkIntegrity()
      held.checkIntegrity()
    }
    assert.ok(asked > 15, `${asked} questions`)
    assert.ok(evicted > 0, 'the recording has evictions in it')
    assert.ok(blocks.counts.removed > 50)
    // One before the recording's first question, one after its last but two.
    assert.equal(blocks.counts.cleared, 2)
    assert.equal(blocks.counts.orphans + blocks.counts.unknownRemoved + decoder.unknown, 0)
  })
})
