import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LiveBackend } from '../../src/fleet/live-backend.ts'
import { MetricsProbe } from '../../src/fleet/metrics-probe.ts'
import { readSamples } from '../../src/fleet/prometheus.ts'
import { backendConfig } from './fake-engine.ts'

function probe(): {
  metrics: MetricsProbe; backend: LiveBackend; backends: LiveBackend[]; page: { status: number; text: string; headers: Record<string, string> }
  clock: { ms: number }; restarts: string[]; asked: { count: number }
} {
  const backend = new LiveBackend(backendConfig('http://a:1'), 0)
  backend.healthy = true
  const backends = [backend]
  const page = { status: 200, text: '', headers: {} as Record<string, string> }
  const clock = { ms: 1000 }
  const restarts: string[] = []
  const asked = { count: 0 }
  const metrics = new MetricsProbe({
    backends: () => backends,
    get: () => {
      asked.count++
      return Promise.resolve({ ...page })
    },
    nowMs: () => clock.ms, after: () => () => undefined, random: () => 0.5, onRestart: (_, why) => restarts.push(why),
  })
  return { metrics, backend, backends, page, clock, restarts, asked }
}

const PAGES: readonly [string, string, number, number][] = [
  ['vLLM, summed over its engines',
    '# TYPE x gauge\nvllm:num_requests_running{engine="0",model_name="a b}"} 3.0\nvllm:num_requests_running{engine="1"} 2.0\n' +
    'vllm:num_requests_waiting{engine="0"} 4.0\nvllm:num_requests_waiting_by_reason{reason="capacity"} 99.0\n', 5, 4],
  ['SGLang', 'sglang:num_running_reqs{model_name="m"} 7\nsglang:num_queue_reqs{model_name="m"} 1\r\n', 7, 1],
  ['llama.cpp', 'llamacpp:requests_processing 1\nllamacpp:requests_deferred 6', 1, 6],
]
for (const [name, text, running, waiting] of PAGES) {
  test(`the load of ${name} is read from its page`, async () => {
    const { metrics, backend, page } = probe()
    page.text = text
    await metrics.round()
    const found = metrics.page(backend)!
    assert.deepEqual([found.running, found.waiting, found.observedAtMs], [running, waiting, 1000])
  })
}

test('cache, computed tokens and finished requests are read where an engine tells them', async () => {
  const { metrics, backend, page } = probe()
  const read = async (text: string) => {
    page.text = text
    await metrics.round()
    const { cacheUsage, computedTokens, finishedRequests } = metrics.page(backend)!
    return [cacheUsage, computedTokens, finishedRequests]
  }
  assert.deepEqual(await read('vllm:num_requests_running{engine="0"} 1\nvllm:kv_cache_usage_perc{engine="0"} 0.5\nvllm:kv_cache_usage_perc{engine="1"} 0.25\n' +
    'vllm:prompt_tokens_by_source_total{engine="0",source="local_compute"} 900\nvllm:prompt_tokens_by_source_total{engine="0",source="local_cache_hit"} 50\n' +
    'vllm:request_success_total{finished_reason="stop"} 3\nvllm:request_success_total{finished_reason="length"} 4\n'), [0.375, 900, 7])
  assert.deepEqual(await read('vllm:num_requests_running 1\nvllm:prompt_tokens_total 900\n'), [null, null, null], 'an older vLLM counts cached tokens too')
  assert.deepEqual(await read('sglang:num_running_reqs 1\nsglang:token_usage 0.1\nsglang:prompt_tokens_total 100\nsglang:cached_tokens_total 30\nsglang:num_requests_total 5\n'), [0.1, 70, 5])
  assert.deepEqual(await read('llamacpp:requests_processing 1\nllamacpp:prompt_tokens_total 40\n'), [null, 40, null])
})

test('a page that could be read before and cannot now is told once each time, and asked for again', async () => {
  const backend = new LiveBackend(backendConfig('http://a:1'), 0)
  backend.healthy = true
  let answers = true
  const told: string[] = []
  const metrics = new MetricsProbe({
    backends: () => [backend],
    get: () => answers ? Promise.resolve({ status: 200, headers: {}, text: 'llamacpp:requests_processing 1\n' }) : Promise.reject(new Error('reset')),
    nowMs: () => 0, after: () => () => undefined, random: () => 0.5, onRestart: () => undefined,
    reader: { asked: () => told.push('asked'), answered: () => told.push('answered') }, onUnread: () => told.push('unread'),
  })
  for (answers of [true, false, true]) await metrics.round()
  assert.deepEqual(told, ['asked', 'answered', 'asked', 'unread', 'asked', 'answered'])
})

