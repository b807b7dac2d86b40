import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProbeFailure } from '../../src/fleet/probe-get.ts'
import type { FailureKind, ProbeAnswer } from '../../src/fleet/probe-get.ts'
import { BackendRegistry } from '../../src/fleet/registry.ts'
import { backendConfig, LLAMACPP, VLLM } from './fake-engine.ts'
import type { Answers } from './fake-engine.ts'

type World = {
  readonly registry: BackendRegistry
  /** By base URL: the answers of an engine, or how it fails. */
  readonly engines: Map<string, Answers | FailureKind>
  readonly log: string[]
  readonly delays: number[]
  readonly get: { count: number }
  /** Runs the timers that are due within the next `ms`, in order. */
  pass(ms: number): Promise<void>
}

/** A fleet in which time passes only by `pass`. */
function world(...urls: string[]): World {
  const clock = { ms: 0 }
  const timers = new Set<{ at: number; task: () => void }>()
  const engines: World['engines'] = new Map()
  const log: string[] = []
  const delays: number[] = []
  const get = { count: 0 }
  const registry = new BackendRegistry({
    nowMs: () => clock.ms,
    random: () => 0.5,
    after: (delayMs, task) => {
      const timer = { at: clock.ms + delayMs, task }
      delays.push(delayMs)
      timers.add(timer)
      return () => void timers.delete(timer)
    },
    get: (config, path): Promise<ProbeAnswer> => {
      get.count++
      const engine = engines.get(config.url) ?? 'refused'
      if (typeof engine === 'string') return Promise.reject(new ProbeFailure(engine, `probe ${engine}`))
      const answer = engine[path] ?? 404
      const status = typeof answer === 'number' ? answer : 200
      return Promise.resolve({ status, headers: {}, text: typeof answer === 'string' ? answer : JSON.stringify(answer) })
    },
  })
  registry.onChange(({ kind, backend, why }) => log.push(`${backend.id} ${kind}${why === null ? '' : `: ${why}`}`))
  for (const url of urls) {
    engines.set(url, VLLM)
    registry.add(backendConfig(url))
  }
  log.length = 0
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  return {
    registry, engines, log, delays, get,
    async pass(ms) {
      const end = clock.ms + ms
      await settle()
      for (;;) {
        const due = [...timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0]
        if (due === undefined) break
        timers.delete(due)
        clock.ms = due.at
        due.task()
        await settle()
      }
      clock.ms = end
    },
  }
}

const A = 'http://a:1'
const B = 'http://b:1'

test('before its first probe a backend is not healthy; then it is, and offers what the probe found', async () => {
  const { registry, log, pass } = world(A)
  const backend = registry.get('a:1')
  assert.deepEqual([backend?.healthy, backend?.probed, backend?.trouble], [false, false, 'not probed yet'])
  registry.start()
  await registry.firstProbeDone
  assert.deepEqual([backend?.healthy, backend?.probed, backend?.trouble, backend?.engine], [true, true, null, 'vllm'])
  assert.deepEqual([...(backend?.models.keys() ?? [])], ['Qwen/Qwen3-32B', 'sql-lora'])
  assert.deepEqual(log, ['a:1 described: vllm; chat; Qwen/Qwen3-32B, sql-lora', 'a:1 healthy'])
  await pass(30_000)
  assert.equal(log.length, 2)
  registry.close()
})

test('the first probe is done when every backend was asked, also those that did not answer', async () => {
  const { registry, engines } = world(A, B)
  engines.set(B, 'timeout')
  registry.start()
  await registry.firstProbeDone
  assert.deepEqual(registry.list().map(({ healthy, probed, trouble }) => [healthy, probed, trouble]), [
    [true, true, null], [false, true, 'probe timeout'],
  ])
  registry.close()
})

test('a healthy backend is probed every 5 s, one in trouble every second', async () => {
  const { registry, engines, delays, pass } = world(A)
  registry.start()
  await pass(0)
  assert.deepEqual(delays.splice(0), [5000])
  engines.set(A, 'refused')
  await pass(5000)
  assert.deepEqual(delays.splice(0), [1000])
  engines.set(A, VLLM)
  await pass(1000)
  assert.deepEqual(delays.splice(0), [5000])
  registry.close()
})

test('a failed connection takes a backend out at once; a probe brings it back', async () => {
  const { registry, log, pass } = world(A)
  registry.start()
  await pass(0)
  log.length = 0
  const backend = registry.list()[0]
  assert.ok(backend)
  registry.report(backend, 'connect')
  assert.deepEqual([backend.healthy, backend.trouble], [false, 'a turn failed: no connection'])
  await pass(2000)
  assert.equal(backend.healthy, true)
  assert.deepEqual(log, ['a:1 unhealthy: a turn failed: no connection', 'a:1 healthy'])
  registry.close()
})

