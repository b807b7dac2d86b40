import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadScript } from './scripts.ts'

type Turn = { turn: number; asked: { promptTokens: number; cachedTokens: number; ttftMs: number | null } }
type Summary = { promptTokens: number; computedTokens: number; cachedShare: number; ttftP50Ms: number | null; ttftMeanMs: number | null }
const { summary } = await loadScript<{ summary(turns: readonly Turn[]): Summary }>('demo/report.mjs')
const { rounds, seededRandom, conversations } = await loadScript<{
  rounds(count: number, turns: number, random: () => number): number[][]
  seededRandom(seed: number): () => number
  conversations(nonce: string): { system: string; questions: string[] }[]
}>('demo/script.mjs')

test('the summary counts all prompts, and the TTFT of continued turns only', () => {
  const turn = (n: number, promptTokens: number, cachedTokens: number, ttftMs: number | null): Turn => ({ turn: n, asked: { promptTokens, cachedTokens, ttftMs } })
  assert.deepEqual(summary([turn(1, 100, 0, 5000), turn(2, 120, 90, 10), turn(3, 140, 110, 30), turn(4, 140, 0, 80), turn(4, 0, 0, null)]), {
    promptTokens: 500, computedTokens: 300, cachedShare: 0.4, ttftP50Ms: 30, ttftMeanMs: 40,
  })
  assert.equal(summary([turn(1, 10, 0, 7)]).ttftP50Ms, null)
})

test('every round asks every talk once, and the order is the same for the same seed', () => {
  const order = rounds(6, 4, seededRandom(4))
  for (const round of order) assert.deepEqual([...round].sort(), [0, 1, 2, 3, 4, 5])
  assert.deepEqual(order, rounds(6, 4, seededRandom(4)))
  // A fixed order would be no test of a round robin.
  assert.notDeepEqual(order[0], order[1])
})

test('two halves of a demo share no prompt', () => {
  const [one, two] = [conversations('a'), conversations('b')]
  assert.equal(new Set([...one, ...two].map(({ system }) => system)).size, one.length + two.length)
})