test('backends are read every two seconds or so, each at its own moment', async () => {
  const backends = Array.from({ length: 50 }, (_, index) => Object.assign(new LiveBackend(backendConfig(`http://a:${index + 1}`), index), { healthy: true }))
  const clock = { ms: 0 }
  const tasks: (() => void)[] = []
  const asked: number[] = []
  let seed = 1
  const metrics = new MetricsProbe({
    backends: () => backends,
    get: () => {
      asked.push(clock.ms)
      return Promise.resolve({ status: 200, headers: {}, text: 'llamacpp:requests_processing 1\n' })
    },
    nowMs: () => clock.ms, random: () => (seed = (seed * 16807) % 2147483647) / 2147483647, onRestart: () => undefined,
    after: (ms, task) => {
      tasks.push(() => {
        clock.ms += ms
        task()
      })
      return () => undefined
    },
  })
  metrics.start()
  while (clock.ms < 20_000) {
    tasks.shift()!()
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.ok(asked.length > 400 && asked.length < 560, `${asked.length} pages of 50 backends in 20 s`)
  const together = Math.max(...new Map(asked.map((ms) => [ms, asked.filter((other) => other === ms).length])).values())
  assert.ok(together < 15, `${together} at once`)
})

test('a backend without a readable page has no load and is asked again only after a minute', async () => {
  const { metrics, backend, page, clock, asked } = probe()
  page.status = 501
  await metrics.round()
  await metrics.round()
  assert.deepEqual([metrics.page(backend), asked.count], [null, 1])
  clock.ms += 60_000
  await metrics.round()
  assert.equal(asked.count, 2)
})

test('the page of an engine that is starting is asked for again in the next round', async () => {
  const { metrics, page, asked } = probe()
  page.status = 503
  await metrics.round()
  await metrics.round()
  assert.equal(asked.count, 2)
})

test('a backend that is not healthy is not asked, and one that left is forgotten', async () => {
  const { metrics, backend, backends, page, asked } = probe()
  page.text = 'llamacpp:requests_processing 1\n'
  await metrics.round()
  backend.healthy = false
  await metrics.round()
  assert.equal(asked.count, 1)
  backends.length = 0
  await metrics.round()
  assert.equal(metrics.page(backend), null)
})

test('a counter that falls, another start time or start header is a restart; a counter that grows is none', async () => {
  const { metrics, page, restarts } = probe()
  const show = async (text: string, started?: string): Promise<void> => {
    page.text = `llamacpp:requests_processing 0\n${text}\n`
    page.headers = started === undefined ? {} : { 'process-start-time-unix': started }
    await metrics.round()
  }
  await show('llamacpp:prompt_tokens_total 100', '5')
  await show('llamacpp:prompt_tokens_total 150', '5')
  assert.deepEqual(restarts, [])
  await show('llamacpp:prompt_tokens_total 160', '6')
  await show('llamacpp:prompt_tokens_total 20', '6')
  await show('')
  await show('process_start_time_seconds 1.7e9')
  await show('process_start_time_seconds 1.8e9')
  assert.deepEqual(restarts, ['its start time changed', 'llamacpp:prompt_tokens_total fell', 'its start time changed'])
})

test('a page that is cut, binary or huge in lines reads as far as it goes', () => {
  const wanted = new Set(['a', 'b'])
  for (const page of ['', '\n\n', 'a', 'a{', 'a{x="1"', 'a NaN', 'a one', '\u0000\u0001', '{} 1']) {
    assert.equal(readSamples(page, wanted).size, 0, JSON.stringify(page))
  }
  assert.deepEqual([...readSamples('a 1\nc 2\nb{x="y"} 3 1700000000', wanted)], [
    ['a', [{ labels: '', value: 1 }]], ['b', [{ labels: 'x="y"', value: 3 }]],
  ])
})
