import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BatchingEngine } from '../../sim/engine/batching-engine.ts'
import { FifoEngine } from '../../sim/engine/fifo-engine.ts'
import { DEFAULT_SPEED } from '../../sim/profile.ts'
import { newJob, type Job, type SimulatedRequest } from '../../sim/request.ts'
import { VirtualTimeline } from '../../sim/timeline.ts'

const speed = {
  ...DEFAULT_SPEED,
  prefillTokensPerSecond: 1000,
  decodeMsPerToken: 20,
  blockTokens: 100,
  cacheBlocks: 50,
  maxSequences: 5,
  maxBatchTokens: 200,
}

const request = (
  blocks: readonly number[],
  promptTokens: number,
  outputTokens = 1,
  answerBlocks: readonly number[] = [],
): SimulatedRequest => ({ index: 0, atMs: 0, promptTokens, outputTokens, blocks, answerBlocks, session: 0, parent: -1 })

class Log {
  readonly lines: string[] = []
  readonly #timeline: VirtualTimeline
  constructor(timeline: VirtualTimeline) {
    this.#timeline = timeline
  }

  job(name: string, of: SimulatedRequest): Job {
    const note = (what: string): void => void this.lines.push(`${Math.round(this.#timeline.nowMs())} ${name} ${what}`)
    return newJob(of, {
      firstToken: (job) => note(`first, ${job.cachedTokens} cached`),
      finished: (job) => note(`finished, ${job.producedTokens} tokens`),
      failed: (_job, why) => note(`failed: ${why}`),
    })
  }
}

test('prefill-fifo: one prefill at a time, cached blocks are free, decode slows nothing', () => {
  const timeline = new VirtualTimeline()
  const engine = new FifoEngine(speed, timeline)
  const log = new Log(timeline)
  engine.submit(log.job('a', request([1, 2, 3], 300, 11)))
  engine.submit(log.job('b', request([1, 2, 4], 300, 1)))
  engine.submit(log.job('c', request([1, 2, 3], 300, 1)))
  timeline.run()
  assert.deepEqual(log.lines, [
    '300 a first, 0 cached',
    '400 b first, 200 cached',
    '400 b finished, 1 tokens',
    '400 c first, 300 cached',
    '400 c finished, 1 tokens',
    '500 a finished, 11 tokens',
  ])
})

test('prefill-fifo: a stall delays what runs and what waits; a restart fails all jobs and empties the cache', () => {
  const timeline = new VirtualTimeline()
  const engine = new FifoEngine(speed, timeline)
  const log = new Log(timeline)
  engine.submit(log.job('a', request([1, 2, 3], 300)))
  engine.submit(log.job('b', request([9], 100)))
  timeline.schedule(100, () => engine.stall(1000))
  timeline.schedule(1350, () => engine.restart('gone'))
  timeline.schedule(2000, () => engine.submit(log.job('c', request([1, 2, 3], 300))))
  timeline.run()
  assert.deepEqual(log.lines, [
    '1300 a first, 0 cached',
    '1300 a finished, 1 tokens',
    '1350 b failed: gone',
    '2300 c first, 0 cached',
    '2300 c finished, 1 tokens',
  ])
})

test('prefill-fifo: cancelling the running prefill lets the next one start at once', () => {
  const timeline = new VirtualTimeline()
  const engine = new FifoEngine(speed, timeline)
  const log = new Log(timeline)
  const first = log.job('a', request([1, 2, 3], 300))
  engine.submit(first)
  engine.submit(log.job('b', request([4], 100)))
  timeline.schedule(50, () => engine.cancel(first))
  timeline.run()
  assert.deepEqual(log.lines, ['150 b first, 0 cached', '150 b finished, 1 tokens'])
  assert.equal(engine.totals.cancelled, 1)
})

test('realistic: a prompt is computed in chunks of the step budget, and decoding sequences lengthen the step', () => {
  const timeline = new VirtualTimeline()
  const engine = new BatchingEngine(speed, timeline)
  const log = new Log(timeline)
  // a: chunk of 200 (200 ms), then alone at 20 ms a token. b arrives at 230, in a's second step: its step begins at 240.
  engine.submit(log.job('a', request([1, 2], 200, 40)))
  timeline.schedule(230, () => engine.submit(log.job('b', request([7, 8], 150, 2))))
  timeline.run()
  // Steps from 240: 20 ms for a's token + 150 ms of prefill; then two sequences: 20 * (1 + 1/4) = 25 ms; then a alone.
  // a has 1 token at 200, 3 at 240, 4 at 410, 5 at 435, then 35 * 20 ms.
  assert.deepEqual(log.lines, [
    '200 a first, 0 cached',
    '410 b first, 0 cached',
    '435 b finished, 2 tokens',
    '1135 a finished, 40 tokens',
  ])
})

