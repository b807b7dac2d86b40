/** `GET /metrics` under vLLM's names, Prometheus text format 0.0.4. */
import type { SimulatedEngine } from '../engine/engine.ts'

/** Bounds in seconds of the TTFT histogram, vLLM's own. */
const BOUNDS = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
]

export class FirstTokenHistogram {
  readonly #counts = new Float64Array(BOUNDS.length + 1)
  #sum = 0

  observe(seconds: number): void {
    let bucket = 0
    while (bucket < BOUNDS.length && seconds > BOUNDS[bucket]!) bucket++
    this.#counts[bucket]!++
    this.#sum += seconds
  }

  render(name: string, label: string): string {
    let total = 0
    let text = `# TYPE ${name} histogram\n`
    for (let bucket = 0; bucket <= BOUNDS.length; bucket++) {
      total += this.#counts[bucket]!
      text += `${name}_bucket{${label},le="${bucket < BOUNDS.length ? BOUNDS[bucket]! : '+Inf'}"} ${total}\n`
    }
    return `${text}${name}_sum{${label}} ${this.#sum}\n${name}_count{${label}} ${total}\n`
  }
}

export const renderMetrics = (engine: SimulatedEngine, model: string, firstTokens: FirstTokenHistogram): string => {
  const label = `engine="0",model_name=${JSON.stringify(model)}`
  const { totals, cache, speed } = engine
  const one = (name: string, kind: 'gauge' | 'counter', value: number): string =>
    `# TYPE ${name} ${kind}\n${name}{${label}} ${value}\n`
  return (
    one('vllm:num_requests_running', 'gauge', engine.running) +
    one('vllm:num_requests_waiting', 'gauge', engine.waiting) +
    one('vllm:kv_cache_usage_perc', 'gauge', cache.inUse / cache.capacity) +
    one('vllm:prefix_cache_queries_total', 'counter', totals.promptTokens) +
    one('vllm:prefix_cache_hits_total', 'counter', totals.cachedTokens) +
    one('vllm:prompt_tokens_total', 'counter', totals.promptTokens) +
    '# TYPE vllm:prompt_tokens_by_source_total counter\n' +
    `vllm:prompt_tokens_by_source_total{${label},source="local_compute"} ${totals.promptTokens - totals.cachedTokens}\n` +
    `vllm:prompt_tokens_by_source_total{${label},source="local_cache_hit"} ${totals.cachedTokens}\n` +
    one('vllm:generation_tokens_total', 'counter', totals.outputTokens) +
    one('vllm:num_preemptions_total', 'counter', totals.preemptions) +
    `# TYPE vllm:request_success_total counter\nvllm:request_success_total{${label},finished_reason="stop"} ${totals.finished}\n` +
    `# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{engine="0",block_size="${speed.blockTokens}"` +
    `,num_gpu_blocks="${cache.capacity}",enable_prefix_caching="True"} 1\n` +
    firstTokens.render('vllm:time_to_first_token_seconds', label)
  )
}
