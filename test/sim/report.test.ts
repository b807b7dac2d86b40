import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { run } from '../../src/cli/run.ts'
import { replay } from '../../src/cli/replay.ts'
import { newProgress } from '../../sim/report/progress.ts'

const terminal = () => {
  const out: string[] = []
  const err: string[] = []
  return {
    out,
    err,
    env: {},
    version: '0',
    print: (text: string) => void out.push(text),
    complain: (text: string) => void err.push(text),
  }
}

const homing = async (...args: string[]) => {
  const to = terminal()
  const code = await run(['replay', ...args], [replay], to)
  return { code, out: to.out.join('\n'), err: to.err.join('\n') }
}

const TRACE = 'agents:sessions=6,turns=4'

test('homing replay prints a table with the bound for each fleet', async () => {
  const { code, out } = await homing(TRACE, '--policies', 'round-robin,homing', '--backends', '2,3')
  assert.equal(code, 0)
  assert.match(out, /^2 backends, seconds$/m)
  assert.match(out, /^3 backends, seconds$/m)
  assert.equal(out.match(/^(homing|round-robin|bound|floor \(no queue\)) +[\d.]+ +[\d.]+/gm)?.length, 8)
})

test('homing replay --json gives every figure, with intervals when there are several seeds', async () => {
  const { out } = await homing(TRACE, '--policies', 'p2c', '--backends', '3', '--seeds', '3', '--json')
  const body = JSON.parse(out) as {
    partial: boolean
    fleets: { policies: { name: string; figures: Record<string, { mean: number; half: number }> }[] }[]
  }
  assert.equal(body.partial, false)
  const [policy] = body.fleets[0]!.policies
  assert.equal(policy!.name, 'p2c')
  assert.ok(policy!.figures['meanTtftSeconds']!.half > 0)
})

test('the report is one file with pictures that fetches nothing and runs nothing', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'homing-report-'))
  try {
    const file = join(folder, 'out.html')
    const { code } = await homing(TRACE, '--policies', 'round-robin,homing', '--backends', '2', '--report', file)
    assert.equal(code, 0)
    const html = await readFile(file, 'utf8')
    assert.match(html, /^<!doctype html>/)
    assert.doesNotMatch(html, /<script|<link|src=|https?:|url\(|@import|NaN|undefined|Infinity/)
    assert.ok((html.match(/<svg /g)?.length ?? 0) >= 7)
    for (const word of [
      'round-robin',
      'homing',
      'Hit rate over the trace',
      'Time to first token',
      'Load over time',
      'moved away',
      'saved',
    ]) {
      assert.ok(html.includes(word), word)
    }
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('a trace with a bad line: the error names it, the part before it is replayed, the exit code is 1', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'homing-trace-'))
  try {
    const file = join(folder, 'trace.jsonl')
    await writeFile(file, '{"timestamp":0,"input_length":600,"output_length":5,"hash_ids":[0,1]}\n{"timestamp":1}\n')
    const { code, out, err } = await homing(file, '--policies', 'random')
    assert.equal(code, 1)
    assert.match(err, /trace\.jsonl:2: 'input_length' is missing/)
    assert.match(err, /partial: only the 1 requests before that line/)
    assert.match(out, /^random/m)
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('flags that cannot be used are refused with what would do', async () => {
  for (const [args, why] of [
    [['--policies', 'best'], /unknown policy 'best'; there are: random/],
    [['--backends', '0'], /--backends must be a positive number/],
    [['--profile', 'fast'], /unknown profile 'fast'; there are: prefill-fifo, realistic/],
    [['--rate', 'x'], /--rate must be a positive number/],
    [['--fault', 'die:9@5'], /backends count from 0 to 7/],
    [['--fault', 'burn:1@5'], /die, restart, stall or slow/],
  ] as const) {
    const { code, err } = await homing(TRACE, ...args)
    assert.equal(code, 2)
    assert.match(err, why)
  }
  assert.match((await homing('agents:colour=2')).err, /colour=2/)
  assert.equal((await homing('/nowhere/trace.jsonl')).code, 1)
})

test('progress is a bar on a terminal and one line a step elsewhere', () => {
  let written = ''
  let nowMs = 0
  const bar = newProgress(
    {
      isTTY: true,
      write: (text) => {
        written += text
      },
    },
    () => nowMs,
  )
  bar.update(1, 4, 'a')
  bar.update(2, 4, 'a')
  nowMs = 150
  bar.update(4, 4, 'a')
  assert.deepEqual(written.split('\r').slice(1), [
    '[######------------------]  25 %  a',
    '[########################] 100 %  a',
  ])
  written = ''
  const lines = newProgress(
    {
      write: (text) => {
        written += text
      },
    },
    () => 0,
  )
  for (const what of ['a', 'a', 'b']) lines.update(1, 2, what)
  lines.end()
  assert.equal(written, 'a ...\nb ...\n')
})