test('realistic: full blocks of the answer are cached for the next turn, and the last prompt token is always computed', () => {
  const timeline = new VirtualTimeline()
  const engine = new BatchingEngine(speed, timeline)
  const log = new Log(timeline)
  engine.submit(log.job('a', request([1, 2], 150, 100, [12, 13])))
  timeline.run()
  const next = log.job('b', request([1, 12, 99], 250))
  engine.submit(next)
  timeline.run()
  assert.equal(next.cachedTokens, 200)
  const same = log.job('c', request([1, 12], 200))
  engine.submit(same)
  timeline.run()
  assert.equal(same.cachedTokens, 100)
})

test('realistic: with too little KV for all, jobs queue and are preempted, and each still finishes once with its pages returned', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          prompt: fc.integer({ min: 1, max: 900 }),
          output: fc.integer({ min: 1, max: 500 }),
          at: fc.integer({ min: 0, max: 3000 }),
          kin: fc.integer({ min: 0, max: 3 }),
        }),
        { minLength: 1, maxLength: 25 },
      ),
      fc.integer({ min: 14, max: 30 }),
      fc.option(fc.integer({ min: 0, max: 5000 })),
      (jobs, cacheBlocks, cancelAt) => {
        const timeline = new VirtualTimeline()
        const engine = new BatchingEngine({ ...speed, cacheBlocks }, timeline)
        const ended = new Map<number, number>()
        const all = jobs.map(({ prompt, output, kin }, index) => {
          const blocks = Array.from({ length: Math.ceil(prompt / 100) }, (_, block) => kin * 100 + block)
          const count = Math.floor((prompt + output) / 100) - Math.floor(prompt / 100)
          const answer = Array.from({ length: count }, (_, block) => 10_000 + index * 100 + block)
          return newJob(request(blocks, prompt, output, answer), {
            firstToken: () => undefined,
            finished: (job) => {
              assert.equal(job.producedTokens, output)
              ended.set(index, (ended.get(index) ?? 0) + 1)
            },
            failed: () => assert.fail('no job may fail'),
          })
        })
        jobs.forEach(({ at }, index) => timeline.schedule(at, () => engine.submit(all[index]!)))
        if (cancelAt !== null)
          timeline.schedule(cancelAt, () => {
            if (all[0]!.submittedAtMs >= 0) engine.cancel(all[0]!)
          })
        timeline.run()
        const finished = all.filter((job) => job.state === 'finished').length
        assert.equal(finished, ended.size)
        assert.ok([...ended.values()].every((times) => times === 1))
        assert.equal(finished + all.filter((job) => job.state === 'cancelled').length, all.length)
        assert.equal(engine.cache.inUse, 0)
        assert.equal(engine.running + engine.waiting, 0)
      },
    ),
    { numRuns: 150 },
  )
})

test('realistic: a request larger than the whole cache fails at once instead of waiting for ever', () => {
  const timeline = new VirtualTimeline()
  const engine = new BatchingEngine({ ...speed, cacheBlocks: 3 }, timeline)
  const log = new Log(timeline)
  engine.submit(log.job('a', request([1, 2, 3, 4], 400)))
  assert.deepEqual(log.lines, ['0 a failed: the request needs more KV cache than the engine has'])
})

test('both engines tell how many tokens a job has produced between events', () => {
  for (const Engine of [FifoEngine, BatchingEngine]) {
    const timeline = new VirtualTimeline()
    const engine = new Engine(speed, timeline)
    const job = newJob(request([1], 100, 50), {
      firstToken: () => undefined,
      finished: () => undefined,
      failed: () => undefined,
    })
    engine.submit(job)
    const seen: number[] = []
    for (const at of [50, 101, 141, 381]) timeline.schedule(at, () => seen.push(engine.produced(job)))
    timeline.run()
    assert.deepEqual(seen, [0, 1, 3, 15], Engine.name)
  }
})
