import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { seededRandom } from '../../sim/random.ts'
import { evaluate } from '../../src/cli/evaluate.ts'
import { run } from '../../src/cli/run.ts'
import { ChoiceLog } from '../../src/learn/outcomes/choice-log.ts'
import type { AnsweredTurn } from '../../src/model/choice.ts'

let folder = ''
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'homing-evaluate-'))
})
after(() => rmSync(folder, { recursive: true }))

/** A log written by the gateway's own writer. Coder scores 0.9 on code, general 0.5 on all; each is chosen half the time. */
function logged(name: string, size: number, more: Partial<AnsweredTurn> = {}): string {
  const files = new Map<number, string>()
  const log = new ChoiceLog({
    found: [], sizeOf: () => 0,
    append: (number, bytes) => void files.set(number, (files.get(number) ?? '') + Buffer.from(bytes).toString()),
    remove: (number) => void files.delete(number),
  }, 1e8)
  const random = seededRandom(11)
  for (let n = 0; n < size; n++) {
    const coder = random() < 0.5
    const code = random() < 0.5
    const considered = ['coder', 'general'].map((model) => ({ model, mean: 0.6, deviation: 0.1, drawn: 0.6, seconds: model === 'coder' ? 2 : 1, propensity: 0.5 }))
    const answer: AnsweredTurn = {
      tenant: 'a', id: `resp_${n}`, model: coder ? 'coder' : 'general', atMs: n,
      subject: { topics: [[code ? 'coding' : 'writing', 0.9]], intent: ['ask', 1], inScope: 1, complexity: 0.5 },
      choice: { group: 'auto', secondsPerQuality: 100, drawn: true, considered },
      ...more,
    }
    log.choice(answer)
    if (n % 10 === 9) continue // never graded
    const score = random() < (coder ? (code ? 0.9 : 0.3) : 0.5) ? 1 : 0
    log.outcome(answer, { source: 'user', score: 1 - score, atMs: n })
    log.outcome(answer, { source: 'user', score, atMs: n + 1 }) // thought better of it
  }
  const path = join(folder, name)
  mkdirSync(path)
  for (const [number, text] of files) writeFileSync(join(path, `choices-${String(number).padStart(8, '0')}.jsonl`), text)
  return path
}

async function evaluated(...args: string[]): Promise<{ code: number; out: string; error: string }> {
  const told = { out: '', error: '' }
  const code = await run(['evaluate', ...args], [evaluate], {
    env: {}, version: '', print: (text) => void (told.out += `${text}\n`), complain: (text) => void (told.error += `${text}\n`),
  })
  return { code, ...told }
}

test('a log tells what was done, what each model alone and a table of topics would have scored', async () => {
  const log = logged('whole', 4000)
  const table = join(folder, 'topics.yaml')
  writeFileSync(table, 'coding: coder\ndefault: general\n')
  const { code, out, error } = await evaluated('--log', log, '--policy', 'always:coder', '--policy', `table:${table}`, '--policy', 'greedy', '--policy', 'seconds_per_quality_point:0.2', '--json')
  assert.deepEqual([code, error], [0, ''])
  const told = JSON.parse(out) as { choices: number; outcomes: number; groups: { choices: number; policies: { name: string; seconds: number; doublyRobust: { value: number; low: number; high: number } }[] }[] }
  assert.deepEqual([told.choices, told.outcomes, told.groups.length, told.groups[0]!.choices], [4000, 7200, 1, 3600])
  const truth: Record<string, number> = { 'what was done': 0.55, 'always coder': 0.6, greedy: 0.55, [`table:${table}`]: 0.7 }
  for (const { name, doublyRobust: { low, high } } of told.groups[0]!.policies) {
    const value = truth[name]
    if (value !== undefined) assert.ok(low < value && value < high, `${name}: ${low} to ${high}`)
  }
  const seconds = Object.fromEntries(told.groups[0]!.policies.map((policy) => [policy.name, policy.seconds]))
  assert.deepEqual([seconds['always coder'], seconds['what was done']], [2, 1.5])
  assert.ok(seconds['seconds_per_quality_point 0.2']! < 1.5, 'where quality is cheap the faster model is asked more often')
})

test('the table for people names the policies, their intervals, sample and seconds', async () => {
  const { code, out } = await evaluated('--log', join(folder, 'whole'), '--resamples', '100')
  assert.equal(code, 0)
  assert.match(out, /^4000 choices logged, 7200 outcomes\n\ngroup auto: 3600 graded choices between coder, general/)
  for (const line of [/^what was done +0\.5\d\d \[0\.5\d\d, 0\.5\d\d\]/m, /^always coder +0\.[56]\d\d /m, /^always general /m, /^greedy /m]) assert.match(out, line)
})

test('what cannot be read is told with its place, and the rest is evaluated', async () => {
  const log = logged('damaged', 300)
  writeFileSync(join(log, 'choices-00000007.jsonl'), '{"kind":"outcome","half\n{"kind":"outcome"}\n')
  const { code, out, error } = await evaluated('--log', log, '--resamples', '20')
  assert.equal(code, 0)
  assert.match(error, /lines without JSON \(1\) and of another form \(1\); the first is .*choices-00000007\.jsonl:1/)
  assert.match(out, /group auto: 270 graded choices/)
})

test('choices that kept the model of their conversation are left out and told', async () => {
  const considered = [{ model: 'coder', mean: 0.6, deviation: 0.1, drawn: 0.6, seconds: 2, propensity: 1 }]
  const { code, error } = await evaluated('--log', logged('kept', 20, { model: 'coder', choice: { group: 'auto', secondsPerQuality: 100, drawn: false, considered } }))
  assert.equal(code, 1)
  assert.match(error, /20 choices logged, 36 outcomes; 18 graded choices kept the model of their conversation/)
})

test('a few choices are told to be few', async () => {
  const { out } = await evaluated('--log', logged('few', 30), '--resamples', '50')
  assert.match(out, /! always coder: the overlap is too small: its figures rest on what \d+ choices would tell/)
})

const MISUSES: readonly (readonly [args: readonly string[], said: RegExp])[] = [
  [[], /needs --log DIR or --log FILE/],
  [['--log', '/nonexistent/choices'], /there is no file or folder '\/nonexistent\/choices'/],
  [['--log', '.', '--policy', 'always'], /what is the policy 'always'\?/],
  [['--log', '.', '--policy', 'seconds_per_quality_point:-1'], /expected seconds above 0/],
  [['--log', '.', '--policy', 'table:/nonexistent.yaml'], /\/nonexistent\.yaml cannot be read/],
  [['--log', '.', '--resamples', '0'], /--resamples must be a whole number, 1 or more, not '0'/],
]
for (const [args, said] of MISUSES) {
  test(`homing evaluate ${args.join(' ')}: used wrongly`, async () => {
    const { code, error } = await evaluated(...args)
    assert.equal(code, 2)
    assert.match(error, said)
  })
}

test('a folder without a log is told as such', async () => {
  const { code, error } = await evaluated('--log', folder)
  assert.equal(code, 2)
  assert.match(error, /holds no choices-\*\.jsonl/)
})
