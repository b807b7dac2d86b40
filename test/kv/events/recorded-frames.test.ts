import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { BatchDecoder } from '../../../src/kv/events/decode-batch.ts'
import { GRAIN_TOKENS } from '../../../src/kv/events/token-hash.ts'
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

/** Frames of a real engine and, between them, prompts with what it really found in its cache; written by scripts/prove/*-events.mjs. */
const recorded = (file: string): readonly Line[] =>
  readFileSync(join(projectRoot(), 'test/kv/fixtures', file), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)

/** Plays a recording and compares at every question; the counts of what it held. */
function replay(lines: readonly Line[], knownLate: (ask: string) => boolean) {
  const { blocks, held, resident } = picture()
  const decoder = new BatchDecoder()
  const blockTokens = lines[0]!.blockTokens!
  // Prefixes are known at every 16th token, whatever the block.
  const step = Math.max(blockTokens, GRAIN_TOKENS)
  const whole = (tokens: number): number => Math.floor(tokens / step) * step
  let asked = 0
  let evicted = 0
  const longest = new Map<string, number>()
  for (const line of lines) {
    if (line.payload !== undefined) decoder.decode(Buffer.from(line.payload, 'base64'), blocks)
    if (line.tokens === undefined) continue
    asked++
    const expected = Math.min(resident(line.tokens, blockTokens, line.salt ?? null), whole(line.tokens.length - 1))
    if (!knownLate(line.ask!)) assert.equal(expected, whole(line.cachedTokens!), line.ask)
    const session = line.ask!.split(',')[0]!
    if ((longest.get(session) ?? 0) > expected) evicted++
    longest.set(session, whole(line.tokens.length))
    blocks.checkIntegrity()
    held.checkIntegrity()
  }
  return { asked, evicted, blocks, decoder }
}

describe('events recorded from a real engine', () => {
  it('tell exactly what vLLM finds in its cache, under eviction, with a salt and after a clear', () => {
    // vLLM tells of a clear with its next step only.
    const { asked, evicted, blocks, decoder } = replay(recorded('vllm-0.32-events.jsonl'), (ask) => ask === 'cleared, first question')
    assert.ok(asked > 15, `${asked} questions`)
    assert.ok(evicted > 0, 'the recording has evictions in it')
    assert.ok(blocks.counts.removed > 50)
    // One before the recording's first question, one after its last but two.
    assert.equal(blocks.counts.cleared, 2)
    assert.equal(blocks.counts.orphans + blocks.counts.unknownRemoved + decoder.unknown, 0)
  })

  it('tell what SGLang finds in its cache, in pages of one token, to the grain in which prefixes are known', () => {
    const { asked, evicted, blocks, decoder } = replay(recorded('sglang-0.5-events.jsonl'), () => false)
    assert.ok(asked > 10, `${asked} questions`)
    assert.ok(evicted > 0, 'the recording has evictions in it')
    assert.ok(blocks.counts.removed > 500)
    assert.equal(blocks.counts.cleared, 2)
    assert.equal(blocks.counts.orphans + blocks.counts.unknownRemoved + decoder.unknown, 0)
  })
})
