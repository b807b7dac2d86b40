import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ChoiceLines } from '../../src/learn/evaluation/choice-lines.ts'
import { ChoiceLog, type LogFiles } from '../../src/learn/outcomes/choice-log.ts'
import type { AnsweredTurn } from '../../src/model/choice.ts'

class MemoryFiles implements LogFiles {
  readonly files = new Map<number, string>()
  get found(): readonly number[] {
    return [...this.files.keys()].sort((a, b) => a - b)
  }
  sizeOf(number: number): number {
    return this.files.get(number)!.length
  }
  append(number: number, bytes: Uint8Array): void {
    this.files.set(number, (this.files.get(number) ?? '') + Buffer.from(bytes).toString())
  }
  remove(number: number): void {
    this.files.delete(number)
  }
  get size(): number {
    return [...this.files.values()].reduce((sum, { length }) => sum + length, 0)
  }
}

const considered = [
  { model: 'coder', mean: 0.712_345, deviation: 0.1, drawn: 0.8, seconds: 1.25, propensity: 0.000_012_345 },
  { model: 'general', mean: 0.6, deviation: 0.1, drawn: 0.5, seconds: 0.5, propensity: 0.999_987_655 },
]
const answer = (id: string, more: Partial<AnsweredTurn> = {}): AnsweredTurn => ({
  tenant: 'acme', id, model: 'coder', atMs: 1_000,
  subject: { topics: [['coding', 0.7], ['math', 0.2], ['law', 0.06], ['art', 0.04]], intent: ['debug', 0.5], inScope: 1, complexity: 0.25 },
  choice: { group: 'auto', secondsPerQuality: 100, drawn: true, considered }, ...more,
})

test('a line holds what was considered and with which probability, and no text; small probabilities keep their digits', () => {
  const files = new MemoryFiles()
  const log = new ChoiceLog(files, 1e6)
  log.choice(answer('resp_1'))
  log.outcome(answer('resp_1'), { source: 'user', score: 0.5, atMs: 2_000 })
  const [choice, outcome] = files.files.get(1)!.trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>)
  assert.deepEqual(choice, {
    kind: 'choice', at: 1_000, tenant: 'acme', id: 'resp_1', group: 'auto', model: 'coder', topics: [['coding', 0.7], ['math', 0.2], ['law', 0.06]],
    intent: 'debug', complexity: 0.25, seconds_per_quality_point: 1, drawn: true,
    considered: [{ ...considered[0], mean: 0.7123, propensity: 0.000_012_345 }, { ...considered[1], propensity: 0.999_99 }],
  })
  assert.deepEqual(outcome, { ...choice, kind: 'outcome', source: 'user', score: 0.5, graded_at: 2_000 })
})

test('answers of models that were named by their client are not logged: nothing was chosen', () => {
  const files = new MemoryFiles()
  const log = new ChoiceLog(files, 1e6)
  log.choice(answer('resp_1', { choice: null }))
  log.outcome(answer('resp_1', { choice: null }), { source: 'user', score: 1, atMs: 2_000 })
  assert.equal(files.size, 0)
})

test('the log is bounded over all its files, those of earlier processes too, and the oldest leaves', () => {
  const files = new MemoryFiles()
  const first = new ChoiceLog(files, 40_000)
  for (let n = 0; n < 500; n++) first.choice(answer(`resp_${n}`))
  assert.ok(files.size <= 40_000 && files.size > 30_000, String(files.size))
  assert.ok(first.counts.rotations > 10 && first.counts.removed > 5)
  for (let start = 0; start < 20; start++) new ChoiceLog(files, 40_000).choice(answer(`again_${start}`))
  assert.ok(files.size <= 40_000 && files.size > 30_000, 'small files of many starts do not push out large ones')
  assert.ok([...files.files.values()].at(-1)!.includes('again_19'))
})

test('an outcome can be evaluated when the line of its choice is gone; the last word of a source counts, and several sources their mean', () => {
  const files = new MemoryFiles()
  const log = new ChoiceLog(files, 1e6)
  log.outcome(answer('resp_1'), { source: 'user', score: 1, atMs: 2_000 })
  log.outcome(answer('resp_1'), { source: 'user', score: 0, atMs: 3_000 })
  log.outcome(answer('resp_1'), { source: 'grader', score: 0.5, atMs: 3_000 })
  log.outcome(answer('resp_1', { atMs: 9_000 }), { source: 'user', score: 1, atMs: 9_500 })
  const read = (source: string | null): number[] => {
    const lines = new ChoiceLines(source)
    for (const line of files.files.get(1)!.split('\n')) lines.add(line, 'here')
    assert.deepEqual([lines.counts.choices, lines.counts.outcomes, lines.firstBad], [0, 4, null])
    return lines.graded().map(({ score }) => score)
  }
  assert.deepEqual(read(null), [0.25, 1])
  assert.deepEqual(read('user'), [0, 1])
})
