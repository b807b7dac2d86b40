/**
 * What turns added up to, per backend and model, as plain numbers that are read when metrics are scraped: an increment of
 * a labelled prom-client counter costs about 1 us, six a turn, an addition here nothing measurable. Bounded by backends
 * times models offered; an entry lives as long as the process, as counters do.
 */
import type { Receipt } from './model/receipt.ts'

type Labels = Record<string, string>
type Sample = { readonly labels: Labels; readonly value: number }
export type TotalsCounter = {
  readonly name: string
  readonly help: string
  readonly labelNames: readonly string[]
  readonly read: () => readonly Sample[]
}

type Totals = {
  readonly labels: Labels
  promptTokens: number
  cachedTokens: number
  expectedCachedTokens: number
  cachedTokensError: number
  outputTokens: number
  /** By why: turns, and prompt tokens that were computed again. */
  readonly cache: Map<string, { readonly labels: Labels; turns: number; missedTokens: number }>
  /** By `reason outcome`. */
  readonly turns: Map<string, { readonly labels: Labels; count: number }>
}

export class TurnTotals {
  readonly #byBackend = new Map<string, Map<string, Totals>>()

  add(receipt: Receipt): void {
    const totals = this.#of(receipt.backendId, receipt.model)
    const { promptTokens, cachedTokens, reason, outcome } = receipt
    totals.promptTokens += promptTokens.actual ?? 0
    totals.expectedCachedTokens += cachedTokens.expected
    totals.outputTokens += receipt.outputTokens ?? 0
    if (cachedTokens.actual !== null) {
      totals.cachedTokens += cachedTokens.actual
      totals.cachedTokensError += Math.abs(cachedTokens.actual - cachedTokens.expected)
    }
    const { why, missedTokens } = receipt.cache
    let cache = totals.cache.get(why)
    if (cache === undefined)
      totals.cache.set(why, (cache = { labels: { backend: receipt.backendId, why }, turns: 0, missedTokens: 0 }))
    cache.turns++
    cache.missedTokens += missedTokens ?? 0
    const key = `${reason} ${outcome}`
    const turns = totals.turns.get(key)
    if (turns === undefined) totals.turns.set(key, { labels: { ...totals.labels, reason, outcome }, count: 1 })
    else turns.count++
  }

  get counters(): readonly TotalsCounter[] {
    const tokens = (
      name: string,
      help: string,
      field: keyof Totals & `${string}${'Tokens' | 'Error'}`,
    ): TotalsCounter => ({
      name,
      help,
      labelNames: ['backend', 'model'],
      read: () => this.#all().map((totals) => ({ labels: totals.labels, value: totals[field] })),
    })
    return [
      {
        name: 'homing_turns_total',
        help: 'Turns by backend, reason of the decision and outcome.',
        labelNames: ['backend', 'model', 'reason', 'outcome'],
        read: () =>
          this.#all().flatMap(({ turns }) =>
            [...turns.values()].map(({ labels, count }) => ({ labels, value: count })),
          ),
      },
      tokens('homing_prompt_tokens_total', 'Prompt tokens as engines counted them.', 'promptTokens'),
      tokens('homing_prompt_tokens_cached_total', 'Prompt tokens that engines took from their cache.', 'cachedTokens'),
      tokens(
        'homing_prompt_tokens_cached_expected_total',
        'Prompt tokens that the decision expected to be cached.',
        'expectedCachedTokens',
      ),
      tokens(
        'homing_cached_tokens_absolute_error_total',
        'Sum of |expected - actual| cached tokens; divide by prompt tokens.',
        'cachedTokensError',
      ),
      this.#byWhy('homing_cache_verdicts_total', 'Turns by what became of their cached prefix, and why.', 'turns'),
      this.#byWhy(
        'homing_prompt_tokens_missed_total',
        'Prompt tokens that could have been cached and were computed again, by why.',
        'missedTokens',
      ),
      tokens('homing_output_tokens_total', 'Generated tokens.', 'outputTokens'),
    ]
  }

  /** Over the models of each backend: a reason is the engine's or the router's affair, not a model's. */
  #byWhy(name: string, help: string, field: 'turns' | 'missedTokens'): TotalsCounter {
    const read = (): Sample[] => {
      const sums = new Map<string, { labels: Labels; value: number }>()
      for (const { cache, labels } of this.#all()) {
        for (const [why, entry] of cache) {
          const key = `${labels['backend']} ${why}`
          const sum = sums.get(key)
          if (sum === undefined) sums.set(key, { labels: entry.labels, value: entry[field] })
          else sum.value += entry[field]
        }
      }
      return [...sums.values()]
    }
    return { name, help, labelNames: ['backend', 'why'], read }
  }

  #all(): Totals[] {
    return [...this.#byBackend.values()].flatMap((byModel) => [...byModel.values()])
  }

  #of(backend: string, model: string): Totals {
    let byModel = this.#byBackend.get(backend)
    if (byModel === undefined) this.#byBackend.set(backend, (byModel = new Map()))
    let totals = byModel.get(model)
    if (totals === undefined) {
      totals = {
        labels: { backend, model },
        promptTokens: 0,
        cachedTokens: 0,
        expectedCachedTokens: 0,
        cachedTokensError: 0,
        outputTokens: 0,
        cache: new Map(),
        turns: new Map(),
      }
      byModel.set(model, totals)
    }
    return totals
  }
}