test('one probe without answer is forgiven, three in a row are not', async () => {
  const { registry, engines, pass } = world(A)
  registry.start()
  await pass(0)
  engines.set(A, 'timeout')
  await pass(10_000)
  assert.equal(registry.list()[0]?.healthy, true)
  await pass(5000)
  assert.equal(registry.list()[0]?.healthy, false)
  registry.close()
})

test('another process behind the same url is a restart', async () => {
  const { registry, engines, log, pass } = world(A)
  engines.set(A, LLAMACPP)
  const restarted: string[] = []
  registry.onRestart((backend) => restarted.push(backend.id))
  registry.start()
  await pass(0)
  log.length = 0
  const props = LLAMACPP['/props']
  engines.set(A, { ...LLAMACPP, '/props': { ...(props as object), media_marker: '<__media_YH4b6zDoFSLMskoJDGmlrr1g7KGkUIsa__>' } })
  await pass(6000)
  assert.deepEqual(restarted, ['a:1'])
  assert.deepEqual(log, ['a:1 restarted: the engine is another process now'])
  registry.close()
})

test('refused and back is a restart where nothing tells processes apart, and none where the process is the same', async () => {
  const silent: Answers = { '/v1/models': { data: [{ id: 'x' }] }, '/v1/chat/completions': 405 }
  for (const [answers, expected] of [[silent, 1], [LLAMACPP, 0]] as const) {
    const { registry, engines, log, pass } = world(A)
    engines.set(A, answers)
    registry.start()
    await pass(0)
    engines.set(A, 'refused')
    await pass(6000)
    engines.set(A, answers)
    await pass(2000)
    assert.equal(registry.list()[0]?.healthy, true)
    assert.equal(log.filter((line) => line.includes('restarted')).length, expected)
    registry.close()
  }
})

test('a slow backend that comes back has not restarted', async () => {
  const { registry, engines, log, pass } = world(A)
  engines.set(A, { '/v1/models': { data: [{ id: 'x' }] } })
  registry.start()
  await pass(0)
  engines.set(A, 'timeout')
  await pass(20_000)
  engines.set(A, { '/v1/models': { data: [{ id: 'x' }] } })
  await pass(2000)
  assert.deepEqual(log.filter((line) => / (restarted|healthy)/.test(line)), ['a:1 healthy', 'a:1 healthy'])
  registry.close()
})

test('two signs of one restart are told once', async () => {
  const { registry, log, pass } = world(A)
  const backend = registry.list()[0]
  assert.ok(backend)
  registry.noteRestart(backend, 'a counter fell')
  registry.noteRestart(backend, 'again')
  await pass(31_000)
  registry.noteRestart(backend, 'a second one')
  assert.deepEqual(log, ['a:1 restarted: a counter fell', 'a:1 restarted: a second one'])
})

test('an index is never used again, and the list is the same array until the fleet changes', () => {
  const { registry } = world(A, B)
  const before = registry.list()
  assert.equal(registry.list(), before)
  assert.equal(registry.remove('a:1'), true)
  assert.equal(registry.remove('a:1'), false)
  const added = registry.add(backendConfig(A))
  assert.ok('backend' in added)
  assert.deepEqual([added.backend.index, registry.list().map(({ id }) => id)], [2, ['b:1', 'a:1']])
  assert.deepEqual([before[0]?.healthy, before[0]?.trouble], [false, 'removed'])
})

test('a second backend with the same id or url is refused', () => {
  const { registry } = world(A)
  assert.deepEqual(registry.add(backendConfig('http://c:1', { id: 'a:1' })), { problem: "There is already a backend 'a:1'." })
  assert.deepEqual(registry.add(backendConfig(A, { id: 'other' })), { problem: "Backend 'a:1' already has the url http://a:1." })
})

test('drain and resume are told once each; an unknown backend is not there', () => {
  const { registry, log } = world(A)
  assert.deepEqual([registry.drain('a:1', true), registry.drain('a:1', true)], [true, true])
  assert.equal(registry.get('a:1')?.draining, true)
  registry.drain('a:1', false)
  assert.equal(registry.drain('nobody', true), false)
  assert.deepEqual(log, ['a:1 drained', 'a:1 resumed'])
})

test('a backend added while running is probed, and a report about a removed one touches nobody else', async () => {
  const { registry, engines, pass } = world(A)
  registry.start()
  await pass(0)
  const old = registry.get('a:1')
  assert.ok(old)
  registry.remove('a:1')
  registry.add(backendConfig(A))
  engines.set(B, VLLM)
  registry.add(backendConfig(B))
  await pass(0)
  registry.report(old, 'connect')
  assert.deepEqual(registry.list().map(({ healthy }) => healthy), [true, true])
  registry.close()
})

test('closed, it probes no more', async () => {
  const { registry, get, pass } = world(A)
  registry.start()
  await pass(0)
  registry.close()
  const { count } = get
  await pass(60_000)
  assert.equal(get.count, count)
})
